"""What the methods have in common: collaborators, the pull to the base encoder, noise errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from dcr.losses.numerics import at_least_float32
from dcr.training.source_columns import source_column

if TYPE_CHECKING:
    from dcr.parameters.training.parts import Loss
    from dcr.training.batches import Batch
    from dcr.training.contrast import Contrast
    from dcr.training.distributed.processes import Processes
    from dcr.training.precision import Precision
    from dcr.training.unet.predictor import Predict


class Objective(ABC):
    """A method's loss.

    Args:
        loss: its weights and temperature.
        contrast: what anchor, positives and negatives are contrasted by.
        model: pixels (B, 3, H, W) in [0, 1] -> image features (B, d), projections (B, m); whatever
            in it requires a gradient gets one.
        predict: the frozen UNet, see `dcr.training.unet.predictor.Predictor`.
        precision: encodes, and sends losses back.
        processes: that train together.
    """

    def __init__(
        self,
        loss: Loss,
        contrast: Contrast,
        model: nn.Module,
        predict: Predict,
        precision: Precision,
        processes: Processes,
    ) -> None:
        self.loss = loss
        self.contrast = contrast
        self.model = model
        self.predict = predict
        self.precision = precision
        self.processes = processes

    @abstractmethod
    def step(self, batch: Batch, rows_per_chunk: int) -> dict[str, float]:
        """Add the gradients of the loss on a batch to the model's.

        Args:
            batch: what the step sees.
            rows_per_chunk: rows of the grid whose graph is held at once.

        Returns:
            ``loss``, and the parts that it is made of.
        """

    def reconstruct(
        self, batch: Batch, projections: torch.Tensor, rows_per_chunk: int, weight: float
    ) -> list[dict[str, torch.Tensor]]:
        """Send the weighted mean squared error of the noise back into ``projections``, (B, m).

        Args:
            batch: what the step sees.
            projections: of its images, a leaf that gathers the gradient.
            rows_per_chunk: rows of DCR's grid, of B + 1 predictions each, whose graph is held at
                once.
            weight: of this error in the loss.

        Returns:
            Each chunk's share of it, as ``loss``; the chunks are as large as DCR's.
        """
        size = len(projections)
        chunks = []
        for rows in torch.arange(size, device=projections.device).split(
            rows_per_chunk * (size + 1)
        ):
            conditions = projections[rows][:, None]
            predictions = self.predict(
                batch.noisy_latents[rows], batch.timesteps[rows], conditions
            )[:, 0]
            if batch.weights is None:
                error = F.mse_loss(at_least_float32(predictions), batch.targets[rows])
            else:
                error = (
                    noise_errors(predictions, batch.targets[rows]) * batch.weights[rows]
                ).mean()
            loss = weight * error * len(rows) / size
            self.precision.backward(loss)
            own = by_source(
                batch,
                rows,
                {"reconstruction": noise_errors(predictions.detach(), batch.targets[rows])},
            )
            chunks.append({"loss": loss.detach(), **own})
        return chunks

    def pull_to_base(
        self, features: torch.Tensor, batch: Batch
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Send back one minus the cosine of each image's embedding and the base encoder's.

        Args:
            features: of the images, and of views behind them, (B, d) or more rows.
            batch: has the base encoder's features where there is a pull.

        Returns:
            It by name, and its gradient in all ``features``; nothing and None where there is no
            pull.
        """
        if batch.base_features is None:
            return {}, None
        leaf = features.detach().requires_grad_()
        distances = 1 - F.cosine_similarity(leaf[: len(batch.pixels)], batch.base_features)
        loss = self.loss.base_embedding_weight * distances.mean()
        self.precision.backward(loss)
        return {"base_distance": loss.detach()}, leaf.grad


def noise_errors(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error, (R,), of ``predictions``, (R, C, h, w), to ``targets``."""
    return (
        F.mse_loss(at_least_float32(predictions), targets, reduction="none").flatten(1).mean(dim=1)
    )


def by_source(
    batch: Batch, rows: torch.Tensor, values: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return sums over a mixture's sources, by column; nothing of a single one.

    Args:
        batch: what the step sees.
        rows: places in it of the samples that ``values`` are of, (R,).
        values: of each sample, (R,), by name. How many there are is added as ``samples``.

    Returns:
        Scalars, which `dcr.training.source_columns.of_sources` makes means of once they are summed
        over all there is.
    """
    if batch.sources is None or batch.source_names is None:
        return {}
    own = batch.sources[rows]
    ones = torch.ones(len(rows), device=rows.device)
    return {
        source_column(name, source): torch.where(own == number, value.detach(), 0).sum()
        for number, source in enumerate(batch.source_names)
        for name, value in (values | {"samples": ones}).items()
    }


def sum_up(
    chunks: list[dict[str, torch.Tensor]], once: dict[str, torch.Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the sum over the chunks of each scalar, by name, and the scalars that are ``once``.

    It is the one wait for the device in a micro-step.
    """
    scalars = [value for part in (*chunks, once) for value in part.values()]
    values = iter(torch.stack(scalars).tolist())
    rows = [[next(values) for _ in chunk] for chunk in chunks]
    sums = {
        name: sum(column) for name, column in zip(chunks[0], zip(*rows, strict=True), strict=True)
    }
    return sums, dict(zip(once, values, strict=True))


def send_back(*pairs: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    """Send gradients back from the model's outputs, all in one pass.

    Pairs without a gradient are left out.
    """
    outputs, gradients = zip(*(pair for pair in pairs if pair[1] is not None), strict=True)
    torch.autograd.backward(outputs, gradients)
