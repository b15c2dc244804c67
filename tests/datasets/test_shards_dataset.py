import pytest
from kedro.io import DatasetError

from corpus import good_samples
from dcr.datasets.shards import ShardsDataset
from dcr.errors import UserError
from dcr.shards import read_samples


def test_one_shard_is_saved_at_a_time_and_all_are_listed(tmp_path):
    dataset = ShardsDataset(filepath=str(tmp_path / "shards"))
    assert not dataset.exists()
    for name in ("00001", "00000"):
        dataset.save((name, iter(good_samples(2))))
    shards = dataset.load()
    assert shards == [f"{tmp_path}/shards/00000.tar", f"{tmp_path}/shards/00001.tar"]
    assert dataset.exists()
    assert len(list(read_samples(shards[0]))) == 2


def test_missing_shards_are_told_with_the_command_that_makes_them(tmp_path):
    dataset = ShardsDataset(filepath=str(tmp_path / "none"), made_by="kedro run --pipelines scenes")
    with pytest.raises(DatasetError, match="make them with `kedro run --pipelines scenes`") as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, UserError)


def test_shards_are_not_written_to_a_pattern(tmp_path):
    with pytest.raises(DatasetError, match="written to a folder"):
        ShardsDataset(filepath=f"{tmp_path}/*.tar").save(("0", []))
