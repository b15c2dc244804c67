"""Nodes of pipeline `selection`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dcr.parameters import (
    AlignmentParameters,
    EvaluationParameters,
    ReportingParameters,
    SelectionParameters,
    TrainingParameters,
)

if TYPE_CHECKING:
    from pathlib import Path

    import plotly.graph_objects as go
    import torch

    from dcr.data.benchmark_sets import BenchmarkSet, NamedSet
    from dcr.latents import LatentCache
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion
    from dcr.selection.trial import Outcome

SetOpener = Callable[[], "BenchmarkSet"]
Outcomes = dict[str, Callable[[], dict[str, Any]]]


def check_search(
    selection: SelectionParameters,
    training: TrainingParameters,
    alignment: AlignmentParameters,
    evaluation: EvaluationParameters,
    backbone: Backbone,
    cache: Path,
    **validation_sets: SetOpener,
) -> list[NamedSet]:
    """List the sets that candidates are evaluated on, under the names of the recipe's own ones.

    Args:
        selection: candidates, seeds, sets and rule.
        training, alignment: the recipe's sections, which candidates change in part.
        evaluation: how sets are evaluated.
        backbone: the base, which is evaluated to learn what the sets measure.
        cache: folder of embeddings and results.
        validation_sets: what opens each set, by the name of the recipe's own one.

    Raises:
        UserError: there is no candidate, one changes stage 1, a set cannot be read, or the rule
            asks for what the sets do not measure: all of it before hours of training.
    """
    from dcr.data.benchmark_sets import choose_sets
    from dcr.evaluation import EvaluationCache
    from dcr.selection.search import check_measures, gather_trials

    gather_trials(selection, training, alignment)
    sets = choose_sets(selection.sets, validation_sets, {})
    check_measures(selection, sets, backbone, evaluation, EvaluationCache(cache))
    return sets


def train_shared_projector(
    training: TrainingParameters,
    latents: LatentCache,
    backbone: Backbone,
    diffusion: Diffusion,
    checkpoints: Path,
    synthetic_positives: Path,
    *_checked: Any,
) -> dict[str, torch.Tensor]:
    """Train the recipe's stage 1, or find it finished; pipeline `training` finds it in turn.

    What `check_search` gives comes in so that it is checked first.

    Args:
        training: the recipe's section, of which stage 1 counts here.
        latents, backbone, diffusion: the samples and the frozen models.
        checkpoints: folder of the recipe's own runs, which pipeline `training` reads too.
        synthetic_positives: their folder; read only if the recipe trains with them.
    """
    from dcr.training import jobs
    from dcr.training.job import open_job

    job = open_job(training, latents, backbone, diffusion, checkpoints, synthetic_positives)
    return jobs.train_projector(job)[0]


def try_candidates(
    selection: SelectionParameters,
    training: TrainingParameters,
    alignment: AlignmentParameters,
    previous: Outcomes,
    cache: Path,
    **materials: Any,
) -> Iterator[dict[str, Outcome]]:
    """Train and evaluate every candidate that is not done; each is written before the next begins.

    Args:
        selection, training, alignment: as in `check_search`.
        previous: what loads the outcomes that earlier searches left, by candidate.
        cache: folder of embeddings and results.
        materials: the other attributes of `dcr.selection.materials.Materials`.
    """
    from dcr.evaluation import EvaluationCache
    from dcr.selection.materials import Materials
    from dcr.selection.search import gather_trials, search

    trials = gather_trials(selection, training, alignment)
    everything = Materials(cache=EvaluationCache(cache), **materials)
    for name, outcome in search(selection, trials, everything, previous):
        yield {name: outcome}


def choose_candidate(
    selection: SelectionParameters,
    training: TrainingParameters,
    alignment: AlignmentParameters,
    results: Outcomes,
) -> dict[str, Any]:
    """Choose by the recipe's rule.

    Args:
        selection, training, alignment: as in `check_search`.
        results: what loads the outcome of each candidate, those that the recipe no longer has among
            them.

    Raises:
        UserError: a candidate was not tried as the recipe declares it.
    """
    from dcr.selection.record import make_record
    from dcr.selection.search import gather_trials, load_outcome

    trials = gather_trials(selection, training, alignment)
    outcomes = {
        candidate.name: load_outcome(trials[candidate.name], results)
        for candidate in selection.candidates
    }
    return make_record(selection, outcomes, [load() for load in results.values()])


def plot_candidates(
    selection: SelectionParameters, reporting: ReportingParameters, results: Outcomes
) -> go.Figure:
    """Draw detail over class separation of every candidate, with its seeds, and of the base.

    Args:
        selection: names the candidates to draw.
        reporting: says which measures are detail and which separation.
        results: what loads each candidate's outcome.
    """
    from dcr.reporting.p_against_d import plot_p_against_d
    from dcr.selection.record import tabulate_scores

    tables = tabulate_scores(
        {candidate.name: results[candidate.name]() for candidate in selection.candidates}
    )
    return plot_p_against_d(*tables, reporting.detail_measures, reporting.separation_measures)


def write_page(recipe: str, confidence: float, record: dict[str, Any], plot: go.Figure) -> str:
    """Put rule, candidates and choice on one page.

    Args:
        recipe: its name.
        confidence: level of the intervals, in (0, 1).
        record: what `choose_candidate` came to.
        plot: the figure of `plot_candidates`.
    """
    from dcr.reporting.selection_page import render_selection

    return render_selection(recipe, confidence, record, plot)
