"""Nodes of pipeline `reporting`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import AlignmentParameters, EvaluationParameters, ReportingParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import plotly.graph_objects as go
    import torch

    from dcr.backbones import Backbone
    from dcr.benchmark_sets import ClassificationSet, MMVPSet
    from dcr.diffusion import Diffusion
    from dcr.reporting.methods import Methods
    from dcr.reporting.names import Scores
    from dcr.training.runs import Run

BASE = "base"
MMVP = "mmvp_vlm"


def check_results(
    training: TrainingParameters,
    evaluation: EvaluationParameters,
    alignment: AlignmentParameters,
    backbone: Backbone,
    encoder: Backbone,
    projector: dict[str, torch.Tensor],
    outcomes: pd.DataFrame,
    measurements: pd.DataFrame,
    seed_scores: dict[str, Callable[[], dict[str, Any]]],
    losses: dict[str, Callable[[], pd.DataFrame]],
    alignments: dict[str, Callable[[], Any]],
    **records: dict[str, Any],
) -> tuple[str, dict[str, Any], Scores, Backbone]:
    """Refuse what does not belong together; hand on the method, its training's record, the scores and the product.

    Args:
        training, evaluation, alignment: the recipe's sections as they are now.
        backbone, encoder, projector: the base, and what training wrote of the recipe's method.
        outcomes, measurements: tables of the evaluation, item by item and draw by draw.
        seed_scores, losses, alignments: what loads the records of seeds, the loss tables of runs, the maps of
            encoders.
        records: the other records and tables, by the names of the catalog.
    """
    from dcr import provenance
    from dcr.alignment import check_alignment, expected_weights, load_aligned

    trained, evaluated, aligned = (records[name] for name in ("training_record", "this_seed", "alignment_record"))
    provenance.check_training(trained, training)
    provenance.check_backbone(trained, backbone)
    provenance.check_encoder(trained, training.method, encoder)
    provenance.check_projector(trained, projector)
    last = {run: float(losses[run]()["loss"].iloc[-1]) if run in losses else None for run in trained["runs"]}
    provenance.check_logs(trained, records["conditions"], last)
    provenance.check_samples(trained, records["validation_summary"])
    provenance.check_base_models(trained, records["base_models"])
    provenance.check_synthesis(trained, records["synthesis_pictures"])
    provenance.check_evaluation(evaluated, evaluation)
    names = ("scores", "intervals", "comparisons")
    tables = provenance.table_hashes(
        **{name: records[name] for name in names}, outcomes=outcomes, measurements=measurements
    )
    check_alignment(aligned, alignment, trained)
    weights = expected_weights(aligned, alignment, trained)
    provenance.check_scores(evaluated, trained, training.method, tables, records["scores"], weights)
    provenance.check_seed(evaluated, {name: load() for name, load in seed_scores.items()})
    if alignment.form != "none":
        encoder = load_aligned(training.method, lambda: encoder, alignments, aligned)
    return training.method, trained, records["scores"], encoder


def gather_methods(
    reporting: ReportingParameters,
    evaluation: EvaluationParameters,
    method: str,
    training_record: dict[str, Any],
    scores: Scores,
    measurements: pd.DataFrame,
    comparisons: dict[str, Any],
) -> Methods:
    """Put the seeds of each method together; compare the product with its rivals, and aligned with unaligned.

    Args:
        reporting: names the rivals. evaluation: gives the confidence level. method: the product's.
        training_record, scores, measurements, comparisons: of training, and of its evaluation.
    """
    from dcr.evaluation.comparison import Judge
    from dcr.evaluation.measurements import read_measurements
    from dcr.provenance import trained_methods
    from dcr.reporting.methods import gather

    judge = Judge(read_measurements(measurements), evaluation.confidence, trained_methods(training_record))
    return gather(judge, scores, comparisons, BASE, method, reporting.rivals)


def plot_scores(parameters: ReportingParameters, methods: Methods) -> tuple[go.Figure, go.Figure, go.Figure]:
    """Draw the types of MMVP-VLM on a radar, detail over class separation, and every set's scores as bars.

    Args:
        parameters: names the measures of detail and separation. methods: what `gather_methods` gave.
    """
    from dcr.reporting.figures import plot_radar
    from dcr.reporting.p_against_d import plot_p_against_d
    from dcr.reporting.set_bars import plot_sets

    shown = methods.without_forms()
    measures = (parameters.detail_measures, parameters.separation_measures)
    trade = plot_p_against_d(shown.scores, shown.intervals, shown.encoders, *measures)
    return plot_radar(shown.scores, MMVP), trade, plot_sets(shown.scores, shown.intervals)


def plot_training(
    parameters: ReportingParameters,
    training: TrainingParameters,
    training_record: dict[str, Any],
    losses: dict[str, Callable[[], pd.DataFrame]],
) -> tuple[go.Figure, go.Figure]:
    """Draw every run's loss, in the record's order, with the bounds that its formula has; and the contrast.

    Further seeds would draw the same curve again: of each method the runs of the recipe's own seed are shown.

    Args:
        parameters: its ``loss_window`` is the number of logged steps in the curves' rolling median.
        training, training_record: the section and the record. losses: what loads the table of each run.
    """
    from dcr.encoder_names import EncoderName
    from dcr.reporting.contrast import plot_contrast
    from dcr.reporting.figures import dcr_loss_bounds, plot_losses
    from dcr.training.options import objective_options, run_options
    from dcr.training.runs import all_runs

    def has_bounds(run: Run) -> bool:
        """Return whether the loss of a ``run`` is the plain formula, whose bounds are known."""
        is_plain = objective_options(run).is_plain_contrast and not run.parameters.snr_gamma
        return run.objective == "dcr" and is_plain

    sizes = {name: run_options(run).train_batch_size for name, run in all_runs(training).items() if has_bounds(run)}
    bounds = {name: dcr_loss_bounds(size) for name, size in sizes.items()}
    shown = [run for run in training_record["runs"] if EncoderName.parse(run).seed is None]
    logs = {run: losses[run]() for run in shown}
    return plot_losses(logs, bounds, parameters.loss_window), plot_contrast(logs, parameters.loss_window)


def show_flipped_pairs(
    parameters: ReportingParameters,
    evaluation: EvaluationParameters,
    method: str,
    mmvp_vlm: Callable[[], MMVPSet] | None,
    outcomes: pd.DataFrame,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Pick MMVP-VLM pairs that only one of base and another encoder answers: of the enhanced one, and of every method.

    Of each method the encoder of the recipe's own seed stands for all.

    Args:
        parameters: its ``num_flipped_pairs`` is the most that are shown. evaluation: tells whether the set was
            evaluated.
        method: the product's. mmvp_vlm: what opens the set, None without one. outcomes: of every item by encoder.
    """
    from dcr.encoder_names import EncoderName
    from dcr.reporting.images import find_flipped_pairs

    pairs = mmvp_vlm().pairs if MMVP in evaluation.sets and MMVP in set(outcomes["benchmark"]) else []
    others = [name for name in outcomes["encoder"].unique() if name not in (BASE, method)]
    others = [name for name in others if name == EncoderName.parse(name).method]
    flips = {
        encoder: find_flipped_pairs(pairs, outcomes, BASE, encoder, parameters.num_flipped_pairs)
        for encoder in [method, *others]
    }
    return flips[method], flips


def show_neighbours(
    parameters: ReportingParameters,
    evaluation: EvaluationParameters,
    method: str,
    classification: Callable[[], ClassificationSet] | None,
    backbone: Backbone,
    encoder: Backbone,
    cache: Path,
) -> list[dict[str, Any]]:
    """Find the images that the base and the enhanced encoder hold for most alike to the recipe's queries.

    Args:
        parameters: the queries, and how many neighbours of each are shown.
        evaluation, cache: how images are embedded, and the folder of those that were.
        method: the name of ``encoder``. classification: what opens the set, None without one.
        backbone, encoder: the base and the enhanced encoder.
    """
    from dcr.evaluation import Embedder, EvaluationCache
    from dcr.reporting.neighbours import show_neighbours

    if not parameters.neighbour_queries or classification is None or "classification" not in evaluation.sets:
        return []
    embedders = {
        name: Embedder(tower, evaluation.batch_size, evaluation.num_workers, EvaluationCache(cache))
        for name, tower in ((BASE, backbone), (method, encoder))
    }
    return show_neighbours(classification(), embedders, parameters.neighbour_queries, parameters.num_shown_neighbours)


def draw_reconstructions(
    parameters: ReportingParameters,
    evaluation: EvaluationParameters,
    method: str,
    mmvp_vlm: Callable[[], MMVPSet] | None,
    backbone: Backbone,
    encoder: Backbone,
    diffusion: Diffusion,
    projector: dict[str, torch.Tensor],
) -> dict[str, Any]:
    """Let the diffusion model draw MMVP-VLM images from what the base and the enhanced encoder tell of them.

    Args:
        parameters: seed, number of images and of denoising steps, and the scale of guidance.
        evaluation: tells whether the set was evaluated. mmvp_vlm: what opens it, None without one.
        method: the name of ``encoder``. projector: weights of the one that its features go through.
        backbone, encoder, diffusion: the base, the enhanced encoder, and the model that draws.
    """
    import torch

    from dcr.generation import reconstruct_under_conditions
    from dcr.reporting import images
    from dcr.seeds import torch_generator
    from dcr.training.stages import load_projector

    if MMVP not in evaluation.sets or mmvp_vlm is None:
        return {"columns": [], "rows": []}
    pairs = images.choose_examples(mmvp_vlm().pairs, parameters.num_reconstructions)
    originals = torch.stack([backbone.preprocess(images.open_images(pair)[0]) for pair in pairs])
    drawn = reconstruct_under_conditions(
        diffusion,
        load_projector(projector).to(diffusion.device),
        {BASE: backbone, method: encoder},
        originals,
        torch_generator(parameters.seed, "reconstructions"),
        parameters.num_denoising_steps,
        parameters.guidance_scale,
    )
    columns = {name: x.permute(0, 2, 3, 1).numpy() for name, x in {"original": originals, **drawn}.items()}
    rows = [{"type": pair.type, "statement": images.show_statement(pair.texts[0])} for pair in pairs]
    return images.tabulate_images(columns, rows, original="original")


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
    training: TrainingParameters, alignment: AlignmentParameters, kept_selection: dict[str, Any], *_checked: Any
) -> list[str]:
    """Say how the recipe's setting was found, if it keeps the outcome of a search.

    What `check_results` hands on comes in so that this run is known to be of these parameters.

    Args:
        training, alignment: the recipe's sections. kept_selection: the `selection.json` that it keeps, {} without one.
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
        radar, p_against_d, loss, contrast: figures. records: the other attributes of `dcr.reporting.page.Run`.
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
    return render_page(run, {"radar": radar, "p_against_d": p_against_d, "losses": loss, "contrast": contrast})


def write_comparison_page(
    reporting: ReportingParameters,
    evaluation: EvaluationParameters,
    recipe: str,
    radar: go.Figure,
    p_against_d: go.Figure,
    set_bars: go.Figure,
    this_seed: dict[str, Any],
    seed_scores: dict[str, Callable[[], dict[str, Any]]],
    **results: Any,
) -> str:
    """Put all encoders side by side on one page.

    Args:
        reporting, evaluation, recipe: as in `write_page`. radar, p_against_d, set_bars: figures.
        this_seed, seed_scores: this evaluation's record, and what loads those of all seeds.
        results: the other attributes of `dcr.reporting.comparison_page.Encoders`.
    """
    from dcr.evaluation.exchange import select_runs
    from dcr.reporting.comparison_page import Encoders, render_comparison

    encoders = Encoders(
        recipe=recipe,
        measures=_measures(reporting),
        confidence=evaluation.confidence,
        runs=select_runs([load() for load in seed_scores.values()], this_seed["configuration"]),
        this_seed=this_seed["seed"],
        published=reporting.published_backbone,
        **results,
    )
    return render_comparison(encoders, {"radar": radar, "p_against_d": p_against_d, "set_bars": set_bars})


def _measures(reporting: ReportingParameters) -> dict[str, list[str]]:
    from dcr.reporting.headline import DETAIL, SEPARATION, TEXT

    measures = (reporting.detail_measures, reporting.separation_measures, reporting.text_measures)
    return dict(zip((DETAIL, SEPARATION, TEXT), measures, strict=True))
