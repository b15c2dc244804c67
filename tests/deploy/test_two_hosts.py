"""Two hosts share a recipe's steps by the kit's command; one dies in the middle and comes back.

They are network namespaces with names, addresses and a cable of their own, on one disk.
"""

import shutil
import subprocess

import pytest

from needed import need
from two_host_recipe import ENV, ON_ONE_HOST, assert_same, num_made
from two_hosts import can_be_had, two_hosts
from waiting import GUARD, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session", autouse=True)
def _needed():
    """Comes before the projects, which take minutes."""
    need(can_be_had(), "root and iproute2, for network namespaces")


@pytest.fixture
def hosts(tmp_path):
    with two_hosts(tmp_path) as both:
        yield both


@pytest.fixture
def project(finished, tmp_path):
    """A finished project, but for what lies in some layers."""

    def make(*layers):
        folder = shutil.copytree(finished, tmp_path / "project")
        for layer in layers:
            shutil.rmtree(folder / "data" / layer / ENV)
        return folder

    return make


class Step:
    """A step that both hosts run."""

    def __init__(self, hosts, folder, name, params="", **variables):
        self.hosts, self.folder, self.name = hosts, folder, name
        options = ["--params", params] if params else []
        self.command = ["python", "deploy/run.py", name, "--env", ENV, *options]
        self.variables = {"DCR_NUM_HOSTS": "2", "DCR_HEAD": hosts[0].name, **variables}
        self.running = [self.start(0), self.start(1)]

    def start(self, rank) -> subprocess.Popen:
        log = self.folder / f"{rank}.log"
        own = {"DCR_HOST_RANK": str(rank), **self.variables}
        return self.hosts[rank].start(*self.command, cwd=self.folder, log=log, **own)

    def wait_for_files(self, count):
        wait_for(lambda: num_made(self.folder, self.name) >= count, *self.running)

    def die(self, rank, notices=None):
        """Let a host die, and come back with the same command.

        Until the other host has noticed, in the words ``notices`` of its log, the cable is out: it
        has nothing but the silence to notice it by. Without such words it goes on alone to its end.
        """
        self.hosts[rank].die()
        self.running[rank].wait()
        other = self.running[1 - rank]
        if notices:
            wait_for(lambda: notices in self.log(1 - rank), other)
        else:
            assert other.wait(GUARD) == 0, self.log(1 - rank)[-4000:]
        self.hosts[rank].boot()
        self.running[rank] = self.start(rank)

    def assert_ends_well(self):
        codes = [process.wait(GUARD) for process in self.running]
        assert codes == [0, 0], self.log(0)[-4000:] + self.log(1)[-4000:]

    def log(self, rank) -> str:
        return (self.folder / f"{rank}.log").read_text()


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_validation_goes_on_when_a_host_of_its_cluster_dies(project, finished, hosts, backend):
    folder = project("02_intermediate", "03_primary", "08_reporting")
    step = Step(hosts, folder, "validation", f"validation.backend={backend}", DCR_NUM_WORKERS="1")
    step.wait_for_files(2)
    step.die(1, notices="host 1 is gone")
    step.assert_ends_well()
    assert_same(folder, finished, "validation")


@pytest.mark.parametrize("rank", [0, 1])
def test_latents_of_a_host_that_dies_are_its_own_alone(project, finished, hosts, rank):
    folder = project("05_model_input")
    step = Step(hosts, folder, "latents")
    step.wait_for_files(3)
    step.die(rank)
    step.assert_ends_well()
    assert_same(folder, finished, "latents")
    both = step.log(0) + step.log(1)
    assert "process 0 of 2" in both
    assert "process 1 of 2" in both


@pytest.mark.parametrize(("rank", "notices"), [(0, "host-a is gone"), (1, "host 1 is gone")])
def test_training_goes_on_when_a_host_dies(project, finished, hosts, rank, notices):
    folder = project("06_models", "08_reporting")
    step = Step(hosts, folder, "training")
    stage2 = folder / "data/06_models/two/checkpoints/dcr"
    wait_for(lambda: list(stage2.glob("checkpoint-[3-9]")), *step.running)
    step.die(rank, notices)
    step.assert_ends_well()
    assert "goes on from" in step.log(0)
    assert_same(folder, finished, "training")


def test_embedding_of_a_host_that_dies_is_its_own_alone(project, finished, hosts):
    folder = project("04_feature")
    step = Step(hosts, folder, "embedding", ON_ONE_HOST)
    step.wait_for_files(1)
    step.die(1)
    step.assert_ends_well()
    assert_same(folder, finished, "embedding")
