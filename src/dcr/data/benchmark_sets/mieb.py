"""Image tasks of mteb, the Massive Image Embedding Benchmark's (MIEB), as evaluation sets.

A task is named, and its data lie in a folder of that name, as a dataset repository of the hub holds
them in Parquet; or they are in the hub's cache, and mteb finds them there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.mteb_tasks import fill, is_image, mteb_told, new_task, undecoded
from dcr.data.benchmark_sets.overrides import NO_OVERRIDES, Overrides
from dcr.data.benchmark_sets.parts import Part, Sample, digest
from dcr.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MiebSet:
    """A task of mteb with its data.

    Attributes:
        name: what records call it.
        task_name: mteb's name of the task.
        folder: of its data, "" where mteb finds them in the hub's cache.
        files: in that folder, by split.
        notes: sentences on what was left out.
        overrides, is_overridden: as in `dcr.data.benchmark_sets.parts.SplitSet`; there are none.
    """

    name: str
    task_name: str
    folder: str
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    overrides: Overrides = NO_OVERRIDES
    is_overridden: bool = False

    @property
    def splits(self) -> Mapping[str, Sequence[Part]]:
        """No parts: mteb reads the data, and asks for embeddings by itself."""
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of the task, of mteb's version, and of the data."""
        from importlib.metadata import version

        words = [self.task_name, version("mteb")]
        if not self.folder:
            return digest([*words, str(sorted(new_task(self.task_name).metadata.dataset.items()))])
        folder = Folder(self.folder)
        return digest(
            [*words, *(f"{split} {name} {folder.sha256(name)}" for split, name in self._named())]
        )

    def _named(self) -> Iterator[tuple[str, str]]:
        for split, names in sorted(self.files.items()):
            yield from ((split, name) for name in names)

    def load(self) -> Any:
        """Return the ``AbsTask`` of mteb with its data, images as they are encoded in them.

        mteb hands rows on as they are, so that images are decoded where all others are.

        Raises:
            UserError: the data are not there, or not those of the task.
        """
        task = new_task(self.task_name)
        where = self.folder or "the hub's cache"
        what = f"the data of mteb's task {self.task_name} cannot be read from {where}"
        with mteb_told(what, "get them again"):
            if not self.folder:
                task.load_data()
            else:
                fill(task, self.folder, self.files)
            task.dataset = undecoded(task.dataset)
        return task

    @property
    def tested(self) -> Sequence[Part]:
        """The images that scores are computed on, as mteb's own reader has them."""
        return [MiebImages(self, self.task_name)]


@dataclass(frozen=True)
class MiebImages(Part):
    """The images that a task is scored on; none where it is of retrieval, or of several languages.

    Attributes:
        task: with its data.
        name: of the task.
    """

    task: MiebSet = field(repr=False)
    name: str

    def _hash(self) -> str:
        return self.task.fingerprint

    def samples(self) -> Iterator[Sample]:
        from datasets import DatasetDict

        task = self.task.load()
        if not isinstance(task.dataset, DatasetDict):
            logger.warning("%s: its images are not looked for in the training data", self.task.name)
            return
        with mteb_told(f"the images of mteb's task {self.name} cannot be read", "get them again"):
            yield from self._images(task)

    def _images(self, task: Any) -> Iterator[Sample]:
        for split in task.eval_splits:
            rows = task.dataset[split]
            columns = [column for column, kind in rows.features.items() if is_image(kind)]
            for column in columns:
                for number, row in enumerate(rows.select_columns([column])):
                    key = f"{split}/{column}/{number}"
                    yield Sample(key, row[column]["bytes"], f"{self.name}, {key}")


def open_mieb(location: str, name: str | None = None) -> MiebSet:
    """Open a task: the folder ``location`` of its name with Parquet files, or its name alone.

    A file belongs to the split that its name begins with, as ``test-00000-of-00001.parquet``.

    Args:
        location: such as ``/data/mieb/CIFAR10ZeroShot``, or ``CIFAR10ZeroShot``.
        name: what records call the set; the task's by default.

    Raises:
        UserError: mteb is not installed or has no such task, it is not of images, or a split that
            it is scored on has no file.
    """
    task_name = Path(location).name
    task = new_task(task_name)
    if "image" not in task.metadata.modalities:
        raise UserError(f"{location}: the task {task_name} of mteb is not of images")
    if task.metadata.name == location:
        return MiebSet(name or task_name, task_name, "")
    folder = Folder(location)
    if not folder.is_local or not folder.has_folder():
        raise UserError(f"no benchmark set at {location}: the folder does not exist")
    if task.metadata.is_multilingual or not _is_a_table(task):
        raise UserError(
            f"{location}: the task {task_name} has more tables than one a split; leave the folder"
            " out and name the task alone: mteb reads it from the hub's cache"
        )
    files = _find_files(folder)
    if absent := [split for split in task.eval_splits if split not in files]:
        raise UserError(
            f"{location} has no {absent[0]}-*.parquet, which the task {task_name} is scored on"
        )
    return MiebSet(name or task_name, task_name, str(folder), files)


def _is_a_table(task: Any) -> bool:
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    return not isinstance(task, AbsTaskRetrieval)


def _find_files(folder: Folder) -> dict[str, list[str]]:
    """Return the Parquet files by split, of the first place that has any.

    Repositories with several tables are not mixed so.
    """
    found: dict[str, list[str]] = {}
    for place in dict.fromkeys(("", "data", *folder.folders())):
        for name in folder.files(place, "parquet"):
            split = os.path.basename(name).partition("-")[0].removesuffix(".parquet")
            found.setdefault(split, []).append(name)
        if found:
            break
    return found
