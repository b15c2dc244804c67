"""Warnings about a run that goes on but learns nothing."""

from __future__ import annotations

import logging
import math

_PATIENCE = 100  # steps: a loss passes log(B + 1) for a moment without meaning anything
_TOLERANCE = 0.01
_log = logging.getLogger(__name__)


class IgnoredCondition:
    """Warns once when DCR's loss stays at log(B + V), V views an image, its value where the UNet ignores its condition.

    All predictions of a row are then alike, and so are all similarities.

    Args:
        name: of the run.
        num_columns: images that a row is contrasted with, itself included (B).
    """

    def __init__(self, name: str, num_columns: int, num_views: int = 1) -> None:
        self._name, self._num_views, self._count = name, num_views, 0
        self._level = math.log(num_columns + num_views)

    def watch(self, loss: float) -> None:
        """Look at a step's loss."""
        self._count = self._count + 1 if abs(loss - self._level) <= _TOLERANCE * self._level else 0
        if self._count == _PATIENCE:
            _log.warning(
                "%s: the loss has been at log(B + %d) = %.3f for %d steps: all predictions of a row are alike, so the "
                "UNet seems to ignore its condition; train stage 1 for longer with stage1_loss: reconstruction.",
                self._name, self._num_views, self._level, _PATIENCE,
            )  # fmt: skip
