"""The report."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from dcr.parameters.section import Section


class ReportingParameters(Section):
    """What the page shows, its headline's measures, and the methods to compare the product with."""

    seed: int
    detail_measures: list[str] = Field(min_length=1)
    separation_measures: list[str] = Field(min_length=1)
    text_measures: list[str] = Field(min_length=1)
    rivals: list[str]
    num_flipped_pairs: PositiveInt
    num_reconstructions: PositiveInt
    num_denoising_steps: PositiveInt
    guidance_scale: float = Field(gt=0)
    loss_window: PositiveInt
    neighbour_queries: list[str]
    num_shown_neighbours: PositiveInt
    published_backbone: str | None
    notes: list[str]
