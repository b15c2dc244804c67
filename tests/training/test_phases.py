"""Stage 2 in phases: one weight after the other, exact wherever it is cut, and equal work done
once.
"""

import logging
import random
import signal
from typing import ClassVar

import pandas as pd
import pytest
import torch

from dcr.errors import UserError
from dcr.training import jobs, stages, trainer
from dcr.training.monitoring.monitor import Monitor
from dcr.training.work import Work
from training_cuts import assert_same, in_processes
from training_world import fixed_projector, open_job, weights, write_world

REC, DCR = {"objective": "reconstruction"}, {"objective": "dcr"}
TWO = {"two": [REC | {"max_train_steps": 4}, DCR | {"max_train_steps": 3, "learning_rate": 2e-3}]}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def steps(monkeypatch):
    """Optimizer steps that were taken, by the run's name."""
    taken, step = {}, trainer.Trainer.optimizer_step

    def note(self, number, *rest):
        taken[self.run.name] = taken.get(self.run.name, 0) + 1
        return step(self, number, *rest)

    monkeypatch.setattr(trainer.Trainer, "optimizer_step", note)
    return taken


def train(world, folder, method, baselines=(), **changes):
    job = open_job(world, folder, method=method, baselines=list(baselines), **changes)
    return jobs.train_adapters(job, fixed_projector(world))


def assert_not_same(one, other):
    assert one.keys() == other.keys()
    assert any(not torch.equal(one[name], other[name]) for name in one)


class TestOneAfterTheOther:
    def test_each_phase_has_its_run_under_a_name_of_its_own(self, world, tmp_path):
        trained = train(world, tmp_path, "two", phases=TWO)
        assert trained.towers.keys() == {"two"}
        assert {name: list(run.losses["step"]) for name, run in trained.runs.items()} == {
            "two.1": [1, 2, 3, 4],
            "two.2": [1, 2, 3],
        }
        assert set(trained.runs["two.2"].losses["learning_rate"]) == {2e-3}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["two.1", "two.2"]

    def test_a_phase_goes_on_from_the_weights_of_the_one_before(self, world, tmp_path):
        """Against the second phase by itself, from the first one's result, as a job of one
        phase leaves it.
        """
        trained = train(world, tmp_path / "two", "two", phases=TWO)
        first = train(world, tmp_path / "one", "reconstruction", **{"stage2.max_train_steps": 4})
        assert_same(
            trained.towers["two"],
            second_phase(world, tmp_path / "second", first.towers["reconstruction"]),
        )

    def test_a_phase_at_no_rate_leaves_what_it_found(self, world, tmp_path):
        """The adapter is continued, not merged and drawn anew: after a phase that moves nothing
        it is the same.
        """
        still = {"two": [TWO["two"][0], DCR | {"max_train_steps": 1, "learning_rate": 1e-30}]}
        trained = train(world, tmp_path / "two", "two", phases=still)
        assert_same(
            trained.towers["two"],
            train(world, tmp_path, "reconstruction", **{"stage2.max_train_steps": 4}).towers[
                "reconstruction"
            ],
        )

    @pytest.mark.parametrize("tuning", ["full", "last_blocks"])
    def test_weights_that_are_no_adapter_go_on_likewise(self, world, tmp_path, tuning):
        still = {"two": [TWO["two"][0], DCR | {"max_train_steps": 1, "learning_rate": 1e-30}]}
        alone = train(
            world,
            tmp_path / "one",
            "reconstruction",
            **{"stage2.max_train_steps": 4, "tuning.mode": tuning},
        )
        trained = train(world, tmp_path / "two", "two", phases=still, **{"tuning.mode": tuning})
        assert_same(trained.towers["two"], alone.towers["reconstruction"])

    def test_what_a_phase_draws_is_not_what_the_first_one_drew(self, world, tmp_path):
        again = {"two": [REC | {"max_train_steps": 1, "learning_rate": 1e-30}] * 2}
        first, second = train(world, tmp_path, "two", phases=again).runs.values()
        assert first.losses["loss"][0] != second.losses["loss"][0]

    def test_what_does_not_go_together_in_a_later_phase_is_said_before_the_first_trains(
        self, world, tmp_path
    ):
        naive_first = {"two": [{"objective": "naive"}, DCR]}
        with pytest.raises(
            UserError, match=r"training\.signal\.name mochi works on image features"
        ):
            open_job(world, tmp_path, method="two", phases=naive_first, **{"signal.name": "mochi"})


def second_phase(world, folder, start):
    """Return what the second phase of TWO makes of weights, put together from its parts."""
    from dcr.training.contrast import build_contrast
    from dcr.training.runs import method_runs

    job = open_job(world, folder, method="two", phases=TWO)
    run = method_runs(job.parameters, "two")[1]
    work = Work(job.data, run, build_contrast(run), Monitor)
    projector = fixed_projector(world)
    tuning = job.parameters.tuning
    return stages.train_adapter(job.backbone, job.diffusion, projector, work, tuning, start)[0]


class TestPull:
    def phases(self, **second):
        pulled = DCR | {"max_train_steps": 1, "base_embedding_weight": 1.0} | second
        return {"two": [REC | {"max_train_steps": 6, "learning_rate": 0.05}, pulled]}

    def distance(self, world, folder, **changes):
        (row,) = (
            train(world, folder, "two", **{"tuning.lora.dropout": 0.0}, **changes)
            .runs["two.2"]
            .losses.to_dict("records")
        )
        return row["base_distance"]

    def test_to_the_phase_begins_at_nothing_where_to_the_base_it_begins_at_what_was_trained(
        self, world, tmp_path
    ):
        to_base = self.distance(world, tmp_path / "base", phases=self.phases())
        to_phase = self.distance(world, tmp_path / "phase", phases=self.phases(pull_to="phase"))
        assert to_base > 1e-3
        assert abs(to_phase) < 1e-5

    def test_the_recipe_may_say_it_for_all_phases(self, world, tmp_path):
        assert (
            abs(self.distance(world, tmp_path, phases=self.phases(), **{"loss.pull_to": "phase"}))
            < 1e-5
        )

    def test_of_a_first_phase_both_are_the_same(self, world, tmp_path):
        one, other = (
            train(
                world,
                tmp_path / end,
                "dcr",
                **{
                    "loss.base_embedding_weight": 0.5,
                    "loss.pull_to": end,
                    "stage2.max_train_steps": 2,
                },
            )
            for end in ("base", "phase")
        )
        assert_same(one.towers["dcr"], other.towers["dcr"])


class TestCut:
    """By SIGKILL, in processes of their own."""

    PHASES: ClassVar = {
        "dcr": [
            REC | {"max_train_steps": 4, "learning_rate_decay": "cosine"},
            DCR | {"max_train_steps": 4},
        ]
    }

    @pytest.fixture(scope="class")
    def undisturbed(self, world, tmp_path_factory):
        folder = tmp_path_factory.mktemp("undisturbed")
        assert in_processes(
            1,
            world,
            folder,
            folder / "w",
            phases=self.PHASES,
            **{"stage2.learning_rate_decay": "linear"},
        ) == [0]
        return weights(folder / "w")

    def test_in_any_phase_it_goes_on_to_the_same_weights(self, world, undisturbed, tmp_path):
        cuts = [
            ("dcr.1", 1, "update"),
            ("dcr.1", 4, "write"),
            ("dcr.2", 1, "batch"),
            ("dcr.2", 3, "end"),
            None,
        ]
        changes = {"phases": self.PHASES, "stage2.learning_rate_decay": "linear"}
        codes = [in_processes(1, world, tmp_path, tmp_path / "w", cut, **changes) for cut in cuts]
        assert codes == [[-signal.SIGKILL]] * 4 + [[0]]
        assert_same(weights(tmp_path / "w"), undisturbed)

    @pytest.mark.slow
    @pytest.mark.parametrize("count", [1, 2])
    def test_at_every_step_of_every_phase_it_goes_on_to_the_same_weights(
        self, world, tmp_path, count
    ):
        whole, cut, generator = tmp_path / "whole", tmp_path / "cut", random.Random(0)
        for folder in (whole, cut):
            folder.mkdir()
        changes = {
            "phases": self.PHASES,
            "stage2.learning_rate_decay": "linear",
            "stage1.max_train_steps": 1,
            "stage1.train_batch_size": 4 // count,
            "stage2.train_batch_size": 4 // count,
            "batches.gather_negatives": True,
        }
        assert set(in_processes(count, world, whole, whole / "w", **changes)) == {0}
        for run, step in [(f"dcr.{phase}", step) for phase in (1, 2) for step in (1, 2, 3, 4)]:
            place = generator.choice(["batch", "update", "end"] + ["write"] * (step % 2 == 0))
            assert -signal.SIGKILL in in_processes(
                count, world, cut, cut / "w", (run, step, place), **changes
            )
        assert set(in_processes(count, world, cut, cut / "w", **changes)) == {0}
        assert_same(weights(cut / "w"), weights(whole / "w"))

    def test_a_run_with_decay_is_not_continued_by_one_of_more_steps(self, world, tmp_path, steps):
        for number in (2, 4):
            train(
                world,
                tmp_path,
                "dcr",
                **{"stage2.learning_rate_decay": "linear", "stage2.max_train_steps": number},
            )
        assert steps == {"dcr": 2 + 4}


class TestEqualWork:
    def test_of_two_methods_is_done_once(self, world, tmp_path, steps):
        """The recipe of the docs: reconstruction for long, and for a while before dcr, with the
        plain one beside.
        """
        phases = {
            "reconstruction_long": [REC | {"max_train_steps": 7}],
            "dcr": [REC | {"max_train_steps": 4}, DCR | {"max_train_steps": 3}],
        }
        trained = train(
            world,
            tmp_path / "once",
            "reconstruction_long",
            ["dcr", "reconstruction"],
            phases=phases,
        )
        assert steps == {
            "dcr.1": 4,
            "dcr.2": 3,
            "reconstruction": 6 - 4,
            "reconstruction_long": 7 - 6,
        }
        assert list(trained.towers) == ["reconstruction_long", "dcr", "reconstruction"]
        assert {name: run.steps for name, run in trained.runs.items()} == {
            "reconstruction_long": 7, "dcr.1": 4, "dcr.2": 3, "reconstruction": 6,
        }  # fmt: skip
        for method in trained.towers:
            alone = train(world, tmp_path / method, method, phases=phases)
            assert_same(trained.towers[method], alone.towers[method])
            for name, run in alone.runs.items():
                pd.testing.assert_frame_equal(
                    trained.runs[name].losses.drop(columns="validation_loss", errors="ignore"),
                    run.losses.drop(columns="validation_loss", errors="ignore"),
                    check_exact=True,
                )

    def test_of_a_whole_phase_every_method_has_checkpoint_and_losses(
        self, world, tmp_path, steps, caplog
    ):
        caplog.set_level(logging.INFO, "dcr")
        phases = {
            name: [*TWO["two"][:1], DCR | {"max_train_steps": number}]
            for name, number in (("a", 2), ("b", 3))
        }
        trained = train(world, tmp_path, "b", ["a"], phases=phases)
        assert steps == {"a.1": 4, "a.2": 2, "b.2": 1}
        assert f"b.1 is finished, taken from {tmp_path / 'a.1' / 'checkpoint-4'}" in caplog.text
        assert (tmp_path / "b.1/checkpoint-4").is_dir()
        assert trained.runs["a.1"].losses.equals(trained.runs["b.1"].losses)
        # By its own checkpoints, without the other's.
        alone = train(world, tmp_path, "b", phases=phases)
        assert steps == {"a.1": 4, "a.2": 2, "b.2": 1}
        assert_same(alone.towers["b"], trained.towers["b"])

    def test_is_not_taken_where_anything_differs(self, world, tmp_path, steps):
        phases = {
            "a": [REC | {"max_train_steps": 2}],
            "b": [REC | {"max_train_steps": 3, "learning_rate": 2e-3}],
            "c": [REC | {"max_train_steps": 4, "learning_rate_decay": "linear"}],
            "d": [DCR | {"max_train_steps": 5}],
        }
        train(world, tmp_path, "a", ["b", "c", "d"], phases=phases)
        assert steps == {"a": 2, "b": 3, "c": 4, "d": 5}

    def test_is_done_once_also_where_every_run_starts_anew(self, world, tmp_path, steps):
        """Nothing of an earlier command is taken, but what this one has done a moment before."""
        phases = {"long": [REC | {"max_train_steps": 7}]}
        for _ in range(2):
            train(
                world,
                tmp_path,
                "reconstruction",
                ["long"],
                phases=phases,
                **{"checkpoints.resume_from": "none"},
            )
        assert steps == {"reconstruction": 2 * 6, "long": 2 * 1}


class TestSeeds:
    def test_every_method_is_trained_again_from_the_same_projector(self, world, tmp_path):
        changes = {
            "phases": TWO,
            "stage2_seeds": [5],
            "end_to_end_max_train_steps": 2,
            "stage2.max_train_steps": 2,
        }
        trained = train(world, tmp_path / "all", "two", ["naive", "end_to_end"], **changes)
        assert list(trained.towers) == [
            "two",
            "naive",
            "end_to_end",
            "two@5",
            "naive@5",
            "end_to_end@5",
        ]
        assert list(trained.runs) == [
            "two.1", "two.2", "naive", "end_to_end", "two.1@5", "two.2@5", "naive@5", "end_to_end@5"
        ]  # fmt: skip
        for method in ("two", "naive", "end_to_end"):
            assert_not_same(trained.towers[method], trained.towers[f"{method}@5"])
        without = train(
            world,
            tmp_path / "one",
            "two",
            ["naive", "end_to_end"],
            **changes | {"stage2_seeds": []},
        )
        for method, tower in without.towers.items():
            assert_same(tower, trained.towers[method])
        assert_same(trained.projector, fixed_projector(world))

    def test_held_out_noise_is_that_of_the_recipes_seed(self, world, tmp_path):
        """At no learning rate the encoder is the same, so its held-out error is, whatever the
        seed of the run.
        """
        changes = {"stage2.learning_rate": 1e-30, "stage2.max_train_steps": 1, "stage2_seeds": [5]}
        trained = train(world, tmp_path, "reconstruction", **changes)
        one, other = (trained.runs[name].losses for name in ("reconstruction", "reconstruction@5"))
        assert one["validation_loss"][0] == other["validation_loss"][0]
        assert one["loss"][0] != other["loss"][0]

    def test_a_seed_gives_what_it_gives_as_the_recipes_own(self, world, tmp_path):
        again = train(world, tmp_path / "again", "dcr", stage2_seeds=[5]).towers["dcr@5"]
        assert_same(again, train(world, tmp_path / "own", "dcr", seed=5).towers["dcr"])


@pytest.mark.slow
def test_two_worker_processes_train_phases_and_seeds_and_share_them(world, tmp_path, monkeypatch):
    """As the node starts them: the workers share equal work, and the node finds every run's
    final checkpoint.
    """
    import os
    import sys

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    phases = TWO | {"long": [REC | {"max_train_steps": 6}], "same": TWO["two"][:1]}
    changes = {
        "phases": phases,
        "stage2_seeds": [5],
        "stage2.train_batch_size": 2,
        "processes.num_processes": 2,
    }
    trained = train(world, tmp_path, "two", ["long", "same"], **changes)
    assert list(trained.towers) == ["two", "long", "same", "two@5", "long@5", "same@5"]
    assert trained.runs["same"].losses.equals(trained.runs["two.1"].losses)
    assert len(trained.runs["two.2@5"].losses) == 3
    for step in range(4):
        assert (
            trained.runs["long"].losses["loss"][step] == trained.runs["same"].losses["loss"][step]
        )
    again = train(world, tmp_path, "two", ["long", "same"], **changes)
    for encoder, tower in trained.towers.items():
        assert_same(tower, again.towers[encoder])
