"""The README.md of an exported encoder: what it is, what it was made from, what was measured."""

from __future__ import annotations

from typing import Any

from dcr.data.sources import HUB, LOCAL
from dcr.encoder_names import BASE, aligned_name, unaligned_name
from dcr.export.card_texts import (
    ALIGNMENTS,
    CROP,
    MAPPED,
    PICTURES,
    REFITTED,
    USE,
    USE_ADAPTER,
    USE_OPEN_CLIP,
    USE_TRANSFORMERS,
)
from dcr.export.front_matter import PAPER, front_matter
from dcr.metrics.direction import is_share
from dcr.pages.markdown import code, code_cell, text

_REQUIRED = ("base_model", "recipe", "method", "licence")


def model_card(card: dict[str, Any], missing: dict[str, str]) -> str:
    """Return the Markdown text of the card.

    Args:
        card: ``base_model`` (name or folder), ``recipe``, ``method``, ``licence`` (of the weights;
            an SPDX name or ``unknown``); optional ``base_revision`` (its commit), ``tuning`` (how
            the tower trained, in words), ``hashes`` {what: sha256}, ``settings`` {parameter:
            value}, ``phases`` (of training, a row of {name: value} each, all with the same names),
            ``alignment`` (``form`` and ``chosen`` of what followed training, {} for nothing; the
            scores are then of the encoders in both forms), ``scores`` {encoder: {benchmark:
            {metric: value}}}, ``intervals`` (likewise, [low, high]), ``sets`` {benchmark: name of
            its set}, ``comparisons`` {benchmark: {difference, low, high}} of the method with the
            base, ``resize_mode`` of the tower's preprocessing, and ``notes`` (paragraphs on how it
            was made). Names and values may come from foreign files: all are shown as they are,
            notes aside. What `dcr.export.results` takes of it besides is not shown.
        missing: {format: reason} for the formats that the folder lacks.

    Raises:
        ValueError: a required key is absent.
    """
    absent = [key for key in _REQUIRED if key not in card]
    if absent:
        raise ValueError(
            f"card must have the keys {', '.join(_REQUIRED)}, lacks {', '.join(absent)}"
        )
    sections = [
        front_matter(card, missing, _title(card)),
        _summary(card),
        _use(missing, card.get("resize_mode")),
    ]
    sections += [
        f"This folder has no {name} files. {text(reason)}\n"
        for name, reason in sorted(missing.items())
    ]
    sections += [_alignment(card)] if card.get("alignment") else []
    if any((card.get("scores") or {}).values()):
        sections.append(_scores(card["scores"], card.get("intervals") or {}))
    sections.append(_losses(card.get("comparisons")))
    if card.get("phases"):
        sections.append(_phases(card["phases"]))
    for title, key in (("Training", "settings"), ("Hashes (sha256)", "hashes")):
        if card.get(key):
            sections.append(_table(title, card[key]))
    sections += [f"{note}\n" for note in card.get("notes", ())]
    return "\n".join(sections)


def _summary(card: dict[str, Any]) -> str:
    base_model = card["base_model"]
    method = card["method"]
    revision = f" at commit {code(card['base_revision'])}" if card.get("base_revision") else ""
    return (
        f"# {text(_title(card))}, image tower enhanced by {text(method)}\n\nRecipe"
        f" {code(card['recipe'])}, method {code(method)}, base model {code(base_model)}{revision}."
        f" The image tower was trained {text(card.get('tuning', 'with LoRA'))} through a frozen"
        " diffusion model (Diffusion Contrastive Reconstruction,"
        f" [arXiv {PAPER}](https://arxiv.org/abs/{PAPER})); an adapter is merged"
        " and kept in `adapter/`, where there is one. The text tower is the base"
        f" model's{REFITTED if _form(card) == 'text' else ''}.\n"
    )


def _alignment(card: dict[str, Any]) -> str:
    """Return the section on what followed training: how it was chosen, what adapter users do."""
    form = _form(card)
    method = card["method"]
    chosen = ", ".join(
        f"{key.replace('_', ' ')} {value:.6g}" for key, value in card["alignment"]["chosen"].items()
    )
    name, layer = MAPPED[form]
    return (
        f"## Alignment\n\nAfter training, {ALIGNMENTS[form]} Chosen on held-out training images:"
        f" {text(chosen)}. In the scores {text(method)} is this folder's encoder,"
        f" {text(unaligned_name(method))} the same as trained, and {aligned_name(BASE)} the base"
        f" model treated in the same way.\n{USE_ADAPTER.format(layer=layer, name=name)}"
    )


def _form(card: dict[str, Any]) -> str:
    return str((card.get("alignment") or {}).get("form", "none"))


def _title(card: dict[str, Any]) -> str:
    """Return the base model's name; the recipe's where the model is known by a path alone."""
    name = str(card["base_model"]).removeprefix(HUB)
    is_path = name.startswith((LOCAL, "/", ".")) or name.count("/") > 1 or "\\" in name
    return str(card["recipe"]) if is_path else name


def _use(missing: dict[str, str], resize_mode: str | None) -> str:
    parts = [USE]
    parts += [] if "transformers" in missing else [USE_TRANSFORMERS]
    parts += [] if "open_clip" in missing else [USE_OPEN_CLIP]
    parts += [CROP] if "transformers" not in missing and resize_mode == "shortest" else []
    return "".join([*parts, PICTURES])


def _scores(scores: dict[str, Any], intervals: dict[str, Any]) -> str:
    """Return one table: a row per benchmark and metric, a column per encoder, with intervals."""
    encoders = list(scores)
    rows = sorted(
        {
            (b, m)
            for benchmarks in scores.values()
            for b, metrics in benchmarks.items()
            for m in metrics
        }
    )
    note = (
        "In percent, but for cosines and distances, of which neither end is the better one; in"
        " brackets the interval. Linear probes standardise the features.\n"
    )
    lines = [
        "## Scores\n",
        note,
        f"| benchmark | metric | {' | '.join(map(text, encoders))} |",
        "|---" * (2 + len(encoders)) + "|",
    ]
    for benchmark, metric in rows:
        cells = [
            _cell(
                benchmark,
                *(
                    table.get(encoder, {}).get(benchmark, {}).get(metric)
                    for table in (scores, intervals)
                ),
            )
            for encoder in encoders
        ]
        lines.append(f"| {text(benchmark)} | {text(metric)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(benchmark: str, value: float | None, interval: list[float] | None) -> str:
    def show(number: float) -> str:
        """Return ``number`` in percent where it is a share."""
        return f"{100 * number:.1f}" if is_share(benchmark) else f"{number:.3f}"

    if value is None:
        return "-"
    return show(value) + (f" [{show(interval[0])}, {show(interval[1])}]" if interval else "")


def _losses(comparisons: dict[str, dict[str, Any]] | None) -> str:
    """Return the section on what got worse.

    A measure whose interval holds zero did not, as far as can be told.
    """
    title = "## Known losses\n\n"
    if not comparisons:
        return (
            f"{title}Not measured: the encoders had not been evaluated when this folder was"
            " written.\n"
        )
    differences = {
        f"{benchmark} {metric}": metrics[metric]["difference"]
        for benchmark, metrics in sorted(comparisons.items())
        if is_share(benchmark)
        for metric in (["mean"] if "mean" in metrics else metrics)
    }
    lost = [
        f"- {text(measure)}: {100 * found['value']:+.1f} points against the base model, interval"
        f" [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}] over"
        f" {_spread(found['num_seeds'])}"
        for measure, found in differences.items()
        if found["high"] < 0
    ]
    told = ", ".join(map(text, differences))
    return (
        title
        + ("\n".join(lost) if lost else f"None beyond the interval of the difference in {told}.")
        + "\n"
    )


def _spread(num_seeds: int) -> str:
    return f"{num_seeds} training seeds and the test items" if num_seeds > 1 else "the test items"


def _phases(phases: list[dict[str, Any]]) -> str:
    """Return one table, a row for each phase of training."""
    rows = [f"| {' | '.join(code_cell(value) for value in phase.values())} |" for phase in phases]
    head = f"| {' | '.join(map(text, phases[0]))} |"
    return "\n".join(["## Phases of training\n", head, "|---" * len(phases[0]) + "|", *rows]) + "\n"


def _table(title: str, rows: dict[str, Any]) -> str:
    lines = [f"| {text(name)} | {code_cell(value)} |" for name, value in rows.items()]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *lines]) + "\n"
