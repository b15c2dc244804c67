"""The sentence that says what changed, and how surely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dcr.evaluation.comparison import BETTER, HIGHER, LOWER, NOISE, ONE_SEED, WORSE, Comparison
from dcr.reporting.names import measure_name
from dcr.reporting.numbers import show_difference, show_interval

DETAIL = "detail"
SEPARATION = "class separation"
TEXT = "text scores"
"""What the headline's measures ask for: P-Ability, D-Ability, and what image and text still
have in common.
"""

_VERBS = {
    BETTER: "rose in",
    WORSE: "fell in",
    HIGHER: "rose in",
    LOWER: "fell in",
    NOISE: "stayed within noise in",
    ONE_SEED: "moved in",
}


def select(comparisons: Iterable[Comparison], keys: Sequence[str]) -> list[Comparison]:
    """Return those of ``comparisons`` that ``keys`` (``benchmark.metric``) name, in that order."""
    by_key = {comparison.key: comparison for comparison in comparisons}
    return [by_key[key] for key in keys if key in by_key]


def headline(
    name: str, comparisons: Sequence[Comparison], measures: Mapping[str, Sequence[str]]
) -> str:
    """Say in one sentence what rose, what fell and what cannot be told.

    Each stands in points and with its interval.

    Args:
        name: of the method, as the sentence's subject.
        comparisons: against the base.
        measures: keys ``benchmark.metric`` by what they ask for, in the order of the sentence.
    """
    kinds = {kind: found for kind, keys in measures.items() if (found := select(comparisons, keys))}
    if not kinds:
        return f"{name} and the base encoder have no measure in common."
    parts = "; ".join(f"{kind} {_tell_moves(found)}" for kind, found in kinds.items())
    number = max(c.difference.num_seeds for found in kinds.values() for c in found)
    return f"{_tell_subject(name, number)}: {parts}."


def _tell_subject(name: str, num_seeds: int) -> str:
    if num_seeds == 1:
        return f"One training seed of {name}, which tells nothing of another and has no verdict"
    return f"{name} over {num_seeds} training seeds" if num_seeds else f"{name}, as it is"


def _tell_moves(comparisons: Sequence[Comparison]) -> str:
    """Return each verdict's measures.

    For example ``rose in a (+1.2, 0.5 to 1.9) and stayed within noise in b (...)``.
    """
    moves: dict[str, list[str]] = {}
    for c in comparisons:
        change = show_difference(c.difference.value, c.is_share)
        interval = show_interval((c.difference.low, c.difference.high), c.is_share)
        moves.setdefault(_VERBS[c.verdict], []).append(
            f"{measure_name(c.key)} ({change}, {interval})"
        )
    return enumerate_words([f"{verb} {enumerate_words(words)}" for verb, words in moves.items()])


def enumerate_words(words: Sequence[str]) -> str:
    """Return ``words`` as ``a, b and c``; nothing for none."""
    return (
        words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
    )
