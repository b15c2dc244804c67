import pytest
from kedro.io import DatasetError

from corpus import good_samples
from dcr.data.shards import read_samples, write_shard
from dcr.datasets.shards import ShardsDataset
from dcr.errors import UserError


def test_all_shards_are_saved_at_once_and_listed_in_order(tmp_path):
    dataset = ShardsDataset(filepath=str(tmp_path / "shards"))
    assert not dataset.exists()
    dataset.save(
        lambda folder: [write_shard(folder, name, good_samples(2)) for name in ("00001", "00000")]
    )
    shards = dataset.load()
    assert shards == [f"{tmp_path}/shards/00000.tar", f"{tmp_path}/shards/00001.tar"]
    assert dataset.exists()
    assert len(list(read_samples(shards[0]))) == 2


def test_missing_shards_are_told_with_the_command_that_makes_them(tmp_path):
    dataset = ShardsDataset(filepath=str(tmp_path / "none"), made_by="kedro run --pipelines scenes")
    with pytest.raises(
        DatasetError, match="make them with `kedro run --pipelines scenes`"
    ) as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, UserError)


def test_shards_of_an_earlier_save_do_not_stay(tmp_path):
    dataset = ShardsDataset(filepath=str(tmp_path / "shards"))
    for names in (("00000", "00001"), ("00000",)):
        dataset.save(
            lambda folder, names=names: [
                write_shard(folder, name, good_samples(2)) for name in names
            ]
        )
    assert dataset.load() == [f"{tmp_path}/shards/00000.tar"]


@pytest.mark.parametrize("place", ["*.tar", "{0..3}.tar", ["00000.tar"], "s3://bucket/shards"])
def test_shards_are_written_to_a_folder_alone(tmp_path, place):
    place = f"{tmp_path}/{place}" if isinstance(place, str) and "://" not in place else place
    with pytest.raises(UserError, match="written to a folder"):
        ShardsDataset(filepath=place).check_target()
    with pytest.raises(DatasetError, match="written to a folder"):
        ShardsDataset(filepath=place).save(lambda folder: None)
