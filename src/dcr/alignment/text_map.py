"""The linear map behind the text tower that brings texts to where the images were moved.

Notation: N pairs of an image and its caption, B of a batch, d width of the embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from dcr.alignment.contrast import Contrast
from dcr.progress import show_progress
from dcr.seeds import derive_seed
from dcr.training.data import StepSampler
from dcr.training.mixture import Source

Pairs = tuple[np.ndarray, np.ndarray]
"""Unit embeddings of images and of their captions, (N, d) float32 each."""


@dataclass(frozen=True)
class TextMapOptions:
    """How the map is trained; see conf/base/parameters_alignment.yml."""

    seed: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    steps: int
    evaluate_every_steps: int


def mix_maps(trained: torch.Tensor, closed_form: np.ndarray, share: float) -> torch.Tensor:
    """Return ``share`` of the closed form and the rest of the trained map, (d, d) float32.

    The closed form is brought to the trained map's Frobenius norm: text embeddings are normalised
    behind the map, so its length says nothing.

    Args:
        trained, closed_form: (d, d).
    """
    closed = torch.from_numpy(closed_form).float()
    closed = closed * (trained.norm() / closed.norm())
    mixed: torch.Tensor = (1 - share) * trained + share * closed
    return mixed


def fit_text_map(
    pairs: Pairs, held_out: Pairs, contrast: Contrast, options: TextMapOptions, device: torch.device
) -> tuple[torch.Tensor, int, dict[int, float]]:
    """Train the map by the model's own loss; keep that of the least loss on held-out pairs.

    Trained is what the map adds to the identity, from zero on, so that weight decay pulls towards
    the identity. AdamW, its rate on a half cosine down to 0; a fresh order of the pairs every
    epoch. The map of step 0 is a candidate: where nothing is gained, nothing is changed.

    Args:
        pairs: to train on.
        held_out: M pairs to choose the step by, of which none is trained on.
        contrast: the model's own loss.
        options: of the training; a batch holds all pairs where there are fewer than ``batch_size``.
        device: where the map is trained.

    Returns:
        the map B, (d, d) float32 on the CPU, text embeddings become ``texts @ B``; its step; and
        the held-out loss by step.
    """
    size = min(options.batch_size, len(pairs[0]))
    identity = torch.eye(pairs[0].shape[1], device=device)
    added = torch.zeros_like(identity, requires_grad=True)
    optimizer = torch.optim.AdamW([added], options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * step / options.steps)) / 2
    )
    out_images, out_texts = (torch.from_numpy(np.array(part)).to(device) for part in held_out)
    losses = {0: contrast.held_out(out_images, out_texts, options.batch_size)}
    best = identity.cpu()
    best_step = 0
    sampler = StepSampler(
        [Source(range(len(pairs[0])))],
        size,
        derive_seed(options.seed, "text map"),
        range(options.steps),
    )
    for step, places in enumerate(
        show_progress(sampler, desc="fit text map", unit="step", leave=False), start=1
    ):
        rows = np.array([position for position, _ in places])
        images, texts = (torch.from_numpy(np.array(part[rows])).to(device) for part in pairs)
        optimizer.zero_grad()
        contrast(images, texts @ (identity + added)).backward()
        optimizer.step()
        schedule.step()
        if step % options.evaluate_every_steps and step != options.steps:
            continue
        matrix = identity + added.detach()
        losses[step] = contrast.held_out(out_images, out_texts @ matrix, options.batch_size)
        if losses[step] < losses[best_step]:
            best = matrix.cpu()
            best_step = step
    return best, best_step, losses
