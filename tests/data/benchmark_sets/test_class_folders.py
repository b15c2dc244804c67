"""Folders of one class each, sets behind URLs, and the way from one layout into the other."""

import io
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import fsspec
import pytest
from PIL import Image

from benchmark_folders import COLOURS, image_bytes, write_classification, write_retrieval
from dcr.data.benchmark_sets import ClassificationSet, RetrievalSet, open_set, write_clip_benchmark
from dcr.data.remote import RemoteSettings, use_settings
from dcr.errors import UserError


def write_class_folders(folder, splits=("train", "val"), per_class=3):
    for split in splits:
        for name, rgb in COLOURS.items():
            (folder / split / f"deep_{name}").mkdir(parents=True)
            for index in range(per_class):
                (folder / split / f"deep_{name}" / f"{index}.png").write_bytes(
                    image_bytes(rgb, index)
                )
    return folder


def summary(dataset, split):
    return [
        (dataset.class_names[sample.label], sample.content) for sample in dataset.samples(split)
    ]


def test_class_folders_are_indexed_as_torchvision_does(tmp_path):
    from torchvision.datasets import ImageFolder

    folder = write_class_folders(tmp_path / "set")
    dataset, reference = open_set(folder), ImageFolder(folder / "val")
    assert isinstance(dataset, ClassificationSet)
    assert [sample.label for sample in dataset.samples("test")] == reference.targets
    assert dataset.class_names == [name.replace("_", " ") for name in reference.classes]
    assert dataset.templates == ["a photo of a {c}."]
    assert dataset.has_split("train")


def test_class_folders_without_splits_are_a_test_split(tmp_path):
    folder = write_class_folders(tmp_path, splits=("set",)) / "set"
    dataset = open_set(folder)
    assert (dataset.has_split("train"), len(list(dataset.samples("test")))) == (False, 18)


def test_names_and_templates_beside_the_folders_are_taken(tmp_path):
    folder = write_class_folders(tmp_path / "set")
    (folder / "classnames.txt").write_text("\n".join(sorted(COLOURS, reverse=True)))
    (folder / "zeroshot_classification_templates.txt").write_text("all {c}\n")
    dataset = open_set(folder)
    assert (dataset.class_names[0], dataset.templates) == ("yellow", ["all {c}"])
    (folder / "classnames.txt").write_text("red\n")
    with pytest.raises(
        UserError, match=r"classnames\.txt has 1 lines, but there are 6 class folders"
    ):
        open_set(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: shutil.rmtree(f / "train" / "deep_red"),
            "same class folders, but not all have 'deep_red'",
        ),
        (lambda f: shutil.rmtree(f / "val"), "train split alone"),
        (lambda f: [path.unlink() for path in f.glob("val/*/*")], "is no benchmark set"),
        (
            lambda f: [shutil.rmtree(p) for p in f.glob("*/deep_*") if p.name != "deep_red"],
            "single class folder",
        ),
    ],
)
def test_class_folders_that_do_not_fit_together_are_named(tmp_path, spoil, message):
    folder = write_class_folders(tmp_path / "set")
    spoil(folder)
    with pytest.raises(UserError, match=message):
        open_set(folder)


def test_a_broken_image_of_a_class_folder_is_named(tmp_path):
    folder = write_class_folders(tmp_path / "set")
    (folder / "val" / "deep_red" / "1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"val/deep_red/1\.png cannot be decoded"):
        [sample.image for sample in open_set(folder).samples("test")]


def test_the_recipes_kind_and_name_are_checked_and_taken(tmp_path):
    folder = write_retrieval(tmp_path / "set")
    assert open_set(folder, name="flickr", kind="retrieval").name == "flickr"
    with pytest.raises(
        UserError, match="is a set of kind retrieval, but the recipe says classification"
    ):
        open_set(folder, kind="classification")


@pytest.mark.parametrize("write", [write_classification, write_retrieval])
def test_a_set_behind_a_url_is_the_same_set(tmp_path, write):
    folder = write(tmp_path / "set")
    url = f"memory://{tmp_path.name}/set"
    fsspec.filesystem("memory").put(str(folder), url, recursive=True)
    here, there = open_set(folder), open_set(url)
    assert type(there) is type(here)
    assert there.fingerprint == here.fingerprint
    pairs = zip(here.samples("test"), there.samples("test"), strict=True)
    assert all(
        (a.key, a.content, a.label, a.captions) == (b.key, b.content, b.label, b.captions)
        for a, b in pairs
    )


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_set_is_read_over_http(tmp_path):
    pytest.importorskip("aiohttp")
    folder = write_classification(tmp_path / "set")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        there = open_set(f"http://127.0.0.1:{server.server_port}/set")
        assert there.fingerprint == open_set(folder).fingerprint
        assert summary(there, "test") == summary(open_set(folder), "test")
        (folder / "test" / "1.tar").unlink()
        with pytest.raises(UserError, match=r"http://.*/test/1\.tar is missing"):
            open_set(there.folder)
        server.shutdown()


@pytest.mark.parametrize("write", [write_classification, write_retrieval])
def test_a_busy_server_is_asked_again_and_not_taken_for_one_that_lacks_files(
    serve, tmp_path, remote_cache, write
):
    folder = write(tmp_path / "set")
    store = serve("http", tmp_path)
    paths = [f"/{path.relative_to(tmp_path).as_posix()}" for path in folder.rglob("*")]
    store.server.busy = dict.fromkeys(paths, 5)
    there = open_set(f"{store.url}/set")
    assert there.fingerprint == open_set(folder).fingerprint
    samples = zip(there.samples("test"), open_set(folder).samples("test"), strict=True)
    assert all(one.content == other.content for one, other in samples)
    store.wire.close()
    use_settings(RemoteSettings(str(remote_cache), 10**9, 2, 0.0))
    with pytest.raises(UserError, match="tried 2 times in a row"):
        open_set(f"{store.url}/other")


def test_a_url_without_a_set_is_named(tmp_path):
    with pytest.raises(UserError, match=r"memory://nowhere/classnames\.txt is missing"):
        open_set("memory://nowhere")
    with pytest.raises(UserError, match="cannot be opened"):
        open_set("nosuchprotocol://nowhere")


def test_the_fingerprint_follows_bytes_labels_and_words(tmp_path):
    folder = write_class_folders(tmp_path / "set")
    prints = [open_set(folder).fingerprint, open_set(folder).fingerprint]
    (folder / "zeroshot_classification_templates.txt").write_text("all {c}\n")
    prints.append(open_set(folder).fingerprint)
    (folder / "val" / "deep_red" / "0.png").write_bytes(image_bytes((1, 2, 3)))
    prints.append(open_set(folder).fingerprint)
    (folder / "val" / "deep_red" / "0.png").rename(folder / "val" / "deep_blue" / "z.png")
    prints.append(open_set(folder).fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_class_folders_become_clip_benchmarks_layout(tmp_path):
    source, target = open_set(write_class_folders(tmp_path / "folders")), tmp_path / "wds_colours"
    write_clip_benchmark(source, target, ["a photo of {c}.", "some {c}"], max_shard_bytes=1000)
    dataset = open_set(target)
    for split in ("train", "test"):
        assert summary(dataset, split) == summary(source, split)
        num_shards = int((target / split / "nshards.txt").read_text())
        assert num_shards == len(list((target / split).glob("*.tar"))) > 1
    assert dataset.templates == ["a photo of {c}.", "some {c}"]


def test_images_of_every_type_keep_their_bytes_and_get_their_extension(tmp_path):
    for name, kind in (("a", "JPEG"), ("b", "PNG"), ("c", "WEBP")):
        (tmp_path / "folders" / name).mkdir(parents=True)
        Image.open(io.BytesIO(image_bytes((9, 9, 9)))).save(
            tmp_path / "folders" / name / "x.jpg", kind
        )
    write_clip_benchmark(open_set(tmp_path / "folders"), tmp_path / "set", [])
    import tarfile

    with tarfile.open(tmp_path / "set" / "test" / "0.tar") as tar:
        assert [n for n in tar.getnames() if not n.endswith("cls")] == [
            "s00000000.jpg", "s00000001.png", "s00000002.webp"
        ]  # fmt: skip
    assert summary(open_set(tmp_path / "set"), "test") == summary(
        open_set(tmp_path / "folders"), "test"
    )


def test_a_conversion_writes_nothing_over_and_nothing_by_halves(tmp_path):
    folder = write_class_folders(tmp_path / "folders")
    (tmp_path / "old").mkdir()
    with pytest.raises(UserError, match="is there already"):
        write_clip_benchmark(open_set(folder), tmp_path / "old", [])
    with pytest.raises(UserError, match=r"must hold \{c\}"):
        write_clip_benchmark(open_set(folder), tmp_path / "new", ["a photo"])
    (folder / "val" / "deep_red" / "1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot be decoded"):
        write_clip_benchmark(open_set(folder), tmp_path / "new", [])
    assert not (tmp_path / "new").exists()


def test_webdataset_reads_a_converted_set(tmp_path):
    import webdataset as wds

    write_clip_benchmark(open_set(write_class_folders(tmp_path / "folders")), tmp_path / "set", [])
    samples = list(
        wds.WebDataset(str(tmp_path / "set" / "test" / "0.tar"), shardshuffle=False).decode("pil")
    )
    assert [sample["cls"] for sample in samples] == sorted(list(range(6)) * 3)
    assert isinstance(open_set(tmp_path / "set"), ClassificationSet)
    assert not isinstance(open_set(tmp_path / "set"), RetrievalSet)


def test_the_command_makes_a_set(tmp_path):
    from project import PROJECT

    write_class_folders(tmp_path / "folders")
    command = [
        sys.executable,
        "-m",
        "kedro",
        "make-set",
        str(tmp_path / "folders"),
        str(tmp_path / "set"),
    ]
    done = subprocess.run(
        [*command, "--template", "one {c}"], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert open_set(tmp_path / "set").templates == ["one {c}"]
    again = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert again.returncode == 1
    assert "is there already" in again.stderr.splitlines()[-1]
