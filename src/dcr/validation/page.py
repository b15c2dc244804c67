"""``validation.html``: one page that opens offline and shows what was found in the shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dcr.data.decoding import decode_rgb
from dcr.data.shards import Sample, ShardReader
from dcr.pages import fill_template, to_data_uri
from dcr.validation.charts import histogram_svg, show_number
from dcr.validation.data_card_text import tell_cut, tell_languages
from dcr.validation.reasons import REASONS, SHARD_REASONS
from dcr.validation.survey import survey_samples
from dcr.validation.tables import SampleTables

if TYPE_CHECKING:
    import pandas as pd

_THUMBNAIL = 144  # px, longer side
_SOURCES = ("url", "path")
_MAX_SOURCE = 300  # characters
_NUM_SHARDS = 10
_ORDER = ("fail", "reject", "warn")
_COLUMNS = (
    ("Image file (KiB)", "num_bytes", 1 / 1024),
    ("Caption length (characters)", "caption_length", 1),
    ("Caption length (tokens)", "caption_tokens", 1),
    ("Mean luminance (0 to 255)", "luminance_mean", 1),
    ("Spread of luminance (0 to 255)", "luminance_spread", 1),
    ("Entropy of luminance (bits)", "entropy", 1),
    ("Sharpness (variance of the Laplacian)", "sharpness", 1),
    ("Image and caption (cosine of features)", "text_similarity", 1),
    ("Distance to the nearest samples (of features)", "neighbour_distance", 1),
)


@dataclass(frozen=True)
class Example:
    """A sample to show.

    ``thumbnail`` is a data URI, None where there is nothing that can be drawn; ``source`` is the
    URL or path that the sample's json holds, or empty.
    """

    key: str
    shard: str
    thumbnail: str | None
    note: str
    source: str = ""


def render_page(
    judged: SampleTables,
    summary: dict[str, Any],
    shards: dict[str, str],
    expectations: dict[str, Any],
    policies: Mapping[str, str],
    num_examples: int,
    sets: dict[str, int],
    captions: Mapping[str, Any],
) -> str:
    """Return the page.

    Args:
        judged: what became of every sample, see `dcr.validation.judging.plan_judging`.
        summary: see `dcr.validation.judging.summarize`.
        shards: name to path, to read the examples' images from.
        expectations: as `dcr.validation.expectations.validate_expectations` gives them.
        policies: of every reason.
        num_examples: samples shown for each reason, and of each group of duplicates.
        sets: images by evaluation set that the samples were compared with.
        captions: what accepted samples' are like, as the data card's record has it.
    """
    survey = survey_samples(judged, summary["accepted"], num_examples)
    rows = judged.at(np.array(survey.positions(), np.int64)).set_index(
        np.unique(survey.positions())
    )

    def examples(positions: list[int]) -> list[Example]:
        """Return what to show of the samples at ``positions``, which the survey named."""
        return collect_examples(rows.loc[positions], shards)

    ranked = sorted(
        summary["reasons"].items(),
        key=lambda item: (_ORDER.index(policies[item[0]]), -item[1], item[0]),
    )
    reasons = []
    for name, count in ranked:
        unit = "shard" if name in SHARD_REASONS else "sample"
        reasons.append(
            {
                "name": name, "text": REASONS[name], "policy": policies[name],
                "count": count, "unit": unit, "share": count / max(1, summary[f"{unit}s"]),
                "examples": examples(survey.reasons.get(name, [])),
            }
        )  # fmt: skip
    return fill_template(
        "dcr.validation",
        "page.html",
        summary=summary,
        reasons=reasons,
        num_groups=survey.num_groups,
        groups=[{"size": size, "examples": examples(members)} for size, members in survey.groups],
        accepted=examples(survey.accepted),
        charts=_charts(judged),
        formats=survey.formats,
        worst=_worst(judged.records()),
        expectations=expectations,
        sets=sets,
        sources=_sources(summary["sources"], policies),
        captions=captions,
        languages=tell_languages(captions["languages"]),
        cut=tell_cut(captions["tokenizer"]),
    )


def _sources(sources: dict[str, Any], policies: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return each source's counts, and its reasons with the policy of each, the most severe first.

    Args:
        sources: counts by name, as `dcr.validation.judging.summarize` gives them.
        policies: of every reason.
    """
    return [
        counts
        | {
            "name": name,
            "found": [
                {"name": reason, "policy": policies[reason], "count": counts["reasons"][reason]}
                for reason in sorted(
                    counts["reasons"],
                    key=lambda reason: (_ORDER.index(policies[reason]), -counts["reasons"][reason]),
                )
            ],
        }
        for name, counts in sources.items()
    ]


def collect_examples(rows: pd.DataFrame, shards: dict[str, str]) -> list[Example]:
    """Return an example for each of ``rows``.

    Its image is read again from its place in ``shards``, {name: path}.
    """
    return [
        _example(row, shards[row.shard])
        for row in rows.astype(object).where(rows.notna(), None).itertuples()
    ]


def _example(row: Any, path: str) -> Example:
    with ShardReader(path, start=row.offset, whole=False) as reader:
        sample = next(iter(reader), None)
    if sample is None:
        return Example(row.key, row.shard, None, _note(row))
    sources = (sample.metadata.get(name) for name in _SOURCES)
    source = next((text for text in sources if isinstance(text, str)), "")
    return Example(row.key, row.shard, _thumbnail(row, sample), _note(row), source[:_MAX_SOURCE])


def _note(row: Any) -> str:
    note = row.decode_error or row.caption or ""
    if (cosine := getattr(row, "text_similarity", None)) is not None:
        note = f"{note} ({cosine:.2f})"
    return f"{row.evaluation_image}: {note}" if row.evaluation_image else note


def _thumbnail(row: Any, sample: Sample) -> str | None:
    if row.luminance_mean is None:  # it was not decoded then and is not decoded now
        return None
    assert sample.image is not None
    image = decode_rgb(sample.image, side=_THUMBNAIL)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return to_data_uri(image)


def _charts(judged: SampleTables) -> list[dict[str, Any]]:
    """Draw histograms, with one or two columns in memory at a time."""
    width = judged.numbers("width")
    height = judged.numbers("height")
    charts = [
        ("Shorter side (px)", np.minimum(width, height)),
        ("Aspect ratio (width / height)", width[height > 0] / height[height > 0]),
    ]
    drawn = [_chart(title, values) for title, values in charts if len(values)]
    there = judged.columns()
    for title, column, scale in _COLUMNS:
        if column in there and len(values := judged.numbers(column)):
            drawn.append(_chart(title, values * np.float32(scale)))
    return drawn


def _chart(title: str, values: np.ndarray) -> dict[str, Any]:
    """Return a histogram, or the value where there is only one."""
    if values.min() == values.max():
        return {"title": title, "svg": None, "value": show_number(float(values[0]))}
    return {"title": title, "svg": histogram_svg(values, title), "value": None}


def _worst(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the shards with the largest rejected share or findings of their own, worst first."""
    shards = [
        record | {"share": record["rejected"] / max(1, record["num_samples"])} for record in records
    ]
    shards = [s for s in shards if s["share"] > 0 or s["reasons"] or s["unreadable_bytes"] > 0]
    return sorted(shards, key=lambda s: (-s["share"], -s["unreadable_bytes"], s["shard"]))[
        :_NUM_SHARDS
    ]
