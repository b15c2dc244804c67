"""A host that joins takes part in each job of the first one, and in none that a killed run left."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch

from dcr.training import jobs
from dcr.training.stopping import JOB
from training_world import open_job, parameters, write_world

pytestmark = pytest.mark.slow
JOIN = """
import logging, sys
from pathlib import Path
from dcr.training.distributed.joining import join_jobs
logging.basicConfig(level="INFO")
join_jobs(Path(sys.argv[1]))
"""


@pytest.fixture
def two_hosts():
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    return {"processes.num_hosts": 2, "processes.rendezvous_endpoint": f"localhost:{port}"}


def leave_job(folder, **changes):
    """Leave what a run that was killed leaves."""
    (folder / JOB).mkdir()
    values = parameters(**changes).model_dump(mode="json")
    job = {"id": "killed", "has_projector": False, "parameters": values}
    (folder / JOB / "config.json").write_text(json.dumps(job))


def test_it_trains_both_stages_as_one_process_with_twice_the_batch(
    tmp_path, two_hosts, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    world = write_world(tmp_path / "world")
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    halves = {"stage1.train_batch_size": 2, "stage2.train_batch_size": 2} | two_hosts
    leave_job(together, **halves)
    words = [sys.executable, "-c", JOIN, str(together)]
    other = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        found = [jobs.train_projector(open_job(world, together, **halves))[0]]
        trained = jobs.train_adapters(open_job(world, together, **halves), found[0])
    finally:
        other.send_signal(signal.SIGTERM)
        _, told = other.communicate(timeout=60)
    assert other.returncode == 0
    assert told.count("joins stage 2") == 1
    expected, _, _ = jobs.train_projector(open_job(world, alone))
    for name in expected:
        assert torch.allclose(expected[name], found[0][name], atol=1e-5), name
    assert trained.runs["dcr"].steps == 6
