"""The cache of embeddings, filled by several processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dcr.data.benchmark_sets import BenchmarkSet, MMVPSet, NamedSet, Part, SegmentationSet
from dcr.errors import UserError
from dcr.evaluation.cache import EvaluationCache
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.failures import open_sets
from dcr.evaluation.results import EvaluationOptions

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

logger = logging.getLogger(__name__)


def embed_parts(
    encoders: Mapping[str, Callable[[], Backbone]],
    sets: Sequence[NamedSet],
    options: EvaluationOptions,
    cache: EvaluationCache,
    rank: int,
    num_ranks: int,
) -> None:
    """Embed every ``num_ranks``-th part of all sets, from ``rank`` on, with every encoder.

    The embeddings go into the cache. A part or encoder that is broken is logged and left:
    evaluation tells of it. The encoders come on the device that they are to be used on
    (`dcr.devices.resolve_device`).

    Args:
        encoders: what loads each, by its name; one at a time is in memory.
        sets: whose parts are numbered through in this order, the same in every process.
        options: of which ``batch_size`` and ``num_workers`` matter here.
        cache: where embeddings go, shared by all processes.
        rank: of this process, from 0 to ``num_ranks`` - 1.
        num_ranks: processes in all.

    Raises:
        UserError: there is no such rank.
    """
    if not 0 <= rank < num_ranks:
        raise UserError(
            f"evaluation.rank must lie in 0 to num_ranks - 1 = {num_ranks - 1}, got {rank}"
        )
    opened, _ = open_sets(sets)
    parts = [part for benchmark_set in opened.values() for part in _parts(benchmark_set)][
        rank::num_ranks
    ]
    for encoder, load in encoders.items():
        try:
            embedder = Embedder(load(), options.batch_size, options.num_workers, cache)
        except UserError as error:
            logger.error("encoder %s is left out: %s", encoder, error)
            continue
        for description, part in parts:
            try:
                embedder.images(part, description)
            except UserError as error:
                logger.error("%s with encoder %s is left out: %s", description, encoder, error)


def _parts(benchmark_set: BenchmarkSet) -> Iterator[tuple[str, Part]]:
    if isinstance(benchmark_set, MMVPSet):
        yield f"{benchmark_set.name} images", benchmark_set
        return
    if isinstance(benchmark_set, SegmentationSet):
        return  # its patch tokens are not kept, see `dcr.evaluation.patch_tokens`
    for split, parts in benchmark_set.splits.items():
        yield from ((f"{benchmark_set.name} {split}", part) for part in parts)
