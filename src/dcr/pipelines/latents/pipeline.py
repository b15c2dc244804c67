"""Pipelines `latents`, accepted samples to crops and their VAE moments, and `verify`.

The latter tells whether they are sound.
"""

from kedro.pipeline import Node, Pipeline

from .nodes import encode_latents, repair_latents, verify_latents

_SOURCES = ["manifest", "shards", "backbone", "diffusion", "params:recipe"]


def create_pipeline() -> Pipeline:
    """Return the pipeline, one node."""
    return Pipeline(
        [
            Node(
                encode_latents,
                inputs=["params:latents", *_SOURCES],
                outputs="latents",
                name="encode_latents",
            )
        ]
    )


def create_verify_pipeline() -> Pipeline:
    """Return the check of the cache; its list is written before a failure is told or repaired."""
    return Pipeline(
        [
            Node(
                verify_latents,
                inputs=["params:latents", "params:verify", *_SOURCES, "latent_folder"],
                outputs=["latents_verification", "verification", "latent_plan"],
                name="verify_latents",
            ),
            Node(
                repair_latents,
                inputs=["params:verify", "verification", "latent_plan"],
                outputs="repaired_latents",
                name="repair_latents",
            ),
        ]
    )
