"""What the user sees of a run: plan, progress bar, trackers, diagnostics and pictures.

It changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from dcr.devices import tell_slow_precision
from dcr.progress import Bar, show_progress
from dcr.training.batches import Batch
from dcr.training.checkpoints import Progress
from dcr.training.monitoring.diagnostics import diagnose
from dcr.training.monitoring.pictures import (
    draw_reconstructions,
    keep_picture,
    kept_pictures,
)
from dcr.training.monitoring.trackers import Trackers
from dcr.training.samples import Collated

if TYPE_CHECKING:
    from PIL.Image import Image

    from dcr.training.cost import Plan
    from dcr.training.step import MicroStep
    from dcr.training.validation import HeldOutNoise

_PICTURES = "images"
_log = logging.getLogger(__name__)


class Monitor:
    """Shows one run. Only the first process writes; diagnostics are a matter of all.

    Args:
        micro_step: of the run, whose section `monitoring` says what to show, and how often.
        folder: for trackers and pictures; None writes neither.
        held_out: whose first images are drawn as the model tells the UNet of them; None draws none.
        trainable: the parameters that train, by name.
    """

    def __init__(
        self,
        micro_step: MicroStep,
        folder: Path | None,
        held_out: HeldOutNoise | None,
        trainable: dict[str, nn.Parameter],
    ) -> None:
        self._options = micro_step.run.parameters.monitoring
        self._micro_step = micro_step
        self._trainable = trainable
        self._folder = folder
        self._held_out = held_out
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
            pictures = kept_pictures(self._folder / _PICTURES, progress.rows)
            self._trackers = Trackers(
                names, self._folder, run.name, settings, progress.rows, pictures
            )

    def tell_plan(self, plan: Plan, progress: Progress) -> None:
        """Tell what the run is about to do and to cost.

        Args:
            plan: what a step costs, on one process.
            progress: the steps that are done.
        """
        tell_slow_precision(
            self._micro_step.diffusion.device,
            self._micro_step.run.parameters.mixed_precision,
            "training",
        )
        run = self._micro_step.run
        processes = self._micro_step.processes
        diffusion = self._micro_step.diffusion
        modules = (self._micro_step.model, diffusion.unet, diffusion.vae, diffusion.text_encoder)
        numbers = sum(p.numel() for p in self._trainable.values())
        total = sum(p.numel() for module in modules for p in module.parameters())
        samples = (
            run.stage.train_batch_size * processes.count * run.stage.gradient_accumulation_steps
        )
        in_all = samples * (run.max_train_steps - progress.step)
        _log.info(
            f"{run.name}: {numbers:,} trainable and {total - numbers:,} frozen parameters; steps"
            f" {progress.step + 1} to {run.max_train_steps} of {samples} samples, {in_all:,} in"
            f" all; {plan.rows_per_chunk} row(s) at once; a step takes about"
            f" {plan.step_flops / 1e9:.1f} GFLOP and, beside weights and batch,"
            f" {plan.step_bytes / 1e6:.0f} MB for activations, gradients and optimizer, in each of"
            f" {processes.count} process(es)."
        )

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
        """Return a step's diagnostics where they are due.

        See `dcr.training.monitoring.diagnostics`.

        Args:
            step: optimizer steps done with this one.
            batch: the last that it saw.
            rows_per_chunk: rows of the grid whose graph is held at once.
        """
        every = self._options.diagnostics_every_steps
        if not every or step % every:
            return {}
        run = self._micro_step.run
        number = step * run.stage.gradient_accumulation_steps - 1  # that saw it
        return diagnose(self._micro_step, self._trainable, batch, number, rows_per_chunk)

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
        # Of a sharded model every process has a part.
        drawing = self._is_first or self._micro_step.run.is_sharded
        if drawing and self._folder and self._held_out and every and progress.step % every == 0:
            picture = self._draw(self._held_out)
            if self._is_first:
                path = keep_picture(picture, self._folder / _PICTURES, progress.rows[-1])
                if self._trackers:
                    self._trackers.show(path, progress.step)

    def _draw(self, held_out: HeldOutNoise) -> Image:
        return draw_reconstructions(
            self._micro_step.model,
            self._micro_step.diffusion,
            held_out.first_images(self._options.num_images),
            held_out.latent_shape,
            held_out.seed,
            self._options.num_denoising_steps,
            held_out.mask_padding,
        )

    def close(self) -> None:
        """Close the bar and the trackers."""
        if self._bar is not None:
            self._bar.close()
        if self._trackers:
            self._trackers.close()
