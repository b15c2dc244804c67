"""A run that is cut anywhere goes on exactly; what does not fit is skipped and said."""

import json
import logging
import os
import random
import signal
import subprocess
from multiprocessing import active_children

import pytest
import torch

from dcr.errors import UserError
from dcr.training.checkpoints import Checkpoints, Progress
from dcr.training.stopping import Stopped
from leftovers import left_by_a_dead_process
from training_cuts import assert_same, in_processes
from training_world import fixed_projector, open_job, train_both_stages, weights, write_world

TENSORS = {"weight:a": torch.arange(6.0).view(2, 3), "adamw:step:a": torch.tensor(3.0)}


def progress(step):
    return Progress(
        step,
        4 * step,
        0.5,
        {},
        0,
        [{"step": 1, "loss": 0.1 + 0.2, "validation_loss": float("nan")}],
    )


def store(folder, resume="latest", limit=2, others=(), **fingerprint):
    return Checkpoints(
        folder, {"learning_rate": 0.1, "code": "abc"} | fingerprint, 1, limit, resume, others
    )


def save(folder, *steps, **options):
    checkpoints = store(folder, **options)
    checkpoints.find(max(steps))
    return [checkpoints.save(TENSORS, progress(step)) for step in steps]


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path):
    save(tmp_path, 3)
    checkpoints = store(tmp_path)
    tensors, loaded = checkpoints.load(checkpoints.find(10))
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert repr(loaded) == repr(progress(3))  # floats to the last digit, NaN included


def test_checksums_are_those_of_sha256sum(tmp_path):
    (path,) = save(tmp_path, 1)
    assert sorted(p.name for p in path.iterdir()) == [
        "SHA256SUMS",
        "state.json",
        "state.safetensors",
    ]
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=path,
        check=True,
        capture_output=True,
    )


def test_the_newest_are_kept(tmp_path):
    save(tmp_path, 8, 9, 10, limit=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_is_skipped_and_said(tmp_path, caplog, name, damage):
    older, newer = save(tmp_path, 1, 2)
    file = newer / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-9] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    assert store(tmp_path).find(10) == older
    assert f"{newer} is skipped: it is damaged" in caplog.text


def test_a_checkpoint_of_another_configuration_is_skipped_and_said_and_then_replaced(
    tmp_path, caplog
):
    save(tmp_path, 7, 8)
    other = store(tmp_path, learning_rate=0.2)
    assert other.find(10) is None
    assert (
        "it belongs to another configuration (learning_rate is 0.1 there, 0.2 here)" in caplog.text
    )
    other.save(TENSORS, progress(1))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1"]


def test_a_checkpoint_beyond_the_last_step_is_skipped(tmp_path, caplog):
    first, _ = save(tmp_path, 5, 10)
    assert store(tmp_path).find(6) == first
    assert "it lies beyond the run's 6 steps" in caplog.text


def test_none_starts_anew(tmp_path):
    save(tmp_path, 1)
    assert store(tmp_path, resume="none").find(10) is None


def test_a_path_names_the_checkpoint(tmp_path):
    older, _ = save(tmp_path, 1, 2)
    assert store(tmp_path, resume=str(older)).find(10) == older
    assert store(tmp_path, resume=str(older), code="edited since").find(10) == older
    with pytest.raises(UserError, match=r"learning_rate is 0\.1 there, 0\.2 here"):
        store(tmp_path, resume=str(older), learning_rate=0.2).find(10)


def test_a_path_to_a_damaged_checkpoint_is_an_error(tmp_path):
    (path,) = save(tmp_path, 1)
    (path / "state.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"damaged .state.safetensors does not have its checksum"):
        store(tmp_path, resume=str(path)).find(10)


def test_another_run_of_the_same_fingerprint_serves_as_far_as_it_goes(tmp_path):
    own, other, unlike = tmp_path / "own", tmp_path / "other", tmp_path / "unlike"
    (mine,), theirs = save(own, 3), save(other, 2, 5)
    save(unlike, 6, learning_rate=0.2)
    checkpoints = store(own, others=(unlike, other))
    assert checkpoints.find(10) == theirs[1]
    assert checkpoints.find(4) == mine
    assert checkpoints.find(2) == theirs[0]
    assert store(own).find(10) == mine


def test_what_was_of_another_run_is_kept_there_and_the_own_folder_begins_with_the_next(
    tmp_path, caplog
):
    own, other = tmp_path / "own", tmp_path / "other"
    save(own, 1, 9, learning_rate=0.2)
    save(other, 5)
    checkpoints = store(own, others=(other,))
    assert checkpoints.find(10) == other / "checkpoint-5"
    checkpoints.save(TENSORS, progress(6))
    assert [path.name for path in own.iterdir()] == ["checkpoint-6"]
    assert [path.name for path in other.iterdir()] == ["checkpoint-5"]


def test_a_damaged_checkpoint_of_another_run_does_not_serve(tmp_path):
    older, newer = save(tmp_path / "other", 4, 5)
    (newer / "state.safetensors").write_bytes(b"")
    checkpoints = Checkpoints(
        tmp_path / "own",
        {"learning_rate": 0.1, "code": "abc"},
        1,
        2,
        "latest",
        (tmp_path / "other",),
    )
    assert checkpoints.find(10) == older


def test_leftovers_of_a_killed_write_are_removed(tmp_path):
    left_by_a_dead_process(tmp_path / "checkpoint-3").mkdir()
    save(tmp_path, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-4"]


def test_state_of_another_version_is_no_crash(tmp_path):
    (path,) = save(tmp_path, 1)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"new_field": 1}))
    with pytest.raises(
        UserError,
        match=r"checkpoint-1 was written by another version .*set checkpoints.resume_from",
    ):
        store(tmp_path).load(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """Final weights of a run of both stages that nothing cut."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train_both_stages(world, folder / "checkpoints", folder / "weights.safetensors")
    return weights(folder / "weights.safetensors")


def test_a_killed_run_goes_on_to_the_same_weights(world, undisturbed, tmp_path):
    cuts = [("stage1", 4, "write"), ("dcr", 3, "update"), None]
    codes = [in_processes(1, world, tmp_path, tmp_path / "w.safetensors", cut) for cut in cuts]
    assert codes == [[-signal.SIGKILL]] * 2 + [[0]]
    assert_same(weights(tmp_path / "w.safetensors"), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_ten_kills_at_random_steps_change_no_bit(world, tmp_path, count):
    """Every process is cut at the same step, but at a place of its own choice in it."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    sizes = {
        "stage1.train_batch_size": 4 // count,
        "stage2.train_batch_size": 4 // count,
        "batches.gather_negatives": True,
    }
    sizes |= {"stage1.max_train_steps": 12, "stage2.max_train_steps": 12}
    assert set(in_processes(count, world, whole, whole / "w.safetensors", **sizes)) == {0}

    generator = random.Random(0)
    draws = sorted(generator.sample(range(24), 10))
    for number in draws:
        run, step = ("stage1", number + 1) if number < 12 else ("dcr", number - 11)
        place = generator.choice(["batch", "update", "end"] + ["write"] * (step % 2 == 0))
        codes = in_processes(count, world, cut, cut / "w.safetensors", (run, step, place), **sizes)
        assert -signal.SIGKILL in codes
    assert set(in_processes(count, world, cut, cut / "w.safetensors", **sizes)) == {0}
    assert_same(weights(cut / "w.safetensors"), weights(whole / "w.safetensors"))


@pytest.mark.parametrize(
    ("num_workers", "sent"), [(0, signal.SIGTERM), (1, signal.SIGTERM), (1, signal.SIGHUP)]
)
def test_sigterm_finishes_the_step_saves_it_and_says_so(
    world, undisturbed, tmp_path, monkeypatch, num_workers, sent
):
    """Whoever sends it may send it to all processes of the job, those that read the data among
    them.
    """
    from dcr.training import jobs
    from dcr.training.monitoring import monitor

    show = monitor.Monitor.show
    of_other_tests = set(active_children())

    def strike(self, row, progress):
        show(self, row, progress)
        if progress.step == 3:
            readers = set(active_children()) - of_other_tests
            assert len(readers) == num_workers
            for reader in readers:
                os.kill(reader.pid, sent)
            signal.raise_signal(sent)

    monkeypatch.setattr(monitor.Monitor, "show", strike)
    before = signal.getsignal(sent)
    with pytest.raises(
        Stopped, match=r"stopped at step 4; it is saved in .* the same command goes on"
    ):
        train_both_stages(world, tmp_path / "checkpoints", **{"execution.num_workers": num_workers})
    assert Stopped.exit_code == 143
    assert signal.getsignal(sent) == before
    assert (tmp_path / "checkpoints/stage1/checkpoint-4").is_dir()
    monkeypatch.undo()
    job = open_job(world, tmp_path / "checkpoints")
    projector, _, _ = jobs.train_projector(job)
    assert_same(projector, {name: undisturbed[name] for name in projector})


def test_sigterm_in_the_last_step_ends_what_would_come_after_the_run(
    world, undisturbed, tmp_path, monkeypatch
):
    from dcr.training import jobs, trainer

    take_step = trainer.Trainer.optimizer_step

    def strike(self, step, *rest):
        if step == self.run.max_train_steps:
            signal.raise_signal(signal.SIGTERM)
        return take_step(self, step, *rest)

    monkeypatch.setattr(trainer.Trainer, "optimizer_step", strike)
    with pytest.raises(Stopped, match="stage1: stopped at step 6"):
        jobs.train_projector(open_job(world, tmp_path))
    # It is finished: nothing is trained.
    projector, _, _ = jobs.train_projector(open_job(world, tmp_path))
    assert_same(projector, {name: undisturbed[name] for name in projector})


def test_a_finished_run_is_not_trained_again(world, tmp_path, caplog):
    from dcr.training import jobs

    caplog.set_level(logging.INFO, "dcr")
    projector = fixed_projector(world)
    results = [
        jobs.train_adapters(open_job(world, tmp_path, **{"stage2.max_train_steps": 2}), projector)
        for _ in range(2)
    ]
    assert "dcr is finished, taken from" in caplog.text
    assert_same(*(trained.towers["dcr"] for trained in results))
    first, second = (trained.runs["dcr"] for trained in results)
    assert first.seconds == second.seconds  # nothing was trained
    assert first.losses.equals(second.losses)


def test_a_longer_run_goes_on_from_a_shorter_one(world, undisturbed, tmp_path):
    from dcr.training import jobs

    jobs.train_projector(open_job(world, tmp_path, **{"stage1.max_train_steps": 3}))
    projector, _, result = jobs.train_projector(open_job(world, tmp_path))
    assert list(result.losses["step"]) == [1, 2, 3, 4, 5, 6]
    assert_same(projector, {name: undisturbed[name] for name in projector})


@pytest.mark.parametrize("path", ["nowhere/stage1/checkpoint-5", "."])
def test_a_path_that_is_no_checkpoint_of_the_recipe_is_an_error(world, tmp_path, path):
    with pytest.raises(UserError, match="no such checkpoint of this recipe"):
        open_job(world, tmp_path, **{"checkpoints.resume_from": path})
