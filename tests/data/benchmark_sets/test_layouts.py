import shutil

import numpy as np
import pytest

from benchmark_folders import (
    COLOURS,
    classification_sample,
    image_bytes,
    write_classification,
    write_mmvp,
    write_retrieval,
    write_split,
    write_tar,
)
from dcr.data.benchmark_sets import ClassificationSet, MMVPSet, RetrievalSet, open_set
from dcr.errors import UserError


def rewrite(path, old, new):
    path.write_text(path.read_text().replace(old, new))


# ------------------------------------------------------------------------------------------------
# MMVP-VLM


@pytest.mark.parametrize("name", ["MLLM_VLM Images", "MLLM_VLM_Images", "MMVP_VLM_Images"])
def test_mmvp_is_read_with_any_spelling_of_its_image_folder(tmp_path, name):
    folder = write_mmvp(tmp_path / "mmvp")
    (folder / "MLLM_VLM Images").rename(folder / name)
    mmvp = open_set(folder)
    assert isinstance(mmvp, MMVPSet)
    assert [pair.ids for pair in mmvp.pairs] == [(1, 2), (3, 4), (5, 6), (7, 8)]
    assert [pair.type for pair in mmvp.pairs] == ["Color and Appearance"] * 2 + ["Texts"] * 2
    assert mmvp.pairs[0].texts == (
        "a photo of red, and nothing else",
        "a photo of green, and nothing else",
    )
    means = [np.asarray(sample.image).mean(axis=(0, 1)) for sample in mmvp.samples()]
    np.testing.assert_allclose(means[:4], list(COLOURS.values())[:4], atol=15)


def test_the_odd_id_comes_first_whatever_the_order_of_rows(tmp_path):
    folder = write_mmvp(tmp_path / "mmvp", types=("Texts",), pairs=1)
    header, odd, even = (folder / "Questions.csv").read_text().splitlines()
    (folder / "Questions.csv").write_text("\n".join([header, even, odd]))
    pair = open_set(folder).pairs[0]
    assert pair.ids == (1, 2)
    assert [path.stem for path in pair.images] == ["1", "2"]
    assert "red" in pair.texts[0]


def test_a_byte_order_mark_and_empty_lines_do_not_matter(tmp_path):
    folder = write_mmvp(tmp_path / "mmvp")
    text = (folder / "Questions.csv").read_text()
    (folder / "Questions.csv").write_text("\ufeff" + text + "\n\n", encoding="utf-8")
    assert len(open_set(folder).pairs) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "7 questions, but they come in pairs"),
        (
            lambda lines: lines[:2] + lines[3:4] + lines[4:] + ["9,Texts,red"],
            "ids 1 and 3 are no pair",
        ),
        (lambda lines: [*lines[:2], "2,Texts,green", *lines[3:]], "ids 1 and 2 are no pair"),
        (lambda lines: lines[:3] + lines[1:3] + lines[5:], "uses an id twice"),
        (lambda lines: [*lines[:2], "2,green", *lines[3:]], "row 3: expected id"),
        (lambda lines: [*lines[:2], "two,Texts,green", *lines[3:]], "row 3: expected id"),
        (lambda lines: [*lines[:2], "2,../..,green", *lines[3:]], "row 3: type must be the name"),
        (lambda lines: lines[:1], "holds no question"),
        (lambda lines: [*lines, '9,"Texts,red', ""], "not a readable csv"),
    ],
)
def test_broken_questions_are_named(tmp_path, change, message):
    folder = write_mmvp(tmp_path / "mmvp")
    lines = (folder / "Questions.csv").read_text().splitlines()
    (folder / "Questions.csv").write_text("\n".join(change(lines)))
    with pytest.raises(UserError, match=message) as error:
        open_set(folder)
    assert "Questions.csv" in str(error.value)


def test_a_missing_image_is_named(tmp_path):
    folder = write_mmvp(tmp_path / "mmvp")
    (folder / "MLLM_VLM Images" / "Texts" / "7.jpg").unlink()
    with pytest.raises(UserError, match=r"question 7 is missing: .*Texts/7\.jpg"):
        open_set(folder)


def test_a_missing_image_folder_is_named_with_its_spellings(tmp_path):
    folder = write_mmvp(tmp_path / "mmvp")
    shutil.rmtree(folder / "MLLM_VLM Images")
    with pytest.raises(UserError, match="one of MLLM_VLM Images, MLLM_VLM_Images, MMVP_VLM_Images"):
        open_set(folder)


def test_a_broken_image_is_named(tmp_path):
    folder = write_mmvp(tmp_path / "mmvp")
    path = folder / "MLLM_VLM Images" / "Texts" / "7.jpg"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(UserError, match=r"Texts/7\.jpg cannot be decoded"):
        [sample.image for sample in open_set(folder).samples()]


# ------------------------------------------------------------------------------------------
# CLIP_benchmark


def test_a_classification_set_streams_images_labels_and_attributes(tmp_path):
    dataset = open_set(write_classification(tmp_path / "colours"))
    assert isinstance(dataset, ClassificationSet)
    assert dataset.name == "colours"
    assert dataset.class_names == list(COLOURS)
    assert dataset.templates == ["a photo of {c}.", "something {c}."]
    samples = list(dataset.samples("test"))
    assert len(samples) == 48
    assert sorted(sample.key for sample in samples) == [f"s{index:07d}" for index in range(48)]
    for sample in samples:
        rgb = list(COLOURS.values())[sample.label]
        np.testing.assert_allclose(np.asarray(sample.image).mean(axis=(0, 1)), rgb, atol=15)
        assert sample.attributes == {"class": sample.label, "warm": int(rgb[0] > 128)}


def test_attributes_and_train_split_are_optional(tmp_path):
    folder = write_classification(tmp_path / "set")
    shutil.rmtree(folder / "train")
    write_split(folder / "test", [{"0.png": image_bytes((9, 9, 9)), "0.cls": b"3\n"}])
    dataset = open_set(folder)
    (sample,) = dataset.samples("test")
    assert (sample.label, sample.attributes, dataset.has_split("train")) == (3, None, False)


def test_a_retrieval_set_streams_images_and_captions(tmp_path):
    dataset = open_set(write_retrieval(tmp_path / "set"))
    assert isinstance(dataset, RetrievalSet)
    samples = list(dataset.samples("test"))
    assert [sample.captions for sample in samples][:2] == [
        ("a red image", "all is red"),
        ("a green image", "all is green"),
    ]


def sample_with(**changes):
    sample = {
        f"k.{name.split('.')[-1]}": data for name, data in classification_sample("k", 0, 0).items()
    }
    sample.update({f"k.{name}": data for name, data in changes.items()})
    return {name: data for name, data in sample.items() if data is not None}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (sample_with(cls=b"6"), "class index of sample 'k' .*must lie in 0 to 5 .*got '6'"),
        (sample_with(cls=b"-1"), "must lie in 0 to 5"),
        (sample_with(cls=b"red"), "must lie in 0 to 5"),
        (sample_with(cls=b"\xff\xfe"), "cls member of sample 'k' .* is not UTF-8"),
        (sample_with(cls=None), "sample 'k' .* has no cls member"),
        (sample_with(png=None), "sample 'k' .* has no image"),
        (sample_with(png=b"no image"), "image of sample 'k' .* cannot be decoded"),
        (sample_with(json=b"{"), "json member of sample 'k' .* is not valid JSON"),
        (sample_with(json=b"[" * 100_000), "is not valid JSON"),
        (
            sample_with(json=b'{"attributes": {"a": [1]}}'),
            "must map names to whole numbers or words",
        ),
        ({}, r"0\.tar is empty"),
    ],
)
def test_a_broken_sample_is_named(tmp_path, members, message):
    folder = write_classification(tmp_path / "set")
    write_split(folder / "test", [members])
    with pytest.raises(UserError, match=message):
        [sample.image for sample in open_set(folder).samples("test")]


@pytest.mark.parametrize("data", [b"", b"this is no tar" * 100, b"\x1f\x8b broken gzip"])
def test_a_file_that_is_no_tar_is_named(tmp_path, data):
    folder = write_classification(tmp_path / "set")
    (folder / "test" / "1.tar").write_bytes(data)
    with pytest.raises(UserError, match=r"1\.tar (cannot be read|is empty)"):
        list(open_set(folder).samples("test"))


def test_a_truncated_tar_is_named(tmp_path):
    folder = write_classification(tmp_path / "set")
    shard = folder / "test" / "1.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"1\.tar"):
        list(open_set(folder).samples("test"))


def test_pickles_in_a_tar_are_never_read(tmp_path):
    folder = write_classification(tmp_path / "set")
    trap = b"cos\nsystem\n(S'touch " + str(tmp_path / "trapped").encode() + b"'\ntR."
    write_split(folder / "test", [sample_with(pyd=trap, pickle=trap, pth=trap)])
    assert len(list(open_set(folder).samples("test"))) == 1
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("test/nshards.txt", "3", r"2\.tar is missing: .* announces 3 shards"),
        ("test/nshards.txt", "many", "must hold the number of shards"),
        ("test/nshards.txt", None, r"nshards\.txt is missing"),
        ("classnames.txt", None, r"classnames\.txt is missing"),
        ("classnames.txt", "\n", r"classnames\.txt is empty"),
        (
            "zeroshot_classification_templates.txt",
            "a photo",
            r"every template must hold \{c\}, got 'a photo'",
        ),
        ("dataset_type.txt", "detection", "must say one of classification, .*, got 'detection'"),
    ],
)
def test_broken_set_files_are_named(tmp_path, name, text, message):
    folder = write_classification(tmp_path / "set")
    (folder / name).write_text(text) if text is not None else (folder / name).unlink()
    with pytest.raises(UserError, match=message):
        list(open_set(folder).samples("test"))


def test_a_missing_folder_and_a_folder_of_something_else_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no benchmark set at .*absent"):
        open_set(tmp_path / "absent")
    write_tar(tmp_path / "other" / "0.tar", {})
    with pytest.raises(UserError, match=r"neither Questions\.csv"):
        open_set(tmp_path / "other")


def test_retrieval_without_captions_is_named(tmp_path):
    folder = write_retrieval(tmp_path / "set")
    write_split(folder / "test", [{"0.png": image_bytes((1, 2, 3)), "0.txt": b" \n"}])
    with pytest.raises(UserError, match="has no caption"):
        list(open_set(folder).samples("test"))


# Where str.splitlines ends a line and no other reader of these files does.
NO_LINE_ENDS = ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("mark", NO_LINE_ENDS)
def test_only_line_feeds_end_class_names_templates_and_captions(tmp_path, mark):
    folder = write_classification(tmp_path / "set")
    names = [f"{name}{mark}ish" for name in COLOURS]
    (folder / "classnames.txt").write_bytes("\r\n".join(names).encode())
    (folder / "zeroshot_classification_templates.txt").write_bytes(
        f"a{mark}photo of {{c}}\n".encode()
    )
    opened = open_set(folder)
    assert list(opened.class_names) == names
    assert list(opened.templates) == [f"a{mark}photo of {{c}}"]

    folder = write_retrieval(tmp_path / "retrieval")
    captions = f"one{mark}caption\r\nanother\n"
    write_split(folder / "test", [{"0.png": image_bytes((1, 2, 3)), "0.txt": captions.encode()}])
    assert next(iter(open_set(folder).samples("test"))).captions == (f"one{mark}caption", "another")
