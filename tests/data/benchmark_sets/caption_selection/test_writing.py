"""Any layout of caption selection written as groups.jsonl is the same set."""

import json
import subprocess
import sys

import pytest

from benchmark_folders import write_mmvp
from caption_sets import (
    write_aro,
    write_caption_tars,
    write_groups,
    write_sugar_crepe,
    write_whats_up,
    write_winoground,
)
from dcr.data.benchmark_sets import make_set, open_set
from dcr.errors import UserError
from project import PROJECT

LAYOUTS = (
    write_groups,
    write_sugar_crepe,
    write_aro,
    write_whats_up,
    write_winoground,
    write_caption_tars,
    write_mmvp,
)


def content_of(dataset):
    samples = [(sample.content, sample.box) for sample in dataset.samples("test")]
    return [
        (
            group.name,
            group.type,
            group.captions,
            group.pairing,
            [samples[place] for place in group.images],
        )
        for group in dataset.groups()
    ]


@pytest.mark.parametrize("write", LAYOUTS)
def test_what_is_written_is_what_was_read(write, tmp_path):
    source = write(tmp_path / "source")
    make_set("caption_selection", source, tmp_path / "set")
    before = open_set(source, kind="caption_selection")
    after = open_set(tmp_path / "set")
    assert content_of(after) == content_of(before)
    assert after.published_rules == before.published_rules


def test_equal_images_are_written_once(tmp_path):
    make_set("caption_selection", write_aro(tmp_path / "source"), tmp_path / "set")
    assert len(list((tmp_path / "set" / "images").iterdir())) == 6
    first = json.loads((tmp_path / "set" / "groups.jsonl").read_text().splitlines()[0])
    assert first == {
        "group": "vg_relation/0",
        "images": [{"file": "images/00000000.png", "box": [0, 0, 8, 8]}],
        "captions": ["the red is in the box", "the green is in the box"],
        "pairs": [[0, 0]],
        "type": "vg_relation",
        "rules": ["text_score"],
    }


def test_a_broken_image_leaves_nothing_behind(tmp_path):
    source = write_sugar_crepe(tmp_path / "source")
    (source / "val2017" / "blue.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"blue.png cannot be decoded"):
        make_set("caption_selection", source, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_there_is_not_written_over(tmp_path):
    source = write_groups(tmp_path / "source")
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match="is there already"):
        make_set("caption_selection", source, tmp_path / "set")


def test_templates_are_refused(tmp_path):
    with pytest.raises(UserError, match="--template is for classification sets"):
        make_set("caption_selection", write_groups(tmp_path / "a"), tmp_path / "b", ["{c}"])


def test_the_command(tmp_path):
    source = write_sugar_crepe(tmp_path / "source")
    command = [sys.executable, "-m", "dcr", "make-set", "--kind", "caption_selection"]
    subprocess.run([*command, str(source), str(tmp_path / "set")], check=True, cwd=PROJECT)
    assert len(list(open_set(tmp_path / "set").groups())) == 12
