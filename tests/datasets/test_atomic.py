"""Kedro's own datasets, saved through the catalog's classes: whole files or the old ones."""

import json
import os

import pandas as pd
import pytest
from kedro.io import DatasetError
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.partitions import PartitionedDataset
from kedro_datasets.text import TextDataset

from dcr.datasets.atomic import write_atomically


@pytest.fixture(autouse=True, scope="module")
def atomic():
    write_atomically()


class Unwritable:
    """Breaks off whoever serialises it."""

    def __str__(self):
        raise RuntimeError("half way")


FRAME = pd.DataFrame({"a": [1, 2]})
BROKEN = pd.DataFrame({"a": [1, Unwritable()]})
CASES = [
    (JSONDataset, {"a": [1, 2]}, {"a": list(range(10_000)), "b": Unwritable()}),
    (TextDataset, "a page", 7),
    (CSVDataset, FRAME, BROKEN),
    (ParquetDataset, FRAME, BROKEN),
]


@pytest.mark.parametrize(("kind", "whole", "broken"), CASES)
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, kind, whole, broken):
    dataset = kind(filepath=str(tmp_path / "deep" / "file"))
    dataset.save(whole)
    before = (tmp_path / "deep" / "file").read_bytes()
    assert before
    with pytest.raises(DatasetError):
        dataset.save(broken)
    assert (tmp_path / "deep" / "file").read_bytes() == before
    assert os.listdir(tmp_path / "deep") == ["file"]


@pytest.mark.parametrize(("kind", "whole", "_"), CASES)
def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path, monkeypatch, kind, whole, _):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen, replace = [], os.replace
    monkeypatch.setattr(
        os,
        "replace",
        lambda a, b: (seen.append((path.read_bytes(), os.stat(a).st_size)), replace(a, b)),
    )
    dataset = kind(filepath=str(path))
    dataset.save(whole)
    ((before, size),) = seen
    assert before == b"old"
    assert size == path.stat().st_size > 0
    loaded = dataset.load()
    assert (
        loaded.equals(whole)
        if isinstance(whole, pd.DataFrame)
        else loaded == whole or kind is CSVDataset
    )


def test_partitions_too(tmp_path):
    dataset = PartitionedDataset(
        path=str(tmp_path / "parts"), dataset="json.JSONDataset", filename_suffix=".json"
    )
    dataset.save({"a": {"n": 1}})
    with pytest.raises(DatasetError):
        dataset.save({"a": {"n": Unwritable()}})
    assert json.loads((tmp_path / "parts" / "a.json").read_text()) == {"n": 1}
    assert os.listdir(tmp_path / "parts") == ["a.json"]
