"""Pipeline `likeness`: a second look at every sample, between two nodes of `validation`."""

from kedro.pipeline import Node, Pipeline

from dcr.parameters.evaluation import SETS

from .nodes import compare_samples, embed_samples


def create_pipeline() -> Pipeline:
    """Return the pipeline.

    It takes what `measure_samples` and `fingerprint_evaluation_images` of pipeline `validation`
    leave, and `judge_samples` there takes what it finds: where a recipe lists both, Kedro puts it
    between them. The backbone is an input of one node alone, as each would load it anew.
    """
    return Pipeline(
        [
            Node(
                embed_samples,
                inputs={
                    "parameters": "params:likeness",
                    "samples": "samples",
                    "evaluation_images": "evaluation_images",
                    "shards": "shards",
                    "backbone": "backbone",
                    "cache": "evaluation_cache",
                    "chosen": "params:evaluation.sets",
                    **{name: name for name in SETS},
                },
                outputs=["evaluation_features", "sample_features"],
                name="embed_samples",
            ),
            Node(
                compare_samples,
                inputs=[
                    "params:likeness",
                    "params:recipe",
                    "sample_features",
                    "evaluation_features",
                    "evaluation_images",
                ],
                outputs="likenesses",
                name="compare_samples",
            ),
        ]
    )
