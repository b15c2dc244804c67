"""What could not be evaluated, and why; the rest goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from dcr.data.benchmark_sets import BenchmarkSet, NamedSet
from dcr.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What could not be evaluated, and why.

    ``encoder`` is None where the set itself cannot be opened, ``set`` is None where the encoder
    cannot be loaded.
    """

    set: str | None
    encoder: str | None
    error: str


def open_sets(sets: Sequence[NamedSet]) -> tuple[dict[str, BenchmarkSet], list[Failure]]:
    """Open ``sets``; return by name those that can be opened, and why the others cannot."""
    opened = {}
    failures = []
    for entry in sets:
        try:
            opened[entry.name] = entry.open()
        except UserError as error:
            failures.append(fail(entry.name, None, error))
    return opened, failures


def fail(name: str | None, encoder: str | None, error: UserError) -> Failure:
    """Log that something is left out, and return it.

    Args:
        name: of the set, None where no set is meant.
        encoder: its name, None where no encoder is meant.
        error: why.
    """
    what = [f"set {name}"] * bool(name) + [f"encoder {encoder}"] * bool(encoder)
    logger.error("%s is left out: %s", " with ".join(what), error)
    return Failure(name, encoder, str(error))


def describe_failures(failures: Sequence[Failure]) -> str:
    """Say in one sentence which sets and encoders could not be evaluated and why.

    ``failures`` holds one at least.
    """
    reasons: dict[str, list[str]] = {}
    for failure in failures:
        reasons.setdefault(failure.error, []).append(failure.set or f"encoder {failure.encoder}")
    told = "; ".join(
        f"{', '.join(dict.fromkeys(names))}: {error}" for error, names in reasons.items()
    )
    return f"not evaluated: {told} (the scores of all others are written)"
