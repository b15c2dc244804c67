"""Pipeline `sweep`: what the runs of a sweep reached, on one page."""

from kedro.pipeline import Node, Pipeline

from .nodes import compare_runs


def create_pipeline() -> Pipeline:
    """Return the pipeline, one node."""
    return Pipeline(
        [
            Node(
                compare_runs,
                inputs=[
                    "params:sweep",
                    "sweep_scores",
                    "sweep_measurements",
                    "sweep_records",
                    "sweep_evaluations",
                ],
                outputs="sweep_page",
                name="compare_runs",
            )
        ]
    )
