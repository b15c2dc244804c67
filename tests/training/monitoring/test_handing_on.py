"""The encoder and the report, read back from what W&B offline and MLflow's own store keep."""

from pathlib import Path

import plotly.graph_objects as go
import pytest

from dcr.files import sha256_folder
from dcr.training.monitoring.handing_on import hand_on_encoder, hand_on_report
from wandb_logs import wandb_records

FIGURES = {"losses": go.Figure(go.Scatter(x=[1, 2], y=[3.5, 4.25]))}
PAGES = {"report": "<!doctype html><p>seventeen points</p>"}


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def encoder(tmp_path):
    folder = tmp_path / "encoder"
    (folder / "vision").mkdir(parents=True)
    (folder / "README.md").write_text("# A model")
    (folder / "vision" / "model.safetensors").write_bytes(b"weights")
    return folder


def written_by_wandb(tmp_path):
    """The folder of the one run, once W&B's own process has written all of it."""
    import wandb

    wandb.teardown()
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    return folder


def test_mlflow_registers_the_folder_once_for_each_content(encoder):
    mlflow = pytest.importorskip("mlflow")
    for _ in range(2):
        hand_on_encoder(["mlflow"], "own", encoder)
    (encoder / "README.md").write_text("# Another model")
    hand_on_encoder(["mlflow"], "own", encoder)
    versions = mlflow.MlflowClient().search_model_versions("name = 'own'")
    assert sorted(version.version for version in versions) == [1, 2]
    (last,) = (version for version in versions if version.version == 2)
    assert last.tags["sha256"] == sha256_folder(encoder)
    folder = mlflow.artifacts.download_artifacts(last.source)
    assert sha256_folder(folder) == sha256_folder(encoder)


def test_mlflow_keeps_figures_and_pages(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    hand_on_report(["mlflow"], "own", FIGURES, PAGES)
    (run,) = mlflow.search_runs(experiment_names=["dcr"], output_format="list")
    assert run.info.run_name == "own-report"
    read = mlflow.artifacts.load_text
    assert read(f"{run.info.artifact_uri}/report.html") == PAGES["report"]
    assert "4.25" in read(f"{run.info.artifact_uri}/figures/losses.html")


def test_wandb_keeps_the_encoder_as_an_artefact_of_its_own_type(encoder, tmp_path):
    pytest.importorskip("wandb")
    hand_on_encoder(["wandb"], "own", encoder)
    (log,) = written_by_wandb(tmp_path).glob("*.wandb")
    (artifact,) = [r.artifact for r in wandb_records(log) if r.HasField("artifact")]
    assert (artifact.project, artifact.type, artifact.name) == ("dcr", "model", "own-encoder")
    kept = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert {name: path.read_bytes() for name, path in kept.items()} == {
        "README.md": b"# A model",
        "vision/model.safetensors": b"weights",
    }


def test_wandb_keeps_figures_and_pages(tmp_path):
    pytest.importorskip("wandb")
    hand_on_report(["wandb"], "own", FIGURES, PAGES)
    folder = written_by_wandb(tmp_path)
    (page,) = folder.glob("files/media/html/report_*.html")
    assert page.read_text() == PAGES["report"]
    (figure,) = folder.glob("files/media/plotly/losses_*.plotly.json")
    assert "4.25" in figure.read_text()


def test_a_service_that_fails_costs_a_warning_and_the_next_one_nothing(
    encoder, tmp_path, monkeypatch, caplog
):
    pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    hand_on_encoder(["mlflow", "wandb"], "own", encoder)
    (told,) = [r.getMessage() for r in caplog.records if r.name.startswith("dcr.")]
    assert told.startswith("report_to: mlflow did not take what was handed on: ")
    assert "No module named" not in told
    assert list(written_by_wandb(tmp_path).glob("*.wandb"))


def test_trackers_that_keep_no_models_and_no_figures_are_handed_nothing(encoder, tmp_path, caplog):
    hand_on_encoder(["dvclive", "tensorboard"], "own", encoder)
    hand_on_report(["dvclive", "tensorboard"], "own", FIGURES, PAGES)
    assert list(tmp_path.iterdir()) == [encoder]
    assert not caplog.records
