"""A signal is one file: that of docs/extending.md, laid into a copy of the package, is named by a
recipe, and no other file knows of it.
"""

import json
import os
import subprocess
import sys

import pytest
import yaml

from doc_code import blocks, changed, copy_package, lay_in
from project import PROJECT

CONF = PROJECT / "conf" / "base" / "parameters_training.yml"
SIGNAL = "src/dcr/losses/hinge.py"

USE = """
import json, sys
from dcr.errors import UserError
from dcr.fingerprints import SOURCES
from dcr.parameters import TrainingParameters
from dcr.parameters.section import build
from dcr.training.contrast import build_contrast
from dcr.training.runs import method_runs

values, told, test = map(json.loads, sys.argv[1:])

def parameters(**signal):
    return build(TrainingParameters, values | {"signal": signal}, "parameter", "training.", "conf")

(run,) = method_runs(parameters(name="hinge"), "dcr")
found = {
    "margin": build_contrast(run).signal.margin,
    "told": parameters(**told).course()["signal.margin"],
    "code": "dcr.losses.hinge" in SOURCES.reached(["dcr.training.stages"]),
}
for name, signal in {"unknown": {"name": "hinge", "margn": 1.0}, "range": {"name": "hinge",
    "margin": 0.0}}.items():
    try:
        parameters(**signal)
    except UserError as error:
        found[name] = str(error)
names = {}
exec(test, names)
names["test_it_is_its_formula"]()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process sees that runs a copy of the package with one file more."""
    root = tmp_path_factory.mktemp("signal")
    source = copy_package(root)
    signal, test, recipe = blocks("A signal")
    lay_in(root, [signal])
    values = yaml.safe_load(CONF.read_text(encoding="utf-8"))["training"]
    told = yaml.safe_load(recipe.code)["training"]["signal"]
    given = [json.dumps(value) for value in (values, told, test.code)]
    done = subprocess.run(
        [sys.executable, "-c", USE, *given],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "changed": changed(root)}


def test_a_recipe_names_it_and_it_has_its_published_numbers(found):
    assert found["changed"] == {SIGNAL}
    assert found["margin"] == 0.2
    assert found["told"] == 0.3


def test_its_numbers_are_checked_by_its_own_file(found):
    assert "signal hinge has no number 'margn', did you mean 'margin'?" in found["unknown"]
    assert "margin must be > 0, got 0.0" in found["range"]


def test_checkpoints_depend_on_it(found):
    assert found["code"]
