"""The encoder that is handed on."""

from __future__ import annotations

from typing import Literal

from dcr.parameters.section import Section


class ExportParameters(Section):
    """In which precision, and with which variants, the enhanced encoder is written."""

    dtype: Literal["float32", "float16", "bfloat16"]
    vision_only: bool
    hub_benchmarks: dict[str, str]
