"""A file of which there may be none."""

import json

import pandas as pd
import pytest
from kedro.io import DatasetError

from dcr.datasets.optional import OptionalFileDataset


def test_what_is_not_there_is_none_and_what_is_there_is_read(tmp_path):
    records = OptionalFileDataset(filepath=str(tmp_path / "a.json"), dataset="json.JSONDataset")
    assert records.exists()
    assert records.load() is None
    (tmp_path / "a.json").write_text(json.dumps([1, 2]))
    assert records.load() == [1, 2]
    table = OptionalFileDataset(
        filepath=str(tmp_path / "a.parquet"), dataset="pandas.ParquetDataset"
    )
    assert table.load() is None
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    assert table.load()["a"].tolist() == [1]


def test_it_is_written_under_another_entry(tmp_path):
    dataset = OptionalFileDataset(filepath=str(tmp_path / "a.json"), dataset="json.JSONDataset")
    with pytest.raises(DatasetError, match="under another entry"):
        dataset.save({})
    assert not (tmp_path / "a.json").exists()
