"""What becomes of a step's gradients: the optimizer takes them, or they are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dcr.errors import UserError
from dcr.training.distributed.sharding import full_tensor
from dcr.training.guards import is_finite_step
from dcr.training.state import build_optimizer, set_learning_rate

if TYPE_CHECKING:
    from dcr.training.checkpoints import Progress
    from dcr.training.distributed.processes import Processes
    from dcr.training.runs import Run


class Update:
    """Takes the optimizer step, or skips it where loss or gradient is not finite.

    Args:
        run: gives rates, clipping, and how many skipped steps in a row end it.
        processes: whose mean the gradients become.
        trainable: the parameters that train, by name.
        scaler: of the losses, in fp16.
    """

    def __init__(
        self,
        run: Run,
        processes: Processes,
        trainable: dict[str, nn.Parameter],
        scaler: torch.amp.GradScaler,
    ) -> None:
        self.optimizer = build_optimizer(trainable, run)
        self.num_skipped_in_a_row = 0
        self._run = run
        self._processes = processes
        self._trainable = trainable
        self._scaler = scaler

    def __call__(self, row: dict[str, float], keys: list[str], progress: Progress) -> None:
        """Use up the gradients that a step left in the model.

        Args:
            row: of the log, with the step's loss; learning rate and norm of the gradient join it.
            keys: of the samples that the step saw, for messages.
            progress: of the run before this step; skipped steps are counted in it.

        Raises:
            UserError: too many steps in a row gave no finite loss and gradient.
        """
        numbers = self._run.parameters.optimizer
        if self._run.shares_gradients:
            self._processes.mean_gradients(self._trainable.values())
        self._scaler.unscale_(self.optimizer)
        clipped = nn.utils.clip_grad_norm_(self._trainable.values(), numbers.max_grad_norm)
        norm = float(full_tensor(clipped))
        row |= {
            "learning_rate": set_learning_rate(self.optimizer, self._run, progress.step + 1),
            "grad_norm": norm,
        }
        finite = is_finite_step(row)
        if finite:
            self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad()
        self.num_skipped_in_a_row = 0 if finite else self.num_skipped_in_a_row + 1
        progress.num_skipped += not finite
        if self.num_skipped_in_a_row >= numbers.max_skipped_steps:
            raise UserError(
                f"{self._run.name}: loss {row['loss']} and gradient norm {norm} in"
                f" {self.num_skipped_in_a_row} steps in a row, the last at step"
                f" {progress.step + 1} with samples {', '.join(keys)}; lower the learning rate, or"
                " train in float32 (mixed_precision: no)"
            )
