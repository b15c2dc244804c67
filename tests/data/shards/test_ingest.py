import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caption_cases import CAPTIONS
from corpus import encode
from dcr.data.shards import Source, list_shards, read_samples, write_ingested
from dcr.errors import UserError
from picture_cases import CASES

MEGABYTE = 1_000_000


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def ingest(
    tmp_path,
    table=None,
    caption_column="caption",
    out="out",
    max_shard_bytes=MEGABYTE,
    max_failed_share=1.0,
):
    (tmp_path / out).mkdir(exist_ok=True)
    source = Source(
        str(tmp_path / "images"), None if table is None else str(table), "path", caption_column
    )
    write_ingested(tmp_path / out, source, max_shard_bytes, max_failed_share)
    return [sample for shard in list_shards(str(tmp_path / out)) for sample in read_samples(shard)]


@pytest.fixture
def images(tmp_path):
    """Three images in two folders, one with another caption than its neighbour and one with
    none.
    """
    folder = tmp_path / "images"
    for name in ("b/2.png", "a.jpg", "b/1.JPG"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(
            encode(seed=len(name) + ord(name[0]), kind="PNG" if "png" in name else "JPEG")
        )
    (folder / "a.txt").write_text("an \u00e4pple\n", encoding="utf-8")
    (folder / "b" / "1.txt").write_bytes(b"caf\xe9")
    (folder / "notes.md").write_text("no image")
    return folder


def test_a_folder_with_captions_beside_its_images(images, tmp_path):
    samples = ingest(tmp_path)
    assert [(s.key, s.metadata["url"], s.image_extension, s.caption) for s in samples] == [
        ("00000000000", "a.jpg", "jpg", "an \u00e4pple"),
        ("00000000001", "b/1.JPG", "jpg", "caf\ufffd"),
        ("00000000002", "b/2.png", "png", None),
    ]
    assert samples[1].problems == ("caption_not_utf8",)  # the bytes went through as they were
    assert [s.image for s in samples] == [
        (images / s.metadata["url"]).read_bytes() for s in samples
    ]
    assert sorted(contents(tmp_path / "out")) == [
        "00000.parquet",
        "00000.tar",
        "00000_stats.json",
        "ingest.json",
    ]


def test_equal_files_give_equal_bytes_whatever_their_times(images, tmp_path):
    ingest(tmp_path, out="one")
    for path in images.rglob("*.*"):
        path.touch()
    ingest(tmp_path, out="two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


ROWS = [{"path": "b/2.png", "caption": "two"}, {"path": "a.jpg", "caption": 'one, "quoted"'}]


def write_table(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import csv

        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_table_names_images_and_captions_in_its_order(images, tmp_path, suffix):
    samples = ingest(tmp_path, write_table(tmp_path / f"table{suffix}", ROWS))
    assert [(s.metadata["url"], s.caption) for s in samples] == [
        (row["path"], row["caption"]) for row in ROWS
    ]
    samples = ingest(tmp_path, write_table(tmp_path / f"table{suffix}", ROWS), caption_column=None)
    assert [s.caption for s in samples] == [None, None]


def test_what_cannot_be_read_is_a_sample_that_says_why(images, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(encode())
    (images / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = [
        "none.jpg",
        "../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "link.jpg",
        "b",
        None,
        "nul\0.jpg",
        "a.jpg",
    ]
    table = write_table(
        tmp_path / "table.jsonl", [{"path": name, "caption": "x"} for name in names]
    )
    table.write_text(table.read_text() + "{broken\n")
    samples = ingest(tmp_path, table)
    outside, nothing = "it lies outside the folder of images", "there is no such file"
    errors = [s.metadata["error_message"] for s in samples]
    assert errors[:6] == [
        nothing,
        outside,
        outside,
        outside,
        nothing,
        "row 6 of the table names no path",
    ]
    assert "null" in errors[6]
    assert errors[7:] == [None, "row 9 of the table names no path"]
    assert [s.image is None for s in samples] == [True] * 7 + [False, True]


def test_links_out_of_the_folder_are_not_followed(images, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(encode(seed=77))
    (tmp_path / "secret.txt").write_text("secret")
    (images / "c.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "b" / "2.txt").symlink_to(tmp_path / "secret.txt")
    (images / "d").symlink_to(tmp_path)
    samples = {s.metadata["url"]: s for s in ingest(tmp_path)}
    assert samples["c.jpg"].image is None
    assert samples["b/2.png"].caption is None
    assert len(samples) == 4


def test_shards_are_balanced_by_size(tmp_path):
    (tmp_path / "images").mkdir()
    sizes = [3_000 + 2_900 * (i % 7 == 0) for i in range(60)]
    for i, size in enumerate(sizes):
        (tmp_path / "images" / f"{i:03d}.jpg").write_bytes(encode(seed=i).ljust(size, b"\0"))
    samples = ingest(tmp_path, max_shard_bytes=20_000)
    shards = list_shards(str(tmp_path / "out"))
    assert len(shards) == -(-sum(sizes) // 20_000)
    held = [sum(len(s.image) for s in read_samples(shard)) for shard in shards]
    assert max(held) - min(held) < 2 * max(sizes)
    assert [s.metadata["url"] for s in samples] == [f"{i:03d}.jpg" for i in range(60)]
    assert len({s.key for s in samples}) == 60


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("none.csv", "cannot be read"),
        ("notes.md", r"must be a \.csv, \.parquet, \.jsonl file"),
        ("other.csv", "has no column 'path'; it has 'file', 'caption'"),
        ("broken.parquet", "cannot be read"),
    ],
)
def test_a_wrong_table_is_named(images, tmp_path, table, message):
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "other.csv").write_text("file,caption\na.jpg,x\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=message):
        ingest(tmp_path, tmp_path / table)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        ingest(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="no image in"):
        ingest(tmp_path)


def test_what_was_read_failed_and_passed_over_is_told(images, tmp_path, caplog):
    for name in (".hidden.jpg", ".git/x.jpg", "b/c.pdf", "lonely.txt", "b/lonely.caption"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(b"x")
    (images / "linked").symlink_to(images / "b")
    (images / "broken.jpg").write_bytes(b"no image")
    (images / "c.tif").write_bytes(encode(kind="TIFF"))
    caplog.set_level("INFO", "dcr.data.shards.ingest")
    samples = ingest(tmp_path, max_failed_share=0.4)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        (
            "ingest: 3 images in 1 shards; failed 2, without caption 3; passed over: captions"
            " without an image 2, hidden files 1, hidden folders 1, linked folders 1, other files 2"
        ),
        (
            "ingest: 2 images could not be read; the first is broken.jpg: image_corrupt: it is none"
            " of JPEG, PNG, WEBP, BMP, GIF"
        ),
    ]
    failed = {
        s.metadata["url"]: s.metadata["error_message"].split(":")[0]
        for s in samples
        if s.image is None
    }
    assert failed == {"broken.jpg": "image_corrupt", "c.tif": "unsupported_format"}
    assert json.loads((tmp_path / "out" / "ingest.json").read_text())["num_failed"] == 2


def test_more_failures_than_the_recipe_allows_stop_it_and_name_the_first(images, tmp_path):
    (images / "c.tif").write_bytes(encode(kind="TIFF"))
    ingest(tmp_path, max_failed_share=0.25)
    with pytest.raises(
        UserError, match=r"1 of the 4 images could not be read, .* 0\.24 allows; .* c\.tif: unsup"
    ):
        ingest(tmp_path, max_failed_share=0.24)


def test_when_nothing_could_be_read_it_stops_whatever_the_recipe_allows(images, tmp_path):
    table = write_table(
        tmp_path / "table.csv", [{"path": f"{i}.jpg", "caption": "x"} for i in range(3)]
    )
    with pytest.raises(
        UserError, match=r"none of the 3 images .* the first is 0\.jpg: there is no such file"
    ):
        ingest(tmp_path, table)


@pytest.mark.parametrize("case", CAPTIONS, ids=lambda case: case.row)
def test_captions_beside_an_image_are_read_as_those_in_a_shard(tmp_path, case):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.jpg").write_bytes(encode())
    for extension, content in case.members().items():
        (tmp_path / "images" / f"0.{extension}").write_bytes(content)
    (sample,) = ingest(tmp_path)
    expected = tuple(caption.rstrip("\r\n") for caption in case.captions)
    assert sample.captions == expected
    assert sample.caption == (expected[0] if expected else None)


def test_a_caption_file_and_lists_in_a_table_are_captions(images, tmp_path):
    (images / "b" / "2.caption").write_text("two")
    assert ingest(tmp_path)[2].caption == "two"
    both = ["a fish", "a pond"]
    values = [
        ("a.jpg", both),
        ("b/1.JPG", 7),
        ("b/2.png", {"en": "x"}),
        ("a.jpg", "a fish"),
        ("a.jpg", None),
    ]
    table = write_table(
        tmp_path / "table.jsonl", [{"path": path, "caption": value} for path, value in values]
    )
    samples = ingest(tmp_path, table)
    assert [s.captions for s in samples] == [tuple(both), (), (), ("a fish",), ()]
    table = write_table(tmp_path / "table.parquet", [{"path": "a.jpg", "caption": both}])
    assert ingest(tmp_path, table)[0].captions == tuple(both)


@pytest.mark.parametrize("case", CASES[::4], ids=lambda case: case.row)
def test_pictures_are_packed_as_they_are_and_declared_as_they_are_seen(tmp_path, case):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").write_bytes(case.content)
    (sample,) = ingest(tmp_path)
    assert sample.image == case.content
    assert (sample.metadata["height"], sample.metadata["width"]) == case.expected.shape[:2]
