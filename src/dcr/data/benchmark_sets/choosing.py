"""Which sets a recipe has: one list, for the scores and for what training must not see."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from dcr.data.benchmark_sets.caption_selection import CaptionSelectionSet
from dcr.data.benchmark_sets.mieb import MiebSet
from dcr.data.benchmark_sets.mmvp_vlm import MMVPSet
from dcr.data.benchmark_sets.parts import ClassificationSet, RetrievalSet
from dcr.data.benchmark_sets.segmentation import SegmentationSet
from dcr.errors import UserError

logger = logging.getLogger(__name__)

OTHERS = "more_sets"
OVERRIDES = "overrides"  # behind the name of a set that its overrides change
BenchmarkSet = (
    MMVPSet | ClassificationSet | RetrievalSet | CaptionSelectionSet | SegmentationSet | MiebSet
)
KINDS = {
    "mmvp_vlm": MMVPSet,
    "classification": ClassificationSet,
    "retrieval": RetrievalSet,
    "caption_selection": CaptionSelectionSet,
    "segmentation": SegmentationSet,
    "mieb": MiebSet,
}


def with_overrides(benchmark_set: BenchmarkSet) -> BenchmarkSet:
    """Return ``benchmark_set`` as its overrides change it, under a name that says so."""
    return replace(benchmark_set, name=f"{benchmark_set.name}+{OVERRIDES}", is_overridden=True)


@dataclass(frozen=True)
class NamedSet:
    """A set of a recipe: its name, its kind (one of `KINDS`), and what opens it."""

    name: str
    kind: str
    open: Callable[[], BenchmarkSet]


def choose_sets(
    chosen: Sequence[str],
    own: Mapping[str, Callable[[], BenchmarkSet] | None],
    others: Mapping[str, tuple[str, Callable[[], BenchmarkSet]]],
) -> list[NamedSet]:
    """Return the sets that a recipe chooses, in its order.

    Each is opened once, and tells once what it leaves out.

    Args:
        chosen: names of ``own``, and ``more_sets`` for all ``others``.
        own: what opens each of the recipe's own sets, whose name is its kind; None where the recipe
            has none.
        others: kind and opener of the recipe's further sets.

    Raises:
        UserError: one of the others has the name of an own set.
    """
    if taken := [name for name in others if name in own]:
        raise UserError(
            f"more_sets: the name {taken[0]!r} is taken by the recipe's own set; take another"
        )
    sets: list[NamedSet] = []
    for name in chosen:
        if name == OTHERS:
            sets += [NamedSet(other, kind, cache(found)) for other, (kind, found) in others.items()]
        elif (opener := own[name]) is None:
            logger.info("globals.yml names no set as %s", name)
        else:
            sets.append(NamedSet(name, name, cache(opener)))
    return sets
