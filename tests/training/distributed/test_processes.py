"""Several processes: samples shared out, gradients as if one process had the whole batch,
failures told.
"""

import json
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from itertools import chain, product

import psutil
import pytest
import torch
from torch import multiprocessing

from dcr.errors import UserError
from dcr.training import jobs
from dcr.training.batches import Batch
from dcr.training.contrast import Contrast
from dcr.training.data import StepSampler
from dcr.training.distributed import launcher
from dcr.training.distributed.failures import raise_first
from dcr.training.distributed.processes import Processes, alone, join, stand_apart
from dcr.training.mixture import Source
from dcr.training.objectives import OBJECTIVES
from dcr.training.stopping import JOB, Stopped
from tiny_conditions import step_of
from tiny_conditions import weights as paper_weights
from training_cuts import once
from training_world import fork_server, open_job, parameters, write_world

WIDTH, BATCH = 6, 6
OFFSETS = torch.tensor([[1, 5, 3], [2, 4, 1], [5, 1, 2], [3, 2, 4], [4, 1, 5], [1, 2, 3]])
ROWS = [(2, 2), (1, 3), (3, 2)]  # of each rank, of its three
CASES = {**{method: (method, None) for method in OBJECTIVES}, "sampled negatives": ("dcr", 3)}


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match=r"num_processes is more than the 2 GPU\(s\) of this host"):
        join()


def test_workers_share_the_memory_of_their_host_however_they_train(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    cpu = torch.device("cpu")
    assert stand_apart("cpu").num_on_host == 2
    assert Processes(5, 8, cpu, is_worker=True).num_on_host == 2  # of four hosts
    assert alone().num_on_host == 1


def test_a_recipe_for_the_cpu_trains_there_though_there_are_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    backends = []
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, **_: backends.append(backend)
    )
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert join("cpu").device == torch.device("cpu")
    assert backends == ["gloo"]
    assert stand_apart("cpu").device == torch.device("cpu")
    assert alone(torch.device("cpu")).device == torch.device("cpu")


def test_one_process_trains_where_the_models_are_if_that_is_cuda():
    assert alone(torch.device("cuda", 1)).device == torch.device("cuda", 1)
    assert alone(torch.device("mps")).device == torch.device("cpu")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_one_order_without_overlap(count):
    """Whatever their number, all see the same samples in the same global order, each sample
    once an epoch.
    """
    size, samples = 6 // count, 12
    shares = [
        list(StepSampler([Source(range(samples))], size, 3, range(4), rank, count))
        for rank in range(count)
    ]
    assert {len(share) for share in shares} == {4}
    in_order = list(chain(*(chain(*step) for step in zip(*shares, strict=True))))
    assert in_order == list(chain(*StepSampler([Source(range(samples))], 6, 3, range(4))))
    assert sorted(in_order[:samples]) == [(position, 0) for position in range(samples)]


def test_another_number_of_processes_goes_on_where_the_order_was_left():
    whole = list(chain(*StepSampler([Source(range(20))], 4, 0, range(10))))
    first = list(chain(*StepSampler([Source(range(20))], 4, 0, range(3))))
    shares = [
        list(StepSampler([Source(range(20))], 4, 0, range(3, 5), rank, 2, first_place=12))
        for rank in range(2)
    ]
    assert (
        first + list(chain(*(chain(*step) for step in zip(*shares, strict=True))))
        == whole[: 12 + 2 * 8]
    )


def tiny_model():
    torch.manual_seed(0)
    tower = torch.nn.Linear(3 * 4 * 4, 8).double()
    projector = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(8, WIDTH)).double()
    mixing = torch.nn.Conv2d(4 + WIDTH, 4, 3, padding=1).double().requires_grad_(False)

    def encode(pixels):
        features = tower(pixels.flatten(1))
        return features, projector(features)

    def predict(noisy, timesteps, projections):
        planes = projections[..., None, None].expand(*projections.shape, *noisy.shape[2:])
        noisy = noisy[:, None].expand(-1, projections.shape[1], -1, -1, -1)
        return torch.tanh(mixing(torch.cat([noisy, planes], dim=2).flatten(0, 1))).unflatten(
            0, planes.shape[:2]
        )

    return [*tower.parameters(), *projector.parameters()], encode, predict


def whole_batch():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.rand(BATCH, *shape, generator=generator, dtype=torch.float64)

    return Batch(
        list("abcdef"),
        draw(3, 4, 4),
        draw(3, 4, 4),
        draw(4, 2, 2),
        draw(4, 2, 2),
        torch.zeros(BATCH),
    )


def gradients(case, processes, rows_per_chunk=2):
    """Return the mean gradient over the processes, each with its share of one batch."""
    method, num_negatives = CASES[case]
    weights, encode, predict = tiny_model()
    whole, own = whole_batch(), processes.local_slice(BATCH // processes.count)
    shared = {
        name: value[own]
        for name, value in vars(whole).items()
        if isinstance(value, list | torch.Tensor)
    }
    batch = Batch(**shared)
    batch.negatives = None if num_negatives is None else OFFSETS[own, :num_negatives]
    loss = paper_weights(contrast_weight=0.3, reconstruction_weight=0.7)
    contrast = Contrast(gathers=True)
    step_of(method, encode, predict, batch, loss, contrast, processes, rows_per_chunk)
    processes.mean_gradients(weights)
    return torch.cat([weight.grad.flatten() for weight in weights])


def gradients_of_a_rank(rank, count, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    processes = Processes(rank, count, torch.device("cpu"))
    found = {
        f"{case}, {rows} rows": gradients(case, processes, rows[rank])
        for case in CASES
        for rows in ROWS
    }
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_with_gathered_negatives_have_the_gradients_of_one(tmp_path):
    """However many rows each of them holds at once: as many as fit beside others differ."""
    fork_server()
    multiprocessing.start_processes(
        gradients_of_a_rank, (2, tmp_path), nprocs=2, start_method="forkserver"
    )
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for case in CASES:
        expected = gradients(case, alone())
        for rank, rows in product(ranks, ROWS):
            found = rank[f"{case}, {rows} rows"]
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), (case, rows)


def fail(folder, rank, kind, time, message="it broke"):
    failure = {
        "rank": rank,
        "time": time,
        "kind": kind,
        "message": message,
        "traceback": f"Traceback of {message}",
    }
    (folder / f"rank-{rank}.json").write_text(json.dumps(failure))


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("user", UserError, "^it broke$"),
        ("stopped", Stopped, "^it broke$"),
        ("crash", RuntimeError, "rank 1 failed"),
    ],
)
def test_the_first_failure_becomes_the_nodes(tmp_path, kind, error, message):
    fail(tmp_path, 0, "crash", 2.0, "connection closed by peer")
    fail(tmp_path, 1, kind, 1.0)
    with pytest.raises(error, match=message):
        raise_first(tmp_path, 1, stopped=False)


def test_workers_that_vanish_are_no_success(tmp_path):
    with pytest.raises(UserError, match=r"ended from outside \(exit code -9\)"):
        raise_first(tmp_path, -9, stopped=False)


def test_workers_that_have_ended_well_are_no_failure(tmp_path):
    raise_first(tmp_path, 0, stopped=False)
    # It was asked after the last step.
    with pytest.raises(Stopped, match="the same command goes on from there"):
        raise_first(tmp_path, 0, stopped=True)


def test_several_hosts_meet_at_the_endpoint(tmp_path):
    many = parameters(
        **{
            "processes.num_processes": 8,
            "processes.num_hosts": 2,
            "processes.rendezvous_endpoint": "head:29400",
        }
    )
    command = launcher.worker_command(many, 8, tmp_path / "config.json", "a1b2")
    assert command[:3] == [sys.executable, "-m", "dcr.training.distributed.agent"]
    text = " ".join(command)
    for part in (
        "--nnodes 2",
        "--nproc-per-node 8",
        "--rdzv-id a1b2",
        "--rdzv-endpoint head:29400",
        "-m dcr.training.distributed.worker",
    ):
        assert part in text


def test_workers_share_the_cores_that_this_process_may_use(monkeypatch):
    """A scheduler gives fewer than the machine has."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert launcher.worker_environment(1)["OMP_NUM_THREADS"] == "1"
    finally:
        os.sched_setaffinity(0, cores)


def ask_the_node():
    os.kill(os.getpid(), signal.SIGTERM)


def close_the_terminal():
    """Send what all processes of a terminal get, as the node and what starts its workers are."""
    signal.raise_signal(signal.SIGHUP)
    for child in psutil.Process().children():
        if "dcr.training.distributed.agent" in child.cmdline():
            child.send_signal(signal.SIGHUP)


class OtherHost(logging.Handler):
    """Runs on this machine, in the same moment, the command that the log names for the other
    hosts.
    """

    process = None

    def emit(self, record):
        _, found, command = record.getMessage().partition(
            "on each of the other hosts run, in this project's folder: python "
        )
        if found:
            full = [sys.executable, *shlex.split(command)]
            self.process = subprocess.Popen(full, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("endpoint", ["head", "head:", ":29400", "head:port", "a head:1"])
def test_an_endpoint_without_host_or_port_is_refused(endpoint):
    with pytest.raises(ValueError, match="rendezvous_endpoint"):
        parameters(**{"processes.rendezvous_endpoint": endpoint})


@pytest.mark.slow
class TestWorkers:
    """Through torch.distributed.run, as the node starts them."""

    @pytest.fixture(scope="class")
    def world(self, tmp_path_factory):
        return write_world(tmp_path_factory.mktemp("world"))

    @pytest.fixture(scope="class")
    def alone(self, world, tmp_path_factory):
        """The projector of one process with a batch of 4."""
        return self.train(
            world, tmp_path_factory.mktemp("alone"), **{"stage1.train_batch_size": 4}
        )[0]

    @pytest.fixture(autouse=True)
    def sources(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    @pytest.fixture
    def other_host(self, monkeypatch):
        handler, logger = OtherHost(), logging.getLogger("dcr.training.distributed.launcher")
        logger.addHandler(handler)
        monkeypatch.setattr(logger, "level", logging.INFO)
        yield handler
        logger.removeHandler(handler)
        if handler.process:
            handler.process.kill()

    def train(self, world, folder, **changes):
        return jobs.train_projector(open_job(world, folder, **changes))

    def two_hosts(self):
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        return {"processes.num_hosts": 2, "processes.rendezvous_endpoint": f"localhost:{port}"}

    def assert_same_as(self, alone, projector, result):
        assert list(result.losses["step"]) == [1, 2, 3, 4, 5, 6]
        for name in alone:
            assert torch.allclose(alone[name], projector[name], atol=1e-5), name

    def test_two_processes_train_as_one_with_twice_the_batch(self, world, tmp_path, alone):
        projector, _, result = self.train(
            world, tmp_path, **{"stage1.train_batch_size": 2, "processes.num_processes": 2}
        )
        self.assert_same_as(alone, projector, result)

    def test_two_hosts_train_as_one_with_twice_the_batch(self, world, tmp_path, alone, other_host):
        projector, _, result = self.train(
            world, tmp_path, **{"stage1.train_batch_size": 2}, **self.two_hosts()
        )
        self.assert_same_as(alone, projector, result)
        assert other_host.process.wait() == 0

    def test_a_mistake_of_the_user_is_one_sentence_on_every_host(
        self, world, tmp_path, other_host, capfd
    ):
        sentence = (
            r"stage1: \d+ samples to train on are fewer than train_batch_size 50 on 2 process"
        )
        with pytest.raises(UserError, match=f"^{sentence}"):
            self.train(world, tmp_path, **{"stage1.train_batch_size": 50}, **self.two_hosts())
        assert other_host.process.wait() == 1
        said = other_host.process.stderr.read() + capfd.readouterr().err
        assert "Traceback" not in said
        # The node's own host says it by its exception.
        assert len(re.findall(f"Error: {sentence}", said)) == 1

    def test_a_failing_rank_ends_the_node_with_its_own_sentence(self, world, tmp_path, capfd):
        (tmp_path / "stage1").write_text("a file where the first rank must save")
        with pytest.raises(
            UserError, match=r"stage1: there is a file where a folder is needed; move it away"
        ):
            self.train(world, tmp_path, **{"processes.num_processes": 2})
        assert (tmp_path / JOB / "rank-0.json").is_file()
        assert "Traceback" not in capfd.readouterr().err

    def test_workers_do_not_outlive_a_killed_node(self, world, tmp_path):
        node = fork_server().Process(target=train_without_end, args=(world, tmp_path))
        node.start()
        started = []

        def kill():
            started.extend(psutil.Process(node.pid).children(recursive=True))
            node.kill()

        with once(tmp_path / "stage1", kill):
            node.join()
        assert node.exitcode == -signal.SIGKILL
        assert len(started) == 3  # two workers and what started them
        assert psutil.wait_procs(started, timeout=30)[1] == []

    @pytest.mark.parametrize("ask", [ask_the_node, close_the_terminal])
    def test_sigterm_reaches_the_workers_which_save_and_end(self, world, tmp_path, ask):
        """The node is asked to stop once a first checkpoint is there; the workers finish their
        step.
        """
        with (
            once(tmp_path / "stage1", ask),
            pytest.raises(
                Stopped, match=r"stopped at step \d+; it is saved in .*same command goes on"
            ) as stopped,
        ):
            self.train(
                world, tmp_path, **{"processes.num_processes": 2, "stage1.max_train_steps": 100_000}
            )
        step = int(re.search(r"step (\d+)", str(stopped.value))[1])
        assert (tmp_path / f"stage1/checkpoint-{step}").is_dir()
        _, _, result = self.train(
            world, tmp_path, **{"processes.num_processes": 2, "stage1.max_train_steps": step + 2}
        )
        assert list(result.losses["step"]) == list(range(1, step + 3))

    def test_a_run_goes_on_in_another_number_of_processes(self, world, tmp_path):
        """It takes up the global order of samples where one process left it; every process
        brings its own batch.
        """
        changes = {"stage1.train_batch_size": 2, "monitoring.report_to": ["dvclive", "tensorboard"]}
        self.train(world, tmp_path, **{"stage1.max_train_steps": 4}, **changes)
        path = str(tmp_path / "stage1" / "checkpoint-4")
        _, _, result = self.train(
            world,
            tmp_path,
            **{"processes.num_processes": 2, "checkpoints.resume_from": path},
            **changes,
        )
        assert list(result.losses["step"]) == [1, 2, 3, 4, 5, 6]
        state = json.loads((tmp_path / "stage1/checkpoint-6/state.json").read_text())
        assert state["num_samples"] == 4 * 2 + 2 * 4
        told = (tmp_path / "stage1/dvclive/plots/metrics/loss.tsv").read_text().splitlines()
        assert [line.split("\t")[0] for line in told] == ["step", "1", "2", "3", "4", "5", "6"]
        # It is the first process's.
        assert len(list((tmp_path / "stage1/tensorboard/stage1").glob("events.*"))) == 1


def train_without_end(world, folder):
    jobs.train_projector(
        open_job(world, folder, **{"processes.num_processes": 2, "stage1.max_train_steps": 100_000})
    )
