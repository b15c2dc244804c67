"""Pipeline `validation` on files, with the base recipe's own parameters and suite."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

import validation_run
from corpus import encode, good_samples, write_members
from dcr.data.shards import Sample, write_shard
from dcr.errors import UserError
from dcr.parameters import ValidationParameters

CONF = Path(__file__).parents[2] / "conf" / "base"


def run(folder: Path, source: str | list[str] | None = None, **changes) -> pd.DataFrame:
    validation_run.run(source or str(folder / "shards"), folder, **changes)
    return pd.read_parquet(folder / "manifest.parquet")


def summary(folder: Path) -> dict:
    return json.loads((folder / "validation.json").read_text())


@pytest.fixture
def folder(tmp_path):
    """Two good shards of 20 samples; the second holds one truncated JPEG and one copy of an
    earlier image.
    """
    first, second = good_samples(20), good_samples(20, first=20)
    second[4] = Sample("cut", encode()[:700], "jpg", "a cut image")
    second[9] = Sample("copy", first[3].image, "jpg", "the same image")
    write_shard(tmp_path / "shards", "00000", first)
    write_shard(tmp_path / "shards", "00001", second)
    return tmp_path


def test_every_sample_is_accounted_for(folder):
    manifest = run(folder)
    found = summary(folder)
    assert re.fullmatch("[0-9a-f]{64}", found.pop("accepted_sha256"))
    assert found.pop("sources") == {"shards": found}
    assert found == {
        "shards": 2, "samples": 40, "accepted": 38, "rejected": 2, "unreadable_bytes": 0,
        "reasons": {"exact_duplicate": 1, "image_truncated": 1},
    }  # fmt: skip
    rejected = pd.read_parquet(folder / "rejected.parquet")
    assert dict(zip(rejected["key"], rejected["reasons"], strict=True)) == {
        "cut": "image_truncated",
        "copy": "exact_duplicate",
    }
    assert len(manifest) == 38
    assert set(manifest["status"]) == {"accepted"}
    assert {"key", "shard", "offset", "sha256", "caption", "width", "height"} <= set(manifest)


def test_the_data_card_tells_sources_licence_limits_and_counts(folder):
    run(folder)
    card = json.loads((folder / "data_card.json").read_text())
    assert [s["shards"] for s in card["sources"]] == [[str(folder / "shards")]]
    assert card["licence"] == "cc0-1.0"
    assert card["accepted_sha256"] == summary(folder)["accepted_sha256"]
    assert card["limits"]["max_aspect_ratio"] == 3.0
    assert "38 of 40 samples were trained on" in (folder / "data_card.md").read_text()


def test_the_order_of_work_does_not_change_a_byte(folder, tmp_path):
    run(folder)
    names = (
        "manifest.parquet",
        "rejected.parquet",
        "validation.json",
        "expectations.json",
        "validation.html",
        "data_card.md",
        "data_card.json",
    )
    before = {name: (folder / name).read_bytes() for name in names}
    run(folder, n_jobs=2, backend="threading")
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_a_failed_critical_expectation_stops_the_run_after_all_is_written(folder):
    bad = [Sample(f"bad{i}", b"nothing", "jpg", "no image at all") for i in range(10)]
    write_shard(folder / "shards", "00002", bad)
    with pytest.raises(
        UserError, match=r"expect_column_values_to_be_in_set\(column=status.*observed 24\.00 %"
    ) as caught:
        run(folder)
    assert "worst shards: 00002 (10), 00001 (2)" in str(caught.value)
    assert summary(folder)["rejected"] == 12
    assert len(pd.read_parquet(folder / "rejected.parquet")) == 12
    assert not json.loads((folder / "expectations.json").read_text())["success"]
    assert "not met" in (folder / "validation.html").read_text()
    assert not (folder / "manifest.parquet").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "shard 00009: the tar holds no sample"),
        (b"text" * 999, "shard 00009: the file is no tar"),
    ],
)
def test_an_empty_shard_and_one_that_is_no_tar_stop_the_run_after_all_is_written(
    folder, content, message
):
    (folder / "shards" / "00009.tar").write_bytes(content)
    with pytest.raises(UserError, match=message):
        run(folder)
    assert summary(folder)["accepted"] == 38
    assert summary(folder)["unreadable_bytes"] == len(content)
    assert not (folder / "manifest.parquet").exists()


def test_policies_let_a_run_go_on_without_the_shard(folder):
    write_members(folder / "shards" / "00009.tar", [])
    assert len(run(folder, policies={"shard_empty": "warn"})) == 38
    assert summary(folder)["reasons"]["shard_empty"] == 1


def test_a_truncated_tar_costs_its_own_rows_and_is_counted(folder):
    path = folder / "shards" / "00001.tar"
    path.write_bytes(path.read_bytes()[:20_000])
    run(folder)
    found = summary(folder)
    assert found["accepted"] + found["rejected"] == found["samples"] < 40
    assert found["reasons"]["tar_damaged"] == 1


def test_a_corrected_run_replaces_what_the_failed_one_wrote(folder):
    broken = folder / "shards" / "00009.tar"
    broken.write_bytes(b"")
    with pytest.raises(UserError):
        run(folder)
    broken.unlink()
    assert len(run(folder)) == 38
    assert sorted(path.name for path in (folder / "samples").iterdir()) == [
        "00000.parquet",
        "00001.parquet",
    ]


def test_a_second_run_reads_no_shard_again_and_changes_nothing(folder, monkeypatch):
    from dcr.validation import measuring

    def contents():
        return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    run(folder)
    before = contents()
    monkeypatch.setattr(
        measuring, "measure_samples", lambda *_: pytest.fail("a sample was measured again")
    )
    run(folder)
    assert contents() == before


@pytest.mark.parametrize(
    "source",
    [
        "{f}/shards/0000?.tar",
        "{f}/shards/{{00000..00001}}.tar",
        ["{f}/shards/00001.tar", "{f}/shards/00000.tar"],
    ],
)
def test_globs_braces_and_lists_name_the_same_shards_as_their_folder(folder, source):
    parts = [part.format(f=folder) for part in ([source] if isinstance(source, str) else source)]
    expected = run(folder)
    pd.testing.assert_frame_equal(
        run(folder, source=parts[0] if isinstance(source, str) else parts), expected
    )


def test_training_images_that_are_in_an_evaluation_set_are_found(folder):
    questions = "Question ID,Type,Statement\n1,a type,one thing\n2,a type,another\n"
    (folder / "mmvp_vlm" / "MLLM_VLM Images" / "a type").mkdir(parents=True)
    (folder / "mmvp_vlm" / "Questions.csv").write_text(questions)
    images = {"1": good_samples(1, first=7)[0].image, "2": encode(seed=8, quality=73)}
    for number, image in images.items():
        (folder / "mmvp_vlm" / "MLLM_VLM Images" / "a type" / f"{number}.jpg").write_bytes(image)
    write_members(
        folder / "classification" / "test" / "0.tar",
        [("s1.jpg", encode(seed=30)), ("s1.cls", b"0")],
    )
    (folder / "classification" / "test" / "nshards.txt").write_text("1")
    for name in ("classnames.txt", "zeroshot_classification_templates.txt"):
        (folder / "classification" / name).write_text("a {c}\n")
    manifest = run(folder, sets=["mmvp_vlm", "classification"], evaluation_image_distance=8)
    rejected = pd.read_parquet(folder / "rejected.parquet").set_index("key")
    assert rejected["evaluation_image"].dropna().to_dict() == {
        "000000007": "mmvp_vlm/1", "000000030": "classification/s1",
    }  # fmt: skip
    assert "mmvp_vlm/2" in set(manifest["evaluation_image"].dropna())
    assert "mmvp_vlm/1" in (folder / "validation.html").read_text()


def test_missing_shards_are_told_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(Exception, match="kedro run --pipelines scenes"):
        run(tmp_path)


def test_policies_name_every_reason_and_no_other():
    parameters = yaml.safe_load((CONF / "parameters_validation.yml").read_text())["validation"]
    with pytest.raises(ValueError, match=r"unknown reason 'animatd'.*did you mean 'animated'"):
        ValidationParameters(
            **parameters | {"policies": parameters["policies"] | {"animatd": "warn"}}
        )
    with pytest.raises(ValueError, match="no policy for reason"):
        ValidationParameters(**parameters | {"policies": {"animated": "warn"}})


def test_captions_are_counted_by_the_recipe_s_own_tokenizer_or_it_is_told_why_not(folder):
    from models import tiny_open_clip

    own = {"tokenizer": "backbone", "context_length": None}
    source = f"local-dir:{tiny_open_clip(folder / 'model')}"
    run(folder, backbone=source, **own)
    card = json.loads((folder / "data_card.json").read_text())
    found = card["captions"]["tokenizer"]
    assert (found["context_length"], found["counted"]) == (20, card["accepted"])
    run(folder, backbone="org/name", **own)
    card = json.loads((folder / "data_card.json").read_text())
    assert "nor on this machine" in card["captions"]["tokenizer"]["why_not"]
    assert card["captions"]["tokens"] == {}
    assert "not counted: Backbone org/name" in (folder / "validation.html").read_text()


def test_workers_count_by_a_tokenizer_that_they_find_in_a_file(folder):
    from models import word_tokenizer

    (folder / "words").mkdir()
    word_tokenizer(folder / "words")
    run(folder, tokenizer=str(folder / "words"), context_length=2, n_jobs=2)
    card = json.loads((folder / "data_card.json").read_text())
    assert card["captions"]["tokenizer"]["counted"] == card["accepted"]
    written = (folder / "tokenizer" / "tokenizer.json").read_bytes()
    assert written == (folder / "words" / "tokenizer.json").read_bytes()
    run(folder)
    assert not (folder / "tokenizer" / "tokenizer.json").exists()


def test_each_source_is_judged_by_its_own_suite_and_told_of_apart(folder):
    strict = {
        "name": "coloured",
        "expectations": [
            {
                "type": "expect_column_values_to_be_in_set",
                "kwargs": {"column": "mode", "value_set": ["CMYK"]},
                "severity": "warning",
            }
        ],
    }
    (folder / "strict.yml").write_text(yaml.safe_dump(strict))
    base = str(CONF / "expectations.yml")
    sources = [
        {"name": "good", "shards": str(folder / "shards/00000.tar"), "weight": 3.0},
        {"name": "worse", "shards": [str(folder / "shards/00001.tar")], "weight": 1.0},
    ]
    for source, suite in zip(sources, (base, str(folder / "strict.yml")), strict=True):
        source["expectations"] = suite
    validation_run.run(None, folder, sources=sources)

    found = summary(folder)["sources"]
    assert {name: (own["accepted"], own["rejected"]) for name, own in found.items()} == {
        "good": (20, 0),
        "worse": (18, 2),
    }
    assert found["worse"]["reasons"] == {"exact_duplicate": 1, "image_truncated": 1}
    manifest = pd.read_parquet(folder / "manifest.parquet")
    assert dict(manifest["source"].value_counts()) == {"good": 20, "worse": 18}
    results = json.loads((folder / "expectations.json").read_text())["results"]
    assert {(one["source"], one["suite"]) for one in results} == {
        ("good", "samples"),
        ("worse", "coloured"),
    }
    page = (folder / "validation.html").read_text()
    assert "<h2>Sources</h2>" in page
    assert "18 of 20 samples accepted, 1 shards" in page
    card = (folder / "data_card.md").read_text()
    assert "## Source `good`" in card
    assert "18 of 20 samples accepted, from 1 shards; 25.0% of the samples" in card
    assert "of source `worse` fails (warning)" in card


def test_a_shard_of_two_sources_is_refused(folder):
    one = {"weight": 1.0, "expectations": str(CONF / "expectations.yml")}
    sources = [
        {"name": "all", "shards": str(folder / "shards"), **one},
        {"name": "second", "shards": str(folder / "shards/00001.tar"), **one},
    ]
    with pytest.raises(UserError, match=r"00001.tar is of two sources: name it in one of"):
        validation_run.run(None, folder, sources=sources)
