"""Checkpoints are copied elsewhere while training goes on, and come back to a machine without."""

import logging
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from dcr.data.remote import Folder
from dcr.errors import UserError
from dcr.training.checkpoints import Checkpoints, Progress
from dcr.training.copies import Copies
from remote_stores import connect_s3
from training_cuts import assert_same
from training_world import open_job, train_both_stages, weights, write_world

TENSORS = {"weight:a": torch.arange(6.0).view(2, 3)}
FINGERPRINT = {"learning_rate": 0.1, "code": "abc"}


@pytest.fixture
def url(tmp_path):
    """A folder elsewhere that is a folder here; S3's is tested at the end."""
    return str(tmp_path / "elsewhere")


def store(folder, url, resume="latest", limit=2, **fingerprint):
    own = FINGERPRINT | fingerprint
    return Checkpoints(folder, own, 1, limit, resume, copies=Copies(url, "dcr", own, limit))


def save(checkpoints, *steps):
    checkpoints.find(100)
    for step in steps:
        checkpoints.save(TENSORS, Progress(step, 4 * step, 0.5, {}, 0, []))
        checkpoints.finish()


def copied(url):
    """Return the steps that are copied, by the run's folder."""
    return {
        run.name.rpartition("-")[0]: sorted(int(p.name.rpartition("-")[2]) for p in run.iterdir())
        for run in Path(url).iterdir()
    }


def test_a_machine_without_checkpoints_goes_on_from_the_newest_copy(tmp_path, url):
    save(store(tmp_path / "here", url), 1, 2, 3)
    there = store(tmp_path / "there", url)
    found = there.find(100)
    assert found == tmp_path / "there" / "checkpoint-3"
    tensors, progress = there.load(found)
    assert torch.equal(tensors["weight:a"], TENSORS["weight:a"])
    assert progress.num_samples == 12
    assert there.find(2).name == "checkpoint-2"  # not beyond the run's last step


def test_what_is_newer_here_is_taken_and_copied(tmp_path, url):
    save(store(tmp_path / "here", url), 1)
    alone = Checkpoints(tmp_path / "here", FINGERPRINT, 1, 2, "latest")
    alone.find(100)
    alone.save(TENSORS, Progress(5, 20, 0.5, {}, 0, []))
    again = store(tmp_path / "here", url)
    assert again.find(100).name == "checkpoint-5"
    again.finish()
    assert copied(url) == {"dcr": [1, 5]}


def test_as_many_copies_are_kept_as_checkpoints(tmp_path, url):
    save(store(tmp_path / "here", url, limit=2), 1, 2, 3, 4)
    assert copied(url) == {"dcr": [3, 4]}
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == ["checkpoint-3", "checkpoint-4"]


def test_runs_of_other_settings_share_the_folder_and_take_nothing_of_each_other(tmp_path, url):
    save(store(tmp_path / "here", url, limit=1), 7)
    other = store(tmp_path / "other", url, limit=1, learning_rate=0.2)
    assert other.find(100) is None
    save(other, 1)
    assert store(tmp_path / "third", url).find(100).name == "checkpoint-7"


def test_a_run_that_starts_anew_looks_for_no_copy(tmp_path, url):
    save(store(tmp_path / "here", url), 3)
    assert store(tmp_path / "there", url, resume="none").find(100) is None


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
def test_a_damaged_copy_is_skipped_and_said(tmp_path, url, caplog, file):
    save(store(tmp_path / "here", url), 1, 2)
    (newest,) = Path(url).glob("*/checkpoint-2")
    data = bytearray((newest / file).read_bytes())
    data[-9] ^= 1
    (newest / file).write_bytes(data)
    assert store(tmp_path / "there", url).find(100).name == "checkpoint-1"
    assert "the copy of" in caplog.text
    assert not (tmp_path / "there" / "checkpoint-2").exists()


def test_a_copy_without_its_sums_is_none(tmp_path, url):
    """As a kill between its files leaves it."""
    save(store(tmp_path / "here", url), 1, 2)
    (sums,) = Path(url).glob("*/checkpoint-2/SHA256SUMS")
    sums.unlink()
    assert store(tmp_path / "there", url).find(100).name == "checkpoint-1"


def test_training_does_not_wait_for_a_copy_and_of_those_that_wait_the_newest_is_made(
    tmp_path, url, monkeypatch
):
    may_go_on, sent = threading.Event(), []
    send = Folder.send

    def slow(self, source, name):
        may_go_on.wait(30)
        sent.append(name.split("/")[1])
        send(self, source, name)

    monkeypatch.setattr(Folder, "send", slow)
    checkpoints = store(tmp_path / "here", url)
    checkpoints.find(100)
    for step in range(1, 6):  # each is saved, and old ones removed, while the first is copied
        checkpoints.save(TENSORS, Progress(step, step, 0.5, {}, 0, []))
    assert sent == []
    may_go_on.set()
    checkpoints.finish()
    assert list(dict.fromkeys(sent)) == ["checkpoint-1", "checkpoint-5"]
    assert store(tmp_path / "there", url).find(100).name == "checkpoint-5"


def test_a_copy_that_fails_is_warned_of_and_training_goes_on(tmp_path, url, caplog):
    checkpoints = store(tmp_path / "here", url)
    checkpoints.find(100)
    Path(url).write_text("a file in the folder's place")
    with caplog.at_level(logging.WARNING):
        checkpoints.save(TENSORS, Progress(1, 1, 0.5, {}, 0, []))
        checkpoints.finish()
    assert "checkpoint-1 is not copied to" in caplog.text
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["checkpoint-1"]


@pytest.mark.parametrize("failing", ["os.link and shutil.copyfile", "Folder.send"])
def test_what_fails_once_is_copied_at_the_end(tmp_path, url, monkeypatch, caplog, failing):
    """A snapshot's failure, as on a full disk, ends no training either."""
    checkpoints = store(tmp_path / "here", url)
    checkpoints.find(100)
    with monkeypatch.context() as broken:
        if failing == "Folder.send":
            broken.setattr(Folder, "send", refuse)
        else:
            broken.setattr("dcr.training.copies.os.link", refuse)
            broken.setattr("dcr.training.copies.shutil.copyfile", refuse)
        checkpoints.save(TENSORS, Progress(1, 1, 0.5, {}, 0, []))
        checkpoints.copies.wait()
    assert "checkpoint-1 is not copied to" in caplog.text
    checkpoints.finish()
    assert copied(url) == {"dcr": [1]}
    assert "has no copy" not in caplog.text
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["checkpoint-1"]


def refuse(*_):
    raise OSError(28, "No space left on device")


def test_what_has_no_copy_at_the_end_is_told(tmp_path, url, monkeypatch, caplog):
    checkpoints = store(tmp_path / "here", url)
    monkeypatch.setattr(Folder, "send", refuse)
    save(checkpoints, 1)
    checkpoints.finish()  # as whatever ends a run does
    assert caplog.text.count("checkpoint-1 has no copy in") == 1
    assert "the next run copies it" in caplog.text


def test_halves_of_copies_leave_once_a_newer_one_is_whole(tmp_path, url):
    """As kills between the files of a copy leave them."""
    save(store(tmp_path / "here", url), 1)
    (own,) = Path(url).iterdir()
    for name in ("checkpoint-2", "checkpoint-9"):
        (own / name).mkdir()
        (own / name / "state.safetensors").touch()
    save(store(tmp_path / "here", url), 3)
    assert copied(url) == {"dcr": [1, 3, 9]}  # of the last, another run may be at work


def test_snapshots_of_killed_processes_leave_though_nothing_is_copied_any_more(tmp_path, url):
    here = tmp_path / "here"
    leave = f"""
import os
from pathlib import Path
from dcr.data.remote import Folder
from dcr.training.copies import Copies
Folder.send = lambda *_: os._exit(3)
copies = Copies({url!r}, "dcr", {{}}, 1)
copies.send(Path({str(here / "checkpoint-1")!r}))
copies.finish()
"""
    save(Checkpoints(here, FINGERPRINT, 1, 2, "latest"), 1)
    killed = subprocess.run([sys.executable, "-c", leave])
    assert killed.returncode == 3
    assert len(list(here.glob(".sending*"))) == 1
    save(Checkpoints(here, FINGERPRINT, 1, 2, "latest"), 2)
    assert sorted(path.name for path in here.iterdir()) == ["checkpoint-1", "checkpoint-2"]


@pytest.mark.parametrize("place", ["~/copies", "file://{}/copies", "{}/copies/"])
def test_a_folder_here_may_be_named_as_paths_are(tmp_path, monkeypatch, place):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    url = place.format(tmp_path)
    save(store(tmp_path / "here", url), 1)
    assert store(tmp_path / "there", url).find(100) == tmp_path / "there" / "checkpoint-1"
    assert copied(tmp_path / "copies") == {"dcr": [1]}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://host/folder", "nothing is written to web servers"),
        ("s3://key:word@bucket/folder", "a login or a query"),
        ("nosuch://folder", "Protocol not known: nosuch"),
    ],
)
def test_what_cannot_be_written_to_is_told_before_training(tmp_path, url, sentence):
    world = write_world(tmp_path / "world")
    with pytest.raises(UserError, match=rf"training\.checkpoints\.sync .*{sentence}"):
        open_job(world, tmp_path / "checkpoints", **{"checkpoints.sync": url})


def test_a_fresh_machine_goes_on_from_s3_to_the_same_weights(
    tmp_path, s3_port, remote_cache, monkeypatch
):
    files = connect_s3(monkeypatch, s3_port)
    files.mkdir("checkpoints-of-a-test")
    world = write_world(tmp_path / "world")
    synced = {"checkpoints.sync": "s3://checkpoints-of-a-test/mine"}
    few = {"stage1.max_train_steps": 2, "stage2.max_train_steps": 2}
    more = {"stage1.max_train_steps": 2, "stage2.max_train_steps": 4}
    train_both_stages(world, tmp_path / "first", **few, **synced)
    assert len(files.glob("checkpoints-of-a-test/mine/*/checkpoint-*/SHA256SUMS")) == 2
    shutil.rmtree(tmp_path / "first")  # this machine is gone
    train_both_stages(world, tmp_path / "fresh", tmp_path / "fresh.st", **more, **synced)
    assert (tmp_path / "fresh" / "stage1" / "checkpoint-2").is_dir()
    train_both_stages(world, tmp_path / "unbroken", tmp_path / "unbroken.st", **more)
    assert_same(weights(tmp_path / "fresh.st"), weights(tmp_path / "unbroken.st"))
