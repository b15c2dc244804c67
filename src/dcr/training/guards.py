"""A run that learns nothing is told of; one that ends without finite numbers is an error."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from dcr.errors import UserError

if TYPE_CHECKING:
    from dcr.training.mixture import Source
    from dcr.training.runs import Run

_PATIENCE = 100  # steps: a loss passes log(B + 1) for a moment without meaning anything
_TOLERANCE = 0.01
_log = logging.getLogger(__name__)


def is_finite_step(row: Mapping[str, float]) -> bool:
    """Return whether ``loss`` and ``grad_norm`` of a logged step, ``row``, are finite.

    If not, it was not taken.
    """
    return math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])


def count_skipped(rows: Sequence[Mapping[str, float]]) -> int:
    """Return how many successive steps at the end of a run's log, ``rows``, were not taken."""
    return sum(1 for _ in takewhile(lambda row: not is_finite_step(row), reversed(rows)))


def check_end(name: str, rows: Sequence[Mapping[str, float]], scales_loss: bool) -> None:
    """Refuse a run that diverged at its end.

    Args:
        name: of the run.
        rows: of its log, the last step's last.
        scales_loss: whether the loss is scaled, as in fp16: a scale that grew too large then costs
            a single step now and then, which is no divergence.

    Raises:
        UserError: the last steps, or the held-out error, are not finite.
    """
    last = rows[-1]
    skipped = count_skipped(rows)
    allowed = 1 if scales_loss and math.isfinite(last["loss"]) and len(rows) > 1 else 0
    advice = "lower the learning rate, or train in float32 (mixed_precision: no)"
    if skipped > allowed:
        raise UserError(
            f"{name}: the last {skipped} of {len(rows)} steps had no finite loss and gradient (loss"
            f" {last['loss']}, gradient norm {last['grad_norm']}), so the run has no result;"
            f" {advice}"
        )
    if not math.isfinite(last.get("validation_loss", 0.0)):
        raise UserError(
            f"{name}: the error on held-out samples is {last['validation_loss']} after the last"
            f" step, so the run has no result; {advice}"
        )


def check_errors(name: str, errors: Mapping[str, float]) -> None:
    """Refuse held-out noise errors that are not finite.

    Args:
        name: of the run.
        errors: mean squared errors by condition, as `dcr.training.stages.train_projector` returns
            them.

    Raises:
        UserError: one is not.
    """
    for condition, error in errors.items():
        if not math.isfinite(error):
            raise UserError(
                f"{name}: the noise error on held-out samples is {error} with condition"
                f" {condition}: the diffusion model overflows; train in float32 (mixed_precision:"
                " no), or give another one"
            )


class IgnoredCondition:
    """Warns once when DCR's loss stays at its value where the UNet ignores its condition.

    That value is log(B + V), V views an image. All predictions of a row are then alike, and so are
    all similarities.

    Args:
        name: of the run.
        num_columns: images that a row is contrasted with, itself included (B).
        num_views: V.
    """

    def __init__(self, name: str, num_columns: int, num_views: int = 1) -> None:
        self._name = name
        self._num_views = num_views
        self._count = 0
        self._level = math.log(num_columns + num_views)

    def watch(self, loss: float) -> None:
        """Look at a step's ``loss``, the mean over its rows."""
        self._count = self._count + 1 if abs(loss - self._level) <= _TOLERANCE * self._level else 0
        if self._count == _PATIENCE:
            _log.warning(
                "%s: the loss has been at log(B + %d) = %.3f for %d steps: all predictions of a row"
                " are alike, so the UNet seems to ignore its condition; train stage 1 for longer"
                " with stage1.loss: reconstruction.",
                self._name,
                self._num_views,
                self._level,
                _PATIENCE,
            )


def check_sizes(run: Run, num_processes: int, sources: Sequence[Source], columns: int) -> None:
    """Refuse a batch that is larger than the data, and more negatives than there are.

    Of several sources each must have the samples that a batch draws of it on average: with fewer,
    a sample would be its own negative in batch after batch.

    Args:
        run: gives batch size and number of negatives.
        num_processes: that train together, each on a batch of its own.
        sources: of the samples to train on.
        columns: images that a row is contrasted with, its own among them.

    Raises:
        UserError: naming both numbers.
    """
    size = run.stage.train_batch_size
    in_all = sum(source.weight for source in sources)
    for source in sources:
        count = len(source.positions)
        drawn = size * num_processes * source.weight / in_all
        if count >= drawn or math.isclose(count, drawn):  # shares of weights round
            continue
        if len(sources) == 1:
            raise UserError(
                f"{run.name}: {count} samples to train on are fewer than train_batch_size"
                f" {size} on {num_processes} process(es); lower it or bring more data"
            )
        raise UserError(
            f"{run.name}: source {source.name} has {count} samples to train on, fewer than the"
            f" {drawn:.1f} that train_batch_size {size} on {num_processes} process(es) draws of it"
            " by its weight; lower one of them or bring more of its data"
        )
    count = run.parameters.batches.negatives_count
    if run.objective == "dcr" and count >= columns:
        raise UserError(
            f"{run.name}: negatives_count {count} is not less than the {columns} images that are"
            " contrasted; lower it, or set 0 to take all"
        )
