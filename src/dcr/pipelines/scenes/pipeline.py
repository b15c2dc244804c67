"""Pipelines `scenes` and `scenes_validation`.

The former makes the demo's shards, evaluation sets and base models, the latter further sets.
"""

from kedro.pipeline import Node, Pipeline

from .nodes import (
    check_base_models,
    draw_classification,
    draw_mmvp_vlm,
    draw_retrieval,
    draw_segmentation,
    draw_shards,
    draw_validation_classification,
    draw_validation_mmvp_vlm,
    draw_validation_retrieval,
    keep_base_clip,
    keep_base_diffusion,
    measure_base_models,
    record_scenes,
    train_base_models,
)

# What an earlier run left; read anew by each node, so that the last one sees what the first two
# wrote.
_DRAWN = ["previously_drawn_scenes", "scene_hashes"]
_EARLIER = ["previous_base_models", "base_model_hashes"]


def create_pipeline() -> Pipeline:
    """Return the pipeline.

    Base models that are still those of shards and parameters are not trained again.
    """
    return Pipeline(
        [
            Node(
                draw_shards, inputs=["params:scenes", *_DRAWN], outputs="shards", name="draw_shards"
            ),
            Node(
                draw_mmvp_vlm,
                inputs=["params:scenes", *_DRAWN],
                outputs="mmvp_vlm",
                name="draw_mmvp_vlm",
            ),
            Node(
                draw_classification,
                inputs=["params:scenes", *_DRAWN],
                outputs="classification",
                name="draw_classification",
            ),
            Node(
                draw_retrieval,
                inputs=["params:scenes", *_DRAWN],
                outputs="retrieval",
                name="draw_retrieval",
            ),
            Node(
                draw_segmentation,
                inputs=["params:scenes", *_DRAWN],
                outputs="segmentation",
                name="draw_segmentation",
            ),
            Node(
                record_scenes,
                inputs=[
                    "params:scenes",
                    "scene_hashes",
                    "shards",
                    "mmvp_vlm",
                    "classification",
                    "retrieval",
                    "segmentation",
                ],
                outputs="drawn_scenes",
                name="record_scenes",
            ),
            Node(
                train_base_models,
                inputs=["params:pretraining", "shards", *_EARLIER],
                outputs="trained_base_models",
                name="train_base_models",
            ),
            Node(
                keep_base_clip,
                inputs="trained_base_models",
                outputs="backbone",
                name="keep_base_clip",
            ),
            Node(
                keep_base_diffusion,
                inputs="trained_base_models",
                outputs="diffusion",
                name="keep_base_diffusion",
            ),
            Node(
                measure_base_models,
                inputs=["params:pretraining", "shards", "backbone", "diffusion", *_EARLIER],
                outputs="base_models",
                name="measure_base_models",
            ),
            Node(
                check_base_models,
                inputs=["params:pretraining", "base_models"],
                outputs=None,
                name="check_base_models",
            ),
        ]
    )


def create_validation_pipeline() -> Pipeline:
    """Return the pipeline that draws sets as large as the test sets, on which settings are chosen.

    They share no image with those or the shards, so that what is chosen on them has not seen the
    test sets.
    """
    earlier = ["params:scenes", "previously_drawn_validation_sets", "validation_set_hashes"]
    sets = ["validation_mmvp_vlm", "validation_classification", "validation_retrieval"]
    nodes = (draw_validation_mmvp_vlm, draw_validation_classification, draw_validation_retrieval)
    return Pipeline(
        [
            *(
                Node(draw, earlier, name, name=draw.__name__)
                for draw, name in zip(nodes, sets, strict=True)
            ),
            Node(
                record_scenes,
                inputs=["params:scenes", "validation_set_hashes", *sets],
                outputs="drawn_validation_sets",
                name="record_validation_sets",
            ),
        ]
    )
