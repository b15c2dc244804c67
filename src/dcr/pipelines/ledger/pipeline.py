"""Pipeline `ledger`: published encoders are evaluated, then published numbers are judged."""

from kedro.pipeline import Node, Pipeline

from .nodes import (
    evaluate_published,
    gather_own,
    judge_published,
    tell_failures,
    write_ledger_page,
)


def create_pipeline() -> Pipeline:
    """Return the pipeline; the page is written before `tell_failures` may end the run."""
    return Pipeline(
        [
            Node(
                gather_own,
                inputs={
                    "parameters": "params:ledger",
                    "evaluation": "params:evaluation",
                    "training": "params:training",
                    "alignment": "params:alignment",
                    "alignment_record": "alignment_record",
                    "trained": "own_training",
                    "evaluated": "own_evaluation",
                    "scores": "own_scores",
                    "sets": "own_sets",
                    "measurements": "own_measurements",
                    "outcomes": "own_outcomes",
                },
                outputs="own_evidence",
                name="gather_own",
            ),
            Node(
                evaluate_published,
                inputs={
                    "evaluation": "params:evaluation",
                    "published_tables": "published_tables",
                    "more_encoders": "more_encoders",
                    "mmvp_vlm": "mmvp_vlm",
                    "classification": "classification",
                    "retrieval": "retrieval",
                    "more_sets": "more_sets",
                    "cache": "evaluation_cache",
                },
                outputs=["published_evidence", "published_failures"],
                name="evaluate_published",
            ),
            Node(
                judge_published,
                inputs=[
                    "params:ledger",
                    "params:evaluation",
                    "published_tables",
                    "own_evidence",
                    "published_evidence",
                ],
                outputs="ledger",
                name="judge_published",
            ),
            Node(
                write_ledger_page,
                inputs=["params:recipe.name", "ledger"],
                outputs="ledger_page",
                name="write_ledger_page",
            ),
            Node(
                tell_failures,
                inputs=["published_failures", "ledger", "ledger_page"],
                outputs=None,
                name="tell_failures_of_ledger",
            ),
        ]
    )
