import pandas as pd
import pytest

from dcr.errors import UserError
from dcr.validation.judging import check_release, judge
from dcr.validation.reasons import REASONS

POLICIES = dict.fromkeys(REASONS, "reject") | {"caption_missing": "warn", "animated": "accept", "tar_damaged": "warn"}


def table(*rows):
    """Rows of (shard, offset, key, sha256, findings)."""
    return pd.DataFrame(rows, columns=["shard", "offset", "key", "sha256", "findings"])


def records(*rows):
    """Rows of (shard, findings, unreadable_bytes); the number of samples is not used by judging."""
    shards = pd.DataFrame(rows, columns=["shard", "findings", "unreadable_bytes"])
    return shards.assign(damage=[None if not n else "it is cut" for n in shards["unreadable_bytes"]], num_samples=1)


ONE_SHARD = records(("a", [], 0))


def statuses(samples, shards=ONE_SHARD, **policies):
    judged = judge(samples, shards, POLICIES | policies).samples
    return list(zip(judged["key"], judged["reasons"], judged["status"], strict=True))


def test_policies_decide():
    samples = table(
        ("a", 0, "0", "h0", []),
        ("a", 1, "1", "h1", ["image_corrupt"]),
        ("a", 2, "2", "h2", ["caption_missing"]),
        ("a", 3, "3", "h3", ["animated"]),
        ("a", 4, "4", "h4", ["caption_missing", "image_too_small"]),
    )
    assert statuses(samples) == [
        ("0", "", "accepted"),
        ("1", "image_corrupt", "rejected"),
        ("2", "caption_missing", "accepted"),
        ("3", "", "accepted"),
        ("4", "caption_missing,image_too_small", "rejected"),
    ]


def test_of_equal_images_the_first_is_kept():
    samples = table(("a", 9, "2", "h", []), ("a", 0, "0", "h", []), ("a", 5, "1", None, []), ("a", 7, "3", None, []))
    assert statuses(samples) == [
        ("0", "", "accepted"), ("1", "", "accepted"), ("3", "", "accepted"), ("2", "exact_duplicate", "rejected"),
    ]  # fmt: skip


def test_of_equal_images_one_that_is_good_is_kept():
    samples = table(("a", 0, "0", "h", ["image_too_small"]), ("a", 1, "1", "h", []))
    assert statuses(samples) == [("0", "exact_duplicate,image_too_small", "rejected"), ("1", "", "accepted")]


def test_keys_collide_within_and_across_shards():
    samples = table(("a", 0, "0", "h0", []), ("a", 1, "0", "h1", []), ("b", 0, "0", "h2", []), ("b", 1, "1", "h3", []))
    shards = records(("a", [], 0), ("b", [], 0))
    assert statuses(samples, shards, key_collision_across_shards="warn") == [
        ("0", "", "accepted"),
        ("0", "key_collision", "rejected"),
        ("0", "key_collision_across_shards", "accepted"),
        ("1", "", "accepted"),
    ]


def test_a_shard_can_be_rejected_whole():
    samples = table(("a", 0, "0", "h0", []), ("b", 0, "1", "h1", []))
    shards = records(("a", ["tar_damaged"], 7), ("b", [], 0))
    judged = judge(samples, shards, POLICIES | {"tar_damaged": "reject"})
    assert judged.samples["status"].tolist() == ["rejected", "accepted"]
    assert judged.shards[["accepted", "rejected"]].to_numpy().tolist() == [[0, 1], [1, 0]]


def test_the_summary_adds_up():
    samples = table(
        ("a", 0, "0", "h0", []), ("a", 1, "1", "h1", ["image_corrupt"]), ("b", 0, "2", "h2", ["caption_missing"]),
    )  # fmt: skip
    shards = records(("b", ["tar_damaged"], 100), ("a", [], 0), ("c", ["shard_empty"], 0))
    assert judge(samples, shards, POLICIES).summary() == {
        "shards": 3, "samples": 3, "accepted": 2, "rejected": 1, "unreadable_bytes": 100,
        "reasons": {"caption_missing": 1, "image_corrupt": 1, "shard_empty": 1, "tar_damaged": 1},
    }  # fmt: skip


def test_data_without_failures_are_released():
    check_release(judge(table(("a", 0, "0", "h0", [])), ONE_SHARD, POLICIES), [])


@pytest.mark.parametrize(
    ("samples", "shards", "policies", "message"),
    [
        (
            [("a", 0, "0", "h", [])],
            [("a", [], 0), ("b", ["shard_empty"], 0)],
            {"shard_empty": "fail"},
            "shard b: the tar h",
        ),
        (
            [("a", 0, "0", "h", [])],
            [("a", ["tar_damaged"], 9)],
            {"tar_damaged": "fail"},
            r"shard a: .*it is cut; 9 bytes",
        ),
        ([("a", 0, "x", "h", ["animated"])], [("a", [], 0)], {"animated": "fail"}, "sample x of shard a: the image"),
        ([("a", 0, "x", "h", ["animated"])], [("a", [], 0)], {"animated": "reject"}, "no sample was accepted"),
    ],
)
def test_failures_stop_the_data_with_one_sentence(samples, shards, policies, message):
    judgement = judge(table(*samples), records(*shards), POLICIES | policies)
    with pytest.raises(UserError, match=message):
        check_release(judgement, [])


def test_failed_expectations_stop_the_data():
    judgement = judge(table(("a", 0, "0", "h0", [])), ONE_SHARD, POLICIES)
    with pytest.raises(UserError, match=r"expectation one failed; mend.*; 1 more and all findings"):
        check_release(judgement, ["one failed", "two failed"])


def test_tables_without_samples_are_judged():
    judged = judge(table(), records(("a", ["shard_empty"], 0)), POLICIES)
    assert judged.summary()["samples"] == 0
