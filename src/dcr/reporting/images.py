"""Pictures of the page: pairs that flipped and reconstructions, each as a data URI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from dcr.data.benchmark_sets.files import decode_image
from dcr.data.benchmark_sets.mmvp_vlm import PROMPT
from dcr.metrics.bootstrap import mcnemar
from dcr.pages import to_data_uri

if TYPE_CHECKING:
    from dcr.data.benchmark_sets import Pair


def find_flipped_pairs(
    pairs: Sequence[Pair], outcomes: pd.DataFrame, before: str, after: str, num_shown: int
) -> dict[str, Any]:
    """Find the MMVP-VLM pairs that one encoder answers and the other does not.

    Shown are the first pairs of every type in turn, so that no choice is made by looks.

    Args:
        pairs: of the set, in its order; those without an outcome are left out.
        outcomes: see `pair_outcomes`.
        before, after: names of the two encoders.
        num_shown: pairs shown at most of those gained, and of those lost.

    Returns:
        ``num_pairs``, ``p_value`` (McNemar's exact test), and for ``gained`` and ``lost`` a
        ``count`` and up to ``num_shown`` ``pairs`` with ``type``, ``statements`` and ``images`` as
        data URIs.
    """
    answers = pair_outcomes(outcomes, "mmvp_vlm", before, after).set_index("item")
    known = [pair for pair in pairs if _item(pair) in answers.index]
    right = answers.loc[[_item(pair) for pair in known], ["before", "after"]].to_numpy(dtype=bool)
    gained, lost, p_value = mcnemar(right[:, 0], right[:, 1])
    flips: dict[str, Any] = {"num_pairs": len(known), "p_value": p_value}
    for name, count, mask in (
        ("gained", gained, ~right[:, 0] & right[:, 1]),
        ("lost", lost, right[:, 0] & ~right[:, 1]),
    ):
        chosen = _spread_over_types(
            [pair for pair, flipped in zip(known, mask, strict=True) if flipped], num_shown
        )
        flips[name] = {"count": count, "pairs": [_show_pair(pair) for pair in chosen]}
    return flips


def pair_outcomes(outcomes: pd.DataFrame, benchmark: str, before: str, after: str) -> pd.DataFrame:
    """Return the items of a benchmark that both encoders answered: item, group, before, after.

    Args:
        outcomes: one row per encoder, benchmark, item and group, with ``correct`` in [0, 1].
        benchmark: which of them.
        before, after: names of the encoders.
    """
    keys = ["item", "group"]
    sides = [
        outcomes.loc[
            (outcomes["benchmark"] == benchmark) & (outcomes["encoder"] == encoder),
            [*keys, "correct"],
        ]
        for encoder in (before, after)
    ]
    pairs = sides[0].merge(sides[1], on=keys, suffixes=("_before", "_after"), sort=False)
    return pairs.rename(columns={"correct_before": "before", "correct_after": "after"})


def _item(pair: Pair) -> str:
    return f"{pair.ids[0]}-{pair.ids[1]}"


def _spread_over_types(pairs: Sequence[Pair], number: int) -> list[Pair]:
    """Take the first pair of each type, then the second, and so on; show them by type."""
    seen: dict[str, int] = {}
    ranked = []
    for position, pair in enumerate(pairs):
        seen[pair.type] = seen.get(pair.type, 0) + 1
        ranked.append((seen[pair.type], position))
    return [
        pairs[position] for position in sorted(position for _, position in sorted(ranked)[:number])
    ]


def _show_pair(pair: Pair) -> dict[str, Any]:
    return {
        "type": pair.type,
        "statements": [show_statement(text) for text in pair.texts],
        "images": [to_data_uri(image) for image in open_images(pair)],
    }


def show_statement(text: str) -> str:
    """Return ``text``, of a pair, without the words that the benchmark puts before each."""
    return text.removeprefix(PROMPT)


def open_images(pair: Pair) -> list[Image.Image]:
    """Return the two images of ``pair`` as RGB, the odd id's first; UserError if one is broken."""
    return [decode_image(path.read_bytes(), str(path)) for path in pair.images]


def choose_examples(pairs: Sequence[Pair], number: int) -> list[Pair]:
    """Return ``number`` of the ``pairs``, or all if there are fewer, one of each type in turn."""
    return _spread_over_types(pairs, number)


def tabulate_images(
    columns: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, str]], original: str
) -> dict[str, Any]:
    """Put images side by side, with columns' mean squared errors against the column ``original``.

    Args:
        columns: by name, pixels (N, H, W, 3) in [0, 1].
        rows: N rows' own words, such as ``type`` and ``statement``.
        original: the column that the others are measured against.

    Returns:
        ``columns`` with ``name`` and ``error``, and ``rows`` with ``images`` as data URIs in the
        columns' order.
    """
    heads = [
        {
            "name": name,
            "error": float(np.mean((images.astype(np.float64) - columns[original]) ** 2)),
        }
        for name, images in columns.items()
    ]
    uris = [
        [to_data_uri(_to_image(images[i])) for images in columns.values()] for i in range(len(rows))
    ]
    return {
        "columns": heads,
        "rows": [{**row, "images": list(images)} for row, images in zip(rows, uris, strict=True)],
    }


def _to_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))
