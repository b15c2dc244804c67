"""Pipeline `alignment`: what follows stage 2 for every encoder, and for the base."""

from kedro.pipeline import Node, Pipeline

from .nodes import fit_alignments


def create_pipeline() -> Pipeline:
    """Return the pipeline.

    The record is written after the maps, so that a cut leaves maps that do not fit it.
    """
    return Pipeline(
        [
            Node(
                fit_alignments,
                inputs=[
                    "params:alignment",
                    "params:training",
                    "training_record",
                    "latents",
                    "backbone",
                    "adapters",
                ],
                outputs=["alignments", "alignment_record"],
                name="fit_alignments",
            )
        ]
    )
