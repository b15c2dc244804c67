"""Pipeline `synthesis`: every cached image gets positives made like it, a page shows some."""

from kedro.pipeline import Node, Pipeline

from .nodes import show_positives, synthesize_positives


def create_pipeline() -> Pipeline:
    """Return the pipeline."""
    return Pipeline(
        [
            Node(
                synthesize_positives,
                inputs=["params:synthesis", "latents", "diffusion"],
                outputs="synthetic_positives",
                name="synthesize_positives",
            ),
            Node(
                show_positives,
                inputs=["params:synthesis", "latents", "synthetic_positives", "backbone"],
                outputs=["synthesis_measures", "synthesis_pictures", "synthesis_page"],
                name="show_positives",
            ),
        ]
    )
