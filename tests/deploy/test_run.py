"""What each step runs on each host."""

import os
import socket
import subprocess
import sys

import pytest
import yaml

import run
from hosts import Hosts
from processes import Stop
from project import PROJECT

# One write: two processes have the same output.
TOLD = """
import os
told = " ".join(os.environ.get(n, "-") for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
os.write(1, f"{told}\\n".encode())
"""
RECIPE = run.Recipe("mine", None, "training.seed=1")
TRAINING = run.Step("training", "loky")


def run_py(*words, **variables):
    """Run the command itself, in the project."""
    command = [sys.executable, PROJECT / "deploy/run.py", *words]
    environment = {**os.environ, "NO_COLOR": "1", **variables}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)


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


def test_a_step_of_one_host_is_not_done_on_another(capfd):
    with Stop() as stop:
        assert run.run_step("evaluation", RECIPE, Hosts(1, 2, "a"), stop) == 0
    assert "evaluation is the first host's alone" in capfd.readouterr().err


def test_an_array_cannot_train():
    with pytest.raises(SystemExit, match="submit it with --nodes"):
        run.meet("training", TRAINING, RECIPE, Hosts(0, 2, "localhost", is_array=True), Stop())


def test_help_tells_the_steps():
    words = [sys.executable, PROJECT / "deploy/run.py", "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "STEP" in told.upper()


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        ("training", ["training"]),
        ("evaluation,export,reporting", ["evaluation,export,reporting"]),
        ("latents,training", ["latents", "training"]),
        (
            "scenes,models,latents,alignment,export",
            ["scenes,models", "latents", "alignment,export"],
        ),
        ("validation,likeness,latents", ["validation,likeness", "latents"]),
        ("likeness,validation", ["validation,likeness"]),
        ("likeness", ["likeness"]),
    ],
)
def test_a_list_is_run_in_parts_where_one_has_a_way_of_its_own(step, parts):
    assert run.in_turn(step) == parts


class TestAList:
    @pytest.fixture
    def ran(self, monkeypatch):
        """What was run, instead of running it."""
        found = []

        def record(commands, stop, environments=None):
            found.extend((words[4], len(commands)) for words in commands[:1])
            return 0

        monkeypatch.setattr(run, "run_all", record)
        monkeypatch.setattr(run, "ask", lambda part, *_: run.Step(part, "loky"))
        return found

    def test_is_shared_out_and_checked_part_by_part_on_one_host(self, ran):
        step = "validation,latents,training,export,reporting"
        assert run.run_step(step, RECIPE, Hosts(gpus=2), Stop()) == 0
        expected = [("validation", 1), ("latents", 2), ("training", 1), ("export,reporting", 1)]
        assert ran == expected

    def test_is_refused_on_several_which_would_not_wait_for_each_other(self, ran):
        with pytest.raises(SystemExit, match=r"these are 2 steps.*: latents, then training"):
            run.run_step("latents,training", RECIPE, Hosts(1, 2, "a"), Stop())
        assert ran == []


def test_the_recipe_is_asked_what_a_step_is():
    recipe = run.Recipe("smoke", str(PROJECT / "conf"), "validation.backend=ray")
    assert run.ask("validation", recipe, Hosts()) == run.Step("validation", "ray")


def test_a_job_that_is_ended_while_the_recipe_is_asked_has_the_code_for_again(monkeypatch):
    """A scheduler sends SIGTERM to all processes of a job."""
    asking = ["sh", "-c", "kill -TERM $$"]
    monkeypatch.setattr(run.Recipe, "command", lambda *_: asking)
    with pytest.raises(SystemExit) as ended:
        run.ask("training", RECIPE, Hosts())
    assert ended.value.code == 143


@pytest.mark.parametrize("step", ["training", "latents,training"])
def test_other_gpus_than_the_recipe_says_are_refused_before_anything_runs(step):
    done = run_py(step, "--env", "smoke", DCR_NUM_GPUS="2")
    assert run_py(step, KEDRO_ENV="smoke", DCR_NUM_GPUS="2").stderr == done.stderr
    assert done.returncode == 1
    assert done.stderr.startswith("Error: training.processes.num_processes is 1 and the scheduler")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("rank", ["0", "1"])
def test_other_hosts_than_the_recipe_says_are_refused_on_each(rank):
    told = {"DCR_NUM_HOSTS": "2", "DCR_HEAD": "localhost.", "DCR_HOST_RANK": rank}
    done = run_py("training", "--env", "smoke", **told)
    assert done.returncode == 1
    assert "num_hosts is 1 and the scheduler gives 2 host(s)" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("DCR_PORT", "http"), ("DCR_PORT", "65535"), ("DCR_PATIENCE", "0")]
)
def test_a_variable_that_is_no_number_is_told_in_a_sentence(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"{name}='{value}' of the environment must be a whole"):
        run.meet("training", TRAINING, RECIPE, Hosts(0, 2, "a"), Stop())


def test_a_taken_port_is_told_before_anything_is_started(monkeypatch, tmp_path):
    """PyTorch, which meets there, would take whatever answers for its own."""
    monkeypatch.setattr(run, "_DATA", tmp_path)
    monkeypatch.setattr(run, "lead", None)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("DCR_PORT", str(port))
        with pytest.raises(SystemExit, match=rf"port {port} of .*DCR_PORT"):
            run.meet("training", TRAINING, RECIPE, Hosts(0, 2, "a"), Stop())


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
