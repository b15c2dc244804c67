"""Contrast of image features: views of a batch to the similarities that a signal takes.

Notation: V views of each of B images, d features.
"""

from __future__ import annotations

import torch

from dcr.losses.infonce import InfoNCE
from dcr.losses.numerics import unit_vectors
from dcr.losses.signal import Layout, Signal


def contrast_features(views: torch.Tensor, signal: Signal) -> torch.Tensor:
    """Return a signal's loss of each anchor over image features.

    Args:
        views: image embeddings before L2 normalisation, (V, B, d), V >= 2.
        signal: says by ``negatives_from`` which similarities it takes.

    Returns:
        Loss per anchor, at least float32: (V * B,), views one after the other, or (B,) for
        ``same_view``.
    """
    return signal(*view_similarities(views, signal.negatives_from))


def view_similarities(views: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cosine similarities of views to positives and negatives.

    Between views of one image they are -inf.

    - ``other_views``: every view is an anchor; its positives are the image's other views,
      (V * B, V - 1), and its negatives the other images in those same views,
      (V * B, (V - 1) * B). With two views these are CLIP's similarities (arXiv 2103.00020) with
      a view in place of the text.
    - ``all_views``: the same positives against the other images in all views, (V * B, V * B), as
      SimCLR has them (arXiv 2002.05709).
    - ``same_view``: every image is an anchor; its positives are all pairs of its views,
      (B, V (V - 1) / 2), and its negatives the other images view by view, (B, V, B).

    Args:
        views: image embeddings before L2 normalisation, (V, B, d), V >= 2.
        layout: which of the three.

    Raises:
        ValueError: there is one view alone.
    """
    if len(views) < 2:
        raise ValueError(f"views must be at least two, got {len(views)}")
    units = [unit_vectors(view) for view in views]
    numbers = range(len(views))
    grid = {(a, b): units[a] @ units[b].T for a in numbers for b in numbers if a <= b}
    grid |= {(b, a): block.T for (a, b), block in grid.items() if a < b}
    own = torch.eye(views.shape[1], dtype=torch.bool, device=views.device)
    negatives = {place: block.masked_fill(own, -torch.inf) for place, block in grid.items()}
    if layout == "same_view":
        pairs = [grid[a, b].diagonal() for a in numbers for b in numbers if a < b]
        return torch.stack(pairs, dim=1), torch.stack([negatives[a, a] for a in numbers], dim=1)
    others = {a: [b for b in numbers if b != a] for a in numbers}
    against = others if layout == "other_views" else dict.fromkeys(numbers, numbers)
    return (
        torch.cat(
            [torch.stack([grid[a, b].diagonal() for b in others[a]], dim=1) for a in numbers]
        ),
        torch.cat([torch.cat([negatives[a, b] for b in against[a]], dim=1) for a in numbers]),
    )


def feature_infonce(
    features: torch.Tensor, view_features: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the symmetric InfoNCE of two views of a batch: CLIP's loss with views for texts.

    Args:
        features, view_features: image embeddings before L2 normalisation, (B, d).
        temperature: tau > 0.

    Returns:
        A scalar, at least float32.
    """
    return contrast_features(torch.stack([features, view_features]), InfoNCE(temperature)).mean()
