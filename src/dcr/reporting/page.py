"""One HTML page that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from dcr.evaluation.multiplicity import correct
from dcr.pages import fill_template
from dcr.reporting import tables
from dcr.reporting.details import build_details
from dcr.reporting.headline import headline, select
from dcr.reporting.method_tables import (
    build_alignment_table,
    build_method_table,
    build_rival_table,
    build_sentences,
    measures_of,
)
from dcr.reporting.methods import Methods
from dcr.reporting.names import encoder_name

PACKAGES = (
    "dcr",
    "torch",
    "open_clip_torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "webdataset",
    "great-expectations",
    "kedro",
    "dvc",
    "scikit-learn",
    "numpy",
    "pandas",
    "plotly",
)
NOTHING_SCORED = "Nothing was scored: no evaluation set was read."


@dataclass(frozen=True)
class Run:
    """Everything the page tells of a finished run.

    Attributes:
        recipe: its name.
        methods: what was measured of them, see :mod:`dcr.reporting.methods`.
        measures: of the headline, keys ``benchmark.metric`` by what they ask for.
        confidence: of the intervals.
        validation, base_models, conditions, training: the records of those steps.
        sets: see :func:`dcr.evaluation.tables.set_records`.
        models: ``facts``, lines of (name, words), and ``hashes`` by name.
        flips, reconstructions: see :mod:`dcr.reporting.images`.
        notes: what the recipe's author wants a reader to keep in mind.
        parameters: by section.
        synthesis: what :func:`dcr.positives.page.show_candidates` left, empty where no positives
            were made.
        selection: sentences on how the setting was found, empty where no search is on record.
    """

    recipe: str
    methods: Methods
    measures: Mapping[str, Sequence[str]]
    confidence: float
    validation: Mapping[str, Any]
    sets: Sequence[Mapping[str, Any]]
    base_models: Mapping[str, Any]
    conditions: Mapping[str, Any]
    training: Mapping[str, Any]
    models: Mapping[str, Any]
    flips: Mapping[str, Any]
    reconstructions: Mapping[str, Any]
    notes: Sequence[str]
    parameters: Mapping[str, Any]
    synthesis: Mapping[str, Any]
    selection: Sequence[str]


def render_page(run: Run, figures: Mapping[str, go.Figure]) -> str:
    """Return the page.

    A content security policy in the page forbids every request, so that it looks the same offline;
    text from data is escaped.

    Args:
        run: what is told.
        figures: ``radar``, ``p_against_d``, ``losses`` and ``contrast``.
    """
    methods = run.methods.without_forms()
    name = encoder_name(methods.product)
    own = methods.comparisons[methods.product]
    family = correct({methods.product: own}, run.confidence)
    return render_template(
        "report.html",
        figures,
        run=run,
        base_name=encoder_name(methods.base),
        method_name=name,
        num_seeds=methods.num_seeds,
        headline=headline(name, own, run.measures) if run.sets else NOTHING_SCORED,
        tiles=tables.build_tiles(
            select(own, [key for keys in run.measures.values() for key in keys])
        ),
        benchmark_tables=tables.build_benchmark_tables(
            own, run.sets, {key for _, key in family.survivors}
        ),
        family=family,
        method_table=build_method_table(methods),
        rival_table=build_rival_table(methods, run.measures),
        alignment_table=build_alignment_table(run.methods, run.measures),
        sentences=build_sentences(methods.comparisons, run.measures),
        costs=tables.build_cost_table(run.training["runs"]),
        findings=tables.build_findings(
            run.validation, run.parameters.get("validation", {}).get("policies", {})
        ),
        gates=tables.build_gates(run.base_models, run.conditions),
        details=build_details(run.base_models),
        columns=[_name_column(column) for column in run.reconstructions["columns"]],
        parameters=tables.flatten_parameters(run.parameters),
        hashes={**run.training["hashes"], **run.models["hashes"]},
        versions=package_versions(),
        num_measures=len(measures_of(methods.scores)),
        confidence=f"{run.confidence * 100:g}",
    )


def render_template(name: str, figures: Mapping[str, go.Figure], **context: Any) -> str:
    """Return a template of this package filled in, with text escaped.

    Figures lie in the page with Plotly itself.

    Args:
        name: of the file. figures: by name; those without data are not drawn. context: the
            template's own names.
    """
    return fill_template(
        "dcr.reporting",
        name,
        figures={figure: _embed_json(value) for figure, value in figures.items()},
        drawn=[figure for figure, value in figures.items() if value.data],
        plotly=Markup(get_plotlyjs()),
        **context,
    )


def _name_column(column: Mapping[str, Any]) -> dict[str, str]:
    words = {"original": "Original", "vae": "VAE alone", "empty_prompt": "Empty prompt"}
    return {
        "name": words.get(column["name"], encoder_name(column["name"])),
        "error": f"{column['error']:.4f}",
    }


def _embed_json(figure: go.Figure) -> Markup:
    """Return a figure's JSON for a script element, where ``<`` would let text end the element."""
    escaped = (
        figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
    return Markup(escaped)


def package_versions() -> list[tuple[str, str]]:
    """Return (name, version) of the installed packages that a score can depend on."""
    rows = []
    for name in PACKAGES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return rows
