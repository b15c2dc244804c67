"""The refit of the text side against a loop written anew and against the optimum of the whole."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dcr.alignment.contrast import Contrast
from dcr.alignment.text_map import TextMapOptions, fit_text_map
from dcr.seeds import derive_seed, numpy_generator

CPU = torch.device("cpu")
OPTIONS = TextMapOptions(
    seed=4, batch_size=8, learning_rate=1e-2, weight_decay=0.1, steps=20, evaluate_every_steps=6
)  # fmt: skip


def options(**changes):
    return TextMapOptions(**{**OPTIONS.__dict__, **changes})


def pairs(number, seed=0, width=5, noise=0.3):
    """Return unit embeddings of images and captions, the captions' turned by a matrix that is
    the same in all pairs.
    """
    generator = np.random.default_rng(seed)
    turn = np.random.default_rng(99).normal(size=(width, width)) / width**0.5
    images = generator.normal(size=(number, width))
    texts = images @ (np.eye(width) + turn) + noise * generator.normal(size=(number, width))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts)]
    return tuple(rows.astype(np.float32) for rows in unit)


def train_plainly(images, texts, contrast, o):
    """Return the map after every step: AdamW of the map itself, written out, with decay towards
    the identity.
    """
    matrix = torch.eye(images.shape[1], dtype=torch.float64, requires_grad=True)
    first, second, maps = torch.zeros_like(matrix), torch.zeros_like(matrix), []
    order = np.concatenate(
        [
            numpy_generator(derive_seed(o.seed, "text map"), "order", e).permutation(len(images))
            for e in range(20)
        ]
    )
    for step in range(1, o.steps + 1):
        rows = order[(step - 1) * o.batch_size : step * o.batch_size]
        batch = [torch.from_numpy(part[rows]).double() for part in (images, texts)]
        (gradient,) = torch.autograd.grad(contrast(batch[0], batch[1] @ matrix), matrix)
        rate = o.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / o.steps))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        with torch.no_grad():
            matrix -= rate * o.weight_decay * (matrix - torch.eye(len(matrix)))
            matrix -= (
                rate * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            )
        maps.append(matrix.detach().clone())
    return maps


@pytest.mark.parametrize("contrast", [Contrast(5.0), Contrast(5.0, -2.0)], ids=["clip", "siglip"])
def test_the_map_is_that_of_a_loop_written_anew(contrast):
    data, held_out = pairs(42, noise=0.1), pairs(30, seed=1, noise=0.1)
    maps = train_plainly(*data, contrast, OPTIONS)
    matrix, step, losses = fit_text_map(data, held_out, contrast, OPTIONS, CPU)
    assert list(losses) == [0, 6, 12, 18, 20]
    out = [torch.from_numpy(part).double() for part in held_out]
    for number, loss in losses.items():
        map_then = maps[number - 1] if number else torch.eye(5, dtype=torch.float64)
        assert loss == pytest.approx(contrast.held_out(out[0], out[1] @ map_then, 8), rel=1e-4)
    assert step == min(losses, key=losses.get) > 0
    torch.testing.assert_close(matrix.double(), maps[step - 1], atol=1e-4, rtol=1e-3)


def test_all_pairs_at_once_reach_the_optimum():
    """With every pair in every batch the loss comes to where L-BFGS, which takes other steps,
    comes to.
    """
    images, texts = pairs(40)
    contrast = Contrast(3.0)
    whole = options(
        batch_size=40, steps=1500, learning_rate=0.05, weight_decay=0.0, evaluate_every_steps=1500
    )
    matrix, _, losses = fit_text_map((images, texts), (images, texts), contrast, whole, CPU)
    best = torch.eye(5, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([best], max_iter=500, line_search_fn="strong_wolfe")
    i, t = torch.from_numpy(images).double(), torch.from_numpy(texts).double()

    def closure():
        solver.zero_grad()
        loss = contrast(i, t @ best)
        loss.backward()
        return loss

    solver.step(closure)
    optimum = contrast(i, t @ best).item()
    assert contrast(i, t @ matrix.double()).item() == pytest.approx(optimum, abs=1e-3)
    assert optimum < losses[0] - 0.05


def test_where_held_out_pairs_only_lose_nothing_is_changed():
    """Captions in random order teach nothing that holds for other pairs, so step 0 is kept: the
    identity.
    """
    images, texts = pairs(12)
    shuffled = texts[np.random.default_rng(5).permutation(12)]
    matrix, step, losses = fit_text_map(
        (images, shuffled), pairs(60, seed=1), Contrast(10.0), options(steps=60), CPU
    )
    assert step == 0 < len(losses) - 1
    assert torch.equal(matrix, torch.eye(5))


def test_the_same_seed_gives_the_same_bits_and_another_one_other_ones():
    data, held_out = pairs(40), pairs(20, seed=1)
    maps = [
        fit_text_map(data, held_out, Contrast(5.0), options(seed=seed), CPU)[0]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


def test_weight_decay_pulls_towards_the_identity():
    data, held_out = pairs(40), pairs(40, seed=1)
    distances = []
    for decay in (0.0, 20.0):
        matrix, *_ = fit_text_map(data, held_out, Contrast(5.0), options(weight_decay=decay), CPU)
        distances.append((matrix - torch.eye(5)).norm())
    assert 0 < distances[1] < 0.5 * distances[0]


def test_fewer_pairs_than_a_batch_are_one_batch():
    images, texts = pairs(6)
    matrix, *_ = fit_text_map(
        (images, texts), (images, texts), Contrast(5.0), options(batch_size=512), CPU
    )
    mapped = F.normalize(torch.from_numpy(texts) @ matrix, dim=1)
    assert (mapped * torch.from_numpy(images)).sum() > (
        torch.from_numpy(images) * torch.from_numpy(texts)
    ).sum()
