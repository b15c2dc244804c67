"""Pipeline `models`: the only step that downloads."""

from kedro.pipeline import Node, Pipeline

from .nodes import fetch_models


def create_pipeline() -> Pipeline:
    """Return the pipeline; `dcr.framework.session` runs it before any other."""
    return Pipeline(
        [
            Node(
                fetch_models,
                inputs=["params:models", "previous_models"],
                outputs="models",
                name="fetch_models",
            )
        ]
    )
