"""The comparison of many runs."""

from __future__ import annotations

from pydantic import Field

from dcr.parameters.section import Section


class SweepParameters(Section):
    """What signals are compared by, and with which."""

    baseline: str
    detail_measure: str
    separation_measure: str
    confidence: float = Field(gt=0, lt=1)
