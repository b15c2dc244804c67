"""The images that every row of a batch is contrasted with, whichever process they belong to.

Notation: P processes, B batch of one process, R rows, N negatives of a row.
"""

from __future__ import annotations

import torch

from dcr.training.distributed.processes import Processes


class Columns:
    """What every row is contrasted with: this process's images, or those of all processes.

    Args:
        own: features or conditions of this process's images, (B, ...).
        shared: whether the rows are contrasted with the images of all processes.
        processes: that train together.

    Attributes:
        leaf: gathers gradients, (B, ...), or (P * B, ...) where the processes share their images.
        first: place of this process's first image in it.
    """

    def __init__(self, own: torch.Tensor, shared: bool, processes: Processes) -> None:
        self._processes = processes if shared else None
        self._own = processes.local_slice(len(own)) if shared else slice(0, len(own))
        self.leaf = (processes.all_gather(own) if shared else own.detach()).requires_grad_()
        self.first = self._own.start

    def __len__(self) -> int:
        return len(self.leaf)

    def for_every(self, rows: torch.Tensor) -> torch.Tensor:
        """Return all columns for each of ``rows``, places in the batch, (R,), as (R, B, ...)."""
        return self.leaf.expand(len(rows), *self.leaf.shape)

    def others(self, anchors: torch.Tensor, offsets: torch.Tensor | None) -> torch.Tensor:
        """Return the places of each row's negatives, (R, N).

        Args:
            anchors: each row's own place, (R,).
            offsets: of the negatives from it, (R, N) in [1, number of columns); None for all of
                them.
        """
        if offsets is None:
            offsets = torch.arange(1, len(self), device=anchors.device)[None]
        return (anchors[:, None] + offsets) % len(self)

    def own_gradient(self) -> torch.Tensor:
        """Return the gradient of this process's images, summed over processes.

        They are those in whose rows the images stand. Each process's loss is a mean over its own
        rows; the trainer then averages the weights' gradients over the processes, which makes it
        the gradient of the mean over all rows.
        """
        gradient = self.leaf.grad
        assert gradient is not None  # rows were sent back
        if self._processes:
            gradient = self._processes.all_reduce(gradient)
        return gradient[self._own]
