"""The contrastive half of the naive method: InfoNCE between image features of two views."""

from __future__ import annotations

import torch

from dcr.losses.infonce import infonce
from dcr.losses.numerics import unit_vectors


def feature_infonce(features: torch.Tensor, view_features: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the symmetric InfoNCE of two views of a batch.

    The negatives of image i are the other images' views; and the other way round, as in CLIP's loss
    (arXiv 2103.00020), which this equals with the views in place of the texts.

    Args:
        features, view_features: image embeddings before L2 normalisation, (B, d).
        temperature: tau > 0.

    Returns:
        A scalar, at least float32.
    """
    similarities = unit_vectors(features) @ unit_vectors(view_features).T
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    losses = [
        infonce(s.diagonal()[:, None], s.masked_fill(itself, -torch.inf), temperature)
        for s in (similarities, similarities.T)
    ]
    return torch.cat(losses).mean()
