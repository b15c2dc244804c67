"""Methods and seeds of stage 2 that train at the same time give what they give one after the
other.
"""

import os
import re
import signal
import sys

import pytest
import torch

from dcr.training import jobs
from dcr.training.distributed.at_once import train_share
from dcr.training.distributed.failures import first_failure
from dcr.training.stopping import JOB, Stopped
from training_cuts import assert_same, once
from training_world import fixed_projector, open_job, parameters, write_world

REC, DCR = {"objective": "reconstruction"}, {"objective": "dcr", "max_train_steps": 2}
METHODS = {
    "method": "two",
    "baselines": ["reconstruction", "naive"],
    "stage2_seeds": [1],
    "phases": {
        "two": [REC | {"max_train_steps": 3}, DCR],
        "reconstruction": [REC | {"max_train_steps": 5}],
    },
    "stage2.max_train_steps": 2,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def workers(monkeypatch):
    """What the workers need of this process: where the tests' modules lie, and one thread, as
    here.
    """
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def checkpoints(folder):
    return {path.name for path in folder.iterdir() if path.name != JOB}


def test_they_give_the_same_bits(world, tmp_path, workers):
    projector = fixed_projector(world)
    apart = jobs.train_adapters(
        open_job(world, tmp_path / "at once", **{"processes.num_methods_at_once": 2}, **METHODS),
        projector,
    )
    one_by_one = jobs.train_adapters(open_job(world, tmp_path / "one by one", **METHODS), projector)
    assert apart.towers.keys() == one_by_one.towers.keys()
    for name in apart.towers:
        assert_same(apart.towers[name], one_by_one.towers[name])
    assert {name: run.steps for name, run in apart.runs.items()} == {
        name: run.steps for name, run in one_by_one.runs.items()
    }
    assert first_failure(tmp_path / "at once" / JOB) is None


class TestWhatAWorkerTakes:
    @pytest.fixture
    def claims(self, tmp_path):
        (tmp_path / JOB).mkdir()
        return tmp_path / JOB

    def share(self, world, claims):
        train_share(open_job(world, claims.parent, **METHODS), fixed_projector(world), claims)
        return checkpoints(claims.parent)

    def test_alone_it_takes_all(self, world, claims):
        names = {"two.1", "two.2", "reconstruction", "naive"}
        assert self.share(world, claims) == names | {f"{name}@1" for name in names}
        # They are, by seed, what begins with the noise error, and what does not.
        assert len(list(claims.iterdir())) == 4

    def test_what_another_has_taken_it_leaves(self, world, claims):
        # The one of most steps: the noise error's, of the recipe's own seed.
        (claims / "taken-0").touch()
        (claims / "taken-1").touch()
        assert self.share(world, claims) == {"naive", "naive@1"}


@pytest.mark.slow
def test_sigterm_reaches_all_which_save_and_end(world, tmp_path, workers):
    long = METHODS | {
        "phases": {},
        "method": "reconstruction",
        "baselines": ["naive"],
        "stage2_seeds": [],
    }

    def train(steps):
        job = open_job(
            world,
            tmp_path,
            **{"processes.num_methods_at_once": 2},
            **long | {"stage2.max_train_steps": steps},
        )
        return jobs.train_adapters(job, fixed_projector(world))

    with (
        once(tmp_path / "naive", lambda: os.kill(os.getpid(), signal.SIGTERM)),
        pytest.raises(
            Stopped, match=r"stopped at step \d+; it is saved in .*same command goes on"
        ) as stopped,
    ):
        train(100_000)
    step = int(re.search(r"step (\d+)", str(stopped.value))[1])
    assert len(train(step + 100).runs) == 2


@pytest.mark.parametrize("several", [{"processes.num_processes": 2}, {"processes.num_hosts": 2}])
def test_processes_that_train_together_do_not_train_apart(several):
    with pytest.raises(ValueError, match="num_methods_at_once"):
        parameters(**{"processes.num_methods_at_once": 2}, **several)


def test_a_single_method_needs_no_worker(world, tmp_path):
    job = open_job(
        world,
        tmp_path,
        **{"processes.num_methods_at_once": 2},
        method="reconstruction",
        baselines=[],
    )
    jobs.train_adapters(job, fixed_projector(world))
    assert not (tmp_path / JOB).exists()
