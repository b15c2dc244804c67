"""Numbers as people read them, in units of their size."""

from __future__ import annotations


def in_bytes(number: float) -> str:
    """Return a ``number`` of bytes in kB, MB, GB or TB, powers of 1000."""
    return _scaled(number, ("kB", "MB", "GB", "TB"))


def in_flops(number: float) -> str:
    """Return a ``number`` of operations in kFLOP to EFLOP, powers of 1000."""
    return _scaled(number, ("kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def in_time(hours: float) -> str:
    """Return ``hours`` in seconds, minutes or hours."""
    if hours * 3600 < 1:
        return "< 1 s"
    if hours * 60 < 1:
        return f"{_digits(hours * 3600)} s"
    return f"{_digits(hours * 60)} min" if hours < 1 else f"{_digits(hours)} h"


def _scaled(number: float, units: tuple[str, ...]) -> str:
    """Return the number in the largest of the ``units`` that it has one of."""
    scaled = number / 1000
    for unit in units[:-1]:
        if scaled < 1000:
            return f"{_digits(scaled)} {unit}"
        scaled /= 1000
    return f"{_digits(scaled)} {units[-1]}"


def _digits(number: float) -> str:
    """Return a number with the digits that matter."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"
