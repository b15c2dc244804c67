"""Pipeline `scenes`: the demo's shards and evaluation sets, and the base models trained on the shards."""

from kedro.pipeline import Node, Pipeline

from .nodes import (
    draw_classification,
    draw_mmvp_vlm,
    draw_retrieval,
    draw_shards,
    measure_base_models,
    record_scenes,
    train_base_clip,
    train_base_diffusion,
)

# What an earlier run left; read anew by each node, so that the last one sees what the first two wrote.
_DRAWN = ["previously_drawn_scenes", "scene_hashes"]
_EARLIER = ["previous_base_models", "base_model_hashes"]


def create_pipeline() -> Pipeline:
    """Return the pipeline; base models that are still those of shards and parameters are not trained again."""
    return Pipeline(
        [
            Node(draw_shards, inputs=["params:scenes", *_DRAWN], outputs="shards", name="draw_shards"),
            Node(draw_mmvp_vlm, inputs=["params:scenes", *_DRAWN], outputs="mmvp_vlm", name="draw_mmvp_vlm"),
            Node(
                draw_classification,
                inputs=["params:scenes", *_DRAWN],
                outputs="classification",
                name="draw_classification",
            ),
            Node(draw_retrieval, inputs=["params:scenes", *_DRAWN], outputs="retrieval", name="draw_retrieval"),
            Node(
                record_scenes,
                inputs=["params:scenes", "scene_hashes", "shards", "mmvp_vlm", "classification", "retrieval"],
                outputs="drawn_scenes",
                name="record_scenes",
            ),
            Node(
                train_base_clip,
                inputs=["params:pretraining", "shards", *_EARLIER],
                outputs="backbone",
                name="train_base_clip",
            ),
            Node(
                train_base_diffusion,
                inputs=["params:pretraining", "shards", *_EARLIER],
                outputs="diffusion",
                name="train_base_diffusion",
            ),
            Node(
                measure_base_models,
                inputs=["params:pretraining", "shards", "backbone", "diffusion", *_EARLIER],
                outputs="base_models",
                name="measure_base_models",
            ),
        ]
    )
