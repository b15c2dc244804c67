"""Positives made by the diffusion model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from dcr.parameters.section import Section


class SynthesisParameters(Section):
    """How candidates are made, how many, and how many of them the page shows."""

    num_candidates: PositiveInt
    num_steps: PositiveInt
    eta: float = Field(ge=0, le=1)
    sample_weight: float = Field(ge=0, le=1)
    condition: Literal["none", "caption"]
    seed: int
    batch_size: PositiveInt
    num_ranks: PositiveInt
    rank: int = Field(ge=0)
    num_examples: int = Field(ge=2)
