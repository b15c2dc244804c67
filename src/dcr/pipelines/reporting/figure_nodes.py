"""Nodes of pipeline `reporting` that draw: charts of scores and losses, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import EvaluationParameters, ReportingParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import plotly.graph_objects as go
    import torch

    from dcr.data.benchmark_sets import ClassificationSet, MMVPSet
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion
    from dcr.reporting.methods import Methods
    from dcr.training.runs import Run

BASE = "base"
MMVP = "mmvp_vlm"


def plot_scores(
    parameters: ReportingParameters, methods: Methods
) -> tuple[go.Figure, go.Figure, go.Figure]:
    """Draw scores: MMVP-VLM's types on a radar, detail over class separation, every set as bars.

    Args:
        parameters: names the measures of detail and separation. methods: what `gather_methods`
            gave.
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
    """Draw every run's loss, with the bounds that its formula has, and the contrast.

    Runs stand in the record's order. Further seeds would draw the same curve again: of each method
    the runs of the recipe's own seed are shown.

    Args:
        parameters: its ``loss_window`` is the number of logged steps in the curves' rolling median.
        training, training_record: the section and the record. losses: what loads the table of each
            run.
    """
    from dcr.encoder_names import EncoderName
    from dcr.reporting.contrast import plot_contrast
    from dcr.reporting.loss_curves import dcr_loss_bounds, plot_losses
    from dcr.training.contrast import build_contrast
    from dcr.training.runs import all_runs

    def has_bounds(run: Run) -> bool:
        """Return whether the loss of a ``run`` is the plain formula, whose bounds are known."""
        is_plain = build_contrast(run).is_plain(run.loss)
        is_plain = is_plain and not run.parameters.batches.snr_gamma
        return run.objective == "dcr" and is_plain

    sizes = {
        name: run.stage.train_batch_size
        for name, run in all_runs(training).items()
        if has_bounds(run)
    }
    bounds = {name: dcr_loss_bounds(size) for name, size in sizes.items()}
    shown = [run for run in training_record["runs"] if EncoderName.parse(run).seed is None]
    logs = {run: losses[run]() for run in shown}
    return plot_losses(logs, bounds, parameters.loss_window), plot_contrast(
        logs, parameters.loss_window
    )


def show_flipped_pairs(
    parameters: ReportingParameters,
    evaluation: EvaluationParameters,
    method: str,
    mmvp_vlm: Callable[[], MMVPSet] | None,
    outcomes: pd.DataFrame,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Pick MMVP-VLM pairs that only one of base and another encoder answers.

    The other encoder is the enhanced one, and that of every method. Of each method the encoder of
    the recipe's own seed stands for all.

    Args:
        parameters: its ``num_flipped_pairs`` is the most that are shown. evaluation: tells whether
            the set was evaluated.
        method: the product's. mmvp_vlm: what opens the set, None without one. outcomes: of every
            item by encoder.
    """
    from dcr.encoder_names import EncoderName
    from dcr.reporting.images import find_flipped_pairs

    was_evaluated = MMVP in evaluation.sets and MMVP in set(outcomes["benchmark"])
    assert mmvp_vlm is not None or not was_evaluated
    pairs = mmvp_vlm().pairs if mmvp_vlm is not None and was_evaluated else []
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
    """Find the images that base and enhanced encoder hold for most alike to the recipe's queries.

    Args:
        parameters: the queries, and how many neighbours of each are shown.
        evaluation, cache: how images are embedded, and the folder of those that were.
        method: the name of ``encoder``. classification: what opens the set, None without one.
        backbone, encoder: the base and the enhanced encoder.
    """
    from dcr.evaluation import Embedder, EvaluationCache
    from dcr.reporting.neighbours import show_neighbours

    if (
        not parameters.neighbour_queries
        or classification is None
        or "classification" not in evaluation.sets
    ):
        return []
    embedders = {
        name: Embedder(tower, evaluation.batch_size, evaluation.num_workers, EvaluationCache(cache))
        for name, tower in ((BASE, backbone), (method, encoder))
    }
    return show_neighbours(
        classification(), embedders, parameters.neighbour_queries, parameters.num_shown_neighbours
    )


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
    """Let the diffusion model draw MMVP-VLM images from the features of base and enhanced encoder.

    Args:
        parameters: seed, number of images and of denoising steps, and the scale of guidance.
        evaluation: tells whether the set was evaluated. mmvp_vlm: what opens it, None without one.
        method: the name of ``encoder``. projector: weights of the one that its features go through.
        backbone, encoder, diffusion: the base, the enhanced encoder, and the model that draws.
    """
    import torch

    from dcr.models.generation import reconstruct_under_conditions
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
    columns = {
        name: x.permute(0, 2, 3, 1).numpy() for name, x in {"original": originals, **drawn}.items()
    }
    rows = [
        {"type": pair.type, "statement": images.show_statement(pair.texts[0])} for pair in pairs
    ]
    return images.tabulate_images(columns, rows, original="original")


def hand_on_report(
    report_to: list[str], recipe: str, report: str, comparison: str, **figures: go.Figure
) -> None:
    """Give pages and figures to the trackers that keep them; one that fails is left out.

    Args:
        report_to: the trackers of section `monitoring`.
        recipe: its name.
        report, comparison: the two pages, HTML.
        figures: Plotly's, by name.
    """
    from dcr.training.monitoring.handing_on import hand_on_report

    hand_on_report(report_to, recipe, figures, {"report": report, "comparison": comparison})
