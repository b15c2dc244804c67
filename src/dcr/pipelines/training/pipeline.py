"""Pipeline `training`: projector, then the image tower by each method, then the encoders."""

from kedro.pipeline import Node, Pipeline

from .nodes import export_baselines, export_encoder, record_training, train_adapters, train_projector

_SOURCES = ["params:training", "latents", "backbone", "diffusion", "checkpoints"]


def create_pipeline() -> Pipeline:
    """Return the pipeline; stage 1's projector is shared by all methods but end_to_end."""
    return Pipeline(
        [
            Node(
                train_projector,
                inputs=[*_SOURCES, "synthetic_positives_folder"],
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
                record_training,
                inputs=["params:training", "projector_run", "adapter_runs", "input_hashes"],
                outputs=["losses", "training_record"],
                name="record_training",
            ),
            Node(
                export_encoder,
                inputs=["params:training", "params:recipe", "backbone", "adapters", "training_record"],
                outputs="encoder",
                name="export_encoder",
            ),
            Node(
                export_baselines,
                inputs=["params:training", "params:recipe", "backbone", "adapters", "training_record"],
                outputs="baselines",
                name="export_baselines",
            ),
        ]
    )
