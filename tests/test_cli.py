"""What a user sees of `kedro run`: mistakes in one sentence, exit code 1, no traceback."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
HEAVY = {
    *("torch", "torchvision", "open_clip", "diffusers", "transformers", "great_expectations"),
    *("sklearn", "plotly", "peft", "accelerate", "webdataset", "pandas"),
}


def kedro(*arguments, cwd=PROJECT):
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "400"}
    return subprocess.run(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def error_of(result):
    """Return the last line on stderr after checking that it stands there without a traceback."""
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    return result.stderr.strip().splitlines()[-1]


def test_a_typo_in_a_recipes_name():
    assert (
        error_of(kedro("run", "--env", "smok"))
        == "Error: --env smok: there is no recipe 'smok'; did you mean 'smoke'?"
    )


def test_a_typo_in_a_pipelines_name():
    assert (
        error_of(kedro("run", "--pipeline", "trainig"))
        == "Error: --pipelines trainig: there is no pipeline 'trainig'; did you mean 'training'?"
    )


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (
            "training.temprature=0.2",
            "unknown parameter 'training.temprature', did you mean 'loss.temperature'?;"
            " see conf/base",
        ),
        ("trainng.seed=1", "unknown parameter 'trainng', did you mean 'training'?; see conf/base"),
        (
            "training.loss.temperature=-0.1",
            (
                "parameter 'training.loss.temperature': input should be greater than 0, got -0.1; "
                "see conf/base/parameters_training.yml"
            ),
        ),
        (
            "training.method=diva",
            (
                "parameter 'training.method': must be dcr, reconstruction, naive, end_to_end or a"
                " name in training.phases, got 'diva'; see conf/base/parameters_training.yml"
            ),
        ),
    ],
)
def test_a_wrong_parameter_even_of_a_pipeline_that_does_not_run(params, sentence):
    assert (
        error_of(kedro("run", "--pipelines", "validation", "--params", params))
        == f"Error: {sentence}"
    )


def test_listing_the_pipelines_imports_nothing_heavy():
    """`kedro registry list` stays under two seconds because heavy libraries load inside nodes."""
    code = f"""
import sys
from pathlib import Path
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
from kedro.framework.project import pipelines
print(sorted(pipelines))
sys.exit(" ".join({HEAVY!r} & set(sys.modules)) or 0)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    for name in (
        "alignment",
        "evaluation",
        "ingest",
        "latents",
        "reporting",
        "scenes",
        "training",
        "validation",
        "verify",
    ):
        assert f"'{name}'" in result.stdout


@pytest.mark.slow
def test_listing_the_pipelines_takes_under_two_seconds():
    kedro("registry", "list")  # fills the disk cache
    times = []
    for _ in range(3):
        started = time.perf_counter()
        assert kedro("registry", "list").returncode == 0
        times.append(time.perf_counter() - started)
    assert min(times) < 2
