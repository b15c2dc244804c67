import hashlib
import os
from dataclasses import replace

import pytest

from corpus import encode, good_samples, write_members
from dcr.data.shards import list_shards, write_shard
from dcr.validation import measuring, watchdog
from dcr.validation.measuring import fingerprint_shard, measure_shard, plan_measuring
from dcr.validation.rows import SCHEMA
from dcr.validation.workers import Workers
from validation_tables import LIMITS


def test_a_shard_gives_a_row_per_sample_in_its_order(tmp_path):
    path = write_shard(tmp_path, "00007", good_samples(5))
    measures = measure_shard(str(path), "00007", LIMITS)
    assert measures.rows.schema.equals(SCHEMA)
    assert measures.rows["key"].to_pylist() == [f"{i:09d}" for i in range(5)]
    assert measures.record == {
        "shard": "00007",
        "fingerprint": fingerprint_shard(str(path), LIMITS),
        "num_bytes": path.stat().st_size,
        "num_samples": 5,
        "damage": None,
        "unreadable_bytes": 0,
        "findings": [],
        "apart": None,
    }


@pytest.mark.parametrize("limit", ["_BATCH_SAMPLES", "_BATCH_BYTES"])
def test_samples_are_measured_in_batches_bounded_in_number_and_bytes(tmp_path, monkeypatch, limit):
    path, measured = str(write_shard(tmp_path, "0", good_samples(7))), []
    whole = measure_shard(path, "0", LIMITS).rows
    measure, offset = measuring.measure_samples, whole["offset"][1].as_py()
    monkeypatch.setattr(
        measuring, limit, 3 if limit == "_BATCH_SAMPLES" else offset + len(good_samples(1)[0].image)
    )
    monkeypatch.setattr(
        measuring,
        "measure_samples",
        lambda batch, *_: measured.append(len(batch)) or measure(batch, *_),
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
    assert measure_shard(url, "a", LIMITS, known=again.record["fingerprint"]).record[
        "findings"
    ] == [
        "tar_damaged",
        "shard_interrupted",
    ]
    memory.rm("/bucket", recursive=True)


def test_names_that_utf8_cannot_hold_fit_the_table(tmp_path):
    path = tmp_path / "a.tar"
    write_members(path, [("x\udcff.jpg", encode())])
    assert measure_shard(str(path), "a", LIMITS).rows["key"].to_pylist() == ["x\\udcff"]


@pytest.mark.parametrize(("n_jobs", "backend"), [(1, "loky"), (2, "threading"), (2, "loky")])
def test_workers_do_not_change_the_rows(tmp_path, n_jobs, backend):
    shards = {
        str(write_shard(tmp_path, f"{i}", good_samples(3, first=3 * i))): f"{i}" for i in range(4)
    }
    plan = plan_measuring(shards, LIMITS, Workers(backend, n_jobs))
    found = {table.record["shard"]: table for table in plan.make({})}
    assert set(found) == {"0", "1", "2", "3"}
    for path, name in shards.items():
        assert found[name].rows.equals(measure_shard(path, name, LIMITS).rows)


def test_only_what_changed_is_measured_again(tmp_path):
    shards = {
        str(write_shard(tmp_path, f"{i}", good_samples(2, first=2 * i))): f"{i}" for i in range(3)
    }

    def measured(known, limits=LIMITS):
        plan = plan_measuring(shards, limits, Workers("threading", 1))
        return {table.record["shard"]: table.record["fingerprint"] for table in plan.make(known)}

    known = measured({})
    assert set(known) == {"0", "1", "2"}
    assert measured(known) == {}
    path = tmp_path / "1.tar"
    content, times = (
        bytearray(path.read_bytes()),
        (path.stat().st_atime_ns, path.stat().st_mtime_ns),
    )
    content[700] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)  # same size, same time, other bytes
    assert set(measured(known)) == {"1"}
    (tmp_path / "2_stats.json").unlink()
    assert set(measured(known)) == {"1", "2"}
    assert set(measured(known, replace(LIMITS, min_image_size=33))) == {"0", "1", "2"}


def with_jsons(folder, name, declared, **metadata):
    """Write a shard whose samples declare the hash of their image, or another one."""
    sizes = {"width": 48, "height": 40, "original_width": 48, "original_height": 40}
    samples = [
        replace(
            sample,
            metadata={"sha256": hashlib.sha256(sample.image).hexdigest() if true else "0" * 64}
            | sizes
            | metadata,
        )
        for sample, true in zip(good_samples(len(declared)), declared, strict=True)
    ]
    return str(write_shard(folder, name, samples))


@pytest.mark.parametrize(
    ("declared", "metadata", "mismatches"),
    [
        ([True, True, False, True], {}, 1),  # one image of a shard that stores what was downloaded
        ([False] * 4, {}, 0),  # img2dataset encoded all of them again, at the same size
        ([False, False, True, True], {"original_width": 480}, 0),  # or made them smaller
        ([True, False], {}, 1),
    ],
)
def test_a_hash_of_the_download_says_nothing_of_an_image_that_was_encoded_again(
    tmp_path, declared, metadata, mismatches
):
    rows = measure_shard(with_jsons(tmp_path, "a", declared, **metadata), "a", LIMITS).rows
    found = [name for names in rows["findings"].to_pylist() for name in names]
    assert found.count("sha256_mismatch") == mismatches


def test_other_jsons_declare_what_they_hold(tmp_path):
    parts = [
        (("jpg", encode(seed=i)), ("txt", b"a"), ("json", b'{"sha256": "00"}')) for i in range(3)
    ]
    members = [(f"{i}.{name}", content) for i, part in enumerate(parts) for name, content in part]
    rows = measure_shard(str(write_members(tmp_path / "a.tar", members)), "a", LIMITS).rows
    assert rows["findings"].to_pylist() == [["sha256_mismatch"]] * 3


def test_rows_are_the_same_however_many_are_kept_as_such(tmp_path, monkeypatch):
    path = with_jsons(tmp_path, "a", [False] * 7)
    whole = measure_shard(path, "a", LIMITS).rows
    monkeypatch.setattr(measuring, "_ROWS_AT_ONCE", 2)
    monkeypatch.setattr(measuring, "_BATCH_SAMPLES", 3)
    assert measure_shard(path, "a", LIMITS).rows.equals(whole)


def test_a_shard_of_failed_downloads_is_told_from_an_empty_one_and_looked_at_again(tmp_path):
    path = write_members(tmp_path / "00042.tar", [])
    assert measure_shard(str(path), "00042", LIMITS).record["findings"] == ["shard_empty"]
    (tmp_path / "00042_stats.json").write_text(
        '{"count": 10000, "successes": 0, "failed_to_download": 10000}'
    )
    record = measure_shard(str(path), "00042", LIMITS).record
    assert (record["findings"], record["fingerprint"]) == (["shard_all_failed"], None)
    (tmp_path / "00042_stats.json").write_text('{"count": 10000, "successes": 7}')
    assert measure_shard(str(path), "00042", LIMITS).record["findings"] == ["shard_empty"]


def test_a_shard_that_takes_too_long_or_too_much_costs_itself_alone(tmp_path, monkeypatch):
    paths = {
        str(write_shard(tmp_path, name, good_samples(2, first=2 * i))): name
        for i, name in enumerate("ab")
    }
    measure = measuring.measure_samples

    def greedy(samples, shard, limits):
        while shard == "a":
            pass
        return measure(samples, shard, limits)

    monkeypatch.setattr(measuring, "measure_samples", greedy)
    monkeypatch.setattr(watchdog, "_LEAST_SECONDS", 0.2)
    monkeypatch.setattr(watchdog, "_TICK", 0.05)
    tables = {
        t.record["shard"]: t for t in plan_measuring(paths, LIMITS, Workers("loky", 1)).make({})
    }
    assert tables["b"].record["findings"] == []
    assert (tables["a"].record["findings"], tables["a"].record["fingerprint"]) == (
        ["shard_too_costly"],
        None,
    )
    assert "seconds of computing" in tables["a"].record["damage"]
    assert tables["a"].record["unreadable_bytes"] == (tmp_path / "a.tar").stat().st_size


def test_budgets_do_not_make_tables_anew(tmp_path):
    path = str(write_shard(tmp_path, "a", good_samples(1)))
    assert fingerprint_shard(path, LIMITS) == fingerprint_shard(
        path, replace(LIMITS, max_gigabytes=1.0)
    )


def test_a_tokenizer_counts_by_its_sum_wherever_it_lies(tmp_path):
    path = str(write_shard(tmp_path, "a", good_samples(1)))
    here = replace(LIMITS, tokenizer="0" * 64, tokenizer_file="/here/tokenizer.json")
    there = replace(here, tokenizer_file="/there/tokenizer.json")
    assert fingerprint_shard(path, here) == fingerprint_shard(path, there)
    assert fingerprint_shard(path, here) != fingerprint_shard(path, replace(here, tokenizer="1"))
