import pyarrow as pa
import pytest
from kedro.io import DatasetError

from corpus import good_samples, write_members
from dcr.data.shards import write_shard
from dcr.datasets.sample_tables import SampleTablesDataset, SelectedSamplesDataset
from dcr.validation.measuring import plan_measuring
from dcr.validation.tables import TablePlan
from dcr.validation.workers import Workers
from leftovers import left_by_a_dead_process
from validation_tables import LIMITS


@pytest.fixture
def shards(tmp_path):
    paths = {name: write_shard(tmp_path / "in", name, good_samples(2)) for name in ("b", "a")}
    paths["empty"] = write_members(tmp_path / "in" / "empty.tar", [])
    return {str(path): name for name, path in paths.items()}


@pytest.fixture
def plan(shards):
    return plan_measuring(shards, LIMITS, Workers("threading", 1))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_are_loaded_in_order_one_at_a_time(tmp_path, plan):
    dataset = SampleTablesDataset(filepath=str(tmp_path / "samples"))
    dataset.save(plan)
    tables = dataset.load()
    assert [(t.record["shard"], len(t.rows)) for t in tables.tables()] == [
        ("a", 2),
        ("b", 2),
        ("empty", 0),
    ]
    assert tables.num_samples() == 4
    assert tables.frame()["width"].dtype == "Int32"
    assert [record["findings"] for record in tables.records()] == [[], [], ["shard_empty"]]
    assert tables.at([3, 0])["shard"].tolist() == ["a", "b"]


def test_a_killed_run_is_taken_up_where_it_ended(tmp_path, plan):
    whole, folder = tmp_path / "whole", tmp_path / "samples"
    SampleTablesDataset(filepath=str(whole)).save(plan)

    def dying(known):
        yield next(plan.make(known))
        left_by_a_dead_process(folder / "b.parquet").write_bytes(b"half a table")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SampleTablesDataset(filepath=str(folder)).save(TablePlan(plan.names, dying))
    (done,) = folder.glob("*.parquet")
    before = done.stat().st_mtime_ns
    SampleTablesDataset(filepath=str(folder)).save(plan)
    assert done.stat().st_mtime_ns == before
    assert contents(folder) == contents(whole)


def test_tables_of_other_shards_and_broken_ones_do_not_stay(tmp_path, plan):
    folder = tmp_path / "samples"
    SampleTablesDataset(filepath=str(folder)).save(plan)
    whole = contents(folder)
    (folder / "old.parquet").write_bytes((folder / "a.parquet").read_bytes())
    (folder / "b.parquet").write_bytes(b"PAR1 not whole")
    SampleTablesDataset(filepath=str(folder)).save(plan)
    assert contents(folder) == whole


def test_selected_rows_are_one_file_written_whole(tmp_path):
    dataset = SelectedSamplesDataset(filepath=str(tmp_path / "manifest.parquet"))
    whole = pa.table({"key": ["0", "1", "2"], "n": pa.array([1, None, 3], pa.int32())})
    parts = [whole[:2], whole[2:]]
    dataset.save(lambda: iter(parts))
    assert dataset.load()["key"].tolist() == ["0", "1", "2"]
    assert dataset.load()["n"].dtype == "Int32"

    def failing():
        yield parts[1]
        raise RuntimeError

    before = contents(tmp_path)
    with pytest.raises(DatasetError):
        dataset.save(failing)
    assert contents(tmp_path) == before


def test_missing_tables_are_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no sample tables"):
        SampleTablesDataset(filepath=str(tmp_path / "none")).load()


def test_what_a_killed_run_was_about_to_select_does_not_stay(tmp_path):
    left_by_a_dead_process(tmp_path / "manifest.parquet").write_bytes(b"half a table")
    dataset = SelectedSamplesDataset(filepath=str(tmp_path / "manifest.parquet"))
    dataset.save(lambda: iter([pa.table({"key": ["0"]})]))
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.parquet"]
    assert dataset.load()["key"].tolist() == ["0"]
