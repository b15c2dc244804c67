"""Pipeline `latents`: each accepted sample becomes a crop and its VAE moments."""

from kedro.pipeline import Node, Pipeline

from .nodes import encode_latents


def create_pipeline() -> Pipeline:
    """Return the pipeline, one node."""
    return Pipeline(
        [
            Node(
                encode_latents,
                inputs=["params:latents", "manifest", "shards", "backbone", "diffusion"],
                outputs="latents",
                name="encode_latents",
            )
        ]
    )
