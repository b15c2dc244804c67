"""Kedro datasets for benchmark sets in outside layouts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

from dcr.datasets.folders import OwnedFolderDataset
from dcr.datasets.ownership import owned_folder
from dcr.errors import UserError
from dcr.parameters.conf_files import shown

if TYPE_CHECKING:
    from dcr.data.benchmark_sets import BenchmarkSet

Opened = dict[str, tuple[str, Callable[[], "BenchmarkSet"]]]
"""By a set's name its kind and the function that opens it."""


class BenchmarkSetDataset(
    OwnedFolderDataset[Callable[[Path], object], Callable[[], "BenchmarkSet"] | None]
):
    """A benchmark set in its outside layout: an MMVP-VLM folder, CLIP_benchmark's, Pascal VOC's.

    ``load`` returns a function that opens the set, so that a recipe which evaluates only some of
    the sets needs no folder for the others; None where it names none. ``save`` takes a function
    that fills the folder.

    Args:
        filepath: the folder, None where the recipe has no such set.
        kind: of set that the folder must hold, one of `dcr.data.benchmark_sets.KINDS`.
        advice: how a recipe does without the folder, where that is not by its list of sets to
            evaluate.
        options: of `OwnedFolderDataset`.

    YAML example:

        mmvp_vlm:
          type: dcr.datasets.benchmark_sets.BenchmarkSetDataset
          filepath: data/01_raw/demo/sets/mmvp_vlm
          made_by: kedro run --pipelines scenes
          kind: mmvp_vlm

    Python example:
        >>> dataset = BenchmarkSetDataset(
        ...     filepath="sets/mmvp_vlm", made_by="...", kind="mmvp_vlm"
        ... )
        >>> dataset.load()().pairs[0].ids
        (1, 2)
    """

    _advice = (
        "name another in the recipe's globals.yml, or leave it out of `sets` in its"
        " parameters_evaluation.yml"
    )

    def __init__(
        self,
        *,
        filepath: str | None,
        kind: str | None = None,
        advice: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(filepath=filepath or "", **options)
        self._advice = advice or self._advice
        self._is_named = filepath is not None
        self._kind = kind

    def load(self) -> Callable[[], BenchmarkSet] | None:
        return self._open if self._is_named else None

    def save(self, data: Callable[[Path], object]) -> None:
        """Let ``data`` fill an empty folder, which then takes the place of the old one."""
        with owned_folder(self._filepath) as folder:
            data(folder)

    def _open(self) -> BenchmarkSet:
        from dcr.data.benchmark_sets import open_set

        # Kedro makes paths absolute; records and pages show them as the recipe has them.
        return open_set(shown(self.require()), kind=self._kind)


class BenchmarkSetsDataset(AbstractDataset[object, Opened]):
    """Any number of benchmark sets, each with a name, a kind and a path.

    ``load`` returns ``{name: (kind, function that opens the set)}``.

    Args:
        sets: of each set ``name``, ``kind`` and ``path``, and nothing else; names differ.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        more_sets:
          type: dcr.datasets.benchmark_sets.BenchmarkSetsDataset
          sets:
            - {name: mnist, kind: classification, path: /data/wds_mnist}

    Python example:
        >>> entry = {"name": "mnist", "kind": "classification", "path": "/data/wds_mnist"}
        >>> list(BenchmarkSetsDataset(sets=[entry]).load())
        ['mnist']
    """

    def __init__(
        self, *, sets: list[dict[str, str]], metadata: dict[str, Any] | None = None
    ) -> None:
        self._sets = [_check_entry(entry) for entry in sets]
        self.metadata = metadata
        names = [entry["name"] for entry in self._sets]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(
                f"two benchmark sets are called {doubled[0]!r}: names tell scores apart, so each"
                " needs its own"
            )

    def load(self) -> Opened:
        return {entry["name"]: (entry["kind"], partial(_open, entry)) for entry in self._sets}

    def save(self, data: object) -> None:
        """Refuse ``data``: sets are the user's."""
        raise DatasetError("benchmark sets are read only; `kedro make-set` makes one")

    def _exists(self) -> bool:
        return True  # each set tells at opening whether it is there

    def _describe(self) -> dict[str, Any]:
        return {"sets": self._sets}


_KEYS = ("name", "kind", "path")
_KINDS = (
    "mmvp_vlm",
    "classification",
    "retrieval",
    "caption_selection",
    "segmentation",
    "mieb",
)


def _check_entry(entry: Any) -> dict[str, str]:
    if not isinstance(entry, Mapping) or set(entry) != set(_KEYS):
        raise UserError(
            f"an entry of more_sets needs exactly the keys {', '.join(_KEYS)}, got {entry!r}"
        )
    name = entry["name"]
    kind = entry["kind"]
    if kind not in _KINDS:
        raise UserError(
            f"more_sets: the kind of {name!r} must be one of {', '.join(_KINDS)}, got {kind!r}"
        )
    if not re.fullmatch(r"[\w-]+", str(name)):
        raise UserError(f"more_sets: a name may hold letters, digits, _ and - alone, got {name!r}")
    return dict(entry)


def _open(entry: dict[str, str]) -> BenchmarkSet:
    from dcr.data.benchmark_sets import open_set

    return open_set(entry["path"], entry["name"], entry["kind"])
