"""Kedro dataset for the per-sample rows of validation, one Parquet file a shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from dcr.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

    from dcr.validation.measuring import ShardMeasures

_RECORD = b"dcr.shard"  # key of the shard's own record in the Parquet file's metadata


class SampleTablesDataset(AbstractDataset):
    """A folder with one Parquet file per shard.

    ``save`` writes the measures of one shard, whole or not at all; the first save of a run empties the folder, so
    that no shard of an earlier run remains. ``load`` gives two tables, (samples, shards).

    YAML example:

        samples:
          type: dcr.datasets.sample_tables.SampleTablesDataset
          filepath: data/02_intermediate/demo/samples

    Python example:
        >>> samples, shards = SampleTablesDataset(filepath="samples").load()
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath, self.metadata = Path(filepath), metadata
        self._emptied = False

    def load(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        paths = sorted(self._filepath.glob("*.parquet"))
        if not paths:
            raise FileNotFoundError(f"no sample tables in {self._filepath}")
        tables = [pq.read_table(path) for path in paths]
        records = [json.loads(table.schema.metadata[_RECORD]) for table in tables]
        rows = pa.concat_tables(table.replace_schema_metadata(None) for table in tables)
        return rows.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get), pd.DataFrame(records)

    def save(self, data: ShardMeasures) -> None:
        import pyarrow.parquet as pq

        if not self._emptied:
            for path in self._filepath.glob("*.parquet"):
                path.unlink()
            self._emptied = True
        rows = data.rows.replace_schema_metadata({_RECORD: json.dumps(data.record)})
        with atomic_path(self._filepath / f"{data.record['shard']}.parquet") as temporary:
            pq.write_table(rows, temporary)

    def _exists(self) -> bool:
        return any(self._filepath.glob("*.parquet"))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
