"""The recipe's signal and source of positives, for `dcr` and `naive`.

`dcr` contrasts predicted noise by them, `naive` image features.

Notation: B batch, V views of an image, d width of image features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dcr.errors import UserError
from dcr.losses.align_uniform import alignment, uniformity
from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.infonce import InfoNCE
from dcr.losses.signal import Signal
from dcr.parameters.training.signal import PLAIN
from dcr.positives.neighbours import Resampler
from dcr.training.runs import STAGE1

if TYPE_CHECKING:
    from dcr.parameters import TrainingParameters
    from dcr.parameters.training.parts import Loss
    from dcr.training.runs import Run

_UNIFORMITY_T = 2.0  # of the diagnostic, Wang and Isola's


@dataclass(frozen=True)
class Contrast:
    """What anchor, positives and negatives of a run are contrasted by.

    Attributes:
        signal: None for DCR's own InfoNCE at ``loss.temperature``, the target weighing
            ``loss.target_weight``.
        resampler: of positives and negatives by a frozen CLIP, or None.
        synthetic_weight: of the pull towards the last view, which is a made positive then; 0 where
            there is none.
        gathers: whether the images of all processes are each other's negatives.
        diagnostics: whether the contrast is measured too.
        is_published: whether DCR's own InfoNCE is computed as in its published code.
    """

    signal: Signal | FeatureSignal | None = None
    resampler: Resampler | None = None
    synthetic_weight: float = 0.0
    gathers: bool = False
    diagnostics: bool = False
    is_published: bool = False

    @property
    def is_own(self) -> bool:
        """Whether DCR's own loss is all there is."""
        return self.signal is None and self.resampler is None and not self.synthetic_weight

    @property
    def whole_batch(self) -> bool:
        """Whether rows cannot be walked in chunks."""
        return isinstance(self.signal, Signal) and self.signal.whole_batch

    def of_similarities(self, temperature: float) -> Signal:
        """Return the signal of similarities: the recipe's, or InfoNCE at this ``temperature``."""
        assert not isinstance(self.signal, FeatureSignal)  # see `_check`
        return self.signal or InfoNCE(temperature)

    def asks_base(self, loss: Loss) -> bool:
        """Whether this with ``loss`` asks a frozen tower beside the one that trains."""
        return loss.base_embedding_weight > 0 or self.resampler is not None

    def is_plain(self, loss: Loss) -> bool:
        """Whether DCR's loss is its contrast and nothing else."""
        return self.is_own and not (loss.reconstruction_share or loss.base_embedding_weight)


def build_contrast(run: Run) -> Contrast:
    """Return what a run contrasts by; neighbours and made positives are for stage 2 alone.

    Raises:
        UserError: the method, or another parameter, does not go with it.
    """
    p = run.parameters
    if run.objective == "reconstruction":
        return Contrast()
    stage2 = run.method != STAGE1
    source = p.positives.source if stage2 else "augmentation"
    rule = (p.positives.clip_neighbour_rule, p.positives.clip_neighbour_share)
    contrast = Contrast(
        signal=p.signal.build(p.loss.temperature) if p.signal.name != PLAIN else None,
        resampler=Resampler(*rule) if source == "clip_neighbour" else None,
        synthetic_weight=p.positives.synthetic_weight if source == "synthetic" else 0.0,
        gathers=p.batches.gather_negatives,
        diagnostics=p.monitoring.contrast_diagnostics and stage2,
        is_published=p.takes("loss") and run.objective == "dcr",
    )
    _check(p, run.objective, contrast)
    return contrast


def _check(p: TrainingParameters, objective: str, contrast: Contrast) -> None:
    """Refuse what has no meaning together."""
    name = p.signal.name
    is_of_features = isinstance(contrast.signal, FeatureSignal)
    resampler = contrast.resampler
    if is_of_features and objective == "dcr":
        raise UserError(
            f"training.signal.name {name} works on image features: set training.method to naive"
        )
    if is_of_features and resampler:
        raise UserError(
            "training.positives.source clip_neighbour resamples similarities, which"
            f" {name} does not take"
        )
    if objective == "dcr" and (contrast.signal or resampler):
        asked = (
            "training.positives.source clip_neighbour"
            if resampler
            else f"training.signal.name {name}"
        )
        _check_neutral(p, asked)
    if objective == "dcr" and contrast.synthetic_weight and p.takes("loss"):
        raise UserError(
            "training.positives.source synthetic does not go with the part loss of"
            " training.published: leave it out"
        )
    if resampler:
        _check_resampling(p, objective, contrast.signal)


def _check_neutral(p: TrainingParameters, asked: str) -> None:
    neutral = {
        "loss.target_weight": (p.loss.target_weight, 0.5),
        "batches.negatives_count": (p.batches.negatives_count, 0),
        "loss.negatives_gradient": (p.loss.negatives_gradient, True),
    }
    for name, (value, due) in neutral.items():
        if value != due:
            raise UserError(f"{asked} does not go with training.{name} {value}: set it to {due}")
    if p.takes("loss"):
        raise UserError(
            f"{asked} does not go with the part loss of training.published: leave it out"
        )


def _check_resampling(
    p: TrainingParameters, objective: str, signal: Signal | FeatureSignal | None
) -> None:
    columns = p.stage2.train_batch_size
    if p.batches.gather_negatives:
        columns *= p.processes.count
    if p.positives.clip_neighbour_rule == "add_new_positive" and columns < 3:
        raise UserError(
            "training.positives.clip_neighbour_rule add_new_positive needs"
            " training.stage2.train_batch_size of at least 3"
        )
    if objective == "naive" and p.batches.num_views != 1:
        raise UserError(
            "training.positives.source clip_neighbour takes one view in naive: set"
            " training.batches.num_views to 1"
        )
    if (
        objective == "naive"
        and isinstance(signal, Signal)
        and signal.negatives_from != "other_views"
    ):
        raise UserError(
            "training.positives.source clip_neighbour does not go with training.signal.name"
            f" {p.signal.name} in naive"
        )


@torch.no_grad()
def measure_features(
    features: torch.Tensor, size: int, contrast: Contrast
) -> dict[str, torch.Tensor]:
    """Return alignment and uniformity of image features, if they are asked for; scalars by name.

    Args:
        features: of the images and then of their views, (B + V * B, d).
        size: B.
        contrast: says by ``diagnostics`` whether they are.
    """
    if not contrast.diagnostics:
        return {}
    own = features[:size]
    views = features[size : 2 * size]
    return {"alignment": alignment(own, views), "uniformity": uniformity(own, _UNIFORMITY_T)}
