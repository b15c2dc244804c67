"""Pipeline `validation`: every sample measured and judged; the manifest comes from here alone."""

from kedro.pipeline import Node, Pipeline

from dcr.parameters.evaluation import SETS

from .nodes import (
    fingerprint_evaluation_images,
    judge_samples,
    measure_samples,
    open_tokenizer,
    release_manifest,
)
from .telling_nodes import (
    check_expectations,
    render_validation_page,
    summarize_samples,
    write_data_card,
)


def create_pipeline() -> Pipeline:
    """Return the pipeline.

    Everything it finds is written before `release_manifest` may stop the run.
    """
    return Pipeline(
        [
            Node(
                open_tokenizer,
                inputs=["params:validation", "params:recipe", "models"],
                outputs=["counting", "tokenizer"],
                name="open_tokenizer",
            ),
            Node(
                measure_samples,
                inputs=["params:validation", "params:recipe", "shards", "counting", "tokenizer"],
                outputs="samples",
                name="measure_samples",
            ),
            Node(
                fingerprint_evaluation_images,
                inputs={
                    "parameters": "params:validation",
                    "chosen": "params:evaluation.sets",
                    **{name: name for name in SETS},
                },
                outputs="evaluation_images",
                name="fingerprint_evaluation_images",
            ),
            Node(
                judge_samples,
                inputs=[
                    "params:validation",
                    "params:likeness",
                    "params:recipe",
                    "samples",
                    "evaluation_images",
                    "likenesses",
                    "shards",
                ],
                outputs="judged_samples",
                name="judge_samples",
            ),
            Node(
                summarize_samples,
                inputs="judged_samples",
                outputs=["validation_summary", "rejected"],
                name="summarize_samples",
            ),
            Node(
                check_expectations,
                inputs=["judged_samples", "expectation_suites"],
                outputs="expectation_results",
                name="check_expectations",
            ),
            Node(
                render_validation_page,
                inputs=[
                    "params:validation",
                    "judged_samples",
                    "validation_summary",
                    "expectation_results",
                    "evaluation_images",
                    "shards",
                    "data_card_record",
                ],
                outputs="validation_page",
                name="render_validation_page",
            ),
            Node(
                write_data_card,
                inputs=[
                    "params:validation",
                    "params:recipe",
                    "params:likeness",
                    "judged_samples",
                    "validation_summary",
                    "expectation_results",
                    "counting",
                ],
                outputs=["data_card", "data_card_record"],
                name="write_data_card",
            ),
            Node(
                release_manifest,
                inputs=[
                    "params:validation",
                    "judged_samples",
                    "expectation_results",
                    "validation_summary",
                    "validation_page",
                    "data_card_record",
                ],
                outputs="manifest",
                name="release_manifest",
            ),
        ]
    )
