"""A tower, a projector and a UNet small enough for exact arithmetic, in float64."""

from __future__ import annotations

import torch

from dcr.parameters.training.parts import Loss
from dcr.training.batches import Batch
from dcr.training.contrast import Contrast
from dcr.training.distributed.processes import Processes, alone
from dcr.training.objectives import OBJECTIVES

BATCH, WIDTH = 5, 6


def weights(**changes) -> Loss:
    """Return the paper's weights and temperature, with ``changes``."""
    paper = {
        "temperature": 0.1,
        "target_weight": 0.5,
        "reconstruction_share": 0.0,
        "base_embedding_weight": 0.0,
        "pull_to": "base",
        "negatives_gradient": True,
        "contrast_weight": 1.0,
        "reconstruction_weight": 1.0,
    }
    return Loss(**paper | changes)


class TinyConditions(torch.nn.Module):
    """Tower and projector, the same weights every time: pixels -> (features, projections)."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.tower = torch.nn.Linear(3 * 4 * 4, 8)
            self.projector = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(8, WIDTH))
        self.double()

    def forward(self, pixels):
        features = self.tower(pixels.flatten(1))
        return features, self.projector(features)


def tiny_predict():
    """Return a UNet's prediction of every column of every row."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        mixing = torch.nn.Conv2d(4 + WIDTH, 4, 3, padding=1).double().requires_grad_(False)

    def predict(noisy, timesteps, projections):
        columns = projections.shape[1]
        noisy, timesteps = noisy.repeat_interleave(columns, 0), timesteps.repeat_interleave(columns)
        planes = projections.flatten(0, 1)[:, :, None, None].expand(-1, -1, *noisy.shape[2:])
        flat = torch.tanh(mixing(torch.cat([noisy, planes], dim=1))) * (
            1 + timesteps[:, None, None, None] / 1000
        )
        return flat.unflatten(0, (-1, columns))

    return predict


def draw_batch(num_views: int = 1) -> Batch:
    """Return the same random batch every time."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    return Batch(
        keys=[str(i) for i in range(BATCH)],
        pixels=draw(BATCH, 3, 4, 4),
        view_pixels=draw(num_views * BATCH, 3, 4, 4),
        noisy_latents=draw(BATCH, 4, 2, 2),
        targets=draw(BATCH, 4, 2, 2),
        timesteps=torch.randint(1000, (BATCH,), generator=generator),
    )


class Exact:
    """Stands for `dcr.training.precision.Precision`: the model's own precision, and losses as
    they are.
    """

    def encode(self, model, pixels, features=None):
        assert features is None
        return model(pixels)

    def backward(self, loss):
        loss.backward()


def step_of(
    method: str,
    model,
    predict,
    batch: Batch,
    loss: Loss,
    contrast: Contrast = Contrast(),  # noqa: B008 - it is frozen
    processes: Processes | None = None,
    rows_per_chunk: int = 2,
) -> dict[str, float]:
    """Leave an objective's gradients of a batch in the model and return its losses."""
    objective = OBJECTIVES[method](loss, contrast, model, predict, Exact(), processes or alone())
    return objective.step(batch, rows_per_chunk)
