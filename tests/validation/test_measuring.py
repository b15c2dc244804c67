import hashlib
import os
from dataclasses import replace

import pytest

from corpus import encode, good_samples, write_members
from dcr.shards import Sample, list_shards, write_shard
from dcr.validation import measuring
from dcr.validation.measuring import SCHEMA, fingerprint_shard, measure_samples, measure_shard, plan_measuring
from dcr.validation.workers import Workers
from picture_cases import with_orientation
from validation_tables import LIMITS


def findings(**changes):
    fields = {"key": "0", "image": encode(), "image_extension": "jpg", "caption": "a fish"} | changes
    return measure_samples([Sample(**fields)], "00000", LIMITS)[0]["findings"]


def test_a_good_sample_has_no_finding_and_all_its_measures():
    image = encode((48, 40))
    (row,) = measure_samples([Sample("k", image, "jpg", "a fish", {"width": 48}, offset=512)], "00000", LIMITS)
    assert set(row) == set(SCHEMA.names)
    assert row["findings"] == []
    assert (row["key"], row["shard"], row["offset"], row["num_bytes"]) == ("k", "00000", 512, len(image))
    assert (row["sha256"], row["caption_length"]) == (hashlib.sha256(image).hexdigest(), 6)
    assert (row["declared_width"], row["declared_height"]) == (48, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image": None}, ["image_missing"]),
        ({"image": None, "problems": ("unsafe_member",)}, ["unsafe_member"]),
        ({"image": None, "problems": ("member_too_large",)}, ["member_too_large"]),
        ({"image": None, "caption": None, "problems": ("tar_truncated",)}, ["tar_truncated"]),
        ({"image": encode((48, 31))}, ["image_too_small"]),
        ({"image": encode((200, 40))}, ["extreme_aspect_ratio"]),
        ({"image": encode((40, 121))}, ["extreme_aspect_ratio"]),
        ({"image": encode((120, 100))}, ["too_many_pixels"]),
        ({"image": b"nothing"}, ["image_corrupt"]),
        ({"caption": None}, ["caption_missing"]),
        ({"caption": " \n"}, ["caption_empty"]),
        ({"caption": "IMG_0001.JPG"}, ["caption_is_file_or_url"]),
        ({"caption": "https://example.org/a?b=c"}, ["caption_is_file_or_url"]),
        ({"caption": "see https://example.org for more"}, []),
        ({"caption": "caf\ufffd", "problems": ("caption_not_utf8",)}, ["caption_not_utf8"]),
        ({"metadata": {"width": 48, "height": 41}}, ["size_mismatch"]),
        ({"image": encode((48, 40), exif=with_orientation(6))}, ["rotated"]),
        ({"image": encode((48, 40), exif=with_orientation(6)), "metadata": {"width": 40, "height": 48}}, ["rotated"]),
        ({"image": encode((48, 40), exif=with_orientation(6)), "metadata": {"width": 48, "height": 40}}, ["rotated"]),
        (
            {"image": encode((48, 40), exif=with_orientation(6)), "metadata": {"width": 48, "height": 48}},
            ["rotated", "size_mismatch"],
        ),
        ({"metadata": {"width": 40, "height": 48}}, ["size_mismatch"]),
        ({"metadata": {"sha256": "0" * 64}}, ["sha256_mismatch"]),
        ({"metadata": {"sha256": hashlib.sha256(encode()).hexdigest().upper()}}, []),
        ({"metadata": {"width": "48", "height": -1, "sha256": 7}}, []),
        ({"metadata": {"width": 10**30, "height": True}}, []),
    ],
)
def test_each_defect_has_its_reason(changes, expected):
    assert findings(**changes) == expected


def test_a_blank_image_is_named():
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (90, 90, 200)).save(buffer, "PNG")
    assert findings(image=buffer.getvalue()) == ["blank_image"]


def test_several_defects_are_all_named():
    assert findings(image=encode((20, 20)), caption="") == ["caption_empty", "image_too_small"]


def test_a_shard_gives_a_row_per_sample_in_its_order(tmp_path):
    path = write_shard(tmp_path, "00007", good_samples(5))
    measures = measure_shard(str(path), "00007", LIMITS)
    assert measures.rows.schema.equals(SCHEMA)
    assert measures.rows["key"].to_pylist() == [f"{i:09d}" for i in range(5)]
    assert measures.record == {
        "shard": "00007", "fingerprint": fingerprint_shard(str(path), LIMITS), "num_bytes": path.stat().st_size,
        "num_samples": 5, "damage": None, "unreadable_bytes": 0, "findings": [],
    }  # fmt: skip


@pytest.mark.parametrize("limit", ["_BATCH_SAMPLES", "_BATCH_BYTES"])
def test_samples_are_measured_in_batches_bounded_in_number_and_bytes(tmp_path, monkeypatch, limit):
    path, measured = str(write_shard(tmp_path, "0", good_samples(7))), []
    whole = measure_shard(path, "0", LIMITS).rows
    measure = measuring.measure_samples
    monkeypatch.setattr(measuring, limit, 3 if limit == "_BATCH_SAMPLES" else 2 * len(good_samples(1)[0].image))
    monkeypatch.setattr(
        measuring, "measure_samples", lambda batch, *_: measured.append(len(batch)) or measure(batch, *_)
    )
    assert measure_shard(path, "0", LIMITS).rows.equals(whole)
    assert max(measured) == 3
    assert sum(measured) == 7


def test_what_is_wrong_with_a_shard_is_in_its_record(tmp_path):
    def record(path):
        return measure_shard(str(path), "a", LIMITS).record

    empty = write_members(tmp_path / "empty.tar", [])
    assert record(empty)["findings"] == ["shard_empty"]
    (tmp_path / "zero.tar").write_bytes(b"")
    assert record(tmp_path / "zero.tar")["findings"] == ["shard_empty"]
    (tmp_path / "text.tar").write_bytes(b"hello " * 500)
    assert record(tmp_path / "text.tar")["findings"] == ["tar_unreadable"]
    assert record(tmp_path / "text.tar")["unreadable_bytes"] == 3000

    cut = write_shard(tmp_path, "cut", good_samples(3))
    cut.write_bytes(cut.read_bytes()[:5000])
    assert record(cut)["findings"] == ["tar_damaged"]

    interrupted = write_shard(tmp_path, "interrupted", good_samples(1))
    (tmp_path / "interrupted_stats.json").unlink()
    assert record(interrupted)["findings"] == ["shard_interrupted"]


def test_a_shard_at_a_url_gives_the_same_rows_and_is_measured_again_when_it_changes(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("a.tar", "a.parquet", "a_stats.json"):
        write_shard(tmp_path, "a", good_samples(3))
        memory.pipe(f"/bucket/{name}", (tmp_path / name).read_bytes())
    (url,) = list_shards("memory://bucket")
    there = measure_shard(url, "a", LIMITS)
    assert there.rows.equals(measure_shard(str(tmp_path / "a.tar"), "a", LIMITS).rows)
    assert measure_shard(url, "a", LIMITS, known=there.record["fingerprint"]) is None
    memory.rm("/bucket/a_stats.json")
    again = measure_shard(url, "a", LIMITS, known=there.record["fingerprint"])
    assert again.record["findings"] == ["shard_interrupted"]
    memory.pipe("/bucket/a.tar", (tmp_path / "a.tar").read_bytes()[:5000])
    assert measure_shard(url, "a", LIMITS, known=again.record["fingerprint"]).record["findings"] == [
        "tar_damaged", "shard_interrupted",
    ]  # fmt: skip
    memory.rm("/bucket", recursive=True)


def test_names_that_utf8_cannot_hold_fit_the_table(tmp_path):
    path = tmp_path / "a.tar"
    write_members(path, [("x\udcff.jpg", encode())])
    assert measure_shard(str(path), "a", LIMITS).rows["key"].to_pylist() == ["x\\udcff"]


@pytest.mark.parametrize(("n_jobs", "backend"), [(1, "loky"), (2, "threading"), (2, "loky")])
def test_workers_do_not_change_the_rows(tmp_path, n_jobs, backend):
    shards = {str(write_shard(tmp_path, f"{i}", good_samples(3, first=3 * i))): f"{i}" for i in range(4)}
    plan = plan_measuring(shards, LIMITS, Workers(backend, n_jobs))
    found = {table.record["shard"]: table for table in plan.make({})}
    assert set(found) == {"0", "1", "2", "3"}
    for path, name in shards.items():
        assert found[name].rows.equals(measure_shard(path, name, LIMITS).rows)


def test_captions_are_counted_in_tokens_and_those_that_are_cut_off_are_named():
    limits = replace(LIMITS, tokenizer="clip", context_length=5)
    samples = [Sample("0", encode(), "jpg", text) for text in ("a fish", "a big fish swims", None)]
    rows = measure_samples(samples, "a", limits)
    assert [row["caption_tokens"] for row in rows] == [4, 6, None]
    assert [row["caption_truncated"] for row in rows] == [False, True, None]
    assert [row["findings"] for row in rows] == [[], ["caption_truncated"], ["caption_missing"]]


def test_only_what_changed_is_measured_again(tmp_path):
    shards = {str(write_shard(tmp_path, f"{i}", good_samples(2, first=2 * i))): f"{i}" for i in range(3)}

    def measured(known, limits=LIMITS):
        plan = plan_measuring(shards, limits, Workers("threading", 1))
        return {table.record["shard"]: table.record["fingerprint"] for table in plan.make(known)}

    known = measured({})
    assert set(known) == {"0", "1", "2"}
    assert measured(known) == {}
    path = tmp_path / "1.tar"
    content, times = bytearray(path.read_bytes()), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    content[700] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)  # same size, same time, other bytes
    assert set(measured(known)) == {"1"}
    (tmp_path / "2_stats.json").unlink()
    assert set(measured(known)) == {"1", "2"}
    assert set(measured(known, replace(LIMITS, min_image_size=33))) == {"0", "1", "2"}
