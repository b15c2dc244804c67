import hashlib
import json
import tarfile

import pyarrow.parquet as pq
import pytest

from corpus import encode, good_samples
from dcr.data.shards import Sample, read_samples, write_shard, write_tar

IMG2DATASET_COLUMNS = [
    *("url", "caption", "key", "status", "error_message"),
    *("width", "height", "original_width", "original_height", "exif", "sha256"),
]


def test_a_shard_is_a_tar_a_table_and_stats(tmp_path):
    write_shard(tmp_path / "out", "00000", good_samples(3))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "00000.parquet",
        "00000.tar",
        "00000_stats.json",
    ]


def test_what_is_written_is_read_back(tmp_path):
    samples = [*good_samples(2), Sample("x/no caption", encode(kind="PNG"), "png", None)]
    again = list(read_samples(str(write_shard(tmp_path, "a", samples))))
    for ours, theirs in zip(samples, again, strict=True):
        assert (ours.key, ours.image, ours.image_extension, ours.caption) == (
            theirs.key, theirs.image, theirs.image_extension, theirs.caption,
        )  # fmt: skip
    assert again[0].metadata["attributes"] == {"class": 0}


def test_the_json_has_img2datasets_columns(tmp_path):
    image = encode((48, 40))
    path = write_shard(
        tmp_path,
        "a",
        [Sample("0", image, "jpg", "a fish", {"url": "http://x/0.jpg", "split": "train"})],
    )
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["0.jpg", "0.json", "0.txt"]
        record = json.load(tar.extractfile("0.json"))
    assert list(record) == [*IMG2DATASET_COLUMNS, "split"]
    assert (record["width"], record["height"], record["url"]) == (48, 40, "http://x/0.jpg")
    assert record["sha256"] == hashlib.sha256(image).hexdigest()


def test_the_table_repeats_the_json_and_the_stats_count(tmp_path):
    write_shard(tmp_path, "a", good_samples(3))
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["key"] for row in rows] == ["000000000", "000000001", "000000002"]
    assert [row["attributes"] for row in rows] == [{"class": 0}, {"class": 1}, {"class": 2}]
    stats = json.loads((tmp_path / "a_stats.json").read_text())
    assert (stats["count"], stats["successes"], stats["status_dict"]) == (3, 3, {"success": 3})


def test_equal_samples_give_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        write_shard(tmp_path / folder, "0", good_samples(4))
    for name in ("0.tar", "0.parquet", "0_stats.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_failure_leaves_what_was_there(tmp_path):
    before = write_shard(tmp_path, "a", good_samples(2)).read_bytes()

    def failing():
        yield good_samples(1)[0]
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        write_shard(tmp_path, "a", failing())
    assert (tmp_path / "a.tar").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "a.tar", "a_stats.json"]


def test_webdataset_reads_our_shards(tmp_path):
    import webdataset as wds

    path = write_shard(tmp_path, "a", good_samples(3))
    samples = list(wds.WebDataset(str(path), shardshuffle=False))
    assert [s["__key__"] for s in samples] == ["000000000", "000000001", "000000002"]
    assert samples[1]["txt"] == b"a picture number 1"


def test_write_tar_is_deterministic_and_whole_or_absent(tmp_path):
    members = [("b/long" + "x" * 200 + ".npy", b"123"), ("a.json", b"{}")]
    first = write_tar(tmp_path / "a.tar", members).read_bytes()
    assert write_tar(tmp_path / "b.tar", iter(members)).read_bytes() == first
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert [(m.name, m.mtime, m.uid, m.gid) for m in tar] == [
            (name, 0, 0, 0) for name, _ in members
        ]

    def failing():
        yield members[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_tar(tmp_path / "c.tar", failing())
    assert not (tmp_path / "c.tar").exists()
