import numpy as np
import pytest

from dcr.errors import UserError
from dcr.validation.contamination import EvaluationImages, hex_to_uint64
from dcr.validation.declared import PLAIN, Likeness
from dcr.validation.judging import check_release, plan_judging, select, summarize
from dcr.validation.likenesses import Likenesses, Terms
from dcr.validation.reasons import REASONS
from validation_tables import (
    NO_EVALUATION,
    NO_LIMITS,
    POLICIES,
    alike,
    judged,
    sha256,
    shard,
    write,
)


def fates(tables, *columns):
    frame = tables.frame()
    return list(
        zip(
            frame["key"],
            *(frame[column] for column in columns or ("reasons", "status")),
            strict=True,
        )
    )


def test_policies_decide(tmp_path):
    samples = [
        ("0", "h0", []),
        ("1", "h1", ["image_corrupt"]),
        ("2", "h2", ["caption_missing"]),
        ("3", "h3", ["animated"]),
        ("4", "h4", ["caption_missing", "image_too_small"]),
    ]
    assert fates(judged(tmp_path, shard("a", *samples))) == [
        ("0", "", "accepted"),
        ("1", "image_corrupt", "rejected"),
        ("2", "caption_missing", "accepted"),
        ("3", "", "accepted"),
        ("4", "caption_missing,image_too_small", "rejected"),
    ]


def test_a_measured_shard_that_the_recipe_no_longer_has_is_one_sentence(tmp_path):
    measured = write(tmp_path / "measured", shard("a", ("0", "h", [])), shard("gone"))
    unasked = Likenesses(None, measured, Terms(NO_LIMITS, None, None))
    with pytest.raises(UserError, match="shard 'gone', which the recipe no longer has: run"):
        plan_judging(measured, NO_EVALUATION, -1, POLICIES, unasked, {"a": PLAIN})


def test_of_equal_images_the_first_is_kept(tmp_path):
    first, second = (
        shard("a", ("0", "h", []), ("1", None, [])),
        shard("b", ("2", "h", []), ("3", None, [])),
    )
    assert fates(judged(tmp_path, second, first), "reasons", "status") == [
        ("0", "", "accepted"),
        ("1", "", "accepted"),
        ("2", "exact_duplicate", "rejected"),
        ("3", "", "accepted"),
    ]


def test_of_equal_images_one_that_is_good_is_kept(tmp_path):
    samples = shard("a", ("0", "h", ["image_too_small"]), ("1", "h", []))
    assert fates(judged(tmp_path, samples)) == [
        ("0", "exact_duplicate,image_too_small", "rejected"),
        ("1", "", "accepted"),
    ]


def test_a_copy_that_is_rejected_for_its_key_or_its_shard_does_not_cost_the_picture(tmp_path):
    lost = shard("a", ("0", "h", []), findings=["tar_damaged"], unreadable_bytes=9)
    collides = shard("b", ("1", "i", []), ("1", "h", []))
    good = shard("c", ("2", "h", []))
    assert fates(judged(tmp_path, lost, collides, good, tar_damaged="reject"))[-1] == (
        "2",
        "",
        "accepted",
    )


def test_keys_collide_within_and_across_shards(tmp_path):
    shards = [
        shard("a", ("0", "h0", []), ("0", "h1", [])),
        shard("b", ("0", "h2", []), ("1", "h3", [])),
    ]
    assert fates(judged(tmp_path, *shards, key_collision_across_shards="warn")) == [
        ("0", "", "accepted"),
        ("0", "key_collision", "rejected"),
        ("0", "key_collision_across_shards", "accepted"),
        ("1", "", "accepted"),
    ]


def test_of_nearly_equal_pictures_the_first_is_kept_and_each_other_one_is_near_a_kept_one(tmp_path):
    # Each 8 bits from the next, 16 from the one after.
    chain = [f"{(1 << 8 * i) - 1:016x}" for i in (1, 2, 3)]
    samples = [(str(i), f"h{i}", [], phash) for i, phash in enumerate(chain)]
    assert fates(judged(tmp_path, shard("a", *samples), distance=8)) == [
        ("0", "", "accepted"), ("1", "near_duplicate", "rejected"), ("2", "", "accepted"),
    ]  # fmt: skip


def test_copies_of_a_near_duplicate_belong_to_its_group(tmp_path):
    samples = [
        ("0", "h", [], "00000000000000f0"),
        ("1", "i", [], "00000000000000f1"),
        ("2", "i", [], "00000000000000f1"),
    ]
    tables = judged(tmp_path, shard("a", *samples), distance=2)
    assert fates(tables, "reasons", "duplicate_group") == [
        ("0", "", 0), ("1", "near_duplicate", 0), ("2", "exact_duplicate", 0),
    ]  # fmt: skip


def test_blank_pictures_look_like_nothing(tmp_path):
    samples = [("0", "h", [], "00000000000000f0"), ("1", "i", ["blank_image"], "00000000000000f0")]
    assert fates(judged(tmp_path, shard("a", *samples), distance=2))[0] == ("0", "", "accepted")


def test_near_duplicates_are_looked_for_only_if_wanted(tmp_path):
    samples = [("0", "h", [], "00000000000000f0"), ("1", "i", [], "00000000000000f0")]
    assert [
        status for _, _, status in fates(judged(tmp_path, shard("a", *samples), distance=-1))
    ] == ["accepted"] * 2


def test_images_of_evaluation_sets_are_found_and_named(tmp_path):
    phashes = ["00000000000000ff", "ff00000000000000"]
    evaluation = EvaluationImages(
        ["mmvp/1", "retrieval/x"],
        hex_to_uint64([sha256("e0"), sha256("e1")], 2),
        hex_to_uint64(phashes, 1)[:, 0],
        4,
    )
    samples = [
        ("0", "e1", [], phashes[1]),
        ("1", "h1", [], "00000000000000f0"),
        ("2", "h2", [], "0000000000000f0f"),
        ("3", "h3", ["blank_image"], phashes[0]),
    ]
    tables = judged(
        tmp_path, shard("a", *samples), evaluation=evaluation, near_evaluation_image="warn"
    )
    assert fates(tables) == [
        ("0", "evaluation_image", "rejected"),
        ("1", "near_evaluation_image", "accepted"),
        ("2", "", "accepted"),
        ("3", "blank_image", "rejected"),
    ]
    assert tables.frame()["evaluation_image"].tolist()[:2] == ["retrieval/x", "mmvp/1"]


@pytest.mark.parametrize(
    ("surer", "strict"),
    [
        ("exact_duplicate", "near_duplicate"),
        ("exact_duplicate", "near_duplicate_features"),
        ("near_duplicate", "near_duplicate_features"),
        ("evaluation_image", "near_evaluation_image"),
        ("evaluation_image", "near_evaluation_features"),
        ("near_evaluation_image", "near_evaluation_features"),
    ],
)
class TestASurerReason:
    """Two samples that are one picture, and one of an evaluation set, by all that is compared."""

    def judge(self, tmp_path, surer, strict, policies):
        image = "one" if "exact" in surer or surer == "evaluation_image" else "two"
        phash = "00000000000000f0"
        measured = shard("a", ("0", "one", [], phash), ("1", image, [], phash))
        limits = Likeness(None, 0.9, 0.9, None, 8) if "features" in strict else NO_LIMITS
        found = alike(
            tmp_path, limits, measured, like=[None, 0], near_evaluation=["mmvp/1", "mmvp/1"]
        )
        evaluation = EvaluationImages(
            ["mmvp/1"],
            hex_to_uint64([sha256("one" if surer == "evaluation_image" else "")], 2),
            hex_to_uint64([phash], 1)[:, 0],
            4,
        )
        kind = "duplicate" if "duplicate" in surer else "evaluation"
        others = {reason: "accept" for reason in REASONS if kind not in reason}
        tables = judged(
            tmp_path, measured, found=found, limits=limits, distance=4,
            evaluation=evaluation if kind == "evaluation" else NO_EVALUATION,
            **dict.fromkeys(REASONS, "accept") | others | policies,
        )  # fmt: skip
        return fates(tables)[1]

    @pytest.mark.parametrize("lenient", ["warn", "accept"])
    def test_that_rejects_nothing_does_not_stand_in_for_one_that_rejects(
        self, tmp_path, surer, strict, lenient
    ):
        _, reasons, status = self.judge(tmp_path, surer, strict, {surer: lenient, strict: "reject"})
        assert (strict in reasons.split(","), status) == (True, "rejected")

    def test_that_rejects_stands_alone(self, tmp_path, surer, strict):
        _, reasons, status = self.judge(
            tmp_path, surer, strict, {surer: "reject", strict: "reject"}
        )
        assert (reasons, status) == (surer, "rejected")


def test_a_shard_can_be_rejected_whole(tmp_path):
    shards = [
        shard("a", ("0", "h0", []), findings=["tar_damaged"], unreadable_bytes=7),
        shard("b", ("1", "h1", [])),
    ]
    tables = judged(tmp_path, *shards, tar_damaged="reject")
    assert tables.frame()["status"].tolist() == ["rejected", "accepted"]
    assert [(record["accepted"], record["rejected"]) for record in tables.records()] == [
        (0, 1),
        (1, 0),
    ]


def test_the_summary_adds_up_and_so_does_what_is_selected(tmp_path):
    shards = [
        shard("a", ("0", "h0", []), ("1", "h1", ["image_corrupt"])),
        shard(
            "b", ("2", "h2", ["caption_missing"]), findings=["tar_damaged"], unreadable_bytes=100
        ),
        shard("c", findings=["shard_empty"]),
    ]
    tables = judged(tmp_path, *shards)
    found = summarize(tables)
    own = found.pop("sources")["shards"]
    assert own == {name: found[name] for name in own}
    assert found == {
        "shards": 3, "samples": 3, "accepted": 2, "rejected": 1, "unreadable_bytes": 100,
        "reasons": {"caption_missing": 1, "image_corrupt": 1, "shard_empty": 1, "tar_damaged": 1},
        "accepted_sha256": sha256(f"0 {sha256('h0')}\n2 {sha256('h2')}\n"),
    }  # fmt: skip
    accepted, rejected = (
        [k for t in select(tables, s) for k in t["key"].to_pylist()]
        for s in ("accepted", "rejected")
    )
    assert (accepted, rejected) == (["0", "2"], ["1"])


def test_data_without_failures_are_released(tmp_path):
    check_release(judged(tmp_path, shard("a", ("0", "h0", []))), POLICIES, [])


@pytest.mark.parametrize(
    ("shards", "policies", "message"),
    [
        (
            [shard("a", ("0", "h", [])), shard("b", findings=["shard_empty"])],
            {"shard_empty": "fail"},
            "shard b: the tar h",
        ),
        (
            [shard("a", ("0", "h", []), findings=["tar_damaged"], unreadable_bytes=9)],
            {"tar_damaged": "fail"},
            r"shard a: .*it is cut; 9 bytes",
        ),
        (
            [shard("a", ("x", "h", ["animated"]))],
            {"animated": "fail"},
            "sample x of shard a: the image has several",
        ),
        (
            [shard("a", ("x", "h", ["animated"]))],
            {"animated": "reject"},
            r"no sample was accepted \(animated, 1 times: the image has several frames\)",
        ),
        (
            [shard("a", ("x", "h", []), findings=["members_apart"], apart="x")],
            {"members_apart": "fail"},
            (
                r"shard a: the members .*\(the first such key: 'x'\); write the tar in the order of"
                r" names"
            ),
        ),
    ],
)
def test_failures_stop_the_data_with_one_sentence(tmp_path, shards, policies, message):
    with pytest.raises(UserError, match=message):
        check_release(judged(tmp_path, *shards, **policies), POLICIES | policies, [])


def test_failed_expectations_stop_the_data(tmp_path):
    tables = judged(tmp_path, shard("a", ("0", "h0", [])))
    with pytest.raises(UserError, match=r"expectation one failed; mend.*; 1 more and all findings"):
        check_release(tables, POLICIES, ["one failed", "two failed"])


def test_a_failed_expectation_is_told_with_what_most_samples_were_rejected_for(tmp_path):
    tables = judged(
        tmp_path, shard("a", ("0", "h0", ["animated"]), ("1", "h1", [])), animated="reject"
    )
    with pytest.raises(
        UserError, match=r"expectation of status failed \(animated, 1 times: the image has several"
    ):
        check_release(tables, POLICIES | {"animated": "reject"}, ["of status failed"])


def test_tables_without_samples_are_judged(tmp_path):
    tables = judged(tmp_path, shard("a", findings=["shard_empty"]), distance=4)
    assert summarize(tables)["samples"] == 0
    assert np.concatenate([t["key"].to_pylist() for t in select(tables, "accepted")]).size == 0


def test_each_source_has_its_own_counts_and_its_rows_say_which_they_are_of(tmp_path):
    shards = [
        shard("a", ("0", "h0", []), ("1", "h1", ["image_corrupt"])),
        shard("b", ("2", "h2", ["caption_missing"])),
        shard("c", ("3", "h0", []), findings=["tar_damaged"], unreadable_bytes=100),
    ]
    tables = judged(tmp_path, *shards, sources={"a": "one", "b": "two", "c": "two"})
    found = summarize(tables)
    assert found["sources"] == {
        "one": {
            "shards": 1, "samples": 2, "accepted": 1, "rejected": 1, "unreadable_bytes": 0,
            "reasons": {"image_corrupt": 1},
        },
        "two": {
            "shards": 2, "samples": 2, "accepted": 1, "rejected": 1, "unreadable_bytes": 100,
            "reasons": {"caption_missing": 1, "exact_duplicate": 1, "tar_damaged": 1},
        },
    }  # fmt: skip
    assert found["reasons"] == {
        "caption_missing": 1, "exact_duplicate": 1, "image_corrupt": 1, "tar_damaged": 1,
    }  # fmt: skip
    assert tables.frame()["source"].tolist() == ["one", "one", "two", "two"]
    assert tables.frame(["key"], "two")["key"].tolist() == ["2", "3"]
