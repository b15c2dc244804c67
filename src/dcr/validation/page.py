"""``validation.html``: one page that opens offline and shows what was found in the shards."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from dcr.shards import ShardReader
from dcr.validation.charts import histogram_svg
from dcr.validation.images import FORMATS
from dcr.validation.judging import Judgement
from dcr.validation.reasons import REASONS, SHARD_REASONS

_THUMBNAIL = 144  # px, longer side
_NUM_ACCEPTED = 16
_NUM_SHARDS = 10
_ORDER = ("fail", "reject", "warn")


@dataclass(frozen=True)
class Example:
    """A sample to show: ``thumbnail`` is a data URI, None where there is nothing that can be drawn."""

    key: str
    shard: str
    thumbnail: str | None
    note: str


def render_page(
    judgement: Judgement,
    shards: dict[str, str],
    expectations: dict[str, Any],
    policies: dict[str, str],
    num_examples: int,
) -> str:
    """Return the page.

    Args:
        judgement: what became of every sample.
        shards: name to path, to read the examples' images from.
        expectations: as `dcr.expectations.validate_expectations` gives them.
        policies: of every reason.
        num_examples: samples shown for each reason.
    """
    summary = judgement.summary()
    ranked = sorted(summary["reasons"].items(), key=lambda item: (_ORDER.index(policies[item[0]]), -item[1], item[0]))
    reasons = []
    for name, count in ranked:
        unit = "shard" if name in SHARD_REASONS else "sample"
        reasons.append(
            {
                "name": name, "text": REASONS[name], "policy": policies[name],
                "count": count, "unit": unit, "share": count / max(1, summary[f"{unit}s"]),
                "examples": collect_examples(_having(judgement.samples, name)[:num_examples], shards),
            }
        )  # fmt: skip
    environment = Environment(loader=PackageLoader("dcr.validation"), autoescape=select_autoescape())
    return environment.get_template("page.html").render(
        summary=summary,
        reasons=reasons,
        accepted=collect_examples(_spread(judgement.samples, _NUM_ACCEPTED), shards),
        charts=_charts(judgement.samples),
        formats=judgement.samples.groupby(["format", "mode"]).size().reset_index(name="count").to_dict("records"),
        worst=_worst(judgement.shards),
        expectations=expectations,
    )


def collect_examples(rows: pd.DataFrame, shards: dict[str, str]) -> list[Example]:
    """Return an example for each row, its image read again from its place in the shard."""
    return [
        Example(row.key, row.shard, _thumbnail(row, shards[row.shard]), row.decode_error or row.caption or "")
        for row in rows.astype(object).where(rows.notna(), None).itertuples()
    ]


def _thumbnail(row: Any, path: str) -> str | None:
    if row.luminance_mean is None:  # it was not decoded then and is not decoded now
        return None
    with ShardReader(path, start=row.offset) as reader:
        sample = next(iter(reader))
    with Image.open(io.BytesIO(sample.image), formats=FORMATS) as image:
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _having(samples: pd.DataFrame, reason: str) -> pd.DataFrame:
    return samples[[reason in reasons.split(",") for reasons in samples["reasons"]]]


def _spread(samples: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return ``count`` accepted samples at even distances, so that every part of the data is seen."""
    accepted = samples[samples["status"] == "accepted"]
    return accepted.iloc[np.unique(np.linspace(0, len(accepted) - 1, count).astype(int))] if len(accepted) else accepted


def _charts(samples: pd.DataFrame) -> list[dict[str, Any]]:
    decoded = samples[samples["luminance_mean"].notna()]
    sides = decoded[["width", "height"]].astype(float)
    columns = {
        "Shorter side (px)": sides.min(axis=1),
        "Aspect ratio (width / height)": sides["width"] / sides["height"],
        "Image file (KiB)": samples["num_bytes"].dropna().astype(float) / 1024,
        "Caption length (characters)": samples["caption_length"].dropna().astype(float),
        "Mean luminance (0 to 255)": decoded["luminance_mean"].astype(float),
        "Spread of luminance (0 to 255)": decoded["luminance_spread"].astype(float),
    }
    return [
        {"title": title, "svg": histogram_svg(values.to_numpy(), title)}
        for title, values in columns.items()
        if len(values)
    ]


def _worst(shards: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the shards with the largest rejected share or with findings of their own, the worst first."""
    share = shards["rejected"] / shards["num_samples"].clip(lower=1)
    table = shards.assign(share=share).sort_values(
        ["share", "unreadable_bytes", "shard"], ascending=[False, False, True], kind="stable"
    )
    table = table[(table["share"] > 0) | (table["reasons"] != "") | (table["unreadable_bytes"] > 0)]
    return table.astype(object).where(table.notna(), None).head(_NUM_SHARDS).to_dict("records")
