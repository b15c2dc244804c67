"""Pipeline `evaluation`: every encoder on every benchmark set, then the tables that others read."""

from kedro.pipeline import Node, Pipeline

from .nodes import compare_encoders, evaluate_encoders, record_results, tabulate_outcomes


def create_pipeline() -> Pipeline:
    """Return the pipeline; images are embedded in its first node alone."""
    return Pipeline(
        [
            Node(
                evaluate_encoders,
                inputs=[
                    "params:evaluation",
                    "params:training.method",
                    "backbone",
                    "encoder",
                    "baselines",
                    "mmvp_vlm",
                    "classification",
                    "retrieval",
                ],
                outputs="evaluations",
                name="evaluate_encoders",
            ),
            Node(
                record_results,
                inputs=["params:evaluation", "evaluations"],
                outputs=["scores", "intervals", "eval_results"],
                name="record_results",
            ),
            Node(
                tabulate_outcomes,
                inputs="evaluations",
                outputs=["outcomes", "mmvp_answers"],
                name="tabulate_outcomes",
            ),
            Node(
                compare_encoders,
                inputs=["params:evaluation", "outcomes"],
                outputs="comparisons",
                name="compare_encoders",
            ),
        ]
    )
