"""Pipeline `training`: projector, then the image tower by each method."""

from kedro.pipeline import Node, Pipeline

from .nodes import record_losses, record_training, train_adapters, train_projector

_SOURCES = ["params:training", "latents", "backbone", "diffusion", "checkpoints"]


def create_pipeline() -> Pipeline:
    """Return the pipeline; stage 1's projector is shared by all methods but end_to_end.

    The record is written last, from all that was written before it: what a run that was cut has
    left does not fit the record that stands from before, see `dcr.training.provenance`.
    """
    return Pipeline(
        [
            Node(
                train_projector,
                inputs=[*_SOURCES, "synthetic_positives_folder", "params:recipe"],
                outputs=["stage1_projector", "conditions", "projector_run", "input_hashes"],
                name="train_projector",
            ),
            Node(
                train_adapters,
                inputs=[*_SOURCES, "synthetic_positives_folder", "stage1_projector"],
                outputs=["adapters", "projector", "adapter_runs"],
                name="train_adapters",
            ),
            Node(
                record_losses,
                inputs=["projector_run", "adapter_runs"],
                outputs="losses",
                name="record_losses",
            ),
            Node(
                record_training,
                inputs={
                    "parameters": "params:training",
                    "projector_run": "projector_run",
                    "adapter_runs": "adapter_runs",
                    "input_hashes": "input_hashes",
                    "conditions": "conditions",
                    "projector": "projector",
                    "adapters": "adapters",
                    "losses": "losses",
                },
                outputs="training_record",
                name="record_training",
            ),
        ]
    )
