"""The encoder that is handed on."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from dcr.parameters.section import Section

_MEASURE = re.compile(r".+\.[^.]+", re.DOTALL)
_PLACE = re.compile(r"[\w.-]+/[\w.-]+/[\w.-]+")


class ExportParameters(Section):
    """In which precision, and with which variants, the enhanced encoder is written."""

    dtype: Literal["float32", "float16", "bfloat16"]
    vision_only: bool
    hub_benchmarks: dict[str, str]

    @field_validator("hub_benchmarks")
    @classmethod
    def _lead_from_measures_to_places(cls, benchmarks: dict[str, str]) -> dict[str, str]:
        for measure, place in benchmarks.items():
            if not _MEASURE.fullmatch(measure):
                raise ValueError(f"{measure}: write <benchmark>.<metric>")
            if not _PLACE.fullmatch(place):
                raise ValueError(f"{measure}: write org/dataset/task")
        return benchmarks
