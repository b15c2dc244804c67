"""A run's numbers for DVCLive, TensorBoard, W&B and MLflow, through accelerate's trackers."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dcr.errors import UserError

_PROJECT = "dcr"
_log = logging.getLogger(__name__)


class Trackers:
    """The trackers of one run, each in a folder of its own under ``folder``; MLflow knows its own place.

    A run that goes on from a checkpoint is told again from its first step, so that no step is there twice and none
    that the checkpoint does not know: DVCLive and TensorBoard write their files anew, W&B and MLflow begin another run.

    Args:
        names: ``dvclive``, ``tensorboard``, ``wandb``, ``mlflow``.
        folder: of the run.
        run_name: how the run is called there.
        settings: of the run, kept beside its numbers.
        rows: of the steps that are done, each with its ``step``.

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
    ) -> None:
        opened = (_open(name, folder, run_name) for name in names)
        self._trackers = [tracker for tracker in opened if tracker is not None]
        plain = {key: value for key, value in settings.items() if isinstance(value, str | int | float | bool)}
        for tracker in self._trackers:
            tracker.start()
            tracker.store_init_configuration(plain)
        for row in rows:
            self.log({name: value for name, value in row.items() if name != "step"}, row["step"])

    def log(self, row: dict[str, float], step: int) -> None:
        """Note a step's numbers; those that are not finite are left out, as no tracker draws them."""
        finite = {name: value for name, value in row.items() if math.isfinite(value)}
        for tracker in self._trackers:
            tracker.log(finite, step=step)

    def close(self) -> None:
        """Write what is still held back."""
        for tracker in self._trackers:
            tracker.finish()


def _open(name: str, folder: Path, run_name: str) -> Any | None:
    from accelerate.state import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    if name not in [str(available) for available in get_available_trackers()]:
        raise UserError(
            f"report_to names {name}, which is not installed: `pip install {name}`, or take it off the list"
        )
    PartialState()  # accelerate's trackers log through it
    tracker, own = LOGGER_TYPE_TO_CLASS[name], folder / name
    if name == "mlflow":
        return tracker(_PROJECT, run_name=run_name)
    if name == "wandb":
        own.mkdir(parents=True, exist_ok=True)
        return tracker(_PROJECT, name=run_name, dir=str(own))
    shutil.rmtree(own, ignore_errors=True)
    if name == "dvclive":
        live = _open_dvclive(own)
        return live and tracker(live=live)
    return tracker(run_name, own)


def _open_dvclive(folder: Path) -> Any | None:
    """Return a log beside DVC's pipeline, neither an experiment nor a dvc.yaml of its own."""
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        return Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None)
    except SCMError as exc:  # it asks for the last commit although it keeps no experiment
        _log.warning("DVCLive is left out: it needs a Git repository with a commit (%s).", exc)
        return None
