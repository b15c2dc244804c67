"""Pipeline `selection`: train and evaluate candidates on validation sets, choose one by a rule."""

from kedro.pipeline import Node, Pipeline

from .nodes import (
    check_search,
    choose_candidate,
    plot_candidates,
    train_shared_projector,
    try_candidates,
    write_page,
)

_SOURCES = ["latents", "backbone", "diffusion"]


def create_pipeline() -> Pipeline:
    """Return the pipeline; no node reads a set that the recipe itself is evaluated on."""
    return Pipeline(
        [
            Node(
                check_search,
                inputs={
                    "selection": "params:selection",
                    "training": "params:training",
                    "alignment": "params:alignment",
                    "evaluation": "params:evaluation",
                    "backbone": "backbone",
                    "cache": "evaluation_cache",
                    "mmvp_vlm": "validation_mmvp_vlm",
                    "classification": "validation_classification",
                    "retrieval": "validation_retrieval",
                },
                outputs="validation_sets",
                name="check_search",
            ),
            Node(
                train_shared_projector,
                inputs=[
                    "params:training",
                    *_SOURCES,
                    "checkpoints",
                    "synthetic_positives_folder",
                    "validation_sets",
                ],
                outputs="shared_projector",
                name="train_shared_projector",
            ),
            Node(
                try_candidates,
                inputs={
                    "selection": "params:selection",
                    "training": "params:training",
                    "alignment": "params:alignment",
                    "previous": "previous_selection_results",
                    "evaluation": "params:evaluation",
                    "latents": "latents",
                    "backbone": "backbone",
                    "diffusion": "diffusion",
                    "positives": "synthetic_positives_folder",
                    "projector": "shared_projector",
                    "checkpoints": "selection_checkpoints",
                    "sets": "validation_sets",
                    "cache": "evaluation_cache",
                },
                outputs="selection_results",
                name="try_candidates",
            ),
            Node(
                choose_candidate,
                inputs=[
                    "params:selection",
                    "params:training",
                    "params:alignment",
                    "selection_results",
                ],
                outputs="selection_record",
                name="choose_candidate",
            ),
            Node(
                plot_candidates,
                inputs=["params:selection", "params:reporting", "selection_results"],
                outputs="selection_plot",
                name="plot_candidates",
            ),
            Node(
                write_page,
                inputs=[
                    "params:recipe.name",
                    "params:evaluation.confidence",
                    "selection_record",
                    "selection_plot",
                ],
                outputs="selection_page",
                name="write_selection_page",
            ),
        ]
    )
