"""Retrieval and MMVP-VLM sets from a folder of images and a table."""

import subprocess
import sys

import pytest

from benchmark_folders import COLOURS, image_bytes
from dcr.data.benchmark_sets import MMVPSet, RetrievalSet, make_set, open_set
from dcr.errors import UserError
from project import PROJECT

PAIR_COLUMNS = "type,first_image,first_statement,second_image,second_statement\n"


@pytest.fixture
def images(tmp_path):
    """A folder with a picture of each colour."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for name, rgb in COLOURS.items():
        (folder / ("more" if name == "red" else "") / f"{name}.png").write_bytes(image_bytes(rgb))
    return folder


def captions_of(folder):
    dataset = open_set(folder, kind="retrieval")
    assert isinstance(dataset, RetrievalSet)
    return {sample.content: list(sample.captions) for sample in dataset.samples("test")}


def test_captions_of_a_table_become_a_retrieval_set(images, tmp_path):
    (images / "captions.csv").write_text(
        'image,caption\nmore/red.png,"all, red"\nblue.png,blue\nblue.png,more blue\n'
    )
    make_set("retrieval", images, tmp_path / "set")
    assert captions_of(tmp_path / "set") == {
        image_bytes(COLOURS["red"]): ["all, red"],
        image_bytes(COLOURS["blue"]): ["blue", "more blue"],
    }


def test_captions_beside_the_images_become_a_retrieval_set(images, tmp_path):
    for path in images.rglob("*.png"):
        path.with_suffix(".txt").write_text(f"one {path.stem}\r\n\r\ntwo {path.stem}\r\n")
    make_set("retrieval", images, tmp_path / "set")
    found = captions_of(tmp_path / "set")
    assert found[image_bytes(COLOURS["red"])] == ["one red", "two red"]
    assert len(found) == len(COLOURS)


def test_pairs_of_a_table_become_an_mmvp_set(images, tmp_path):
    (images / "pairs.csv").write_text(
        f"{PAIR_COLUMNS}Color,more/red.png,a red thing,blue.png,a blue thing\n"
    )
    make_set("mmvp_vlm", images, tmp_path / "set")
    dataset = open_set(tmp_path / "set", kind="mmvp_vlm")
    assert isinstance(dataset, MMVPSet)
    (pair,) = dataset.pairs
    assert (pair.type, pair.texts) == (
        "Color",
        ("a photo of a red thing", "a photo of a blue thing"),
    )
    assert [sample.content for sample in dataset.samples()] == [
        image_bytes(COLOURS[c]) for c in ("red", "blue")
    ]


def spoil_image(images):
    (images / "blue.png").write_bytes(b"no image")


def link_outside(images):
    (images / "blue.png").unlink()
    (images.parent / "secret.png").write_bytes(image_bytes((1, 2, 3)))
    (images / "blue.png").symlink_to(images.parent / "secret.png")


@pytest.mark.parametrize(
    ("kind", "table", "text", "spoil", "message"),
    [
        (
            "retrieval",
            "captions.csv",
            "a,b\n",
            None,
            "must begin with a line of its columns, image,caption",
        ),
        ("retrieval", "captions.csv", "image,caption\n", None, "has no row below its columns"),
        (
            "retrieval",
            "captions.csv",
            "image,caption\nblue.png\n",
            None,
            "row 2: expected image, caption, none empty",
        ),
        ("retrieval", "captions.csv", "image,caption\nx.png,x\n", None, r"x\.png is missing"),
        (
            "retrieval",
            "captions.csv",
            "image,caption\n../secret.png,x\n",
            None,
            "lies outside of the folder",
        ),
        (
            "retrieval",
            "captions.csv",
            "image,caption\nblue.png,x\n",
            link_outside,
            "lies outside of the folder",
        ),
        (
            "retrieval",
            "captions.csv",
            "image,caption\nblue.png,x\n",
            spoil_image,
            r"blue\.png cannot be decoded",
        ),
        ("retrieval", "other.csv", "", None, r"\.txt is missing"),
        (
            "mmvp_vlm",
            "pairs.csv",
            f"{PAIR_COLUMNS}../x,red.png,a,blue.png,b\n",
            None,
            "a type is the name of a folder",
        ),
        (
            "mmvp_vlm",
            "pairs.csv",
            f"{PAIR_COLUMNS}x,blue.png,a,,b\n",
            None,
            "row 2: expected type, first_image",
        ),
        ("mmvp_vlm", "other.csv", "", None, r"pairs\.csv is missing"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(
    images, tmp_path, kind, table, text, spoil, message
):
    (images / table).write_text(text)
    if spoil:
        spoil(images)
    with pytest.raises(UserError, match=message):
        make_set(kind, images, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_nothing_is_written_over_and_templates_are_for_classes(images, tmp_path):
    for kind in ("retrieval", "mmvp_vlm"):
        with pytest.raises(UserError, match="is there already"):
            make_set(kind, images, images)
        with pytest.raises(UserError, match="--template is for classification sets"):
            make_set(kind, images, tmp_path / "set", ["{c}"])


def test_the_command_knows_the_kinds(images, tmp_path):
    (images / "captions.csv").write_text("image,caption\nblue.png,blue\n")
    command = ["kedro", "make-set", "--kind", "retrieval", str(images), str(tmp_path / "set")]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list(captions_of(tmp_path / "set").values()) == [["blue"]]
