"""A run's numbers and pictures for DVCLive, TensorBoard, W&B and MLflow, by accelerate's trackers.

A tracker is a spectator: what goes wrong with one costs that tracker, and never the run.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dcr.errors import first_line
from dcr.extras import needs_extra

PROJECT = "dcr"
"""What W&B and MLflow file a run under."""

TAKERS = frozenset({"wandb", "mlflow"})
"""The trackers that keep models and figures; `dcr.training.monitoring.handing_on` gives them."""

_PICTURES = "reconstructions"
_log = logging.getLogger(__name__)


def check_trackers(names: Sequence[str], work: str) -> None:
    """Warn of each tracker that could not start now, before hours are spent on what comes first.

    Args:
        names: as in `Trackers`.
        work: that a tracker which cannot start is left out of, in words.

    Raises:
        UserError: a tracker's package is not installed.
    """
    for name in names:
        _require(name)
        try:
            _CHECKS.get(name, _nothing)()
        except Exception as exc:  # whatever its service, its files or its settings raise
            _log.warning(
                "report_to: %s cannot start and will be left out of %s: %s",
                name,
                work,
                first_line(exc),
            )


class Trackers:
    """The trackers of one run, each in a folder of its own under ``folder``.

    MLflow knows its own place. A run that goes on from a checkpoint is told again from its first
    step, so that no step is there twice and none that the checkpoint does not know: DVCLive and
    TensorBoard write their files anew, W&B and MLflow begin another run. A tracker that fails is
    left out from then on, with a warning.

    Args:
        names: ``dvclive``, ``tensorboard``, ``wandb``, ``mlflow``.
        folder: of the run.
        run_name: how the run is called there.
        settings: of the run, kept beside its numbers.
        rows: of the steps that are done, each with its ``step``.
        pictures: files of pictures of steps that are done, by step.

    Raises:
        UserError: a tracker's package is not installed.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        run_name: str,
        settings: dict[str, Any],
        rows: Sequence[dict[str, float]] = (),
        pictures: Mapping[int, Path] | None = None,
    ) -> None:
        self._trackers: dict[str, Any] = {}
        plain = {
            key: value
            for key, value in settings.items()
            if isinstance(value, str | int | float | bool)
        }
        for name in names:
            _require(name)
            with self._spared(name):
                tracker = self._trackers[name] = open_tracker(name, folder, run_name)
                tracker.start()
                tracker.store_init_configuration(plain)
        for row in rows:
            numbers = {name: value for name, value in row.items() if name != "step"}
            step = int(row["step"])
            self.log(numbers, step)
            if pictures and step in pictures:
                self.show(pictures[step], step)

    def log(self, row: dict[str, float], step: int) -> None:
        """Note a step's numbers; those that are not finite are left out, as no tracker draws them.

        Args:
            row: the numbers by name.
            step: optimizer steps done.
        """
        finite = {name: value for name, value in row.items() if math.isfinite(value)}
        self._each(lambda tracker: tracker.log(finite, step=step))

    def show(self, picture: Path, step: int) -> None:
        """Give the trackers a picture of held-out images and what the model tells of them.

        Args:
            picture: a PNG.
            step: optimizer steps done.
        """
        for name, tracker in list(self._trackers.items()):
            with self._spared(name):
                _show(name, tracker, picture, step)

    def close(self) -> None:
        """Write what is still held back."""
        self._each(lambda tracker: tracker.finish())

    def _each(self, act: Callable[[Any], object]) -> None:
        for name, tracker in list(self._trackers.items()):
            with self._spared(name):
                act(tracker)

    @contextmanager
    def _spared(self, name: str) -> Iterator[None]:
        """Leave a tracker out if what is done with it fails."""
        try:
            yield
        except Exception as exc:  # whatever its service, its files or its settings raise
            self._trackers.pop(name, None)
            _log.warning("report_to: %s is left out from here on: %s", name, first_line(exc))


def _show(name: str, tracker: Any, path: Path, step: int) -> None:
    """Give one tracker a picture, in the tracker's own way where accelerate has none."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as file:
        picture = file.convert("RGB")
    if name == "dvclive":
        tracker.live.log_image(f"{_PICTURES}/{path.name}", picture)
    elif name == "mlflow":
        import mlflow

        mlflow.log_image(picture, key=_PICTURES, step=step)
    else:
        shown = [picture] if name == "wandb" else np.asarray(picture)[None]
        options = {} if name == "wandb" else {"dataformats": "NHWC"}
        tracker.log_images({_PICTURES: shown}, step=step, **options)


def _require(name: str) -> None:
    with needs_extra("trackers", "training.monitoring.report_to"):
        if importlib.util.find_spec(name) is None:  # importing it would take seconds
            raise ModuleNotFoundError(name=name)


def open_tracker(name: str, folder: Path, run_name: str) -> Any:
    """Return accelerate's tracker, not started yet.

    Args:
        name: ``dvclive``, ``tensorboard``, ``wandb`` or ``mlflow``.
        folder: of the run; each tracker has one of its own in it, which begins empty.
        run_name: how the run is called there.
    """
    from accelerate.state import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # accelerate's trackers log through it
    tracker = LOGGER_TYPE_TO_CLASS[name]
    own = folder / name
    if name == "mlflow":
        return tracker(PROJECT, run_name=run_name)
    if name == "wandb":
        own.mkdir(parents=True, exist_ok=True)
        return tracker(PROJECT, name=run_name, dir=str(own))
    shutil.rmtree(own, ignore_errors=True)
    if name == "dvclive":
        return tracker(live=_open_dvclive(own))
    return tracker(run_name, own)


def _open_dvclive(folder: Path) -> Any:
    """Return a log beside DVC's pipeline, neither an experiment nor a dvc.yaml of its own."""
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        return Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None)
    except SCMError as exc:  # it asks for the last commit although it keeps no experiment
        raise RuntimeError(f"it needs a Git repository with a commit ({exc})") from exc


def _check_dvclive() -> None:
    with TemporaryDirectory() as folder:
        _open_dvclive(Path(folder) / "dvclive")


def _check_wandb() -> None:
    """Look for what lets it start without asking anybody.

    A run of its own would stand on the server for ever.
    """
    import wandb

    if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.api.api_key:
        raise RuntimeError("there is no API key: `wandb login` once, or set WANDB_MODE=offline")


def _check_mlflow() -> None:
    import mlflow

    mlflow.search_experiments(max_results=1)


def _nothing() -> None:
    pass


_CHECKS = {"dvclive": _check_dvclive, "wandb": _check_wandb, "mlflow": _check_mlflow}
