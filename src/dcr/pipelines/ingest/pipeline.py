"""Pipeline `ingest`: your images become the recipe's shards."""

from kedro.pipeline import Node, Pipeline

from .nodes import ingest_images


def create_pipeline() -> Pipeline:
    """Return the pipeline, one node; in a recipe on your own images it replaces `scenes`."""
    return Pipeline(
        [Node(ingest_images, inputs="params:ingest", outputs="shards", name="ingest_images")]
    )
