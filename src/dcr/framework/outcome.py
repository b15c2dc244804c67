"""What a pipeline came to, in one line of the log, as soon as its last result is written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl

from dcr.encoder_names import EncoderName, group_seeds

if TYPE_CHECKING:
    from kedro.io import DataCatalog

logger = logging.getLogger(__name__)

Place = Callable[[str], str]
Describe = Callable[["DataCatalog", Place], str]


class Outcomes:
    """Tells each pipeline's result once the dataset that it writes last is saved."""

    @hook_impl
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Remember the ``catalog``, where results are found."""
        self._catalog = catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Tell a pipeline's result if ``dataset_name`` is the dataset that it writes last."""
        if describe := TOLD_BY.get(dataset_name):
            logger.info("%s", describe(self._catalog, self._place))

    def _place(self, name: str) -> str:
        dataset = self._catalog.get(name)
        return str(getattr(dataset, "_filepath", None) or getattr(dataset, "_path", name))


def _scenes(catalog: DataCatalog, place: Place) -> str:
    found = catalog.load("base_models")
    errors = ", ".join(
        f"{value:.3f} with {name.replace('_', ' ')}"
        for name, value in found.get("unet", {}).items()
    )
    unknown = [name for name, detail in found.get("details", {}).items() if not detail["known"]]
    told = (
        f"the UNet cannot tell {', '.join(unknown)}" if unknown else "the UNet tells every detail"
    )
    return (
        f"scenes: shards in {place('shards')}, base models in {place('base_models')}; noise error"
        f" {errors}; {told}"
    )


def _validation(catalog: DataCatalog, place: Place) -> str:
    found = catalog.load("validation_summary")
    listing = getattr(catalog.get("shards"), "listing", None)
    shards = listing.describe() if listing else f"{found['shards']:,} shards"
    return (
        f"validation: {found['accepted']:,} of {found['samples']:,} samples accepted, in {shards};"
        f" see {place('validation_page')}"
    )


def _verify(catalog: DataCatalog, place: Place) -> str:
    found = catalog.load("latents_verification")
    failed = f"{len(found['failures']):,} of {found['num_shards']:,} shards fail"
    return f"verify: {failed}; see {place('latents_verification')}"


def _training(catalog: DataCatalog, place: Place) -> str:
    runs = catalog.load("training_record")["runs"]
    told = ", ".join(
        f"{name} {run['steps']:,} steps in {run['seconds']:.0f} s" for name, run in runs.items()
    )
    return f"training: {told}; trained weights are {place('adapters')}"


def _alignment(catalog: DataCatalog, place: Place) -> str:
    record = catalog.load("alignment_record")
    told = [f"form {record['form']}"]
    for name, found in record["encoders"].items():
        chosen = [f"{key.replace('_', ' ')} {value:.4g}" for key, value in found["chosen"].items()]
        told.append(f"{name} {', '.join(chosen)}")
    return f"alignment: {'; '.join(told)}; see {place('alignment_record')}"


def _evaluation(catalog: DataCatalog, place: Place) -> str:
    scores = catalog.load("scores")
    reporting = catalog.load("params:reporting")
    measures = [
        *reporting.detail_measures[:1],
        *reporting.separation_measures[:2],
        *reporting.text_measures[:1],
    ]
    told = []
    for method, encoders in group_seeds(scores).items():
        shown = _show([scores[encoder] for encoder in encoders], measures)
        if shown and not EncoderName.parse(method).form:
            seeds = f" over {len(encoders)} seeds" if len(encoders) > 1 else ""
            told.append(f"{method}{seeds}: {shown}")
    return f"evaluation: {'; '.join(told) or 'nothing was scored'}; see {place('scores')}"


def _show(seeds: list[dict[str, dict[str, float]]], measures: list[str]) -> str:
    found = []
    for measure in measures:
        benchmark, _, metric = measure.partition(".")
        values = [
            scores[benchmark][metric] for scores in seeds if metric in scores.get(benchmark, {})
        ]
        if values:
            found.append(f"{measure} {100 * sum(values) / len(values):.1f}")
    return ", ".join(found)


def _at(pipeline: str, what: str, name: str) -> Describe:
    return lambda catalog, place: f"{pipeline}: {what} {place(name)}"


def _selection(catalog: DataCatalog, place: Place) -> str:
    return f"selection: {catalog.load('selection_record')['why']} See {place('selection_page')}"


TOLD_BY: dict[str, Describe] = {
    "base_models": _scenes,
    "drawn_validation_sets": _at(
        "scenes_validation", "sets to choose settings on are on record in", "drawn_validation_sets"
    ),
    "manifest": _validation,
    "likenesses": _at("likeness", "near duplicates, outliers and such stand in", "likenesses"),
    "latents_verification": _verify,
    "synthesis_page": _at("synthesis", "see", "synthesis_page"),
    "training_record": _training,
    "alignment_record": _alignment,
    "this_seed": _evaluation,
    "encoder": _at("export", "the encoder to hand on is", "encoder"),
    "report": _at("reporting", "see", "report"),
    "comparison_page": _at("reporting", "all encoders side by side are in", "comparison_page"),
    "selection_page": _selection,
    "sweep_page": _at("sweep", "see", "sweep_page"),
    "ledger_page": _at("ledger", "see", "ledger_page"),
    "models": _at("models", "all files are there and verified; see", "models"),
}
"""How to tell a pipeline's result, by the dataset that it writes last."""
