"""The comparison of many runs."""

from __future__ import annotations

from pydantic import Field

from dcr.parameters.section import Section


class SweepParameters(Section):
    """Which signals run with which seeds, what they are compared by, and with which."""

    signals: list[str] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    baseline: str
    detail_measure: str
    separation_measure: str
    confidence: float = Field(gt=0, lt=1)
