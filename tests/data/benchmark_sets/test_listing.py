"""What is no image of a class is counted and told; links of the user's own are followed."""

import shutil

import pytest

from benchmark_folders import COLOURS, image_bytes, write_mmvp
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Class folders red and blue of two images each."""
    for name in ("red", "blue"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for index in range(2):
            (tmp_path / "set" / name / f"{index}.png").write_bytes(
                image_bytes(COLOURS[name], index)
            )
    return tmp_path / "set"


def num_images(folder):
    return len(list(open_set(folder).samples("test")))


def test_a_clean_set_has_nothing_to_tell(folder):
    assert open_set(folder).notes == ()


@pytest.mark.parametrize("name", [".git", ".ipynb_checkpoints", "__MACOSX", "@eaDir"])
def test_folders_of_systems_and_tools_are_no_classes_and_told(folder, name):
    shutil.copytree(folder / "red", folder / name)
    shutil.copytree(folder / "red", folder / "red" / name)
    dataset = open_set(folder)
    assert dataset.class_names == ["blue", "red"]
    assert num_images(folder) == 4
    (note,) = dataset.notes
    assert note.startswith("left out: ")
    assert note.endswith(f"2 ({name}, red/{name})")


def test_hidden_files_and_other_formats_are_counted(folder):
    for name in ("._0.png", ".DS_Store", "a.gif", "b.bmp", "c.tiff", "d.GIF"):
        (folder / "red" / name).write_bytes(b"x")
    (folder / "blue" / "notes.txt").write_text("x")
    (folder / "stray.png").write_bytes(b"x")
    assert open_set(folder).notes == (
        (
            "left out: files that are no jpg, jpeg, png, webp: 5 (blue/notes.txt, red/a.gif,"
            " red/b.bmp and 2 more)"
        ),
        "left out: hidden files: 2 (red/.DS_Store, red/._0.png)",
        "left out: images beside the class folders: 1 (stray.png)",
    )
    assert num_images(folder) == 4


def test_a_folder_without_an_image_is_no_class_unless_a_line_names_it(folder):
    (folder / "annotations").mkdir()
    (folder / "annotations" / "red.xml").write_text("x")
    dataset = open_set(folder)
    assert dataset.class_names == ["blue", "red"]
    assert "left out: folders without an image: 1 (annotations)" in dataset.notes
    (folder / "classnames.txt").write_text("blue\nred\n")
    assert open_set(folder).class_names == ["blue", "red"]
    (folder / "classnames.txt").write_text("blue\nred\nannotations\n")
    assert open_set(folder).class_names == ["blue", "red", "annotations"]


def test_linked_class_folders_and_images_are_followed_and_counted(folder, tmp_path):
    """So are hub snapshots made, whose files are links to blobs beside them."""
    snapshot, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    blobs.mkdir()
    (snapshot / "blue").mkdir(parents=True)
    for image in (folder / "blue").iterdir():
        shutil.copy(image, blobs / image.stem)
        (snapshot / "blue" / image.name).symlink_to(f"../../blobs/{image.stem}")
    (snapshot / "red").symlink_to(folder / "red")
    dataset = open_set(snapshot)
    assert dataset.class_names == ["blue", "red"]
    assert [sample.content for sample in dataset.samples("test")] == [
        sample.content for sample in open_set(folder).samples("test")
    ]
    assert dataset.notes == ("links were followed: 1 folder and 2 images",)


def test_links_that_lead_nowhere_or_into_other_folders_are_left_out_and_told(folder, tmp_path):
    (folder / "red" / "lost.png").symlink_to(tmp_path / "nothing")
    (folder / "lost").symlink_to(tmp_path / "nothing")
    (folder / "red" / "round").symlink_to(folder)
    assert num_images(folder) == 4
    assert open_set(folder).notes == (
        "left out: linked folders inside a class: 1 (red/round)",
        "left out: links that lead nowhere: 2 (lost, red/lost.png)",
    )


def test_images_in_folders_of_a_class_are_its_own_and_told(folder):
    shutil.copytree(folder / "red", folder / "red" / "more")
    assert num_images(folder) == 6
    assert open_set(folder).notes == (
        "2 images from folders inside class folders belong to that class",
    )


def test_images_without_a_question_are_told(tmp_path):
    folder = write_mmvp(tmp_path / "mmvp")
    images = folder / "MLLM_VLM Images"
    shutil.copy(images / "Texts" / "7.jpg", images / "Texts" / "77.jpg")
    assert open_set(folder).notes == ("left out: images without a question: 1 (Texts/77.jpg)",)


def test_a_set_one_folder_deeper_is_refused(folder, tmp_path):
    with pytest.raises(
        UserError, match=r"single class folder with images, 'set', but .* name the folder in which"
    ):
        open_set(tmp_path)
