"""What a module runs through, on the project's own sources, and against what Python imports when a pipeline runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dcr
from dcr import source_graph
from dcr.source_graph import sources_of
from project import PROJECT

PACKAGE = Path(dcr.__file__).parent

# What Kedro runs to find pipelines and configuration, and what belongs to no pipeline.
_AROUND = (
    "dcr.settings", "dcr.pipeline_registry", "dcr.pipelines", "dcr.datasets", "dcr.cli", "dcr.hooks", "dcr.session",
    "dcr.config", "dcr.home", "dcr.__main__",
)  # fmt: skip

_RUN = """
import atexit, sys
sys.argv = ["kedro", *sys.argv[1:]]
names = lambda: [name for name in sys.modules if name.startswith("dcr.")]
from kedro.framework.startup import bootstrap_project
import kedro.framework.session, os
from dcr.cli import run
before = []
original = kedro.framework.session.KedroSession.run
def noted(self, *args, **kwargs):
    before.extend(names())
    return original(self, *args, **kwargs)
kedro.framework.session.KedroSession.run = noted
atexit.register(lambda: print("imported:", *sorted(set(names()) - set(before))))
from kedro.framework.cli.cli import main
main()
"""


def covered(path: str, sources: list[str]) -> bool:
    return any(path == source or path.startswith(f"{source}/") for source in sources)


def test_imports_in_functions_count_and_so_do_modules_started_by_name():
    sources = sources_of(["dcr.pipelines.training.nodes"])
    assert covered("training/jobs.py", sources)  # imported in a node
    assert covered("training/worker.py", sources)  # started in processes of its own
    assert covered("losses/infonce.py", sources)
    assert covered("pipelines/training/nodes.py", sources)


def test_templates_belong_to_those_who_fill_them():
    assert covered("sweep/templates/page.html", sources_of(["dcr.pipelines.sweep.nodes"]))
    assert not covered("reporting/templates/report.html", sources_of(["dcr.pipelines.latents.nodes"]))


def test_what_is_imported_for_type_checking_alone_does_not_count():
    assert not covered("diffusion.py", sources_of(["dcr.pipelines.latents.nodes"]))


def test_a_pipeline_does_not_run_through_the_others():
    sources = sources_of(["dcr.pipelines.validation.nodes"])
    assert not covered("training/trainer.py", sources)
    assert not any(
        source.startswith("pipelines/") and "validation" not in source
        for source in sources[1:]
        if source != "pipelines/__init__.py"
    )


def test_every_source_is_there_and_none_twice():
    sources = sources_of(["dcr.pipelines.reporting.nodes", "dcr.datasets.models"])
    assert sources == sorted(set(sources))
    assert all((PACKAGE / source).exists() for source in sources)
    assert not [s for s in sources for other in sources if s != other and s.startswith(f"{other}/")]


def test_a_module_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"dcr\.nothing is no module"):
        sources_of(["dcr.nothing"])


def test_a_hash_of_sources_is_that_of_their_names_and_bytes_wherever_they_lie(tmp_path, monkeypatch):
    def hash_of(place, text="a = 1\n", name="one.py", compiled=False):
        (tmp_path / place / "part").mkdir(parents=True)
        (tmp_path / place / "part" / name).write_text(text)
        if compiled:
            (tmp_path / place / "part/__pycache__").mkdir()
            (tmp_path / place / "part/__pycache__/one.cpython-311.pyc").write_bytes(b"bytes")
        monkeypatch.setattr(source_graph, "_ROOT", tmp_path / place)
        source_graph.sources_hash.cache_clear()
        return source_graph.sources_hash("part")

    first = hash_of("here")
    assert hash_of("there/and/further") == first
    assert hash_of("compiled", compiled=True) == first
    assert hash_of("edited", text="a = 2\n") != first
    assert hash_of("renamed", name="two.py") != first
    source_graph.sources_hash.cache_clear()


@pytest.mark.xdist_group("smoke")
@pytest.mark.parametrize("pipeline", ["validation", "export"])
def test_whatever_a_run_imports_is_a_dependency_of_its_stage(smoke_project, pipeline):
    import yaml

    command = [sys.executable, "-c", _RUN, "run", "--env", "smoke", "--pipelines", pipeline]
    done = subprocess.run(command, cwd=smoke_project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    stage = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"][pipeline]
    sources = [dep.removeprefix("src/dcr/") for dep in stage["deps"] if dep.startswith("src/dcr/")]
    imported = done.stdout.rpartition("imported:")[2].split()
    assert imported
    for name in imported:
        if name == "dcr.datasets.records":  # every run reads the record of pipeline models, for the licence alone
            continue
        parts = name.split(".")[1:]
        module = PACKAGE.joinpath(*parts)
        path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        assert covered(path.relative_to(PACKAGE).as_posix(), sources), name
