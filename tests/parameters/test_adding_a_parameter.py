"""A parameter is a line of YAML and a line of the class that takes it: with both in a copy, the
command line reaches it, and with one of them alone the other is named.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dcr
from project import PROJECT

PACKAGE = Path(dcr.__file__).parent
CLASS = (
    "parameters/training/parts.py",
    "    max_grad_norm: float = Field(gt=0)\n",
    "    warm_up_steps: int = Field(ge=0)\n",
)
LINE = ("parameters_training.yml", "    max_grad_norm: 1.0\n", "    warm_up_steps: 10\n")

USE = """
import sys
from kedro.framework.project import configure_project
configure_project("dcr")
from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.parameters import build_parameters
from dcr.settings import CONFIG_LOADER_ARGS

asked = {"training": {"optimizer": {"warm_up_steps": 25}}} if sys.argv[2:] else {}
loader = RecipeConfigLoader(sys.argv[1], "local", asked, **CONFIG_LOADER_ARGS)
try:
    optimizer = build_parameters(loader["parameters"])["training"].optimizer
    print(getattr(optimizer, "warm_up_steps", None))
except UserError as error:
    print(error)
"""


@pytest.fixture
def use(tmp_path):
    """Return what a copy of package and conf makes of the parameter, with the given additions."""

    def add(path, after, line):
        text = path.read_text(encoding="utf-8")
        assert text.count(after) == 1
        path.write_text(text.replace(after, after + line), encoding="utf-8")

    def use(*options, in_class=True, in_yaml=True):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, tmp_path / "dcr", ignore=ignored)
        shutil.copytree(PROJECT / "conf", tmp_path / "conf")
        if in_class:
            add(tmp_path / "dcr" / CLASS[0], *CLASS[1:])
        if in_yaml:
            add(tmp_path / "conf" / "base" / LINE[0], *LINE[1:])
        done = subprocess.run(
            [sys.executable, "-c", USE, tmp_path / "conf", *options],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.splitlines()[-1]

    return use


def test_the_component_has_the_value_of_the_yaml(use):
    assert use() == "10"


def test_the_command_line_reaches_it(use):
    assert use("--params") == "25"


def test_without_the_class_it_is_unknown(use):
    assert "unknown parameter 'training.optimizer.warm_up_steps'" in use(in_class=False)


def test_without_the_yaml_it_is_missing(use):
    assert "'training.optimizer.warm_up_steps' is missing" in use(in_yaml=False)
