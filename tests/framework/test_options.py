"""Options that commands share mean the same in each of them."""

import json

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from dcr.cli import cli
from project import PROJECT

WITH_RECIPE = {
    "run": [],
    "make-dvc": [],
    "plan": [],
    "publish": ["--to", "lab/clip", "--dry-run"],
    "join": [],
    "check-hosts": ["training", "1", "0"],
}


@pytest.fixture(autouse=True)
def _project(monkeypatch):
    bootstrap_project(PROJECT)
    monkeypatch.chdir(PROJECT)


def call(command, *arguments, recipe):
    return CliRunner().invoke(cli, [command, *arguments], env={"KEDRO_ENV": recipe})


def test_every_command_that_takes_a_recipe_is_tried_here():
    takers = {
        name
        for name, command in cli.commands.items()
        if any(option.name == "env" for option in command.params)
    }
    assert set(WITH_RECIPE) == takers


@pytest.mark.parametrize("command", WITH_RECIPE)
def test_a_recipe_named_in_the_environment_is_the_one_that_a_command_is_for(command, tmp_path):
    output = ["--output", str(tmp_path / "dvc.yaml")] if command == "make-dvc" else []
    done = call(command, *WITH_RECIPE[command], *output, recipe="smok")
    assert done.exit_code == 1
    assert done.output.strip().splitlines()[-1] == (
        "Error: KEDRO_ENV smok: there is no recipe 'smok'; did you mean 'smoke'?"
    )


def test_stages_are_those_of_the_recipe_named_in_the_environment(tmp_path):
    written = tmp_path / "dvc.yaml"
    assert call("make-dvc", "--output", str(written), recipe="smoke").exit_code == 0
    assert written.read_text().startswith("# Made by `kedro make-dvc --env smoke`")


def test_a_plan_is_that_of_the_recipe_named_in_the_environment_unless_an_option_names_another():
    assert json.loads(call("plan", "--json", recipe="smoke").output)["recipe"] == "smoke"
    done = call("plan", "--json", "--env", "smoke", recipe="smok")
    assert json.loads(done.output)["recipe"] == "smoke"
