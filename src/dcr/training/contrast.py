"""The recipe's signal and source of positives, which `dcr` contrasts predicted noise by, and
`naive` image features.

Notation: B batch, V views of an image, d width of image features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.align_uniform import alignment, uniformity
from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.signal import Signal
from dcr.positives.neighbours import Resampler

_UNIFORMITY_T = 2.0  # of the diagnostic, Wang and Isola's


@dataclass(frozen=True)
class ContrastOptions:
    """See conf/base/parameters_training.yml.

    Attributes:
        signal: None for DCR's own InfoNCE at ``temperature``, the target weighing
            ``target_weight``.
        resampler: of positives and negatives by a frozen CLIP, or None.
        synthetic_weight: of the pull towards the last view, which is a made positive then; 0 where
            there is none.
        diagnostics: whether the contrast is measured too.
    """

    signal: Signal | FeatureSignal | None = None
    resampler: Resampler | None = None
    synthetic_weight: float = 0.0
    diagnostics: bool = False

    @property
    def is_own(self) -> bool:
        """Whether DCR's own loss is all there is."""
        return self.signal is None and self.resampler is None and not self.synthetic_weight

    @property
    def whole_batch(self) -> bool:
        """Whether rows cannot be walked in chunks."""
        return isinstance(self.signal, Signal) and self.signal.whole_batch


@torch.no_grad()
def measure_features(
    features: torch.Tensor, size: int, options: ContrastOptions
) -> dict[str, torch.Tensor]:
    """Return alignment and uniformity of image features, if they are asked for; scalars by name.

    Args:
        features: of the images and then of their views, (B + V * B, d).
        size: B.
        options: say by ``diagnostics`` whether they are.
    """
    if not options.diagnostics:
        return {}
    own = features[:size]
    views = features[size : 2 * size]
    return {"alignment": alignment(own, views), "uniformity": uniformity(own, _UNIFORMITY_T)}
