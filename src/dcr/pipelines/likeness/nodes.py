"""Nodes of pipeline `likeness`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dcr.errors import UserError
from dcr.parameters import LikenessParameters

if TYPE_CHECKING:
    from pathlib import Path

    from dcr.data.benchmark_sets import BenchmarkSet
    from dcr.models.backbones import Backbone
    from dcr.validation.tables import SampleTables, TablePlan

SetOpener = Callable[[], "BenchmarkSet"]


def embed_samples(
    parameters: LikenessParameters, samples: SampleTables, shards: list[str], backbone: Backbone
) -> TablePlan:
    """Embed every sample that was decoded, shard by shard; unchanged shards are not read again.

    Args:
        parameters: which likenesses are asked, and how the towers are run.
        samples: the measured rows, shard by shard.
        shards: paths or URLs of the tars.
        backbone: the encoder that training starts from.

    Raises:
        UserError: no limit is set, so that nothing is asked.
    """
    from dcr.data.shards import name_shards
    from dcr.likeness import plan_features

    if not parameters.limits().asked():
        raise UserError(
            "pipeline likeness has nothing to look for: set one of the limits in"
            " parameters_likeness.yml, or leave the pipeline out"
        )
    return plan_features(
        name_shards(shards),
        samples,
        backbone,
        parameters.batch_size,
        parameters.num_workers,
        with_texts=parameters.min_text_similarity is not None,
    )


def compare_samples(
    parameters: LikenessParameters,
    features: SampleTables,
    backbone: Backbone,
    cache: Path,
    chosen: list[str],
    more_sets: dict[str, tuple[str, SetOpener]],
    **own: SetOpener | None,
) -> TablePlan:
    """Find near duplicates, evaluation images and outliers among the features.

    Args:
        parameters: which likenesses are asked, and from where on they count.
        features: of every sample, shard by shard.
        backbone: the same encoder, for the evaluation sets' images.
        cache: folder of embeddings that are kept.
        chosen: the sets that the recipe evaluates, by name.
        more_sets: kind and opener of further sets, by name.
        own: what opens each of the recipe's own sets, None where it has none.
    """
    from dcr.data.benchmark_sets import choose_sets
    from dcr.evaluation import EvaluationCache
    from dcr.evaluation.embedding import Embedder
    from dcr.likeness import EvaluationFeatures, plan_likenesses

    is_asked = parameters.min_evaluation_similarity is not None
    sets = choose_sets(chosen, own, more_sets) if is_asked else []
    embedder = Embedder(
        backbone, parameters.batch_size, parameters.num_workers, EvaluationCache(cache)
    )
    evaluation = EvaluationFeatures(embedder, {named.name: named.open() for named in sets})
    return plan_likenesses(features, parameters.limits(), evaluation)
