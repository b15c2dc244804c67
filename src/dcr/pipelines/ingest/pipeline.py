"""Pipeline `ingest`: your images become the recipe's shards."""

from kedro.pipeline import Node, Pipeline

from .nodes import ingest_images


def create_pipeline() -> Pipeline:
    """Return the pipeline, one node; it takes the place of `scenes` in a recipe on your own
    images.
    """
    return Pipeline(
        [Node(ingest_images, inputs="params:ingest", outputs="shards", name="ingest_images")]
    )
