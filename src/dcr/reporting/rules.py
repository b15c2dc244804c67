"""Words for the rules of caption selection, which stand beside the scores that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dcr.reporting.numbers import show_value

WORDS = {
    "image_score": "each caption picks its image",
    "text_score": "each image picks its captions",
    "group_score": "each caption picks its image, and each image its captions",
    "group_match": "the right assignment of images to captions has the highest sum",
}
_SHOWN = ("mean", *WORDS)


def tell_rules(sets: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return by measure (``benchmark.metric``) its rule, and what guessing gives.

    Of types only their mean has an entry.

    Args:
        sets: see `dcr.evaluation.tables.set_records`.
    """
    return {
        f"{benchmark}.{metric}": f"{rule['rule']}: {WORDS[rule['rule']]}; guessing gives"
        f" {show_value(rule['chance'])} %"
        for one in sets
        for benchmark, metrics in one.get("rules", {}).items()
        for metric, rule in metrics.items()
        if metric in _SHOWN
    }


def tell_published(sets: Sequence[Mapping[str, Any]], published: Mapping[str, Any]) -> str:
    """Say by which rules the published values of caption selection are; "" where there are none.

    Args:
        sets: see `dcr.evaluation.tables.set_records`.
        published: fractions by measure, of each published method.
    """
    benchmarks = {key.partition(".")[0] for values in published.values() for key in values}
    told = [
        f"those of {one['dataset']} are by {', '.join(one['published_rules'])}"
        for one in sets
        if one.get("published_rules") and benchmarks & set(one["benchmarks"])
    ]
    return "; ".join(told)
