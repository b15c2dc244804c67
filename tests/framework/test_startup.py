"""What a command imports: a second spent on a library that it does not use is a second of
everybody's, every time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from project import PROJECT

# Runs `kedro` as its console script does, then prints those of the named modules that were
# imported.
_KEDRO = """
import atexit, sys
names, sys.argv = sys.argv[1].split(","), ["kedro", *sys.argv[2:]]
atexit.register(lambda: print("imported:", *[name for name in names if name in sys.modules]))
from kedro.framework.cli.cli import main
main()
"""
_HEAVY = {
    "torch",
    "torchvision",
    "transformers",
    "diffusers",
    "open_clip",
    "timm",
    "peft",
    "accelerate",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "plotly",
    "great_expectations",
    "webdataset",
    "dvclive",
    "dask",
    "ray",
}


def _imported(folder: Path, *arguments: str) -> set[str]:
    command = [sys.executable, "-c", _KEDRO, ",".join(sorted(_HEAVY)), *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return set(done.stdout.rpartition("imported:")[2].split())


@pytest.mark.parametrize("command", [["registry", "list"], ["run", "--help"]])
def test_commands_that_run_nothing_import_none_of_the_heavy_libraries(command):
    assert _imported(PROJECT, *command) == set()


@pytest.mark.parametrize(
    ("pipeline", "unused"),
    [
        (
            "validation",
            {
                "torch",
                "transformers",
                "diffusers",
                "open_clip",
                "timm",
                "peft",
                "plotly",
                "sklearn",
                "webdataset",
            },
        ),
        ("evaluation", {"great_expectations", "plotly", "diffusers", "dvclive"}),
        ("export", {"great_expectations", "plotly", "diffusers", "webdataset", "dvclive"}),
    ],
)
def test_a_finished_pipeline_imports_what_it_uses(smoke_project, pipeline, unused):
    assert (
        _imported(smoke_project, "run", "--env", "smoke", "--pipelines", pipeline) & unused == set()
    )
