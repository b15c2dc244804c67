"""What the user sees of a run: its plan, a progress bar, trackers, diagnostics and pictures. It
changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from dcr.devices import tell_slow_precision
from dcr.files import atomic_path
from dcr.progress import Bar, show_progress
from dcr.training.batches import Batch
from dcr.training.checkpoints import Progress
from dcr.training.data import Collated
from dcr.training.monitoring.diagnostics import diagnose
from dcr.training.monitoring.trackers import Trackers

if TYPE_CHECKING:
    from dcr.training.cost import Plan
    from dcr.training.step import MicroStep

_log = logging.getLogger(__name__)


class Monitor:
    """Shows one run. Only the first process writes; diagnostics are a matter of all.

    Args:
        micro_step: of the run, whose section `monitoring` says what to show, and how often.
        trainable: the parameters that train, by name.
        folder: for trackers and pictures; None writes neither.
        draw: returns a picture of what the model tells the UNet of held-out images, as a PIL image.
    """

    def __init__(
        self,
        micro_step: MicroStep,
        trainable: dict[str, nn.Parameter],
        folder: Path | None,
        draw: Callable[[], Any] | None = None,
    ) -> None:
        self._options = micro_step.run.parameters.monitoring
        self._micro_step = micro_step
        self._trainable = trainable
        self._folder = folder
        self._draw = draw
        self._trackers: Trackers | None = None
        self._bar: Bar[None] | None = None
        self._is_first = micro_step.processes.is_first
        self._waited = 0.0
        self._started = 0.0
        self._first_seen = 0

    def start(self, progress: Progress) -> None:
        """Open the bar and the trackers, at the step that ``progress`` says is done."""
        run = self._micro_step.run
        names = self._options.report_to
        self._bar = show_progress(
            total=run.max_train_steps,
            initial=progress.step,
            desc=run.name,
            unit="step",
            disable=not self._is_first,
        )
        self._started = time.perf_counter()
        self._first_seen = progress.num_samples
        if self._is_first and self._folder and names:
            settings = {"name": run.name, "objective": run.objective, **run.parameters.by_name()}
            self._trackers = Trackers(names, self._folder, run.name, settings, progress.rows)

    def waiting(self, batches: Iterator[Collated]) -> Iterator[Collated]:
        """Pass ``batches`` on and note the time that they took to come."""
        while True:
            asked = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited += time.perf_counter() - asked
            yield batch

    def diagnose(self, step: int, batch: Batch, rows_per_chunk: int) -> dict[str, float]:
        """Return a step's diagnostics where they are due; see
        `dcr.training.monitoring.diagnostics`.

        Args:
            step: optimizer steps done with this one.
            batch: the last that it saw.
            rows_per_chunk: rows of the grid whose graph is held at once.
        """
        every = self._options.diagnostics_every_steps
        if not every or step % every:
            return {}
        return diagnose(self._micro_step, self._trainable, batch, step, rows_per_chunk)

    def show(self, row: dict[str, float], progress: Progress) -> None:
        """Move the bar on, and give the row to the trackers and a picture to the folder.

        Args:
            row: the step's numbers by name.
            progress: with this step done.
        """
        assert self._bar is not None  # `start` opened it
        seconds = time.perf_counter() - self._started
        self._bar.update()
        self._bar.set_postfix(
            loss=f"{row['loss']:.4f}",
            lr=f"{row['learning_rate']:.1e}",
            samples_s=f"{(progress.num_samples - self._first_seen) / seconds:.1f}",
            waiting=f"{self._waited / seconds:.0%}",
        )
        if self._trackers:
            self._trackers.log(row, progress.step)
        every = self._options.images_every_steps
        drawing = (
            self._is_first or self._micro_step.run.is_sharded
        )  # then every process has a part of the model
        if drawing and self._folder and self._draw and every and progress.step % every == 0:
            picture = self._draw()
            if self._is_first:
                with atomic_path(
                    self._folder / "images" / f"step-{progress.step:06d}.png"
                ) as temporary:
                    picture.save(temporary, "PNG")

    def close(self) -> None:
        """Close the bar and the trackers."""
        if self._bar is not None:
            self._bar.close()
        if self._trackers:
            self._trackers.close()


def log_plan(
    micro_step: MicroStep, trainable: dict[str, nn.Parameter], plan: Plan, progress: Progress
) -> None:
    """Tell what the run is about to do and to cost.

    Args:
        micro_step: of the run.
        trainable: the parameters that train, by name.
        plan: what a step costs, on one process.
        progress: the steps that are done.
    """
    tell_slow_precision(
        micro_step.diffusion.device, micro_step.run.parameters.mixed_precision, "training"
    )
    run = micro_step.run
    processes = micro_step.processes
    diffusion = micro_step.diffusion
    modules = (micro_step.model, diffusion.unet, diffusion.vae, diffusion.text_encoder)
    numbers = sum(p.numel() for p in trainable.values())
    total = sum(p.numel() for module in modules for p in module.parameters())
    samples = (
        run.stage.train_batch_size
        * processes.count
        * run.parameters.optimizer.gradient_accumulation_steps
    )
    _log.info(
        "%s: %s trainable and %s frozen parameters; steps %d to %d of %s samples, %s in all; %d"
        " row(s) at once; a step takes about %.1f GFLOP and, beside weights and batch, %.0f MB for"
        " activations, gradients and optimizer, in each of %d process(es).",
        run.name,
        f"{numbers:,}",
        f"{total - numbers:,}",
        progress.step + 1,
        run.max_train_steps,
        samples,
        f"{samples * (run.max_train_steps - progress.step):,}",
        plan.rows_per_chunk,
        plan.step_flops / 1e9,
        plan.step_bytes / 1e6,
        processes.count,
    )
