"""The pipelines by name; `kedro run` without a name runs those that the recipe lists."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from dcr.pipelines import (
    alignment,
    evaluation,
    export,
    ingest,
    latents,
    ledger,
    likeness,
    models,
    reporting,
    scenes,
    selection,
    sweep,
    synthesis,
    training,
    validation,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline, its nodes tagged with its name; ``__default__`` is the demo's sum.

    The default is for `kedro viz`.
    """
    modules = (scenes, validation, latents, training, alignment, evaluation, export, reporting)
    chain = {module.__name__.rpartition(".")[2]: module.create_pipeline() for module in modules}
    extra = {
        "models": models.create_pipeline(),
        "likeness": likeness.create_pipeline(),
        "ingest": ingest.create_pipeline(),
        "scenes_validation": scenes.create_validation_pipeline(),
        "verify": latents.create_verify_pipeline(),
        "embedding": evaluation.create_embedding_pipeline(),
        "synthesis": synthesis.create_pipeline(),
        "selection": selection.create_pipeline(),
        "sweep": sweep.create_pipeline(),
        "ledger": ledger.create_pipeline(),
    }
    tagged = {name: Pipeline(pipeline, tags=name) for name, pipeline in {**chain, **extra}.items()}
    return {**tagged, "__default__": sum((tagged[name] for name in chain), Pipeline([]))}
