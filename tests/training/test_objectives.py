"""Each method's gradients, chunk by chunk, against the whole computation written plainly, in
float64.
"""

import pytest
import torch
from torch.nn import functional as F

from dcr import dcr_loss
from dcr.losses.features import feature_infonce
from tiny_conditions import BATCH, TinyConditions, draw_batch, step_of, tiny_predict, weights


@pytest.fixture
def setting():
    return TinyConditions(), tiny_predict(), draw_batch()


def whole_dcr(model, predict, batch):
    """The published formulation: the whole B x B grid in one graph."""
    conditions, view_conditions = model(batch.pixels)[1], model(batch.view_pixels)[1]
    grid = torch.stack(
        [
            torch.stack(
                [
                    predict(batch.noisy_latents[[i]], batch.timesteps[[i]], conditions[[k]][None])[
                        0, 0
                    ]
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
    return F.mse_loss(
        predict(batch.noisy_latents, batch.timesteps, conditions)[:, 0], batch.targets
    )


def whole_naive(model, predict, batch):
    contrast = feature_infonce(model(batch.pixels)[0], model(batch.view_pixels)[0], 0.1)
    return 0.3 * contrast + 0.7 * whole_reconstruction(model, predict, batch)


@pytest.mark.parametrize("rows_per_chunk", [1, 2, 5])
@pytest.mark.parametrize(
    ("method", "whole"),
    [("dcr", whole_dcr), ("reconstruction", whole_reconstruction), ("naive", whole_naive)],
)
def test_equals_the_whole_computation(setting, method, whole, rows_per_chunk):
    model, predict, batch = setting
    expected = whole(model, predict, batch)
    expected_gradients = torch.autograd.grad(expected, list(model.parameters()))
    options = weights(contrast_weight=0.3, reconstruction_weight=0.7)

    parts = step_of(method, model, predict, batch, options, rows_per_chunk=rows_per_chunk)

    assert parts["loss"] == pytest.approx(expected.item(), abs=1e-10)
    for parameter, gradient in zip(model.parameters(), expected_gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-10, rtol=0)


def test_naive_names_its_two_parts(setting):
    options = weights(contrast_weight=0.3, reconstruction_weight=0.7)
    parts = step_of("naive", *setting[:3], options)
    assert parts["contrast"] + parts["reconstruction"] == pytest.approx(parts["loss"], abs=1e-12)
