import pytest
from kedro.io import DatasetError

from corpus import good_samples, write_members
from dcr.datasets.sample_tables import SampleTablesDataset
from dcr.shards import write_shard
from dcr.validation.measuring import Limits, measure_shard


@pytest.fixture
def measures(tmp_path):
    paths = {name: write_shard(tmp_path / "in", name, good_samples(2)) for name in ("b", "a")}
    paths["empty"] = write_members(tmp_path / "in" / "empty.tar", [])
    return [measure_shard(str(path), name, Limits(32, 3.0, 10_000, 2.0)) for name, path in paths.items()]


def test_shards_saved_one_by_one_are_loaded_as_two_tables(tmp_path, measures):
    dataset = SampleTablesDataset(filepath=str(tmp_path / "samples"))
    for measure in measures:
        dataset.save(measure)
    samples, shards = dataset.load()
    assert samples["shard"].tolist() == ["a", "a", "b", "b"]
    assert samples["width"].dtype == "Int32"
    assert shards[["shard", "num_samples"]].to_numpy().tolist() == [["a", 2], ["b", 2], ["empty", 0]]
    assert shards["findings"].tolist() == [[], [], ["shard_empty"]]


def test_a_new_run_leaves_nothing_of_the_old_one(tmp_path, measures):
    folder = tmp_path / "samples"
    first = SampleTablesDataset(filepath=str(folder))
    for measure in measures:
        first.save(measure)
    SampleTablesDataset(filepath=str(folder)).save(measures[0])
    assert [path.name for path in folder.iterdir()] == ["b.parquet"]


def test_equal_measures_give_equal_bytes(tmp_path, measures):
    for name in ("one", "two"):
        SampleTablesDataset(filepath=str(tmp_path / name)).save(measures[0])
    assert (tmp_path / "one" / "b.parquet").read_bytes() == (tmp_path / "two" / "b.parquet").read_bytes()


def test_missing_tables_are_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no sample tables"):
        SampleTablesDataset(filepath=str(tmp_path / "none")).load()
