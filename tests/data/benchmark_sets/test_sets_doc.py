"""docs/inputs.md agrees with what becomes of evaluation sets."""

import gzip
import io
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from benchmark_folders import (
    COLOURS,
    image_bytes,
    write_classification,
    write_mmvp,
    write_retrieval,
    write_split,
)
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError

DOCUMENT = Path(__file__).parents[3] / "docs" / "inputs.md"


def rows():
    """Return {what is there: words of which each must be told} of the section's table."""
    section = (
        DOCUMENT.read_text(encoding="utf-8").split("\n## Evaluation sets\n")[1].split("\n## ")[0]
    )
    table = [
        line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")
    ][1:]
    return {row[0].strip(): re.findall(r"`([^`]+)`", row[2]) for row in table}


def classes(folder, *names, lines=None):
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_bytes(image_bytes(list(COLOURS.values())[index % 6], index))
    if lines:
        (folder / "classnames.txt").write_text("\n".join(lines))
    return folder


def with_files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image_bytes((9, 9, 9)))
    return folder


def with_links(folder, **targets):
    for name, target in targets.items():
        (folder / name.replace("__", "/")).symlink_to(target)
    return folder


def tars(folder, **files):
    write_classification(folder)
    for name, text in files.items():
        (folder / name.replace("__", "/")).with_suffix(".txt").write_text(text)
    return folder


def tar_with_label_6(folder):
    write_split(
        write_classification(folder) / "test", [{"a.png": image_bytes((1, 2, 3)), "a.cls": b"6"}]
    )
    (folder / "test" / "1.tar").unlink()
    return folder


def compressed(folder, expanded=0):
    path = write_classification(folder) / "test" / "1.tar"
    content = path.read_bytes()
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tar_info("0.bin", expanded), io.BytesIO(bytes(expanded)))
    path.write_bytes(path.read_bytes() if expanded else gzip.compress(content))
    return folder


def cut(folder):
    path = write_classification(folder) / "test" / "1.tar"
    path.write_bytes(path.read_bytes()[: 512 * 9])
    return folder


def tar_with_a_link(folder):
    with tarfile.open(write_classification(folder) / "test" / "1.tar", "a") as tar:
        link = tar_info("x.png", 0)
        link.type, link.linkname = tarfile.SYMTYPE, "s0000001.png"
        tar.addfile(link)
        tar.addfile(tar_info("README", 0))
    return folder


def tar_info(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def without_caption(folder):
    write_split(
        write_retrieval(folder) / "test", [{"a.png": image_bytes((1, 2, 3)), "a.txt": b"\n"}]
    )
    return folder


def twice_train(folder):
    shutil.copytree(write_classification(folder) / "train", folder / "Training")
    return folder


# by a row's first words: what to write, and the kind that the recipe says
CASES = {
    "class folders that are numbers": [lambda f: classes(f, "0", "2", "10")],
    "a number twice": [
        lambda f: classes(f, "1", "01"),
        lambda f: classes(f, "0", "1", "3", lines=["a", "b", "c"]),
    ],
    "a `classnames.txt` of the folders' own names": [
        lambda f: classes(f, "a", "b", lines=["b", "a"])
    ],
    "a `classnames.txt` that names a folder": [
        lambda f: classes(f, "a", "b", "c", lines=["b", "x", "c"])
    ],
    "a `classnames.txt` beside folders": [lambda f: classes(f, "c_2", "c_10", lines=["x", "y"])],
    "more or fewer lines": [
        lambda f: classes(f, "a", "b", lines=["x"]),
        lambda f: classes(f, "a", "b", lines=["x", "", "y"]),
    ],
    "a class index that no line": [tar_with_label_6],
    "classes that share a name": [lambda f: classes(f, "a_b", "a b")],
    "linked class folders": [lambda f: with_links(classes(f, "a", "b"), c=f / "b")],
    "links that lead nowhere": [
        lambda f: with_links(classes(f, "a", "b"), a__x=f / "nothing", a__y=f / "b")
    ],
    "hidden folders and files": [
        lambda f: with_files(classes(f, "a", "b"), ".git/x.png", "__MACOSX/x.png", "a/.x.png"),
    ],
    "files that are no images": [lambda f: with_files(classes(f, "a", "b"), "a/x.tiff", "x.png")],
    "a folder without an image": [lambda f: with_files(classes(f, "a", "b"), "docs/x.tiff")],
    "images in folders inside a class": [
        lambda f: with_files(classes(f, "a", "b"), "a/more/x.png")
    ],
    "splits called train": [lambda f: classes(f, "Training/a", "Training/b", "VALID/a", "VALID/b")],
    "a validation split beside": [lambda f: classes(f, "test/a", "test/b", "val/a", "val/b")],
    "two folders of one split": [twice_train],
    "a folder that may be a split or a class": [lambda f: classes(f, "train", "car", "bus")],
    "class folders one folder deeper": [lambda f: classes(f, "set/a", "set/b")],
    "a train split alone": [lambda f: classes(f, "train/a", "train/b")],
    "tars beyond those": [lambda f: tars(f, test__nshards="1")],
    "fewer tars than announced": [lambda f: tars(f, test__nshards="9")],
    "tars compressed": [compressed, lambda f: compressed(f, 80 << 20)],
    "a tar that is damaged": [cut],
    "links, devices": [tar_with_a_link],
    "a set of another kind": [write_mmvp],
    "images without a question": [
        lambda f: with_files(write_mmvp(f), "MLLM_VLM Images/Texts/99.jpg")
    ],
    "an image without captions": [without_caption],
}
KINDS = {
    "a set of another kind": "retrieval",
    "images without a question": "mmvp_vlm",
    "an image without captions": "retrieval",
}


@pytest.mark.parametrize("row", list(rows()))
def test_every_row_is_true(row, tmp_path):
    (start,) = [start for start in CASES if row.startswith(start)]
    told = []
    for number, write in enumerate(CASES[start]):
        folder = write(tmp_path / str(number))
        try:
            dataset = open_set(folder, kind=KINDS.get(start, "classification"))
            told += dataset.notes
            list(dataset.samples(*[] if start == "images without a question" else ["test"]))
        except UserError as error:
            told.append(str(error))
    for words in rows()[row]:
        assert any(words in sentence for sentence in told), (words, told)
    if not rows()[row]:
        assert told == []


def test_every_case_has_its_row():
    assert all(any(row.startswith(start) for row in rows()) for start in CASES)
