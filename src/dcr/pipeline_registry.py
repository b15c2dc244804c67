"""The pipelines by name; `kedro run` without a name runs those that the recipe lists."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from dcr.pipelines import evaluation, latents, reporting, scenes, training, validation


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline, and their sum as ``__default__`` for `kedro viz`."""
    modules = (scenes, validation, latents, training, evaluation, reporting)
    pipelines = {module.__name__.rpartition(".")[2]: module.create_pipeline() for module in modules}
    pipelines["verify"] = latents.create_verify_pipeline()
    return {**pipelines, "__default__": sum(pipelines.values(), Pipeline([]))}
