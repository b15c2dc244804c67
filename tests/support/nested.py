"""Values of sections by dotted name, as ``--params`` takes them."""

from __future__ import annotations

from typing import Any

from dcr.parameters.section import merge


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"stage2.learning_rate": 1e-3}`` as ``{"stage2": {"learning_rate": 1e-3}}``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        for part in reversed(name.split(".")):
            value = {part: value}
        found = merge(found, value)
    return found
