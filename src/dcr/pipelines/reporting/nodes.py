"""Nodes of pipeline `reporting` that check, gather and write pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import (
    AlignmentParameters,
    EvaluationParameters,
    ReportingParameters,
    TrainingParameters,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import torch

    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion
    from dcr.published.tables import PublishedTables
    from dcr.reporting.methods import Methods
    from dcr.reporting.names import Scores

BASE = "base"


def check_results(
    training: TrainingParameters,
    evaluation: EvaluationParameters,
    alignment: AlignmentParameters,
    backbone: Backbone,
    adapters: dict[str, Callable[[], dict[str, torch.Tensor]]],
    projector: dict[str, torch.Tensor],
    outcomes: pd.DataFrame,
    measurements: pd.DataFrame,
    seed_scores: dict[str, Callable[[], dict[str, Any]]],
    losses: dict[str, Callable[[], pd.DataFrame]],
    alignments: dict[str, Callable[[], Any]],
    **records: dict[str, Any],
) -> tuple[str, dict[str, Any], Scores, Backbone]:
    """Refuse what does not belong together; return method, training record, scores and product.

    Args:
        training, evaluation, alignment: the recipe's sections as they are now.
        backbone: the base. adapters: what loads the trained weights of each method and seed.
        projector: that of the recipe's method.
        outcomes, measurements: tables of the evaluation, item by item and draw by draw.
        seed_scores, losses, alignments: what loads the records of seeds, the loss tables of runs,
            the maps of encoders.
        records: the other records and tables, by the names of the catalog.
    """
    from dcr.alignment import check_alignment, evaluated_hashes, load_aligned
    from dcr.evaluation import provenance as scored
    from dcr.training import provenance
    from dcr.training.encoders import trained_encoders

    trained, evaluated, aligned = (
        records[name] for name in ("training_record", "this_seed", "alignment_record")
    )
    build = trained_encoders(training, trained, backbone, adapters)[training.method]
    provenance.check_projector(trained, projector)
    last = {
        run: float(losses[run]()["loss"].iloc[-1]) if run in losses else None
        for run in trained["runs"]
    }
    provenance.check_logs(trained, records["conditions"], last)
    provenance.check_samples(trained, records["validation_summary"])
    provenance.check_base_models(trained, records["base_models"])
    provenance.check_synthesis(trained, records["synthesis_pictures"])
    scored.check_evaluation(evaluated, evaluation)
    names = ("scores", "intervals", "comparisons")
    tables = scored.table_hashes(
        **{name: records[name] for name in names}, outcomes=outcomes, measurements=measurements
    )
    check_alignment(aligned, alignment, trained)
    hashes = evaluated_hashes(aligned, alignment, trained)
    scored.check_scores(evaluated, trained, training.method, tables, records["scores"], hashes)
    scored.check_seed(evaluated, {name: load() for name, load in seed_scores.items()})
    product = (
        load_aligned(training.method, build, alignments, aligned)
        if alignment.form != "none"
        else build()
    )
    return training.method, trained, records["scores"], product


def gather_methods(
    reporting: ReportingParameters,
    evaluation: EvaluationParameters,
    method: str,
    training_record: dict[str, Any],
    scores: Scores,
    measurements: pd.DataFrame,
    comparisons: dict[str, Any],
) -> Methods:
    """Put the seeds of each method together, and compare the product.

    It is compared with its rivals, and aligned with unaligned.

    Args:
        reporting: names the rivals. evaluation: gives the confidence level. method: the product's.
        training_record, scores, measurements, comparisons: of training, and of its evaluation.
    """
    from dcr.evaluation.judge import Judge
    from dcr.evaluation.measurements import read_measurements
    from dcr.reporting.methods import gather
    from dcr.training.provenance import trained_methods

    judge = Judge(
        read_measurements(measurements), evaluation.confidence, trained_methods(training_record)
    )
    return gather(judge, scores, comparisons, BASE, method, reporting.rivals)


def describe_models(
    backbone: Backbone, encoder: Backbone, diffusion: Diffusion, projector: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """Tell what the models are, and hash the weights that training made.

    Args:
        backbone, diffusion: the base models. encoder, projector: what is hashed.
    """
    from dcr.fingerprints import weights_hash
    from dcr.reporting.models import describe
    from dcr.training.stages import load_projector

    trained = load_projector(projector)
    hashes = {"projector": weights_hash(trained), "encoder": weights_hash(encoder.model)}
    return {"facts": describe(backbone, diffusion, trained), "hashes": hashes}


def tell_selection(
    training: TrainingParameters,
    alignment: AlignmentParameters,
    kept_selection: dict[str, Any],
    *_checked: Any,
) -> list[str]:
    """Say how the recipe's setting was found, if it keeps the outcome of a search.

    What `check_results` hands on comes in so that this run is known to be of these parameters.

    Args:
        training, alignment: the recipe's sections. kept_selection: the `selection.json` that it
            keeps, {} without one.
    """
    from dcr.selection.record import tell_selection

    return tell_selection(kept_selection, training, alignment)


def write_page(
    reporting: ReportingParameters,
    evaluation: EvaluationParameters,
    recipe: str,
    parameters: dict[str, Any],
    radar: go.Figure,
    p_against_d: go.Figure,
    loss: go.Figure,
    contrast: go.Figure,
    **records: Any,
) -> str:
    """Put everything on one page.

    Args:
        reporting, evaluation: measures of the headline and notes; the confidence level.
        recipe, parameters: the recipe's name and all its values, by section.
        radar, p_against_d, loss, contrast: figures. records: the other attributes of
            `dcr.reporting.page.Run`.
    """
    from dcr.reporting.page import Run, render_page

    run = Run(
        recipe=recipe,
        measures=_measures(reporting),
        confidence=evaluation.confidence,
        notes=reporting.notes,
        parameters=parameters,
        **records,
    )
    return render_page(
        run, {"radar": radar, "p_against_d": p_against_d, "losses": loss, "contrast": contrast}
    )


def write_comparison_page(
    reporting: ReportingParameters,
    evaluation: EvaluationParameters,
    recipe: str,
    radar: go.Figure,
    p_against_d: go.Figure,
    set_bars: go.Figure,
    published_tables: PublishedTables,
    this_seed: dict[str, Any],
    seed_scores: dict[str, Callable[[], dict[str, Any]]],
    **results: Any,
) -> str:
    """Put all encoders side by side on one page.

    Args:
        reporting, evaluation, recipe: as in `write_page`. radar, p_against_d, set_bars: figures.
        published_tables: what papers state.
        this_seed, seed_scores: this evaluation's record, and what loads those of all seeds.
        results: the other attributes of `dcr.reporting.comparison_page.Encoders`.
    """
    from dcr.evaluation.exchange import select_runs
    from dcr.reporting.comparison_page import Encoders, render_comparison

    backbone = reporting.published_backbone
    encoders = Encoders(
        recipe=recipe,
        measures=_measures(reporting),
        confidence=evaluation.confidence,
        runs=select_runs([load() for load in seed_scores.values()], this_seed["configuration"]),
        this_seed=this_seed["seed"],
        published=None if backbone is None else published_tables.columns(backbone),
        **results,
    )
    return render_comparison(
        encoders, {"radar": radar, "p_against_d": p_against_d, "set_bars": set_bars}
    )


def _measures(reporting: ReportingParameters) -> dict[str, list[str]]:
    from dcr.reporting.headline import DETAIL, SEPARATION, TEXT

    measures = (reporting.detail_measures, reporting.separation_measures, reporting.text_measures)
    return dict(zip((DETAIL, SEPARATION, TEXT), measures, strict=True))
