"""Nodes of pipeline `validation` that count and tell what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from dcr.parameters import LikenessParameters, RecipeParameters, ValidationParameters

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from dcr.validation.tables import SampleTables
    from dcr.validation.tokens import Counting

_LIMITS = {
    "min_image_size",
    "max_aspect_ratio",
    "max_image_pixels",
    "min_luminance_spread",
    "min_luminance_high",
    "max_luminance_low",
    "min_entropy",
    "min_sharpness",
    "max_flat_border",
    "max_text_border",
    "near_duplicate_distance",
    "evaluation_image_distance",
    "caption_member",
    "caption_key",
    "caption_choice",
    "min_language_confidence",
    "tokenizer",
    "context_length",
}
"""Those by which a sample is left out, or its caption chosen; the data card tells them."""


def summarize_samples(
    judged: SampleTables,
) -> tuple[dict[str, Any], Callable[[], Iterator[pa.Table]]]:
    """Count what was found, and set the rejected samples apart.

    Args:
        judged: the rows with their verdicts, shard by shard.
    """
    from dcr.validation.judging import select, summarize

    return summarize(judged), partial(select, judged, "rejected")


def check_expectations(judged: SampleTables, suites: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Check the sample table of each source against its suite of expectations.

    Args:
        judged: the rows with their verdicts; only the columns that a suite names are read.
        suites: by source, name and expectations, as `dcr.datasets.suites.SuitesDataset` gives them.
    """
    from dcr.validation.expectations import named_columns, validate_expectations

    names = next(judged.tables()).rows.column_names
    found = []
    for source, suite in suites.items():
        outcome = validate_expectations(judged.frame(named_columns(suite, names), source), suite)
        found += [{"source": source, "suite": suite["name"], **one} for one in outcome["results"]]
    return {"success": all(one["success"] for one in found), "results": found}


def render_validation_page(
    parameters: ValidationParameters,
    judged: SampleTables,
    summary: dict[str, Any],
    expectations: dict[str, Any],
    evaluation_images: pd.DataFrame,
    shards: list[str],
    data_card: dict[str, Any],
) -> str:
    """Draw the page that a person reads.

    Args:
        parameters: policies, and how many examples are shown of each reason.
        judged, summary, expectations: rows, their counts, and how the suite fared.
        evaluation_images: a row for each image of the evaluation sets.
        shards: paths or URLs, from which the examples are read.
        data_card: its record, which tells what captions are like.
    """
    from dcr.data.shards import name_shards
    from dcr.validation.contamination import count_images
    from dcr.validation.page import render_page

    paths = {name: path for path, name in name_shards(shards).items()}
    sets = count_images(evaluation_images["image"])
    return render_page(
        judged,
        summary,
        paths,
        expectations,
        parameters.policies,
        parameters.num_examples,
        sets,
        data_card["captions"],
    )


def write_data_card(
    parameters: ValidationParameters,
    recipe: RecipeParameters,
    likeness: LikenessParameters,
    judged: SampleTables,
    summary: dict[str, Any],
    expectations: dict[str, Any],
    counting: Counting,
) -> tuple[str, dict[str, Any]]:
    """Tell what the data are, for people and for machines: it goes with the encoder.

    Args:
        parameters: limits and policies, by which samples are left out.
        recipe: names the sources and their licence.
        likeness: further limits, where the recipe sets them.
        judged, summary, expectations: rows, their counts, and how the suite fared.
        counting: of the captions' tokens.
    """
    from dcr.validation.data_card import Declared, describe_data
    from dcr.validation.data_card_text import render_data_card

    limits = parameters.model_dump(mode="json", include=_LIMITS) | likeness.limits().asked()
    declared = Declared(
        recipe.name,
        recipe.data_licence,
        recipe.patterns,
        recipe.weights,
        limits,
        parameters.policies,
        counting,
    )
    record = describe_data(declared, judged, summary, expectations)
    return render_data_card(record), record
