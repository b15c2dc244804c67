"""What each step runs on each host."""

import subprocess
import sys

import pytest
import yaml

import run
from hosts import Hosts
from project import PROJECT
from together import Stop

TOLD = """
import os, sys
print(*(os.environ.get(n, "-") for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK")), flush=True)
"""
RECIPE = run.Recipe("mine", None, "training.seed=1")


def test_the_recipe_and_its_parameters_are_handed_on():
    assert RECIPE.command("--pipelines", "latents")[1:] == [
        *("-m", "dcr", "--pipelines", "latents"),
        *("--env", "mine", "--params", "training.seed=1"),
    ]
    assert run.Recipe(None, None, "").command("join")[1:] == ["-m", "dcr", "join"]


def test_training_meets_at_the_first_host():
    led = run.training(RECIPE, Hosts(1, 2, "gpu03"), 20070)
    params = "training.seed=1,training.processes.rendezvous_endpoint=gpu03:20070"
    assert led.first[-1] == params
    assert led.others[1:4] == ["-m", "dcr", "join"]
    assert led.needs_all


@pytest.mark.parametrize(
    ("params", "backend", "address"),
    [("", "dask", "tcp://a:20070"), ("validation.backend=ray", "ray", "a:20070")],
)
def test_validation_has_a_worker_a_core_of_every_host(monkeypatch, params, backend, address):
    monkeypatch.setenv("DCR_NUM_WORKERS", "8")
    led = run.validation(run.Recipe("mine", None, params), Hosts(0, 2, "a"), 20070)
    assert led.first[-1].endswith(
        f"validation.backend={backend},validation.cluster={address},validation.n_jobs=-1"
    )
    assert "8" in led.others
    assert address in led.others


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (Hosts(), {"- - -"}),
        (Hosts(gpus=2), {"0 2 0", "1 2 1"}),
        (Hosts(2, 4, "localhost", 0, is_array=True), {"2 4 0"}),
        (Hosts(1, 3, "a", 2), {"2 6 0", "3 6 1"}),
    ],
)
def test_shared_steps_are_told_their_part_as_by_torchrun(capfd, hosts, expected):
    with Stop() as stop:
        assert run.share([sys.executable, "-c", TOLD], hosts, stop) == 0
    assert {*capfd.readouterr().out.splitlines()} == expected


def test_a_process_that_fails_leaves_the_others_to_end():
    commands = [["sh", "-c", "exit 3"], ["sh", "-c", "sleep .3; exit 0"]]
    with Stop() as stop:
        assert run.run_all(commands, stop) == 3


def test_a_step_of_one_host_is_not_done_on_another(capfd):
    with Stop() as stop:
        assert run.run_step("evaluation", RECIPE, Hosts(1, 2, "a"), stop) == 0
    assert "evaluation is the first host's alone" in capfd.readouterr().err


def test_an_array_cannot_train():
    with pytest.raises(SystemExit, match="submit it with --nodes"):
        run.meet("training", RECIPE, Hosts(0, 2, "localhost", is_array=True), Stop())


def test_help_tells_the_steps():
    words = [sys.executable, PROJECT / "deploy/run.py", "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "STEP" in told.upper()


class TestManifests:
    """Of Kubernetes and SkyPilot; `test_manifests.py` has their own parsers' word."""

    def manifests(self):
        text = (PROJECT / "deploy/kubernetes.yaml").read_text()
        return list(yaml.safe_load_all(text.replace("STEP", "training").replace("RECIPE", "mine")))

    def test_a_job_has_as_many_pods_as_it_tells_them(self):
        _, job = self.manifests()
        [container] = job["spec"]["template"]["spec"]["containers"]
        told = {entry["name"]: entry["value"] for entry in container["env"]}
        assert str(job["spec"]["completions"]) == told["DCR_NUM_HOSTS"]
        assert job["spec"]["completions"] == job["spec"]["parallelism"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == told["DCR_NUM_GPUS"]

    def test_the_first_pod_is_found_by_its_name(self):
        service, job = self.manifests()
        pod = job["spec"]["template"]["spec"]
        name = f"{job['metadata']['name']}-0.{pod['subdomain']}"
        [container] = pod["containers"]
        assert {"name": "DCR_HEAD", "value": name} in container["env"]
        assert service["metadata"]["name"] == pod["subdomain"]
        assert service["spec"]["selector"] == job["spec"]["template"]["metadata"]["labels"]

    def test_what_was_asked_to_end_costs_no_try(self):
        rules = self.manifests()[1]["spec"]["podFailurePolicy"]["rules"]
        assert {"operator": "In", "values": [143]} in [rule.get("onExitCodes") for rule in rules]

    def test_skypilot_runs_the_same_command(self):
        task = yaml.safe_load((PROJECT / "deploy/skypilot.yaml").read_text())
        assert 'deploy/run.py "$STEP" --env "$RECIPE"' in task["run"]
        assert task["envs"].keys() == {"STEP", "RECIPE"}
        assert task["workdir"] == "."
