"""Every layout of caption selection, written as its authors write it and read as groups."""

import shutil

import numpy as np
import pytest

from benchmark_folders import COLOURS, write_mmvp
from caption_sets import (
    NAMES,
    write_aro,
    write_caption_tars,
    write_groups,
    write_json,
    write_lines,
    write_sugar_crepe,
    write_sugar_crepe_pp,
    write_whats_up,
    write_winoground,
    wrong,
)
from dcr.data.benchmark_sets import CaptionSelectionSet, MMVPSet, RetrievalSet, open_set

LAYOUTS = {
    "groups.jsonl": write_groups,
    "SugarCrepe": write_sugar_crepe,
    "SugarCrepe++": write_sugar_crepe_pp,
    "ARO": write_aro,
    "What'sUp": write_whats_up,
    "Winoground": write_winoground,
    "CLIP_benchmark": write_caption_tars,
    "MMVP-VLM": write_mmvp,
}


@pytest.fixture(params=LAYOUTS, name="dataset")
def _dataset(request, tmp_path):
    return open_set(LAYOUTS[request.param](tmp_path / "set"), kind="caption_selection")


def colour_of(image):
    mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


def test_pairs_name_the_colour_of_their_image(dataset):
    assert isinstance(dataset, CaptionSelectionSet)
    colours = [colour_of(sample.image) for sample in dataset.samples("test")]
    groups = list(dataset.groups())
    assert len({group.name for group in groups}) == len(groups) >= 4
    for group in groups:
        for image, place in enumerate(group.images):
            for number, caption in enumerate(group.captions):
                assert (colours[place] in caption) == ((image, number) in group.pairing)


def test_images_stream_and_hold_still(dataset):
    first, second = (list(dataset.samples("test")) for _ in range(2))
    assert [sample.content for sample in first] == [sample.content for sample in second]
    assert list(dataset.groups()) == list(dataset.groups())
    assert sum(1 for part in dataset.splits["test"] for _ in part.samples()) == len(first)


@pytest.mark.parametrize(
    ("layout", "rules"),
    [
        ("groups.jsonl", ()),
        ("SugarCrepe", ("text_score",)),
        ("SugarCrepe++", ("text_score",)),
        ("ARO", ("text_score",)),
        ("What'sUp", ("text_score",)),
        ("Winoground", ("group_score", "text_score", "image_score")),
        ("MMVP-VLM", ("image_score",)),
    ],
)
def test_layouts_know_the_rule_of_their_published_numbers(layout, rules, tmp_path):
    dataset = open_set(LAYOUTS[layout](tmp_path / "set"), kind="caption_selection")
    assert dataset.published_rules == rules


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "MMVP-VLM"])
def test_a_layout_of_caption_selection_alone_needs_no_kind(layout, tmp_path):
    folder = LAYOUTS[layout](tmp_path / "set")
    assert isinstance(open_set(folder), CaptionSelectionSet)


def test_an_image_of_several_groups_is_one_sample(tmp_path):
    dataset = open_set(write_sugar_crepe(tmp_path / "set"))
    assert len(list(dataset.samples("test"))) == len(NAMES)
    assert len(list(dataset.groups())) == 2 * len(NAMES)
    assert {group.type for group in dataset.groups()} == {"swap_obj", "add_att"}


def test_aro_sees_the_box_alone(tmp_path):
    dataset = open_set(write_aro(tmp_path / "set"))
    samples = list(dataset.samples("test"))
    assert [colour_of(sample.image) for sample in samples[:2]] == [NAMES[0], wrong(NAMES[0])]
    assert {sample.image.size for sample in samples} == {(8, 8)}
    assert samples[0].content == samples[1].content


def test_sugar_crepe_pp_has_two_right_captions(tmp_path):
    group, *_ = open_set(write_sugar_crepe_pp(tmp_path / "set")).groups()
    assert group.pairing == ((0, 0), (0, 1))
    assert len(group.captions) == 3


def test_whats_up_leaves_out_files_without_their_images(tmp_path):
    folder = write_whats_up(tmp_path / "set")
    shutil.rmtree(folder / "val2017")
    dataset = open_set(folder)
    assert {group.type for group in dataset.groups()} == {"controlled_images"}
    assert dataset.notes == ("left out: coco_qa_one_obj.json, since val2017/ is missing",)


def test_winogrounds_types_are_its_collapsed_tags(tmp_path):
    groups = list(open_set(write_winoground(tmp_path / "set")).groups())
    assert [group.type for group in groups[:3]] == ["Object", "Relation", "Object"]
    assert groups[9].images == (18, 19)


def test_winogrounds_images_may_be_plain_bytes_and_tags_may_be_missing(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = write_winoground(tmp_path / "set")
    (path,) = folder.rglob("*.parquet")
    rows = [
        {
            name: row[name]["bytes"] if name.startswith("image") else row[name]
            for name in ("image_0", "image_1", "caption_0", "caption_1")
        }
        for row in pq.read_table(path).to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "winoground.parquet")
    path.unlink()
    dataset = open_set(folder)
    assert {group.type for group in dataset.groups()} == {""}
    assert colour_of(next(iter(dataset.samples("test"))).image) == NAMES[0]


def test_clip_benchmarks_own_retrieval_sets_are_read_where_the_recipe_says_so(tmp_path):
    folder = write_caption_tars(tmp_path / "set", "retrieval")
    assert isinstance(open_set(folder), RetrievalSet)
    selection = open_set(folder, kind="caption_selection")
    assert [len(group.captions) for group in selection.groups()] == [3] * 6
    assert [part.fingerprint for part in selection.splits["test"]] == [
        part.fingerprint for part in open_set(folder).splits["test"]
    ]


def test_mmvp_is_read_as_both_kinds_with_one_fingerprint_of_its_images(tmp_path):
    folder = write_mmvp(tmp_path / "set")
    mmvp, selection = open_set(folder), open_set(folder, kind="caption_selection")
    assert isinstance(mmvp, MMVPSet)
    assert [part.fingerprint for part in selection.splits["test"]] == [mmvp.fingerprint]
    assert [group.captions for group in selection.groups()] == [pair.texts for pair in mmvp.pairs]


def test_linked_images_are_followed_and_told(tmp_path):
    folder = write_sugar_crepe(tmp_path / "set")
    (folder / "val2017").rename(tmp_path / "coco")
    (folder / "val2017").symlink_to(tmp_path / "coco")
    assert open_set(folder).notes == ("links were followed: 6 images",)


def test_the_fingerprint_depends_on_captions_pairs_types_and_images(tmp_path):
    def changed(**fields):
        folder = tmp_path / repr(sorted(fields))
        write_groups(folder)
        row = {"group": "g0", "captions": ["red", "blue"], "pairs": [[0, 0], [1, 1]]} | {
            "images": ["images/red.png", "images/blue.png"]
        }
        write_lines(folder / "groups.jsonl", [row | fields])
        return open_set(folder).fingerprint

    variants = [
        changed(),
        changed(captions=["red", "cyan"]),
        changed(pairs=[[0, 1], [1, 0]]),
        changed(type="kind"),
        changed(group="g1"),
        changed(images=["images/red.png", "images/green.png"]),
        changed(images=["images/red.png", {"file": "images/blue.png", "box": [0, 0, 4, 4]}]),
    ]
    assert len(set(variants)) == len(variants)
    assert changed() == variants[0]


def test_entries_on_one_line_and_on_many_are_alike(tmp_path):
    folder = write_sugar_crepe(tmp_path / "set")
    before = list(open_set(folder).groups())
    import json

    for name in ("swap_obj", "add_att"):
        path = folder / f"{name}.json"
        path.write_text("\ufeff" + json.dumps(json.loads(path.read_text())) + "\r\n", "utf-8")
    assert list(open_set(folder).groups()) == before
    write_json(folder / "swap_obj.json", {})
    assert len(list(open_set(folder).groups())) == 6
