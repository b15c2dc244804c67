"""Pipeline `ingest` on files: what it writes is what validation reads."""

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.runner import SequentialRunner

from corpus import encode
from dcr.data.shards import read_samples
from dcr.datasets.shards import ShardsDataset
from dcr.parameters import IngestParameters
from dcr.pipelines.ingest import create_pipeline


def run(folder):
    parameters = IngestParameters(
        images=str(folder / "images"),
        table=None,
        path_column="path",
        caption_column="caption",
        max_shard_megabytes=1,
        max_failed_share=0.1,
    )
    shards = ShardsDataset(filepath=str(folder / "shards"))
    catalog = DataCatalog({"params:ingest": MemoryDataset(parameters), "shards": shards})
    SequentialRunner().run(create_pipeline(), catalog)
    return shards.load()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(4):
        (tmp_path / "images" / f"{i}.jpg").write_bytes(encode(seed=i))
    return tmp_path


def test_images_become_shards_and_a_second_run_replaces_them(folder):
    run(folder)
    (folder / "images" / "3.jpg").unlink()
    assert len(list(read_samples(*run(folder)))) == 3


def test_data_that_ingest_did_not_make_are_not_replaced(folder):
    (folder / "shards").mkdir()
    (folder / "shards" / "00000.tar").write_bytes(b"somebody's data")
    with pytest.raises(
        DatasetError, match=r"00000\.tar in it is not on the record of what this project made"
    ):
        run(folder)
    assert (folder / "shards" / "00000.tar").read_bytes() == b"somebody's data"
