"""Which of several processes this one is, as torchrun says by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dcr.errors import UserError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def read_ranks(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Return rank and number of processes, None where torchrun did not start this process.

    Args:
        environment: variables by name, of which RANK, WORLD_SIZE and LOCAL_RANK count.

    Raises:
        UserError: the variables are not whole, or contradict each other, as stray ones do.
    """
    found = {name: environment[name] for name in _VARIABLES if name in environment}
    if not found:
        return None
    numbers = {name: _number(name, value) for name, value in found.items()}
    if missing := [name for name in ("RANK", "WORLD_SIZE") if name not in numbers]:
        raise UserError(
            f"{next(iter(found))} is set in the environment and {missing[0]} is not: start the"
            f" processes by torchrun, which sets both, or run `unset {' '.join(found)}`"
        )
    rank = numbers["RANK"]
    count = numbers["WORLD_SIZE"]
    if not 0 <= rank < count or not 0 <= numbers.get("LOCAL_RANK", 0) < count:
        raise UserError(
            f"{', '.join(f'{name}={value}' for name, value in found.items())} of the environment"
            " contradict each other: a rank is below WORLD_SIZE; start the processes by torchrun,"
            f" or run `unset {' '.join(found)}`"
        )
    return rank, count


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise UserError(
            f"{name}={value!r} of the environment must be a whole number: run `unset {name}`, or"
            " use torchrun"
        )
    return int(value)
