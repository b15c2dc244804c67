"""Nodes of pipeline `validation`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.parameters import LikenessParameters, RecipeParameters, ValidationParameters

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from dcr.data.benchmark_sets import BenchmarkSet
    from dcr.validation.tables import SampleTables, TablePlan
    from dcr.validation.tokens import Counting

_log = logging.getLogger(__name__)
SetOpener = Callable[[], "BenchmarkSet"]


def open_tokenizer(
    parameters: ValidationParameters, recipe: RecipeParameters, models: dict[str, Any]
) -> tuple[Counting, Callable[[Path], None]]:
    """Find what counts the captions' tokens; where it is not on this machine, say so and go on.

    What it returns second fills the folder where every worker finds a ``tokenizer.json``.

    Args:
        parameters: name the tokenizer.
        recipe: names the backbone, which may have one of its own.
        models: not read; pipeline `models`, which fetches the backbone, goes first.
    """
    from dcr.validation.tokens import Counting, read_tokenizer, tokenizer_id, write_tokenizer

    name = text = parameters.tokenizer
    length = parameters.context_length or 0
    cleaning, why_not = "none", None
    if name is None:
        name, why_not = "none", "the recipe names no tokenizer"
    elif name == "backbone":
        from dcr.models.text_side import read_text_side

        name = f"of {recipe.backbone}"
        try:
            side = read_text_side(recipe.backbone)
            text, cleaning, length = side.tokenizer, side.cleaning, side.context_length
        except UserError as exc:
            _log.warning("captions' tokens are not counted: %s", exc)
            text, why_not = None, str(exc)
    elif name != "clip":
        text = read_tokenizer(Path(name))
    counting = Counting(name, tokenizer_id(text), cleaning, length, why_not)
    return counting, partial(write_tokenizer, text)


def measure_samples(
    parameters: ValidationParameters,
    recipe: RecipeParameters,
    shards: list[str],
    counting: Counting,
    tokenizer: Path,
) -> TablePlan:
    """Decode and measure every sample, shard by shard; unchanged shards are not read again.

    Args:
        parameters: limits that an image is held to, and how the work is spread.
        recipe: names the sources.
        shards: paths or URLs of the tars.
        counting: of the captions' tokens.
        tokenizer: folder with the ``tokenizer.json`` that counts them, if one does.

    Raises:
        UserError: a shard is of two sources.
    """
    from dcr.data.shards import CaptionNames, name_shards, sources_of
    from dcr.validation.measuring import plan_measuring
    from dcr.validation.rows import Limits
    from dcr.validation.tokens import TOKENIZER_FILE
    from dcr.validation.workers import Workers

    sources_of(shards, recipe.patterns)  # told before hours of measuring
    limits = Limits(
        min_image_size=parameters.min_image_size,
        max_aspect_ratio=parameters.max_aspect_ratio,
        max_image_pixels=parameters.max_image_pixels,
        min_luminance_spread=parameters.min_luminance_spread,
        min_luminance_high=parameters.min_luminance_high,
        max_luminance_low=parameters.max_luminance_low,
        min_entropy=parameters.min_entropy,
        min_sharpness=parameters.min_sharpness,
        max_flat_border=parameters.max_flat_border,
        max_text_border=parameters.max_text_border,
        caption_names=CaptionNames(parameters.caption_member, parameters.caption_key),
        caption_choice=parameters.caption_choice,
        min_language_confidence=parameters.min_language_confidence,
        tokenizer=counting.tokenizer,
        tokenizer_file=str((tokenizer / TOKENIZER_FILE).resolve()),
        cleaning=counting.cleaning,
        context_length=counting.context_length,
        max_seconds_per_megabyte=parameters.max_seconds_per_megabyte,
        max_gigabytes=parameters.max_gigabytes,
    )
    workers = Workers(parameters.backend, parameters.n_jobs, parameters.cluster)
    return plan_measuring(name_shards(shards), limits, workers)


def fingerprint_evaluation_images(
    parameters: ValidationParameters,
    chosen: list[str],
    more_sets: dict[str, tuple[str, SetOpener]],
    **own: SetOpener | None,
) -> Callable[[], Iterator[pa.Table]]:
    """Hash the images of the sets that the recipe evaluates, which training must not see.

    Args:
        parameters: says how many pixels an image may have.
        chosen: the sets that the recipe evaluates, by name.
        more_sets: kind and opener of further sets, by name.
        own: what opens each of the recipe's own sets, None where it has none.
    """
    from dcr.data.benchmark_sets import choose_sets
    from dcr.validation.contamination import fingerprint_sets, open_sets

    sets = open_sets(choose_sets(chosen, own, more_sets))
    return partial(fingerprint_sets, sets, parameters.max_image_pixels)


def judge_samples(
    parameters: ValidationParameters,
    likeness: LikenessParameters,
    recipe: RecipeParameters,
    samples: SampleTables,
    evaluation_images: pd.DataFrame,
    likenesses: SampleTables | None,
    shards: list[str],
) -> TablePlan:
    """Compare the samples with each other and with the evaluation sets, and accept or reject each.

    Args:
        parameters: in how many bits of 64 the hashes of like images may differ, and what follows
            from each reason.
        likeness: from where on features are a reason.
        recipe: names the sources, and the backbone.
        samples: the measured rows, shard by shard.
        evaluation_images: hashes of the images that training must not see.
        likenesses: what pipeline `likeness` left, None where it never ran.
        shards: paths or URLs of the tars.

    Raises:
        UserError: the recipe asks for what pipeline `likeness` has not found of these samples.
    """
    from dcr.data.shards import sources_of
    from dcr.validation.contamination import EvaluationImages
    from dcr.validation.judging import plan_judging
    from dcr.validation.likenesses import Likenesses, Terms

    distance = parameters.near_duplicate_distance
    evaluation = EvaluationImages.of_table(evaluation_images, parameters.evaluation_image_distance)
    terms = Terms.of(likeness.limits(), recipe.backbone, evaluation_images)
    found = Likenesses(likenesses, samples, terms)
    sources = sources_of(shards, recipe.patterns)
    return plan_judging(samples, evaluation, distance, parameters.policies, found, sources)


def release_manifest(
    parameters: ValidationParameters,
    judged: SampleTables,
    expectations: dict[str, Any],
    summary: dict[str, Any],
    page: str,
    data_card: dict[str, Any],
) -> Callable[[], Iterator[pa.Table]]:
    """Give out the accepted samples, unless something fails.

    The last three inputs are here to be written first.

    Args:
        parameters: its policies say which reasons fail a run.
        judged, expectations: the rows, and how the suite fared.
        summary, page, data_card: not read.

    Raises:
        UserError: a policy or a critical expectation fails, or no sample was accepted.
    """
    from dcr.validation.expectations import describe_failure
    from dcr.validation.judging import check_release, select

    critical = [
        r for r in expectations["results"] if not r["success"] and r["severity"] == "critical"
    ]
    check_release(judged, parameters.policies, [describe_failure(result) for result in critical])
    return partial(select, judged, "accepted")
