"""What the demo's base models tell apart at all, detail by detail.

Nothing that follows can teach more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LEAST_DISTANCE = 0.02


def build_details(base_models: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of the details, and sentences that name those that a base model cannot tell.

    Args:
        base_models: ``details``, by name ``rise``, ``standard_error`` and whether it is ``known``;
            ``clip`` with ``statement_distance`` by name. Empty where the models were not trained
            here.

    Returns:
        ``rows`` and ``sentences``, both empty where nothing was measured.
    """
    told = base_models.get("details", {})
    distances = base_models.get("clip", {}).get("statement_distance", {})
    unknown = [name for name, detail in told.items() if not detail["known"]]
    near = [name for name, distance in distances.items() if distance < _LEAST_DISTANCE]
    return {
        "rows": [_row(name, detail, distances.get(name)) for name, detail in told.items()],
        "sentences": [_unet_sentence(unknown), _text_sentence(near)] if told else [],
    }


def _row(name: str, detail: Mapping[str, Any], distance: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "rise": f"{1e4 * detail['rise']:.1f} ± {1e4 * detail['standard_error']:.1f}",
        "known": detail["known"],
        "distance": "–" if distance is None else f"{distance:.3f}",
        "apart": distance is None or distance >= _LEAST_DISTANCE,
    }


def _unet_sentence(unknown: Sequence[str]) -> str:
    if not unknown:
        return "The UNet tells every detail."
    return (
        f"The UNet cannot tell {_listed(unknown)}: with another value in the caption its noise"
        " error does not rise by three standard errors, and what it cannot tell, stage 2 cannot"
        " teach."
    )


def _text_sentence(near: Sequence[str]) -> str:
    if not near:
        return (
            f"The text tower puts the two statements of every pair at least {_LEAST_DISTANCE:g}"
            " apart (1 − cosine)."
        )
    return (
        f"The text tower puts the two statements of a pair about {_listed(near)} less than"
        f" {_LEAST_DISTANCE:g} apart (1 − cosine): there MMVP-VLM can hardly move, whatever the"
        " image tower learns."
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
