"""A parameter is a line of YAML and a line of the class that takes it: with both, as in
docs/extending.md, in a copy, the command line reaches it, and with one of them alone the other is
named.
"""

import os
import shutil
import subprocess
import sys

import pytest

from doc_code import blocks, copy_package, lay_in
from project import PROJECT

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

    def use(*options, in_class=True, in_yaml=True):
        source = copy_package(tmp_path)
        shutil.copytree(PROJECT / "conf", tmp_path / "conf")
        line_of_class, line_of_yaml = blocks("A parameter")
        lay_in(tmp_path, [line_of_class] * in_class + [line_of_yaml] * in_yaml)
        done = subprocess.run(
            [sys.executable, "-c", USE, tmp_path / "conf", *options],
            env={**os.environ, "PYTHONPATH": str(source)},
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
