"""Nodes of pipeline `likeness`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dcr.errors import UserError
from dcr.parameters import LikenessParameters, RecipeParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from dcr.data.benchmark_sets import BenchmarkSet
    from dcr.likeness import EvaluationFeatures
    from dcr.models.backbones import Backbone
    from dcr.validation.tables import SampleTables, TablePlan

SetOpener = Callable[[], "BenchmarkSet"]


def embed_samples(
    parameters: LikenessParameters,
    samples: SampleTables,
    evaluation_images: pd.DataFrame,
    shards: list[str],
    backbone: Backbone,
    cache: Path,
    chosen: list[str],
    more_sets: dict[str, tuple[str, SetOpener]],
    **own: SetOpener | None,
) -> tuple[EvaluationFeatures, TablePlan]:
    """Embed the evaluation images, and every sample that was decoded, shard by shard.

    What is unchanged is not embedded again. The evaluation sets come first, so that what is wrong
    with one is told before hours are spent on the samples.

    Args:
        parameters: which likenesses are asked, and how the towers are run.
        samples: the measured rows, shard by shard.
        evaluation_images: those that validation looks for.
        shards: paths or URLs of the tars.
        backbone: the encoder that training starts from.
        cache: folder of embeddings that evaluation keeps, too.
        chosen: the sets that the recipe evaluates, by name.
        more_sets: kind and opener of further sets, by name.
        own: what opens each of the recipe's own sets, None where it has none.

    Raises:
        UserError: no limit is set, so that nothing is asked; or a set cannot be opened, or changed
            since validation.
    """
    from dcr.data.benchmark_sets import choose_sets
    from dcr.data.shards import name_shards
    from dcr.evaluation import Embedder, EvaluationCache
    from dcr.likeness import EvaluationFeatures, embed_evaluation_images, plan_features
    from dcr.validation.contamination import open_sets

    if not parameters.limits().asked():
        raise UserError(
            "pipeline likeness has nothing to look for: set one of the limits in"
            " parameters_likeness.yml, or leave the pipeline out"
        )
    embedder = Embedder(
        backbone, parameters.batch_size, parameters.num_workers, EvaluationCache(cache)
    )
    evaluation = EvaluationFeatures.none()
    if parameters.min_evaluation_similarity is not None:
        sets = open_sets(choose_sets(chosen, own, more_sets))
        evaluation = embed_evaluation_images(embedder, sets, evaluation_images)
    with_texts = parameters.min_text_similarity is not None
    return evaluation, plan_features(name_shards(shards), samples, embedder, with_texts)


def compare_samples(
    parameters: LikenessParameters,
    recipe: RecipeParameters,
    features: SampleTables,
    evaluation: EvaluationFeatures,
    evaluation_images: pd.DataFrame,
) -> TablePlan:
    """Find near duplicates, evaluation images and outliers among the features.

    Args:
        parameters: which likenesses are asked, and from where on they count.
        recipe: names the backbone.
        features: of every sample, shard by shard.
        evaluation: those of the evaluation images, none where nobody asks.
        evaluation_images: what these were, for the record.
    """
    from dcr.likeness import plan_likenesses
    from dcr.validation.likenesses import Terms

    terms = Terms.of(parameters.limits(), recipe.backbone, evaluation_images)
    return plan_likenesses(features, terms, evaluation)
