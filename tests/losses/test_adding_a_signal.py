"""A signal is one file: laid into a copy of the package, a recipe names it, and no other file knows
of it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dcr
from project import PROJECT

PACKAGE = Path(dcr.__file__).parent
CONF = PROJECT / "conf" / "base" / "parameters_training.yml"
SIGNAL = Path("losses/quiet.py")

SOURCE = '''
from dataclasses import dataclass

from dcr.losses.numerics import require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class Quiet(Signal):
    """A margin of the mean similarities."""

    margin: float = 0.25

    def __post_init__(self):
        require_positive(margin=self.margin)

    def __call__(self, positives, negatives):
        return self.margin - positives.mean(dim=1)
'''

USE = """
import json, sys
import dcr
from dcr.errors import UserError
from dcr.fingerprints import SOURCES
from dcr.parameters import TrainingParameters
from dcr.parameters.section import build
from dcr.training.contrast import build_contrast
from dcr.training.runs import method_runs

values = json.loads(sys.argv[1])

def parameters(**signal):
    return build(TrainingParameters, values | {"signal": signal}, "parameter", "training.", "conf")

(run,) = method_runs(parameters(name="quiet"), "dcr")
found = {
    "package": dcr.__file__,
    "margin": build_contrast(run).signal.margin,
    "told": parameters(name="quiet", margin=0.5).course()["signal.margin"],
    "code": "dcr.losses.quiet" in SOURCES.reached(["dcr.training.stages"]),
}
for name, signal in {"unknown": {"name": "quiet", "margn": 1.0}, "range": {"name": "quiet",
    "margin": 0.0}}.items():
    try:
        parameters(**signal)
    except UserError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process sees that runs a copy of the package with one file more."""
    root = tmp_path_factory.mktemp("signal")
    copy = shutil.copytree(PACKAGE, root / "dcr", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / SIGNAL).write_text(SOURCE)
    values = yaml.safe_load(CONF.read_text(encoding="utf-8"))["training"]
    done = subprocess.run(
        [sys.executable, "-c", USE, json.dumps(values)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "copy": copy}


def test_a_recipe_names_it_and_it_has_its_published_numbers(found):
    assert Path(found["package"]).parent == found["copy"]
    assert found["margin"] == 0.25
    assert found["told"] == 0.5


def test_its_numbers_are_checked_by_its_own_file(found):
    assert "signal quiet has no number 'margn', did you mean 'margin'?" in found["unknown"]
    assert "margin must be > 0, got 0.0" in found["range"]


def test_checkpoints_depend_on_it(found):
    assert found["code"]
