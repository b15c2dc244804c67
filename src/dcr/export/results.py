"""An encoder's scores as the hub's evaluation results, and as the file that lies beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dcr.encoder_names import BASE
from dcr.errors import UserError
from dcr.metrics.direction import is_share
from dcr.pages.markdown import one_line

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

RESULTS = "results.json"
"""In the encoder's folder: `results_of` its card."""

LEADERBOARDS = ".eval_results/scores.yaml"
"""In the encoder's folder, where the hub looks for them: `leaderboard_entries`."""

_KEPT = (
    *("recipe", "method", "licence", "base_model", "base_revision", "weights", "files", "data"),
    *("sets", "leaderboards", "scores", "intervals", "comparisons"),
)
_TASKS = {  # of the hub's list, by benchmark
    "zero_shot": "zero-shot-image-classification",
    "probes": "image-classification",
    "linear_probe": "image-classification",
    "segmentation": "image-segmentation",
}
_OTHER_TASK = "image-feature-extraction"


def results_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of ``card`` a program may want to read, and what tells an export from another.

    Args:
        card: as `dcr.export.card.model_card` takes it, with ``weights`` (hash of what was
            evaluated), ``files`` (section `export`'s precision and variants), ``data`` (hash of the
            data card) and ``leaderboards`` (`leaderboard_entries`); what it lacks is None.
    """
    return {name: card.get(name) for name in _KEPT}


def eval_results(card: Mapping[str, Any]) -> list[EvalResult]:
    """Return the method's scores as the hub's evaluation results, a benchmark's mean alone if any.

    Cosines and distances, of which neither end is the better one, and averages over several sets
    are left out. Beside each value stand its interval and the base model's.

    Args:
        card: as `dcr.export.card.model_card` takes it.
    """
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=_TASKS.get(benchmark.partition("/")[0], _OTHER_TASK),
            dataset_type=_slug(name),
            dataset_name=one_line(name),
            metric_type=_slug(metric),
            metric_name=one_line(f"{benchmark} {metric}"),
            metric_value=value,
            metric_args=_beside(card, benchmark, metric),
        )
        for benchmark, name, metric, value in _shares(card)
    ]


def leaderboard_entries(
    card: Mapping[str, Any], hub_benchmarks: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the method's scores on benchmarks of which the hub keeps a leaderboard, as fractions.

    Args:
        card: as `dcr.export.card.model_card` takes it.
        hub_benchmarks: ``<org>/<dataset>/<task>`` by ``<benchmark>.<metric>``.

    Raises:
        UserError: one was not measured.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    scores = (card.get("scores") or {}).get(card["method"]) or {}
    entries = []
    for measure, place in hub_benchmarks.items():
        benchmark, _, metric = measure.rpartition(".")
        value = scores.get(benchmark, {}).get(metric)
        if value is None:
            known = sorted(f"{b}.{m}" for b, metrics in scores.items() for m in metrics)
            raise UserError(
                f"export.hub_benchmarks names {measure}, which {card['method']} has no score of;"
                f" it has {', '.join(known) or 'none'}"
            )
        dataset, _, task = place.rpartition("/")
        entries.append(EvalResultEntry(dataset_id=dataset, task_id=task, value=value))
    told: list[dict[str, Any]] = eval_result_entries_to_yaml(entries)
    return told


def _shares(card: Mapping[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    """Yield benchmark, name of its set, metric and value."""
    scores = (card.get("scores") or {}).get(card["method"]) or {}
    for benchmark, name in (card.get("sets") or {}).items():
        metrics = scores.get(benchmark, {}) if is_share(benchmark) else {}
        for metric in ["mean"] if "mean" in metrics else metrics:
            yield benchmark, name, metric, metrics[metric]


def _beside(card: Mapping[str, Any], benchmark: str, metric: str) -> dict[str, Any] | None:
    interval = (card.get("intervals") or {}).get(card["method"], {}).get(benchmark, {}).get(metric)
    base = card["scores"].get(BASE, {}).get(benchmark, {}).get(metric)
    told = {"interval": interval, "base_model": base}
    return {name: value for name, value in told.items() if value is not None} or None


def _slug(name: str) -> str:
    """Return ``name`` in the letters that the hub allows in the name of a set or metric."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    return kept.strip("-") or "unnamed"
