"""What `kedro plan` assumes of data and cards."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from dcr.parameters.section import Section


class PlanParameters(Section):
    """What is not known before a run, and what its cost depends on."""

    num_images: PositiveInt
    share_of_peak: float = Field(gt=0, le=1)
    memories_gb: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
