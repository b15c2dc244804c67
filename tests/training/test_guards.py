"""Warnings that explain themselves, and steps without a finite loss."""

import math

import pytest

from dcr.errors import UserError
from dcr.training.guards import IgnoredCondition
from training_world import open_job, write_world


def test_a_loss_that_stays_at_log_b_plus_1_is_explained_once(caplog):
    guard = IgnoredCondition("dcr", 15)
    for _ in range(99):
        guard.watch(math.log(16))
    assert caplog.text == ""
    for _ in range(200):
        guard.watch(math.log(16) + 0.001)
    assert caplog.text.count("at log(B + 1) = 2.773 for 100 steps") == 1
    assert "ignore its condition" in caplog.text


def test_the_level_counts_the_views(caplog):
    guard = IgnoredCondition("dcr", 14, num_views=2)
    for _ in range(100):
        guard.watch(math.log(16))
    assert "at log(B + 2) = 2.773" in caplog.text


def test_a_loss_that_only_passes_by_is_not_told(caplog):
    guard = IgnoredCondition("dcr", 15)
    for step in range(500):
        guard.watch(math.log(16) if step % 50 else 2.0)
    assert caplog.text == ""


@pytest.mark.parametrize("num_broken", [2, 3])
def test_steps_without_a_finite_loss_are_skipped_until_they_are_too_many(tmp_path, monkeypatch, num_broken):
    from dcr.training import jobs
    from dcr.training import step as step_module

    make_batch = step_module.make_batch

    def broken(collated, *args):
        batch = make_batch(collated, *args)
        if args[3] < num_broken:  # the first steps
            batch.targets = batch.targets * float("nan")
        return batch

    monkeypatch.setattr(step_module, "make_batch", broken)
    job = open_job(write_world(tmp_path / "world"), tmp_path / "checkpoints", max_skipped_steps=3)
    if num_broken == 2:
        projector, _, result = jobs.train_projector(job)
        assert result.skipped_steps == 2
        assert all(tensor.isfinite().all() for tensor in projector.values())
    else:
        with pytest.raises(UserError, match=r"3 steps in a row, the last at step 3 with samples 0000?\d+, .*lower"):
            jobs.train_projector(job)
