"""A job that another one has replaced tells nobody how it failed, and trains nothing."""

import json
import signal

import pytest
from torch.distributed import run
from torch.distributed.elastic.rendezvous import RendezvousError

from dcr.errors import UserError
from dcr.training.distributed import agent, worker
from dcr.training.distributed.failures import NODE_PID, first_failure, leave_failure


@pytest.fixture
def config(tmp_path):
    """That of the job that is current."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"id": "new", "at_once": False}))
    return path


@pytest.mark.parametrize("rank", [0, 1, "agent"])
def test_the_failure_of_a_job_that_was_replaced_is_not_the_next_ones(config, rank):
    leave_failure(config, "killed", rank, UserError("hosts did not meet"))
    assert first_failure(config.parent) is None
    leave_failure(config, "new", rank, UserError("it broke"))
    assert first_failure(config.parent)["message"] == "it broke"


def test_nor_is_it_written_where_there_is_no_job_any_more(config):
    config.unlink()
    leave_failure(config, "killed", 0, UserError("it broke"))
    assert [*config.parent.iterdir()] == []


def meet_nobody(parsed):
    raise RendezvousError("timed out")


@pytest.mark.parametrize(("job_id", "told"), [("killed", ""), ("new", "Error: 2 hosts did not")])
def test_a_host_that_waited_for_a_killed_run_ends_without_a_word(
    config, monkeypatch, capsys, job_id, told
):
    monkeypatch.delenv(NODE_PID, raising=False)
    monkeypatch.setattr(run, "run", meet_nobody)
    words = ["--nnodes", "2", "-m", "dcr.training.distributed.worker", str(config), job_id]
    assert agent.main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith(told) if told else said == ""
    assert (first_failure(config.parent) is None) == (job_id == "killed")


def test_a_worker_of_a_job_that_was_replaced_does_not_train_the_next_one(config, monkeypatch):
    trained = []
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(worker, "end_with_parents", lambda: None)
    monkeypatch.setattr(worker, "train", lambda *job: trained.append(job))
    with pytest.raises(SystemExit):
        worker.main(config, "killed")
    assert trained == []
    assert first_failure(config.parent) is None


@pytest.mark.parametrize(("action", "handled"), [(signal.SIG_IGN, False), (signal.SIG_DFL, True)])
def test_under_nohup_a_closed_terminal_is_nothing_to_the_agent_either(
    config, monkeypatch, action, handled
):
    """torch.distributed.run would handle SIGHUP, and hand it on, though it is ignored."""
    seen = []
    monkeypatch.setattr(run, "run", lambda parsed: seen.append(parsed.signals_to_handle))
    before = signal.signal(signal.SIGHUP, action)
    try:
        agent.main(["--standalone", "-m", "dcr.training.distributed.worker", str(config), "new"])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [("SIGHUP" in names) for names in seen] == [handled]
