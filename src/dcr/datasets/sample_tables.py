"""Kedro datasets for the rows of validation: a Parquet file a shard, and one of those selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from dcr.files import atomic_path
from dcr.replacing import follow_links

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from dcr.validation.tables import SampleTables, TablePlan


class SampleTablesDataset(AbstractDataset["TablePlan", "SampleTables"]):
    """A folder with one Parquet file per shard.

    ``save`` takes a plan and does what is missing of it: each file is written whole or not at all,
    files that still hold are kept, and those of shards that are not named are removed. ``load``
    gives the tables, to be read one shard at a time.

    Args:
        filepath: the folder of Parquet files.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        samples:
          type: dcr.datasets.sample_tables.SampleTablesDataset
          filepath: data/02_intermediate/demo/samples

    Python example:
        >>> SampleTablesDataset(filepath="samples").load().num_samples()
        8000
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> SampleTables:
        from dcr.validation.tables import SampleTables

        return SampleTables(self._filepath)

    def save(self, data: TablePlan) -> None:
        """Make what the folder lacks of the plan ``data``."""
        from dcr.validation.tables import write_tables

        write_tables(self._filepath, data)

    def _exists(self) -> bool:
        return any(self._filepath.glob("*.parquet"))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class OptionalSampleTablesDataset(SampleTablesDataset):
    """A ``SampleTablesDataset`` of which there may be none: a load then gives None.

    YAML example:

        likenesses:
          type: dcr.datasets.sample_tables.OptionalSampleTablesDataset
          filepath: data/04_feature/demo/likenesses

    Python example:
        >>> OptionalSampleTablesDataset(filepath="nowhere").load()
    """

    def load(self) -> SampleTables | None:  # type: ignore[override]  # absence is a value
        return super().load() if super()._exists() else None

    def _exists(self) -> bool:
        return True


class SelectedSamplesDataset(AbstractDataset[Callable[[], Iterable["pa.Table"]], "pd.DataFrame"]):
    """One Parquet file of samples.

    ``save`` takes a function that yields tables, of which one at a time is in memory; the file is
    written whole or not at all. ``load`` gives all rows as pandas.

    Args:
        filepath: the Parquet file.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        manifest:
          type: dcr.datasets.sample_tables.SelectedSamplesDataset
          filepath: data/03_primary/demo/manifest.parquet

    Python example:
        >>> SelectedSamplesDataset(filepath="manifest.parquet").load()["key"]
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        import pyarrow.parquet as pq

        from dcr.validation.tables import to_frame

        return to_frame(pq.read_table(self._filepath))

    def save(self, data: Callable[[], Iterable[pa.Table]]) -> None:
        """Write the tables that ``data`` yields, at least one, one after the other."""
        import pyarrow.parquet as pq

        writer: pq.ParquetWriter | None = None
        with atomic_path(self._filepath) as temporary:
            for table in data():
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
            assert writer is not None, "a file of samples has a schema, which the first table tells"
            writer.close()

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class ManifestDataset(SelectedSamplesDataset):
    """The samples that may go on, which stand only while the last validation has let them pass.

    YAML example:

        manifest:
          type: dcr.datasets.sample_tables.ManifestDataset
          filepath: data/03_primary/demo/manifest.parquet
    """

    def withdraw(self) -> None:
        """Remove the file, if it is there: a new validation begins."""
        follow_links(self._filepath).unlink(missing_ok=True)
