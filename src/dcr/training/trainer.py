"""The training loop, shared by both stages and all methods."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from dcr.finite import require_finite
from dcr.models.backbones import transformer_blocks
from dcr.training.batches import Batch
from dcr.training.checkpoints import Checkpoints, Progress
from dcr.training.cost import Plan, fits_whole, measure, plan
from dcr.training.data import iterate_batches
from dcr.training.distributed.processes import alone
from dcr.training.distributed.sharding import local_shard, shard
from dcr.training.guards import IgnoredCondition, check_end, check_sizes, count_skipped
from dcr.training.mixture import Source
from dcr.training.runs import RunResult
from dcr.training.samples import Collated, Samples
from dcr.training.source_columns import of_sources
from dcr.training.state import restore_state, training_state
from dcr.training.step import MicroStep
from dcr.training.stopping import JOB, STOP_FILE, Stopped, StopRequest
from dcr.training.update import Update

if TYPE_CHECKING:
    from dcr.training.monitoring.monitor import Monitor

_log = logging.getLogger(__name__)


class Trainer:
    """Trains what in the model requires a gradient, for ``run.max_train_steps`` optimizer steps.

    Args:
        micro_step: computes gradients of the model that is trained; frozen parts carry no optimizer
            state.
        open_samples: returns the samples, called where there is a step to take.
        sources: of the samples to train on.
        validate: returns the noise error on a fixed held-out set, called every
            ``held_out.every_steps``.
        checkpoints: where to go on from and to save; None keeps nothing.
        watch: opens what shows the run, given the parameters that train by name. It comes from
            outside, so that what a person sees is no part of what a checkpoint depends on.

    Raises:
        UserError: there are fewer samples, or of a source, than one step needs.
    """

    def __init__(
        self,
        micro_step: MicroStep,
        open_samples: Callable[[], Samples],
        sources: list[Source],
        validate: Callable[[], float],
        checkpoints: Checkpoints | None,
        watch: Callable[[dict[str, nn.Parameter]], Monitor],
    ) -> None:
        self.run = run = micro_step.run
        self.processes = micro_step.processes
        gathered = self.processes.count if micro_step.contrast.gathers else 1
        columns = run.stage.train_batch_size * gathered
        check_sizes(run, self.processes.count, sources, columns)
        self.micro_step = micro_step
        self.model = micro_step.model
        self.scaler = micro_step.precision.scaler
        self.open_samples = open_samples
        self.sources = sources
        self.validate = validate
        self.checkpoints = checkpoints
        self._cost = None
        if run.is_sharded and self.processes.count > 1:
            # While the weights are whole.
            self._cost = measure(micro_step, self.model.backbone.image_size)
            shard(self.model, transformer_blocks(self.model.tower), self.processes)
        self.trainable = self.model.trainable()
        self.update = Update(run, self.processes, self.trainable, self.scaler)
        self.monitor = watch(self.trainable)
        self._is_of_another = False
        watched = run.objective == "dcr" and micro_step.is_plain_contrast
        num_views = run.parameters.batches.num_views
        self._ignored_condition = (
            IgnoredCondition(run.name, columns, num_views) if watched else None
        )

    def fit(self) -> RunResult:
        """Train from the newest checkpoint that fits, or from the start, to the last step.

        Raises:
            Stopped: SIGTERM or SIGHUP came; the state is saved.
            UserError: ``max_skipped_steps`` steps in a row gave no finite loss and gradient, or the
                last ones did, or a weight is not finite; no checkpoint is left of that.
        """
        progress = self.resume()
        self.update.num_skipped_in_a_row = count_skipped(progress.rows)
        if progress.step == self.run.max_train_steps:
            self._check_end(progress)
            if self._is_of_another:
                self._save(progress)
        else:
            self.model.train()
            # What is prepared for all steps, before a request to stop waits for the end of one.
            batches = self.monitor.waiting(self.batches(progress))
            planned = self._make_plan(progress)
            if self.run.parameters.compile:
                self.micro_step.compile_blocks()
            with StopRequest(self._stop_file) as stop, closing(self.monitor):
                self.monitor.start(progress)
                self._loop(progress, batches, stop, planned.rows_per_chunk)
        self.model.eval()
        return RunResult.of(progress, self.trainable)

    def _make_plan(self, progress: Progress) -> Plan:
        """Find what a step costs, how many rows fit and whether the tower's blocks do; tell it."""
        step, size = self.micro_step, self.model.backbone.image_size
        own = {name: local_shard(parameter) for name, parameter in self.trainable.items()}
        planned = plan(step, self._cost or measure(step, size), own)
        if step.may_recompute_tower and not fits_whole(step, planned):
            step.recompute_tower()
            planned = plan(step, measure(step, size), own)
        self.monitor.tell_plan(planned, progress)
        return planned

    def _loop(
        self, progress: Progress, batches: Iterator[Collated], stop: StopRequest, rows: int
    ) -> None:
        run = self.run
        before = progress.seconds
        started = time.perf_counter()
        for step in range(progress.step + 1, run.max_train_steps + 1):
            row, seen = self.optimizer_step(step, batches, rows)
            *values, stops = self.processes.mean([*row.values(), float(stop.requested)])
            means = dict(zip(row, values, strict=True))
            row = of_sources(means, len(seen) * self.processes.count)
            self.update(row, [key for batch in seen for key in batch.keys], progress)
            # The row's own values are of the whole batch, so they go before the diagnostics'.
            row = self.monitor.diagnose(step, seen[-1], rows) | row
            last = step == run.max_train_steps
            asked = self.processes.is_first or run.is_sharded
            if asked and (last or step % run.parameters.held_out.every_steps == 0):
                row["validation_loss"] = self.validate()
            if self._ignored_condition and self.processes.is_first:
                self._ignored_condition.watch(row["loss"])
            progress.step = step
            progress.num_samples += run.samples_a_step(self.processes.count)
            progress.rows.append({"step": step, **row})
            progress.seconds = before + time.perf_counter() - started
            self.monitor.show(row, progress)
            if last:
                self._check_end(progress)
            if stops or last or (self.checkpoints and step % self.checkpoints.every_steps == 0):
                self._save(progress)
            if stops:
                if self.checkpoints:
                    self.checkpoints.finish()
                # one that ends takes the others with it, and the first may still be writing
                self.processes.barrier()
                raise Stopped(
                    f"{run.name}: stopped at step {step}; {self._saved}the same command goes on"
                    " from there"
                )

    def optimizer_step(
        self, step: int, batches: Iterator[Collated], rows_per_chunk: int
    ) -> tuple[dict[str, float], list[Batch]]:
        """Leave the gradients of ``step`` in the model, ``rows_per_chunk`` rows held at once.

        Returns: its losses, and those of the next ``batches`` that gave them, by micro-step.
        """
        sums: dict[str, float] = {}
        seen: list[Batch] = []
        count = self.run.stage.gradient_accumulation_steps
        for number in range((step - 1) * count, step * count):
            parts, batch = self.micro_step(next(batches), number, rows_per_chunk)
            sums = {name: sums.get(name, 0.0) + value / count for name, value in parts.items()}
            seen.append(batch)
        return sums, seen

    def _check_end(self, progress: Progress) -> None:
        check_end(self.run.name, progress.rows, self.scaler.is_enabled())
        own = {name: local_shard(parameter) for name, parameter in self.trainable.items()}
        self._require_finite(own)

    def _require_finite(self, tensors: dict[str, torch.Tensor]) -> None:
        advice = "lower the learning rate, or train in float32 (mixed_precision: no)"
        require_finite(tensors, f"{self.run.name}: what was trained", advice)

    def batches(self, progress: Progress) -> Iterator[Collated]:
        """Yield this process's batches of all micro-steps that follow ``progress``."""
        run = self.run
        count = run.stage.gradient_accumulation_steps
        steps = range(progress.step * count, run.max_train_steps * count)
        return iterate_batches(
            self.open_samples(),
            self.sources,
            run.stage.train_batch_size,
            run.seed,
            steps,
            run.parameters.execution.num_workers,
            alone() if run.parameters.takes("sampling") else self.processes,
            progress.num_samples,
        )

    def resume(self) -> Progress:
        """Return the newest fitting checkpoint's progress, put in place, or a new run's."""
        kept = self.checkpoints
        path = self.processes.broadcast(
            kept.find(self.run.max_train_steps) if kept and self.processes.is_first else None
        )
        if kept is None or path is None:
            return Progress(step=0, num_samples=0, seconds=0.0, scaler={}, num_skipped=0, rows=[])
        self._is_of_another = path.parent != kept.folder
        tensors, progress = kept.load(path)
        restore_state(self.trainable, self.update.optimizer, tensors)
        if progress.scaler:
            self.scaler.load_state_dict(progress.scaler)
        finished = progress.step == self.run.max_train_steps
        words = "is finished, taken from" if finished else "goes on from"
        _log.info("%s %s %s.", self.run.name, words, path)
        return progress

    def _save(self, progress: Progress) -> None:
        if not self.checkpoints:
            return
        tensors = training_state(
            self.trainable, self.update.optimizer, keep=self.processes.is_first
        )
        if self.processes.is_first:
            self._require_finite(tensors)
            progress.scaler = self.scaler.state_dict()
            self.checkpoints.save(tensors, progress)

    @property
    def _stop_file(self) -> Path | None:
        """Where the node asks its workers to stop."""
        if self.checkpoints is None or not self.processes.is_worker:
            return None
        return self.checkpoints.folder.parent / JOB / STOP_FILE

    @property
    def _saved(self) -> str:
        return f"it is saved in {self.checkpoints.folder} and " if self.checkpoints else ""
