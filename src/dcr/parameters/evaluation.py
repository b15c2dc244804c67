"""The benchmarks."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, PositiveInt

from dcr.parameters.section import Section

SetName = Literal["mmvp_vlm", "classification", "retrieval", "more_sets"]
SETS: tuple[str, ...] = get_args(SetName)
"""The recipe's evaluation sets, as the catalog names them."""


class EvaluationParameters(Section):
    """Which sets are evaluated and how sure the scores are."""

    sets: list[SetName]
    model_name: str
    language: str
    batch_size: PositiveInt
    num_workers: int = Field(ge=0)
    num_ranks: PositiveInt
    rank: int = Field(ge=0)
    kmeans_seeds: list[int] = Field(min_length=1)
    kmeans_num_init: PositiveInt
    kmeans_batch_size: int = Field(ge=0)
    num_neighbours: PositiveInt
    probe_inverse_regularization: float = Field(gt=0)
    probe_max_iterations: PositiveInt
    num_segmentation_patches: PositiveInt
    num_segmentation_neighbours: PositiveInt
    segmentation_temperature: float = Field(gt=0)
    recall_at: list[PositiveInt] = Field(min_length=1)
    diva_results: bool
    compare_features: bool
    num_compared_images: int = Field(ge=2)
    num_compared_neighbours: PositiveInt
    num_resamples: PositiveInt
    confidence: float = Field(gt=0, lt=1)
    seed: int
