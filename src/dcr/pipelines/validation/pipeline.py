"""Pipeline `validation`: every sample measured and judged; only this pipeline makes the manifest."""

from kedro.pipeline import Node, Pipeline

from .nodes import check_expectations, judge_samples, measure_samples, release_manifest, render_validation_page


def create_pipeline() -> Pipeline:
    """Return the pipeline; everything it finds is written before `release_manifest` may stop the run."""
    return Pipeline(
        [
            Node(
                measure_samples,
                inputs=["params:validation", "shards"],
                outputs="samples",
                name="measure_samples",
            ),
            Node(
                judge_samples,
                inputs=["params:validation", "samples"],
                outputs=["judgement", "validation_summary", "rejected"],
                name="judge_samples",
            ),
            Node(
                check_expectations,
                inputs=["judgement", "expectation_suite"],
                outputs="expectation_results",
                name="check_expectations",
            ),
            Node(
                render_validation_page,
                inputs=["params:validation", "judgement", "expectation_results", "shards"],
                outputs="validation_page",
                name="render_validation_page",
            ),
            Node(
                release_manifest,
                inputs=["judgement", "expectation_results", "validation_summary", "rejected", "validation_page"],
                outputs="manifest",
                name="release_manifest",
            ),
        ]
    )
