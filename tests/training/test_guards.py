"""Warnings that explain themselves, and steps without a finite loss."""

import math

import pytest
import torch

from dcr.errors import UserError
from dcr.training.guards import (
    IgnoredCondition,
    check_end,
    check_errors,
    check_sizes,
    count_skipped,
)
from dcr.training.mixture import Source
from training_world import open_job, parameters, run_of, write_world


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
def test_steps_without_a_finite_loss_are_skipped_until_they_are_too_many(
    tmp_path, monkeypatch, num_broken
):
    from dcr.training import jobs
    from dcr.training import step as step_module

    make_batch = step_module.make_batch

    def broken(collated, *args):
        batch = make_batch(collated, *args)
        if args[3] < num_broken:  # the first steps
            batch.targets = batch.targets * float("nan")
        return batch

    monkeypatch.setattr(step_module, "make_batch", broken)
    job = open_job(
        write_world(tmp_path / "world"),
        tmp_path / "checkpoints",
        **{"optimizer.max_skipped_steps": 3},
    )
    if num_broken == 2:
        projector, _, result = jobs.train_projector(job)
        assert result.skipped_steps == 2
        assert all(tensor.isfinite().all() for tensor in projector.values())
    else:
        with pytest.raises(
            UserError, match=r"3 steps in a row, the last at step 3 with samples 0000?\d+, .*lower"
        ):
            jobs.train_projector(job)


NAN, INF = math.nan, math.inf
GOOD = {"loss": 1.0, "grad_norm": 1.0}
NO_LOSS, NO_GRADIENT = GOOD | {"loss": NAN}, GOOD | {"grad_norm": INF}


@pytest.mark.parametrize(
    ("rows", "number"),
    [
        ([GOOD], 0),
        ([NO_LOSS, GOOD], 0),
        ([GOOD, NO_LOSS], 1),
        ([NO_LOSS, GOOD, NO_GRADIENT, NO_LOSS], 2),
        ([], 0),
    ],
)
def test_steps_that_were_not_taken_are_counted_from_the_end(rows, number):
    assert count_skipped(rows) == number


@pytest.mark.parametrize(
    ("rows", "scales"),
    [
        ([NO_LOSS, GOOD], False),
        ([GOOD, NO_GRADIENT], True),
        ([GOOD, GOOD | {"validation_loss": 0.5}], False),
    ],
)
def test_a_run_may_have_skipped_steps_before_its_end_and_one_that_the_scale_cost(rows, scales):
    check_end("dcr", rows, scales)


@pytest.mark.parametrize(
    ("rows", "scales", "words"),
    [
        ([GOOD, NO_LOSS], False, "the last 1 of 2 steps had no finite loss and gradient"),
        ([GOOD, NO_GRADIENT], False, "the last 1 of 2 steps"),
        ([GOOD, NO_LOSS], True, "the last 1 of 2 steps"),
        ([GOOD, NO_GRADIENT, NO_GRADIENT], True, "the last 2 of 3 steps"),
        ([NO_GRADIENT], True, "the last 1 of 1 steps"),
        (
            [GOOD, GOOD | {"validation_loss": INF}],
            False,
            "the error on held-out samples is inf after the last step",
        ),
    ],
)
def test_a_run_that_diverged_at_its_end_is_an_error(rows, scales, words):
    with pytest.raises(
        UserError, match=rf"^dcr: {words}.*lower the learning rate, or train in float32"
    ):
        check_end("dcr", rows, scales)


def test_held_out_errors_are_finite():
    check_errors("stage1", {"after": 0.4})
    with pytest.raises(
        UserError, match=r"stage1: the noise error .* is nan with condition wrong_image"
    ):
        check_errors("stage1", {"after": 0.4, "wrong_image": NAN})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def spoil_steps(monkeypatch, numbers):
    """Let the given micro-steps have targets that are not finite."""
    from dcr.training import step as step_module

    make_batch = step_module.make_batch

    def broken(collated, *args):
        batch = make_batch(collated, *args)
        if args[3] in numbers:
            batch.targets = batch.targets * NAN
        return batch

    monkeypatch.setattr(step_module, "make_batch", broken)


def test_divergence_in_the_last_step_leaves_no_finished_checkpoint(world, tmp_path, monkeypatch):
    """The next run goes on from the last sound one."""
    from dcr.training import jobs

    spoil_steps(monkeypatch, {5})
    with pytest.raises(UserError, match=r"stage1: the last 1 of 6 steps had no finite loss"):
        jobs.train_projector(open_job(world, tmp_path))
    assert sorted(path.name for path in (tmp_path / "stage1").glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    monkeypatch.undo()
    _, _, result = jobs.train_projector(open_job(world, tmp_path))
    assert result.steps == 6
    assert result.skipped_steps == 0


def test_steps_skipped_before_a_cut_count_with_those_after_it(world, tmp_path, monkeypatch):
    from dcr.training import jobs

    spoil_steps(monkeypatch, {2, 3, 4, 5})
    with pytest.raises(UserError, match="the last 2 of 4 steps"):
        jobs.train_projector(open_job(world, tmp_path, **{"stage1.max_train_steps": 4}))
    job = open_job(
        world, tmp_path, **{"optimizer.max_skipped_steps": 4, "checkpoints.every_steps": 1}
    )
    with pytest.raises(UserError, match="in 4 steps in a row, the last at step 6"):
        jobs.train_projector(job)
    job = open_job(
        world, tmp_path, **{"optimizer.max_skipped_steps": 3, "checkpoints.every_steps": 1}
    )
    # It goes on from step 5.
    with pytest.raises(UserError, match=r"in \d steps in a row, the last at step 6"):
        jobs.train_projector(job)


@pytest.mark.parametrize("last", [False, True])
def test_weights_that_are_not_finite_are_in_no_checkpoint(world, tmp_path, monkeypatch, last):
    from dcr.training import jobs
    from dcr.training.update import Update

    update, spoiled_at = Update.__call__, 6 if last else 4

    def overflow(self, row, keys, progress):
        update(self, row, keys, progress)
        if progress.step + 1 == spoiled_at:
            with torch.no_grad():
                self._trainable["projector.3.bias"][0] = INF

    monkeypatch.setattr(Update, "__call__", overflow)
    job = open_job(world, tmp_path)
    words = (
        "held-out samples is"
        if last
        else r"what was trained: .*projector\.3\.bias holds NaN or infinity"
    )
    with pytest.raises(UserError, match=rf"stage1: .*{words}.*lower the learning rate"):
        jobs.train_projector(job)
    assert f"checkpoint-{spoiled_at}" not in {path.name for path in (tmp_path / "stage1").iterdir()}


def test_a_finished_checkpoint_that_is_not_finite_is_no_result(world, tmp_path, monkeypatch):
    """As an earlier version could leave it."""
    from dcr.training import jobs, trainer

    for name in ("check_end", "require_finite"):
        monkeypatch.setattr(trainer, name, lambda *_: None)
    spoil_steps(monkeypatch, {1})
    jobs.train_projector(open_job(world, tmp_path, **{"stage1.max_train_steps": 2}))
    monkeypatch.undo()
    with pytest.raises(UserError, match="stage1: the last 1 of 2 steps"):
        jobs.train_projector(open_job(world, tmp_path, **{"stage1.max_train_steps": 2}))


def sizes(batch_size, num_processes=1, **sources):
    """Check sources of (samples, weight) against a batch."""
    run = run_of(parameters(**{"stage1.train_batch_size": batch_size}), "stage1")
    listed = [Source(range(count), name, weight) for name, (count, weight) in sources.items()]
    check_sizes(run, num_processes, listed, batch_size)


def test_a_batch_is_no_larger_than_the_data():
    sizes(8, shards=(8, 1.0))
    sizes(6, shards=(6, 0.1))  # of which 6.000000000000001 are drawn
    sizes(16, few=(2, 0.1), many=(1000, 0.7))
    with pytest.raises(UserError, match="stage1: 7 samples to train on are fewer than train_batch"):
        sizes(8, shards=(7, 1.0))


@pytest.mark.parametrize(
    ("size", "num_processes", "few", "drawn"),
    [(16, 1, (11, 3.0), "12.0"), (16, 2, (23, 3.0), "24.0"), (10, 1, (4, 1.0), "5.0")],
)
def test_a_batch_draws_no_more_of_a_source_than_it_has(size, num_processes, few, drawn):
    """Else its samples would be their own negatives, however many the other source has."""
    count, weight = few
    with pytest.raises(
        UserError, match=rf"stage1: source few has {count} samples .*{drawn}.* by its weight"
    ):
        sizes(size, num_processes, few=few, many=(1000, 1.0))
    sizes(size, num_processes, few=(count + 1, weight), many=(1000, 1.0))
