"""Pipeline `likeness`: a second look at every sample, between two nodes of `validation`."""

from kedro.pipeline import Node, Pipeline

from .nodes import compare_samples, embed_samples

_SETS = ("mmvp_vlm", "classification", "retrieval", "more_sets")


def create_pipeline() -> Pipeline:
    """Return the pipeline.

    It takes what `measure_samples` of pipeline `validation` leaves, and `judge_samples` there takes
    what it finds: where a recipe lists both, Kedro puts it between them.
    """
    return Pipeline(
        [
            Node(
                embed_samples,
                inputs=["params:likeness", "samples", "shards", "backbone"],
                outputs="sample_features",
                name="embed_samples",
            ),
            Node(
                compare_samples,
                inputs={
                    "parameters": "params:likeness",
                    "features": "sample_features",
                    "backbone": "backbone",
                    "cache": "evaluation_cache",
                    "chosen": "params:evaluation.sets",
                    **{name: name for name in _SETS},
                },
                outputs="likenesses",
                name="compare_samples",
            ),
        ]
    )
