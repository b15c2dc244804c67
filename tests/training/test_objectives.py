"""Each method's gradients, chunk by chunk, against the whole computation written plainly, in float64."""

import pytest
import torch
from torch.nn import functional as F

from dcr import dcr_loss
from dcr.losses.features import feature_infonce
from dcr.training.batches import Batch
from dcr.training.objectives import OBJECTIVES, ObjectiveOptions
from dcr.training.processes import alone

BATCH, WIDTH = 5, 6


class TinyConditions(torch.nn.Module):
    """A tower and a projector small enough for exact arithmetic: pixels -> (features, projections)."""

    def __init__(self):
        super().__init__()
        self.tower = torch.nn.Linear(3 * 4 * 4, 8)
        self.projector = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(8, WIDTH))

    def forward(self, pixels):
        features = self.tower(pixels.flatten(1))
        return features, self.projector(features)


@pytest.fixture
def setting():
    torch.manual_seed(0)
    model = TinyConditions().double()
    mixing = torch.nn.Conv2d(4 + WIDTH, 4, 3, padding=1).double().requires_grad_(False)

    def predict(noisy, timesteps, projections):
        columns = projections.shape[1]
        noisy, timesteps = noisy.repeat_interleave(columns, 0), timesteps.repeat_interleave(columns)
        return predict_flat(noisy, timesteps, projections.flatten(0, 1)).unflatten(0, (-1, columns))

    def predict_flat(noisy, timesteps, projections):
        planes = projections[:, :, None, None].expand(-1, -1, *noisy.shape[2:])
        return torch.tanh(mixing(torch.cat([noisy, planes], dim=1))) * (1 + timesteps[:, None, None, None] / 1000)

    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.rand(BATCH, *shape, generator=generator, dtype=torch.float64)

    batch = Batch(
        keys=[str(i) for i in range(BATCH)],
        pixels=draw(3, 4, 4),
        view_pixels=draw(3, 4, 4),
        noisy_latents=draw(4, 2, 2),
        targets=draw(4, 2, 2),
        timesteps=torch.randint(1000, (BATCH,), generator=generator),
    )
    return model, predict, batch


def whole_dcr(model, predict, batch):
    """The published formulation: the whole B x B grid in one graph."""
    conditions, view_conditions = model(batch.pixels)[1], model(batch.view_pixels)[1]
    grid = torch.stack(
        [
            torch.stack(
                [
                    predict(batch.noisy_latents[[i]], batch.timesteps[[i]], conditions[[k]][None])[0, 0]
                    for k in range(BATCH)
                ]
            )
            for i in range(BATCH)
        ]
    )
    views = predict(batch.noisy_latents, batch.timesteps, view_conditions[:, None])[:, 0]
    return dcr_loss(grid, views, batch.targets, 0.1)


def whole_reconstruction(model, predict, batch):
    conditions = model(batch.pixels)[1][:, None]
    return F.mse_loss(predict(batch.noisy_latents, batch.timesteps, conditions)[:, 0], batch.targets)


def whole_naive(model, predict, batch):
    contrast = feature_infonce(model(batch.pixels)[0], model(batch.view_pixels)[0], 0.1)
    return 0.3 * contrast + 0.7 * whole_reconstruction(model, predict, batch)


@pytest.mark.parametrize("rows_per_chunk", [1, 2, 5])
@pytest.mark.parametrize(
    ("method", "whole"), [("dcr", whole_dcr), ("reconstruction", whole_reconstruction), ("naive", whole_naive)]
)
def test_equals_the_whole_computation(setting, method, whole, rows_per_chunk):
    model, predict, batch = setting
    expected = whole(model, predict, batch)
    expected_gradients = torch.autograd.grad(expected, list(model.parameters()))
    options = ObjectiveOptions(0.1, rows_per_chunk, False, contrast_weight=0.3, reconstruction_weight=0.7)

    parts = OBJECTIVES[method](model, predict, batch, options, lambda loss: loss.backward(), alone())

    assert parts["loss"] == pytest.approx(expected.item(), abs=1e-10)
    for parameter, gradient in zip(model.parameters(), expected_gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-10, rtol=0)


def test_naive_names_its_two_parts(setting):
    options = ObjectiveOptions(0.1, 2, False, contrast_weight=0.3, reconstruction_weight=0.7)
    parts = OBJECTIVES["naive"](*setting[:3], options, lambda loss: loss.backward(), alone())
    assert parts["contrast"] + parts["reconstruction"] == pytest.approx(parts["loss"], abs=1e-12)
