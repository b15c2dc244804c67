"""Alignment and uniformity on the hypersphere: a loss, and a diagnostic.

Source: Wang & Isola, arXiv 2005.10242.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.numerics import require_not_negative, require_positive, unit_vectors


@dataclass(frozen=True)
class AlignUniform(FeatureSignal):
    """Squared distance to the image's other views, plus ``weight`` times the anchors' uniformity.

    t: sharpness of the Gaussian potential; the paper's value is 2.
    """

    weight: float = 1.0
    t: float = 2.0

    def __post_init__(self) -> None:
        require_positive(t=self.t)
        require_not_negative(weight=self.weight)

    def contrast(
        self, anchors: torch.Tensor, keys: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """As `FeatureSignal.contrast`, of ``anchors`` and ``keys``.

        Nothing is drawn from ``generator``.
        """
        return squared_distances(anchors, keys) + self.weight * uniformity(anchors, self.t)


def squared_distances(features: torch.Tensor, view_features: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of each pair of rows, (B,), after L2 normalisation.

    Args:
        features, view_features: image embeddings before it, (B, d).
    """
    return (unit_vectors(features) - unit_vectors(view_features)).square().sum(dim=1)


def alignment(features: torch.Tensor, view_features: torch.Tensor) -> torch.Tensor:
    """Return ``E |u - v|^2`` over pairs of views: 0 where they agree, 4 where they are opposite.

    Args:
        features, view_features: image embeddings before L2 normalisation, (B, d).
    """
    return squared_distances(features, view_features).mean()


def uniformity(features: torch.Tensor, t: float) -> torch.Tensor:
    """Return ``log E_{i<j} exp(-t |u_i - u_j|^2)``.

    It is 0 where all features are one, and lower the more they spread.

    Args:
        features: image embeddings before L2 normalisation, (B, d), B >= 2.
        t: sharpness of the Gaussian potential, above 0.
    """
    units = unit_vectors(features)
    rows, columns = torch.triu_indices(len(units), len(units), offset=1, device=units.device)
    squared = 2 - 2 * (units @ units.T)[rows, columns]
    return torch.logsumexp(-t * squared, dim=0) - math.log(len(rows))
