"""Kedro dataset for the parts of one result, which belong together."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from kedro_datasets.partitions import PartitionedDataset

from dcr.datasets.ownership import check_ours, owned_folder


class WholePartitionsDataset(PartitionedDataset):  # type: ignore[misc]  # it ships no types
    """A ``PartitionedDataset`` whose save replaces all at once, in a folder of this project.

    No partition of an earlier save stays beside those of this one.

    YAML example:

        losses:
          type: dcr.datasets.partitions.WholePartitionsDataset
          path: data/08_reporting/demo/losses
          filename_suffix: .csv
          dataset: pandas.CSVDataset

    Python example:
        >>> dataset = WholePartitionsDataset(
        ...     path="losses", dataset="json.JSONDataset", filename_suffix=".json"
        ... )
        >>> dataset.save({"stage1": {"loss": 0.4}})
    """

    def save(self, data: dict[str, Any]) -> None:
        """Write the partitions in ``data``, by name, and remove all others."""
        with owned_folder(self._path) as folder:
            new = copy(self)
            new._path = str(folder)
            PartitionedDataset.save(new, data)
        self._invalidate_caches()

    def check_target(self) -> None:
        """Raise UserError if a save would destroy what this project did not make."""
        check_ours(self._path)


class OptionalPartitionsDataset(WholePartitionsDataset):
    """A ``WholePartitionsDataset`` of which there may be none: a load then gives ``{}``.

    YAML example:

        alignments:
          type: dcr.datasets.partitions.OptionalPartitionsDataset
          path: data/06_models/demo/alignments
          filename_suffix: .safetensors
          dataset: {type: dcr.datasets.tensors.SafetensorsDataset, made_by: kedro run --pipelines
          alignment}

    Python example:
        >>> dataset = OptionalPartitionsDataset(
        ...     path="nowhere", dataset="json.JSONDataset", filename_suffix=".json"
        ... )
        >>> dataset.load()
        {}
    """

    def load(self) -> dict[str, Callable[[], Any]]:
        self._invalidate_caches()
        found: dict[str, Callable[[], Any]] = super().load() if self._list_partitions() else {}
        return found

    def _exists(self) -> bool:
        return True  # absence is one of its values
