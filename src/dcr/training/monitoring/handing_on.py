"""The encoder and the report for W&B and MLflow, in runs of their own beside those of training.

DVC has both by their files, and TensorBoard keeps neither models nor interactive figures, so they
are left out here. As in training, a service that fails costs a warning and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dcr.files import sha256_folder
from dcr.training.monitoring.trackers import PROJECT

if TYPE_CHECKING:
    import plotly.graph_objects as go

_log = logging.getLogger(__name__)


def hand_on_encoder(names: Sequence[str], recipe: str, folder: Path) -> None:
    """Keep an encoder's folder as W&B's artefact and MLflow's registered model ``<recipe>``.

    The same files are one version, however often they are handed on.

    Args:
        names: of section `monitoring`'s ``report_to``.
        recipe: its name.
        folder: that pipeline `export` wrote.
    """
    acts = {"wandb": _encoder_to_wandb, "mlflow": _encoder_to_mlflow}
    _each(names, {name: partial(act, recipe, folder) for name, act in acts.items()})


def hand_on_report(
    names: Sequence[str], recipe: str, figures: Mapping[str, go.Figure], pages: Mapping[str, str]
) -> None:
    """Keep the report's figures and pages as figures and HTML of W&B and MLflow.

    Args:
        names: of section `monitoring`'s ``report_to``.
        recipe: its name.
        figures: Plotly's, by name.
        pages: HTML by name.
    """
    acts = {"wandb": _report_to_wandb, "mlflow": _report_to_mlflow}
    _each(names, {name: partial(act, recipe, figures, pages) for name, act in acts.items()})


def _each(names: Sequence[str], acts: Mapping[str, Callable[[], None]]) -> None:
    for name in names:
        try:
            acts.get(name, lambda: None)()
        except Exception as exc:  # whatever its service, its files or its settings raise
            _log.warning("report_to: %s did not take what was handed on: %s", name, exc)


def _encoder_to_wandb(recipe: str, folder: Path) -> None:
    import wandb

    with wandb.init(project=PROJECT, name=f"{recipe}-encoder", job_type="export") as run:
        artifact = wandb.Artifact(f"{recipe}-encoder", type="model")
        artifact.add_dir(str(folder))
        run.log_artifact(artifact)


def _encoder_to_mlflow(recipe: str, folder: Path) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    digest = sha256_folder(folder)
    try:
        client.create_registered_model(recipe)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{recipe}'")
    if any(version.tags.get("sha256") == digest for version in versions):
        return
    mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=f"{recipe}-encoder") as run:
        mlflow.log_artifacts(str(folder), "encoder")
        source = f"{run.info.artifact_uri}/encoder"
        client.create_model_version(recipe, source, run.info.run_id, tags={"sha256": digest})


def _report_to_wandb(
    recipe: str, figures: Mapping[str, go.Figure], pages: Mapping[str, str]
) -> None:
    import wandb

    with wandb.init(project=PROJECT, name=f"{recipe}-report", job_type="reporting") as run:
        run.log({name: wandb.Plotly(figure) for name, figure in figures.items()})
        run.log({name: wandb.Html(page, inject=False) for name, page in pages.items()})


def _report_to_mlflow(
    recipe: str, figures: Mapping[str, go.Figure], pages: Mapping[str, str]
) -> None:
    import mlflow

    mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=f"{recipe}-report"):
        for name, figure in figures.items():
            mlflow.log_figure(figure, f"figures/{name}.html")
        for name, page in pages.items():
            mlflow.log_text(page, f"{name}.html")
