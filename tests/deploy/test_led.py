"""What the hosts of a step run that the first one leads."""

import sys

import pytest

import led
from hosts import Hosts

RECIPE = led.Recipe("mine", None, "training.seed=1")
TRAINING = led.Step("training", "loky")


def test_the_recipe_and_its_parameters_are_handed_on():
    assert RECIPE.command("--pipelines", "latents")[1:] == [
        *("-m", "dcr", "--pipelines", "latents"),
        *("--env", "mine", "--params", "training.seed=1"),
    ]
    assert led.Recipe(None, None, "").command("join")[1:] == ["-m", "dcr", "join"]


def test_training_meets_at_the_first_host():
    found = led.training(RECIPE, TRAINING, Hosts(1, 2, "gpu03"), 20070)
    params = "training.seed=1,training.processes.rendezvous_endpoint=gpu03:20070"
    assert found.first[-1] == params
    assert found.others[1:4] == ["-m", "dcr", "join"]
    assert found.needs_all


@pytest.mark.parametrize(
    ("recipes", "backend", "address"),
    [
        ("loky", "dask", "tcp://a:20070"),
        ("threading", "dask", "tcp://a:20070"),
        ("dask", "dask", "tcp://a:20070"),
        ("ray", "ray", "a:20070"),
    ],
)
def test_validation_has_a_worker_a_core_of_every_host(
    monkeypatch, capfd, recipes, backend, address
):
    monkeypatch.setenv("DCR_NUM_WORKERS", "8")
    monkeypatch.setattr(led, "tool", str)
    step = led.Step("validation,likeness", recipes)
    found = led.validation(RECIPE, step, Hosts(0, 2, "a"), 20070)
    assert found.first[3:5] == ["--pipelines", "validation,likeness"]
    assert (
        f"by {backend}, which stands in for validation.backend {recipes}" in capfd.readouterr().err
    )
    assert found.first[-1].endswith(
        f"validation.backend={backend},validation.cluster={address},validation.n_jobs=-1"
    )
    assert "8" in found.others
    assert address in found.others


@pytest.mark.parametrize("start", [led.dask_cluster, led.ray_cluster])
def test_a_host_without_the_extra_is_told_which_one(monkeypatch, tmp_path, start):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match=r"`(dask|ray)`.*pip install 'dcr\[cluster\]'"):
        start("a", 20070, 8)


@pytest.mark.parametrize("value", ["0", "many", "-2"])
def test_a_number_of_workers_that_is_none_is_refused(value):
    with pytest.raises(SystemExit, match=r"DCR_NUM_WORKERS=.* must be a whole number from 1"):
        led.num_workers({"DCR_NUM_WORKERS": value})
