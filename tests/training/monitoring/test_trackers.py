"""A run's numbers, read back from what each tracker wrote: every step once, also after a run
was cut.
"""

import csv
import importlib.util
import io
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from PIL import Image

from dcr.errors import UserError
from dcr.training.monitoring import trackers as trackers_module
from dcr.training.monitoring.trackers import Trackers, check_trackers
from dcr.training.source_columns import source_column
from wandb_logs import wandb_records

LOSSES = {1: 1.5, 2: 1.25, 3: 1.0, 4: 0.75}


def read_dvclive(folder, metric="loss"):
    file = folder / f"dvclive/plots/metrics/{metric}.tsv"
    rows = list(csv.DictReader(file.open(), delimiter="\t"))
    return [[(int(row["step"]), float(row[metric])) for row in rows]]


def read_tensorboard(folder, metric="loss"):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = (folder / "tensorboard/dcr").glob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(file), purge_orphaned_data=False)
    accumulator.Reload()
    return [[(event.step, event.value) for event in accumulator.Scalars(metric)]]


def read_wandb(folder, metric="loss"):
    import wandb

    wandb.teardown()  # then its own process has written all
    runs = []
    for file in sorted(
        folder.glob("wandb/wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns
    ):
        runs.append([])
        for record in wandb_records(file):
            items = {
                item.key or "/".join(item.nested_key): item.value_json
                for item in record.history.item
            }
            if metric in items:
                runs[-1].append((int(items["_step"]), float(items[metric])))
    return runs


def read_mlflow(folder, metric="loss"):
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("dcr")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    assert {run.info.run_name for run in found} == {"dcr"}
    return [
        [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric)]
        for run in found
    ]


@pytest.fixture(params=["dvclive", "tensorboard", "wandb", "mlflow"])
def tracker(request, monkeypatch, tmp_path):
    """Name and reader of each tracker that is installed; none of them asks the network for
    anything.
    """
    pytest.importorskip(request.param)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    return request.param, globals()[f"read_{request.param}"]


def test_a_run_that_goes_on_is_told_from_its_first_step_and_no_step_twice(tracker, tmp_path):
    """The first process has told three steps when it is killed, of which two are in its last
    checkpoint.
    """
    name, read = tracker
    killed = Trackers([name], tmp_path, "dcr", {"seed": 0, "targets": ("q", "k")})
    for step in (1, 2, 3):
        killed.log({"loss": LOSSES[step]}, step)
    killed.close()
    rows = [{"step": step, "loss": LOSSES[step]} for step in (1, 2)]
    resumed = Trackers([name], tmp_path, "dcr", {"seed": 0}, rows)
    for step in (3, 4):
        resumed.log({"loss": LOSSES[step], "validation_loss": float("nan")}, step)
    resumed.close()
    *earlier, last = read(tmp_path)
    assert last == list(LOSSES.items())
    assert earlier == ([list(LOSSES.items())[:3]] if name in ("wandb", "mlflow") else [])


def test_a_mixtures_sources_are_told_beside_the_whole(tracker, tmp_path, caplog):
    """A tracker that read a source's name as a level below the whole would lose one of them."""
    name, read = tracker
    trackers = Trackers([name], tmp_path, "dcr", {"seed": 0})
    own = source_column("loss", "cc3m")
    for step, loss in LOSSES.items():
        trackers.log({"loss": loss, own: loss + 1}, step)
    trackers.close()
    assert "left out" not in caplog.text
    assert read(tmp_path)[-1] == list(LOSSES.items())
    assert read(tmp_path, own)[-1] == [(step, loss + 1) for step, loss in LOSSES.items()]


def seen_by_dvclive(folder):
    paths = (folder / "dvclive/plots/images/reconstructions").iterdir()
    return {int(path.stem.partition("-")[2]): Image.open(path) for path in paths}


def seen_by_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = (folder / "tensorboard/dcr").glob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(file), purge_orphaned_data=False)
    accumulator.Reload()
    events = accumulator.Images("reconstructions")
    return {event.step: Image.open(io.BytesIO(event.encoded_image_string)) for event in events}


def seen_by_wandb(folder):
    import wandb

    wandb.teardown()
    run = max(folder.glob("wandb/wandb/offline-run-*"), key=lambda path: path.stat().st_mtime_ns)
    paths = run.glob("files/media/images/reconstructions_*.png")
    return {int(path.name.split("_")[1]): Image.open(path) for path in paths}


def seen_by_mlflow(folder):
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("dcr")
    run = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])[0]
    images = client.list_artifacts(run.info.run_id, "images")
    names = [image.path for image in images if image.path.endswith(".png")]
    place = unquote(urlparse(run.info.artifact_uri).path)
    return {
        int(re.search(r"step\W(\d+)\W", name)[1]): Image.open(Path(place, name)) for name in names
    }


def test_pictures_arrive_with_their_step_also_after_a_run_was_cut(tracker, tmp_path):
    name, _ = tracker
    pictures = {}
    for step, color in ((1, "red"), (2, "green"), (4, "blue")):
        pictures[step] = tmp_path / f"step-{step:06d}.png"
        Image.new("RGB", (6, 4), color).save(pictures[step])
    rows = [{"step": step, "loss": LOSSES[step]} for step in (1, 2, 3)]
    trackers = Trackers(
        [name], tmp_path, "dcr", {"seed": 0}, rows, {1: pictures[1], 2: pictures[2]}
    )
    trackers.log({"loss": LOSSES[4]}, 4)
    trackers.show(pictures[4], 4)
    trackers.close()
    seen = globals()[f"seen_by_{name}"](tmp_path)
    assert sorted(seen) == [1, 2, 4]
    for step, path in pictures.items():
        assert seen[step].convert("RGB").tobytes() == Image.open(path).tobytes()


def test_numbers_that_are_not_finite_are_not_logged(tmp_path):
    trackers = Trackers(["dvclive"], tmp_path, "dcr", {"seed": 0})
    trackers.log({"loss": 1.5, "grad_norm": float("nan")}, 1)
    trackers.close()
    assert [path.name for path in (tmp_path / "dvclive/plots/metrics").iterdir()] == ["loss.tsv"]


def test_dvclive_leaves_the_project_alone(tmp_path, monkeypatch):
    """In a DVC project under Git nothing but its own folder appears, and nothing is committed."""
    from dvc.repo import Repo

    def git(*command):
        names = ["-c", "user.name=author", "-c", "user.email=author@example.org"]
        return subprocess.run(
            ["git", *names, *command], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init")
    Repo.init(str(tmp_path)).close()
    git("add", ".")
    git("commit", "--message", "first")
    refs = git("for-each-ref")
    monkeypatch.chdir(tmp_path)
    trackers = Trackers(["dvclive"], tmp_path / "run", "dcr", {"seed": 0})
    trackers.log({"loss": 1.5}, 1)
    trackers.close()
    assert git("status", "--porcelain") == "?? run/\n"
    assert not list(tmp_path.rglob("dvc.yaml"))
    assert git("for-each-ref") == refs


def test_dvclive_is_left_out_where_git_has_no_commit_and_the_run_goes_on(
    tmp_path, monkeypatch, caplog
):
    from dvc.repo import Repo

    subprocess.run(["git", "init"], cwd=tmp_path, check=True, capture_output=True)
    Repo.init(str(tmp_path)).close()
    monkeypatch.chdir(tmp_path)
    trackers = Trackers(["dvclive", "tensorboard"], tmp_path / "run", "dcr", {"seed": 0})
    trackers.log({"loss": 1.5}, 1)
    trackers.close()
    assert (
        "dvclive is left out from here on: it needs a Git repository with a commit" in caplog.text
    )
    assert read_tensorboard(tmp_path / "run") == [[(1, 1.5)]]


@pytest.fixture
def not_installed(monkeypatch):
    """Make it seem that W&B is not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "wandb" else found(name)
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda folder: Trackers(["wandb"], folder, "dcr", {}),
        lambda folder: check_trackers(["wandb"], "training"),
    ],
)
def test_a_tracker_that_is_not_installed_is_said(ask, tmp_path, not_installed):
    with pytest.raises(
        UserError, match=r"wandb, which is not installed: `pip install 'dcr\[trackers\]'`"
    ):
        ask(tmp_path)


class Broken:
    """A tracker as accelerate's, that fails in one of its methods, at the second call."""

    def __init__(self, where):
        self.where, self.calls = where, {}

    def __getattr__(self, name):
        def method(*_, **__):
            self.calls[name] = self.calls.get(name, 0) + 1
            if name == self.where and (self.calls[name] == 2 or name != "log"):
                raise ConnectionError(f"the server is gone\nin {name}")

        return method


@pytest.mark.parametrize("where", ["start", "store_init_configuration", "log", "finish"])
def test_a_tracker_that_fails_is_left_out_with_one_warning_and_the_others_go_on(
    where, tmp_path, monkeypatch, caplog
):
    opened = trackers_module.open_tracker
    broken = Broken(where)
    monkeypatch.setattr(
        trackers_module,
        "open_tracker",
        lambda name, *rest: broken if name == "dvclive" else opened(name, *rest),
    )
    trackers = Trackers(["dvclive", "tensorboard"], tmp_path, "dcr", {"seed": 0})
    for step, loss in LOSSES.items():
        trackers.log({"loss": loss}, step)
    trackers.close()
    assert read_tensorboard(tmp_path) == [list(LOSSES.items())]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["report_to: dvclive is left out from here on: the server is gone"]
    assert broken.calls.get("log", 0) == {"log": 2, "finish": 4}.get(where, 0)


def test_what_could_not_start_is_told_before_a_run_and_what_can_is_not(
    tmp_path, monkeypatch, caplog
):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    check_trackers(["dvclive", "tensorboard"], "training")
    assert not caplog.records
    subprocess.run(["git", "init"], cwd=tmp_path, check=True, capture_output=True)
    Repo.init(str(tmp_path)).close()
    check_trackers(["dvclive", "tensorboard"], "training")
    (record,) = caplog.records
    assert (
        "dvclive cannot start and will be left out of training: it needs a Git repository"
        in record.getMessage()
    )
    assert not list(tmp_path.glob("dvclive*"))


def test_mlflow_out_of_reach_is_told_before_a_run(monkeypatch, caplog, tmp_path):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    check_trackers(["mlflow"], "training")
    assert "mlflow cannot start and will be left out of training" in caplog.text
