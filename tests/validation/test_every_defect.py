"""Every defect that validation names, in tars of every maker, and each sample's fate."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from corpus import encode, png_declaring, special_member, write_members
from dcr.validation.declared import PLAIN
from dcr.validation.judging import plan_judging, summarize
from dcr.validation.likenesses import Likenesses, Terms
from dcr.validation.measuring import plan_measuring
from dcr.validation.reasons import REASONS, SHARD_REASONS
from dcr.validation.tables import SampleTables, write_tables
from dcr.validation.workers import Workers
from picture_cases import DEEP, PIXELS, with_orientation, write_png
from validation_tables import LIMITS, NO_EVALUATION, NO_LIMITS, POLICIES

# Nine thousand empty comments.
COSTLY = encode(seed=14)[:20] + b"\xff\xfe\0\2" * 9_000 + encode(seed=14)[20:]
# More than the 100 bytes of a plain header, not more than ustar can split.
LONG = "d" * 70 + "/" + "n" * 90


def png(size=(48, 40), colour=(90, 90, 200), frames=1) -> bytes:
    buffer = io.BytesIO()
    others = [Image.new("RGB", size, (10, 200, i)) for i in range(1, frames)]
    Image.new("RGB", size, colour).save(
        buffer, "PNG", **({"save_all": True, "append_images": others} if others else {})
    )
    return buffer.getvalue()


# key: (members by extension, the reasons that must be found); a sample without reasons is accepted
DEFECTS = {
    "a0": ({"jpg": encode(seed=100), "txt": b"a good one"}, set()),
    "a1": ({"jpg": encode(seed=101), "json": b'{"caption": "from json"}'}, set()),
    LONG: ({"jpg": encode(seed=102), "txt": b"a long name"}, set()),
    "b0": ({"jpg": encode(seed=1)[:600], "txt": b"x"}, {"image_truncated"}),
    "b1": ({"jpg": b"no image", "txt": b"x"}, {"image_corrupt"}),
    "b2": ({"tif": encode(seed=2, kind="TIFF"), "txt": b"x"}, {"unsupported_format"}),
    "b3": ({"jpg": encode((31, 60), seed=3), "txt": b"x"}, {"image_too_small"}),
    "b4": ({"jpg": encode((200, 40), seed=4), "txt": b"x"}, {"extreme_aspect_ratio"}),
    "b5": ({"png": png(), "txt": b"x"}, {"blank_image"}),
    "b6": ({"png": png_declaring(60_000, 60_000), "txt": b"x"}, {"too_many_pixels"}),
    "b7": ({"png": png(colour=(200, 0, 0), frames=2), "txt": b"x"}, {"animated", "blank_image"}),
    "b8": ({"jpg": COSTLY, "txt": b"x"}, {"image_too_costly"}),
    "c0": ({"txt": b"no image"}, {"image_missing"}),
    "c1": ({"jpg": encode(seed=5)}, {"caption_missing"}),
    "c2": ({"jpg": encode(seed=6), "txt": b" \n"}, {"caption_empty"}),
    "c3": ({"jpg": encode(seed=7), "txt": b"caf\xe9"}, {"caption_not_utf8"}),
    "c4": ({"jpg": encode(seed=8), "txt": b"IMG_1.jpg"}, {"caption_is_file_or_url"}),
    "c5": ({"jpg": encode(seed=9), "txt": b"https://a.org/b"}, {"caption_is_file_or_url"}),
    "c6": ({"jpg": encode(seed=16), "json": b'{"caption": 7}'}, {"caption_not_text"}),
    "c7": ({"jpg": encode(seed=17), "txt": b"['a fish', 'a pond']"}, {"caption_is_list"}),
    "d0": ({"jpg": encode(seed=10), "txt": b"x", "json": b"{"}, {"metadata_invalid"}),
    "d1": (
        {"jpg": encode(seed=11), "txt": b"x", "json": b'{"width": 9, "height": 9}'},
        {"size_mismatch"},
    ),
    "d2": ({"jpg": encode(seed=12), "txt": b"x", "json": b'{"sha256": "00"}'}, {"sha256_mismatch"}),
    "e0": ({"jpg": encode(seed=100), "txt": b"again"}, {"exact_duplicate"}),
    "e1": ({"jpg": encode(seed=101, quality=74), "txt": b"nearly again"}, {"near_duplicate"}),
    "g0": ({"jpg": encode(seed=14, exif=with_orientation(6)), "txt": b"x"}, {"rotated"}),
    "g1": (
        {"png": write_png(PIXELS.repeat(3, 0).repeat(3, 1), 6, 8), "txt": b"x"},
        {"transparent"},
    ),
    "g2": (
        {"png": write_png(DEEP.repeat(3, 0).repeat(3, 1)[..., 0], 0, 16), "txt": b"x"},
        {"high_bit_depth", "greyscale"},
    ),
    "f0": ({"jpg": encode(seed=13), "txt": b"x", "pyd": b"cos\nsystem\n(S'false'\ntR."}, set()),
}


def members():
    return [
        (f"{key}.{extension}", content)
        for key, (parts, _) in DEFECTS.items()
        for extension, content in parts.items()
    ]


def by_python(tar_format):
    return lambda folder: write_members(folder / "in" / "00000.tar", members(), tar_format)


def by_gnu_tar(tar_format):
    def write(folder):
        for name, content in members():
            (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "files" / name).write_bytes(content)
        names = "\n".join(name for name, _ in members())
        (folder / "in").mkdir()
        command = [
            "tar",
            f"--format={tar_format}",
            "-cf",
            str(folder / "in" / "00000.tar"),
            "--files-from=-",
        ]
        subprocess.run(command, cwd=folder / "files", input=names, text=True, check=True)

    return write


def by_webdataset(folder):
    from webdataset import TarWriter

    (folder / "in").mkdir()
    with TarWriter(str(folder / "in" / "00000.tar"), encoder=False) as tar:
        for key, (parts, _) in DEFECTS.items():
            tar.write({"__key__": key, **parts})


def validate(folder: Path) -> SampleTables:
    shards = {str(path): path.stem for path in sorted((folder / "in").glob("*.tar"))}
    write_tables(folder / "samples", plan_measuring(shards, LIMITS, Workers("threading", 1)))
    warned = {"tar_damaged": "warn", "shard_interrupted": "warn", "animated": "reject"}
    samples = SampleTables(folder / "samples")
    unasked = Likenesses(None, samples, Terms(NO_LIMITS, None, None))
    sources = {record["shard"]: PLAIN for record in samples.records()}
    plan = plan_judging(samples, NO_EVALUATION, 8, POLICIES | warned, unasked, sources)
    write_tables(folder / "judged", plan)
    return SampleTables(folder / "judged")


MAKERS = {
    **{
        f"python-{name}": by_python(code)
        for name, code in [("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]
    },
    **{f"tar-{name}": by_gnu_tar(name) for name in ("ustar", "pax", "gnu", "oldgnu")},
    "webdataset": by_webdataset,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_every_sample_has_its_reasons_and_its_fate(tmp_path, maker, monkeypatch):
    if maker == "tar-ustar" and shutil.which("tar") is None:
        pytest.fail("the tests need the program tar")
    MAKERS[maker](tmp_path)
    tables = validate(tmp_path)
    found = {row["key"]: row for row in tables.frame().to_dict("records")}
    assert {key: set(filter(None, row["reasons"].split(","))) for key, row in found.items()} == {
        key: reasons for key, (_, reasons) in DEFECTS.items()
    }
    warned = {"caption_missing"}
    assert {key for key, row in found.items() if row["status"] == "accepted"} == {
        key for key, (_, reasons) in DEFECTS.items() if reasons <= warned
    }
    summary = summarize(tables)
    assert summary["accepted"] + summary["rejected"] == summary["samples"] == len(DEFECTS)
    assert summary["unreadable_bytes"] == 0


def test_unsafe_members_cost_their_own_sample_alone(tmp_path):
    image, kinds = (
        encode(),
        (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE),
    )
    hostile = [special_member(f"x{i}.jpg", kind, "/etc/passwd") for i, kind in enumerate(kinds)]
    hostile += [("/etc/y0.jpg", image), ("../y1.jpg", image), ("a\\y2.jpg", image)]
    write_members(
        tmp_path / "in" / "0.tar", [("0.jpg", encode(seed=1)), *hostile, ("1.jpg", encode(seed=2))]
    )
    found = validate(tmp_path).frame()
    assert found["status"].tolist() == ["accepted"] + ["rejected"] * len(hostile) + ["accepted"]
    assert all("unsafe_member" in reasons for reasons in found["reasons"][1:-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "judged", "samples"]


def test_shards_as_a_whole_have_their_reasons(tmp_path):
    good = [
        ("0.jpg", encode(seed=1)),
        ("0.txt", b"one"),
        ("1.jpg", encode(seed=2)),
        ("1.txt", b"two"),
    ]
    write_members(tmp_path / "in" / "cut.tar", [(f"c{name}", content) for name, content in good])
    path = tmp_path / "in" / "cut.tar"
    path.write_bytes(path.read_bytes()[:1200])
    write_members(tmp_path / "in" / "interrupted.tar", good)
    (tmp_path / "in" / "interrupted.parquet").touch()
    write_members(tmp_path / "in" / "empty.tar", [])
    (tmp_path / "in" / "text.tar").write_bytes(b"text" * 1000)
    collision = [("0.jpg", encode(seed=3)), ("0.jpg", encode(seed=4)), ("z.jpg", encode(seed=5))]
    write_members(tmp_path / "in" / "later.tar", collision)
    records = {record["shard"]: record for record in validate(tmp_path).records()}
    assert {name: record["reasons"] for name, record in records.items()} == {
        "cut": "tar_damaged",
        "empty": "shard_empty",
        "interrupted": "shard_interrupted",
        "later": "",
        "text": "tar_unreadable",
    }
    assert records["cut"]["unreadable_bytes"] == 1200
    assert records["text"]["unreadable_bytes"] == 4000
    rows = validate(tmp_path).frame(["shard", "key", "reasons"])
    assert rows[rows["shard"] == "cut"]["reasons"].tolist() == [
        "caption_missing,tar_truncated"
    ] or rows[rows["shard"] == "cut"]["reasons"].tolist() == ["tar_truncated"]
    later = rows[rows["shard"] == "later"]["reasons"].tolist()
    assert later == [
        "caption_missing,key_collision_across_shards",
        "caption_missing,key_collision",
        "caption_missing",
    ]


@pytest.mark.parametrize("name", ["members", "key"])
def test_pieces_of_samples_are_told_from_samples_of_one_key(tmp_path, name):
    images, texts = (
        [(f"{i}.{e}", encode(seed=i)) for i, e in enumerate(("jpg", "png", "jpg"))],
        [("0.txt", b"a")],
    )
    again = [("1.png", encode(seed=7))]
    write_members(tmp_path / "in" / "0.tar", images + (texts if name == "members" else again))
    (record,) = validate(tmp_path).records()
    assert (record["reasons"], record["apart"]) == (
        ("members_apart", "0") if name == "members" else ("", None)
    )


def test_images_with_a_further_dot_in_their_names_are_named(tmp_path):
    image = [encode(seed=i) for i in range(4)]
    dotted = [
        ("a.2021.jpg", image[0]),
        ("b.jpg", image[1]),
        ("b.seg.png", image[2]),
        ("c.txt", b"c"),
        ("d.x.cls", b"1"),
    ]
    write_members(tmp_path / "in" / "0.tar", dotted)
    found = validate(tmp_path).frame().set_index("key")["reasons"].to_dict()
    assert found == {
        "a": "caption_missing,dotted_name",
        "b": "caption_missing,dotted_image_left_out",
        "c": "image_missing",
        "d": "caption_missing,image_missing",
    }


def test_no_reason_is_left_untested():
    files = [
        Path(__file__),
        *(Path(__file__).parent / f"test_{name}.py" for name in ("measuring", "rows", "judging")),
        Path(__file__).parents[1] / "support" / "made_pictures.py",
        Path(__file__).parents[1] / "likeness" / "test_likeness.py",
    ]
    here = "".join(path.read_text() for path in files)
    assert [reason for reason in [*REASONS, *SHARD_REASONS] if f"{reason}" not in here] == []


def test_the_hash_of_the_bytes_is_that_of_the_member(tmp_path):
    by_webdataset(tmp_path)
    found = validate(tmp_path).frame().set_index("key")
    assert found["sha256"]["a0"] == hashlib.sha256(DEFECTS["a0"][0]["jpg"]).hexdigest()
    assert (
        os.path.getsize(tmp_path / "in" / "00000.tar")
        == validate(tmp_path).records()[0]["num_bytes"]
    )
