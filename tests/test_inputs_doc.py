"""docs/inputs.md agrees with what happens."""

import re

import pytest

from caption_cases import CAPTIONS
from corpus import encode, write_members
from dcr.data.shards import list_shards
from dcr.errors import UserError
from dcr.validation.images import measure_image
from dcr.validation.measuring import measure_shard
from dcr.validation.reasons import REASONS
from inputs_doc import table_of
from picture_cases import CASES
from validation_tables import LIMITS


def reasons_of(section: str) -> dict[str, set[str]]:
    """Return for each row of a section's table, by its first column, the reasons that it names."""
    return {row: set(re.findall(r"`(\w+)`", reasons)) for row, _, reasons in table_of(section)}


def test_every_kind_of_picture_is_told():
    decoded = {
        row for row, reasons in reasons_of("Pictures").items() if reasons != {"unsupported_format"}
    }
    assert {case.row for case in CASES} == decoded


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_a_picture_has_the_reasons_that_its_row_tells(case):
    measures = measure_image(case.content, 10_000)
    told = reasons_of("Pictures")[case.row]
    found = {*measures.changes, *(["animated"] if measures.animated else [])}
    assert measures.reason is None
    assert told <= found <= told | {"transparent"}  # a turned picture may be transparent, too


def test_the_formats_that_are_told_not_to_be_decoded_are_not():
    first_bytes = {
        "TIFF": b"II*\0",
        "AVIF": b"\0\0\0\x20ftypavif",
        "HEIC": b"\0\0\0\x18ftypheic",
        "JPEG XL": b"\xff\x0a",
        "JPEG 2000": b"\0\0\0\x0cjP  ",
        "SVG": b"<svg xmlns=",
        "PDF": b"%PDF-1.4",
        "HTML": b"<!DOCTYPE html>",
    }
    (row,) = [
        row for row, reasons in reasons_of("Pictures").items() if reasons == {"unsupported_format"}
    ]
    assert row.split(", ") == list(first_bytes)
    for content in first_bytes.values():
        assert measure_image(content, 10_000).reason == "unsupported_format"


def test_every_reason_that_is_told_exists():
    assert set().union(*reasons_of("Pictures").values()) <= set(REASONS)


def make_shards(folder):
    """Return for each row about shards a source as it is written there, and how many shards it
    means.
    """
    for name in (
        "tars/0.tar",
        "tars/1.TAR",
        "tars/.2.tar",
        "tars/notes.txt",
        "tars/old/3.tar",
        "deep/a/0.tar",
        "links/5.tar",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in ("[1]/0.tar", "zipped/0.tar", "zipped/1.tar.gz", "dangling/0.tar", "none/x.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "dangling/1.tar").symlink_to(folder / "nowhere")
    (folder / "tars/4.tar").symlink_to(folder / "deep/a/0.tar")
    (folder / "links/deep").symlink_to(folder / "deep/a")
    tars = f"{folder}/tars"
    return {
        "a folder": [(tars, 3), (f"{folder}/none", "it holds")],
        "a folder whose tars lie in folders of it": [
            (f"{folder}/deep", "its tars lie in folders of it"),
            (f"{folder}/deep/*/*.tar", 1),
        ],
        "a tar": [(f"{tars}/0.tar", 1), (f"{folder}/none/x.bin", "is no .tar")],
        "a glob, `{00000..00331}`, `{a,b}`": [
            (f"{tars}/*.tar", 2),
            (f"{tars}/{{0,4}}.tar", 2),
            (f"{tars}/{{0..9}}.tar", "are missing"),
        ],
        "a folder with `[`, `{`, `*` or `?` in its name": [(f"{folder}/[1]", 1)],
        "paths joined by `::`, as in webdataset and open_clip": [(f"{tars}::{folder}/[1]", 4)],
        "paths joined by anything else": [
            (f"{tars}/0.tar {tars}/4.tar", "several places are a list")
        ],
        "compressed tars (.tar.gz, .tgz, .tar.zst …), alone or beside others": [
            (f"{folder}/zipped", "are compressed")
        ],
        "`pipe:` and a command": [("pipe:cat 0.tar", "commands (pipe:) are not run")],
        "a link to a folder": [
            (f"{folder}/links/deep", 1),
            (f"{folder}/links/*/*.tar", 1),
            (f"{folder}/links/**/*.tar", 1),
        ],
        "a link to nothing": [(f"{folder}/dangling", "is a link to a file that is not there")],
        "a shard named twice": [([tars, f"{tars}/0.tar"], 3)],
        "hidden and other files, folders beside tars": [(tars, 3)],
    }


def test_every_way_to_name_shards_does_what_its_row_tells(tmp_path):
    examples = make_shards(tmp_path)
    told = {row: (means, refused) for row, means, refused in table_of("Shards")}
    assert told.keys() == examples.keys()
    for row, sources in examples.items():
        for source, expected in sources:
            if isinstance(expected, int):
                assert len(list_shards(source)) == expected
            else:
                assert told[row][1] == f"`{expected}`"
                with pytest.raises(UserError, match=re.escape(expected)):
                    list_shards(source)
        assert bool(told[row][1]) == any(isinstance(expected, str) for _, expected in sources)


def test_every_kind_of_caption_is_told():
    assert {case.row for case in CAPTIONS} == set(reasons_of("Captions"))


@pytest.mark.parametrize("case", CAPTIONS, ids=lambda case: case.row)
def test_a_caption_has_the_reason_that_its_row_tells(case, tmp_path):
    members = [(f"0.{extension}", content) for extension, content in case.members().items()]
    shard = write_members(tmp_path / "0.tar", [("0.jpg", encode()), *members])
    (row,) = measure_shard(str(shard), "0", LIMITS).rows.to_pylist()
    assert set(row["findings"]) == reasons_of("Captions")[case.row] == {case.reason} - {None}
    assert row["caption"] == (case.captions[0] if case.captions else None)
