"""What a scheduler gives is compared with the recipe before anything trains."""

import shutil
from pathlib import Path

import pytest
from kedro.framework.project import configure_project

from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.framework.hosts import describe_step, join_training
from project import PROJECT

CONF = str(PROJECT / "conf")


@pytest.fixture(autouse=True)
def _project():
    configure_project("dcr")


def check(hosts, gpus, **processes):
    params = {"training": {"processes": processes}}
    describe_step("smoke", CONF, params, "training", hosts, gpus)


def test_what_the_recipe_says_is_taken():
    check(1, 0)
    check(1, 1)
    check(2, 8, num_hosts=2, num_processes=8)
    check(2, 0, num_hosts=2, num_processes=8)
    check(1, 2, num_methods_at_once=2)
    check(1, 0, num_methods_at_once=2)


@pytest.mark.parametrize(
    ("hosts", "gpus", "processes", "sentence"),
    [
        (2, 0, {}, r"num_hosts is 1 and the scheduler gives 2 host\(s\)"),
        (1, 8, {"num_hosts": 2, "num_processes": 8}, r"num_hosts is 2 .* gives 1 host\(s\)"),
        (1, 8, {}, r"num_processes is 1 .* gives 8 GPU\(s\) on each host"),
        (1, 1, {"num_methods_at_once": 2}, r"num_processes is 2 .* gives 1 GPU\(s\)"),
    ],
)
def test_other_hosts_or_gpus_are_refused(hosts, gpus, processes, sentence):
    with pytest.raises(UserError, match=sentence):
        check(hosts, gpus, **processes)


def test_there_is_nothing_to_join_where_one_host_trains():
    with pytest.raises(UserError, match=r"num_hosts is 1, so there is nothing to join"):
        join_training("smoke", CONF, {})


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    """A folder of recipes, one of which has a second look at its samples."""
    conf = shutil.copytree(CONF, tmp_path_factory.mktemp("recipes") / "conf")
    (conf / "mine").mkdir()
    (conf / "mine/globals.yml").write_text(
        "extends: smoke\nrecipe: mine\npipelines: [validation, likeness, latents]\n"
    )
    return str(conf)


@pytest.mark.parametrize(
    ("env", "step", "pipelines"),
    [
        ("smoke", "validation", "validation"),
        ("smoke", "training", "training"),
        ("smoke", "validation,likeness", "validation,likeness"),
        ("mine", "validation", "validation,likeness"),
        ("mine", "validation,likeness", "validation,likeness"),
        ("mine", "latents", "latents"),
    ],
)
def test_a_second_look_that_the_recipe_lists_is_part_of_validation(looked_at, env, step, pipelines):
    assert describe_step(env, looked_at, {}, step, 1, 0)["pipelines"] == pipelines


@pytest.mark.parametrize("backend", ["loky", "ray"])
def test_the_recipes_backend_is_told(backend):
    params = {"validation": {"backend": backend}}
    assert describe_step("smoke", CONF, params, "validation", 2, 0)["backend"] == backend


def test_a_step_that_trains_is_checked_among_others():
    with pytest.raises(UserError, match="num_hosts is 1"):
        describe_step("smoke", CONF, {}, "training,export", 2, 0)
    assert describe_step("smoke", CONF, {}, "validation", 2, 0)


@pytest.mark.parametrize("step", ["validation", "training", "training,export"])
def test_a_recipe_is_opened_once_whatever_the_step(monkeypatch, step):
    opened = []
    check = RecipeConfigLoader.check_recipe
    monkeypatch.setattr(
        RecipeConfigLoader, "check_recipe", lambda loader: opened.append(loader) or check(loader)
    )
    describe_step("smoke", CONF, {}, step, 1, 0)
    assert len(opened) == 1


def test_a_recipe_mounted_as_a_config_map_is_read(looked_at):
    """Kubernetes lays its files into a folder of a date, and links to them."""
    folder = Path(looked_at) / "mapped"
    dated = folder / "..2026_11_30_09_00_00.1"
    dated.mkdir(parents=True)
    (folder / "..data").symlink_to(dated.name)
    files = {
        "globals.yml": "extends: smoke\nrecipe: mapped\n",
        "parameters_validation.yml": "validation: {backend: ray}\n",
    }
    for name, text in files.items():
        (dated / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    assert describe_step("mapped", looked_at, {}, "validation", 1, 0)["backend"] == "ray"
