"""A run's numbers for DVCLive, TensorBoard, W&B and MLflow, through accelerate's trackers."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from dcr.errors import UserError

_log = logging.getLogger(__name__)


class Trackers:
    """The trackers of one run; they write under ``folder``, but for W&B and MLflow, which know their own places.

    Args:
        names: ``dvclive``, ``tensorboard``, ``wandb``, ``mlflow``.
        folder: of the run; each tracker that writes files has its own folder in it.
        run_name: how the run is called there.
        settings: of the run, kept beside its numbers.
        resumed: the run goes on from a checkpoint, so that what is there stays.

    Raises:
        UserError: a tracker's package is not installed.
    """

    def __init__(self, names: list[str], folder: Path, run_name: str, settings: dict[str, Any], resumed: bool) -> None:
        self._trackers = [_open(name, folder, run_name, resumed) for name in names]
        plain = {key: value for key, value in settings.items() if isinstance(value, str | int | float | bool)}
        for tracker in self._trackers:
            tracker.start()
            tracker.store_init_configuration(plain)

    def log(self, row: dict[str, float], step: int) -> None:
        """Note a step's numbers; those that are not finite are left out, as no tracker draws them."""
        finite = {name: value for name, value in row.items() if math.isfinite(value)}
        for tracker in self._trackers:
            tracker.log(finite, step=step)

    def close(self) -> None:
        """Write what is still held back."""
        for tracker in self._trackers:
            tracker.finish()


def _open(name: str, folder: Path, run_name: str, resumed: bool) -> Any:
    from accelerate.state import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    if name not in [str(available) for available in get_available_trackers()]:
        raise UserError(
            f"report_to names {name}, which is not installed: `pip install {name}`, or take it off the list"
        )
    PartialState()  # accelerate's trackers log through it
    tracker = LOGGER_TYPE_TO_CLASS[name]
    if name == "dvclive":  # a log beside DVC's pipeline: neither an experiment nor a dvc.yaml of its own
        return tracker(dir=str(folder / name), save_dvc_exp=False, dvcyaml=None, resume=resumed)
    if tracker.requires_logging_directory:
        return tracker(run_name, folder / name)
    return tracker(run_name)
