"""What a folder of latents is meant to hold, as a file in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dcr.errors import UserError
from dcr.files import atomic_path

PLAN_NAME = "plan.json"
Sources = dict[str, dict[str, Any]]
"""By source its ``weight``, and ``shards``, a list of their names."""


class OfSources:
    """What reads a folder of latents knows the sources that its samples are of.

    Attributes:
        sources: as `read_plan` returns them.
    """

    sources: Sources

    @property
    def weights(self) -> dict[str, float]:
        """The sources that the samples are of, by name, and how often each is drawn from."""
        return {name: source["weight"] for name, source in sorted(self.sources.items())}


def read_plan(folder: str | Path, pipeline: str = "latents") -> dict[str, Any]:
    """Return what the folder is to hold: ``mode``, ``settings``, ``shards``, ``sources``.

    Args:
        folder: where the shards lie, or are to lie.
        pipeline: that writes it, for the errors.

    Raises:
        UserError: there is no plan, or it cannot be read.
    """
    try:
        plan = json.loads((Path(folder) / PLAN_NAME).read_text(encoding="utf-8"))
        return {name: plan[name] for name in ("mode", "settings", "shards", "sources")}
    except FileNotFoundError as exc:
        raise UserError(
            f"{folder}: no shards; make them with `kedro run --pipelines {pipeline}`"
        ) from exc
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise UserError(
            f"{folder}/{PLAN_NAME} cannot be read ({exc}); write it with `kedro run --pipelines"
            f" {pipeline}`"
        ) from exc


def write_plan(
    folder: Path, mode: str, settings: dict[str, Any], shards: dict[str, Any], sources: Sources
) -> None:
    """Write what `read_plan` reads.

    Args:
        folder: where the shards are to lie.
        mode: ``cache`` or ``online``.
        settings: what decides about the latents, the samples apart.
        shards: by name, their keys; in mode ``online`` path and key of each input shard.
        sources: that the shards are of.
    """
    plan = {"mode": mode, "settings": settings, "shards": shards, "sources": sources}
    with atomic_path(folder / PLAN_NAME) as temporary:
        temporary.write_text(json.dumps(plan, indent=1, sort_keys=True), encoding="utf-8")


def sources_of_shards(sources: Sources) -> dict[str, str]:
    """Return by a shard's name the source that it is of.

    Args:
        sources: as `read_plan` returns them.
    """
    return {shard: name for name, source in sources.items() for shard in source["shards"]}
