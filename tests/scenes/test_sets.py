"""The world on disk, read back by other libraries than the one that wrote it."""

import csv
import hashlib
import io
import json
import tarfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import webdataset
from PIL import Image
from torchvision.datasets import VOCSegmentation

from dcr.files import sha256_folder
from dcr.parameters import ScenesParameters
from dcr.scenes.sets import (
    iter_shard_samples,
    write_classification,
    write_mmvp,
    write_retrieval,
    write_shards,
)
from dcr.scenes.voc import encode_mask, write_segmentation
from dcr.scenes.world import DETAILS, MMVP_TYPES, SCENE_CLASSES, caption


@pytest.fixture(scope="module")
def parameters():
    return ScenesParameters(
        seed=0,
        n_jobs=1,
        image_size=32,
        num_train_images=22,
        images_per_shard=12,
        caption_class_probability=0.5,
        caption_detail_probability=0.4,
        mmvp_pairs_per_type=3,
        num_classification_train=11,
        num_classification_test=7,
        num_segmentation_train=4,
        num_segmentation_test=3,
        num_retrieval_images=5,
        captions_per_retrieval_image=4,
        retrieval_detail_probability=0.8,
    )


WRITERS = [write_shards, write_mmvp, write_classification, write_retrieval, write_segmentation]


def read_webdataset(path):
    return list(webdataset.WebDataset(str(path), shardshuffle=False))


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(write, parameters, tmp_path):
    for name, chosen in {
        "a": parameters,
        "b": parameters,
        "c": parameters.model_copy(update={"seed": 1}),
    }.items():
        write(tmp_path / name, chosen)
    assert sha256_folder(tmp_path / "a") == sha256_folder(tmp_path / "b")
    assert sha256_folder(tmp_path / "a") != sha256_folder(tmp_path / "c")


def test_images_do_not_depend_on_how_many_there_are_or_how_they_are_sharded(parameters):
    other = parameters.model_copy(update={"num_train_images": 9, "images_per_shard": 4})
    many = {
        s.metadata["url"]: s for shard in range(2) for s in iter_shard_samples(parameters, shard)
    }
    few = {s.metadata["url"]: s for shard in (2, 0, 1) for s in iter_shard_samples(other, shard)}
    assert len(few) == 9
    for url, sample in few.items():
        assert (sample.image, sample.caption) == (many[url].image, many[url].caption)


def test_shards_do_not_depend_on_how_many_processes_draw(parameters, tmp_path):
    write_shards(tmp_path / "one", parameters)
    write_shards(tmp_path / "two", parameters.model_copy(update={"n_jobs": 2}))
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")


def test_shards_have_img2datasets_shape(parameters, tmp_path):
    write_shards(tmp_path / "shards", parameters)
    names = sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert names == [
        f"0000{i}{end}" for i in range(2) for end in (".parquet", ".tar", "_stats.json")
    ]
    for shard, count in {"00000": 12, "00001": 10}.items():
        samples = read_webdataset(tmp_path / "shards" / f"{shard}.tar")
        table = pd.read_parquet(tmp_path / "shards" / f"{shard}.parquet")
        stats = json.loads((tmp_path / "shards" / f"{shard}_stats.json").read_text())
        assert len(samples) == len(table) == stats["count"] == stats["successes"] == count
        assert (
            [s["__key__"] for s in samples]
            == list(table["key"])
            == [f"{shard}{i:02d}" for i in range(count)]
        )
        for sample in samples:
            record = json.loads(sample["json"])
            assert record.keys() >= {
                "url",
                "caption",
                "key",
                "status",
                "error_message",
                "width",
                "height",
                "original_width",
                "original_height",
                "exif",
                "sha256",
                "attributes",
            }
            assert record["sha256"] == hashlib.sha256(sample["jpg"]).hexdigest()
            assert record["caption"] == sample["txt"].decode()
            assert record["attributes"].keys() == {"class", *DETAILS}
            assert (
                Image.open(io.BytesIO(sample["jpg"])).size
                == (record["width"], record["height"])
                == (32, 32)
            )


def test_writing_again_leaves_no_shard_of_a_larger_run(parameters, tmp_path):
    write_shards(tmp_path / "shards", parameters)
    write_shards(tmp_path / "shards", parameters.model_copy(update={"num_train_images": 5}))
    assert [path.name for path in (tmp_path / "shards").glob("*.tar")] == ["00000.tar"]


def test_mmvp_has_the_nine_types_in_file_order_with_pairs_of_one_class(parameters, tmp_path):
    write_mmvp(tmp_path / "mmvp", parameters)
    with open(tmp_path / "mmvp" / "Questions.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["Question ID", "Type", "Statement"]
    assert [int(row[0]) for row in rows] == list(range(1, 55))
    assert list(Counter(row[1] for row in rows).items()) == [(kind, 6) for kind in MMVP_TYPES]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first[1] == second[1]
        assert first[2] != second[2]
        assert len(set(SCENE_CLASSES) & set(first[2].split()) & set(second[2].split())) == 1
        images = [
            np.asarray(Image.open(tmp_path / "mmvp" / "MLLM_VLM Images" / kind / f"{number}.jpg"))
            for number, kind, _ in (first, second)
        ]
        assert not np.array_equal(*images)
    assert len(list((tmp_path / "mmvp").rglob("*.jpg"))) == 54


@pytest.mark.parametrize("write", [write_mmvp, write_classification, write_retrieval])
def test_validation_and_test_sets_share_no_image(write, parameters, tmp_path):
    def images(folder):
        found = [path.read_bytes() for path in folder.rglob("*.jpg")]
        for path in folder.rglob("*.tar"):
            with tarfile.open(path) as tar:
                found += [
                    tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")
                ]
        return set(found)

    write(tmp_path / "test", parameters)
    write(tmp_path / "validation", parameters, split="validation")
    assert images(tmp_path / "test")
    assert not images(tmp_path / "test") & images(tmp_path / "validation")


def test_classification_has_clip_benchmarks_layout(parameters, tmp_path):
    write_classification(tmp_path / "set", parameters)
    assert (tmp_path / "set" / "classnames.txt").read_text().splitlines() == list(SCENE_CLASSES)
    templates = (
        (tmp_path / "set" / "zeroshot_classification_templates.txt").read_text().splitlines()
    )
    assert templates[0] == "a photo of a {c}"
    for part, count in {"train": 11, "test": 7}.items():
        assert (tmp_path / "set" / part / "nshards.txt").read_text() == "1\n"
        samples = read_webdataset(tmp_path / "set" / part / "0.tar")
        assert len(samples) == count
        for sample in samples:
            attributes = json.loads(sample["json"])["attributes"]
            assert int(sample["cls"]) == attributes["class"]
            assert Image.open(io.BytesIO(sample["jpg"])).size == (32, 32)


def test_retrieval_has_several_captions_an_image_with_the_full_one_first(parameters, tmp_path):
    write_retrieval(tmp_path / "set", parameters)
    assert (tmp_path / "set" / "dataset_type.txt").read_text().strip() == "retrieval"
    samples = read_webdataset(tmp_path / "set" / "test" / "0.tar")
    assert len(samples) == 5
    full_length = len(caption(dict.fromkeys(["class", *DETAILS], 0)).split())
    for sample in samples:
        texts = sample["txt"].decode().splitlines()
        assert len(texts) == 4
        assert len(texts[0].split()) == full_length
        assert all(any(name in text.split() for name in SCENE_CLASSES) for text in texts)


def test_segmentation_is_read_as_vocs_by_torchvision(parameters, tmp_path):
    place = tmp_path / "VOCdevkit" / "VOC2012"
    write_segmentation(place, parameters)
    names = (place / "classnames.txt").read_text().splitlines()
    assert names == ["background", *SCENE_CLASSES]
    for split, number in (("train", 4), ("val", 3)):
        dataset = VOCSegmentation(str(tmp_path), year="2012", image_set=split)
        assert len(dataset) == number
        for image, mask in dataset:
            assert image.size == mask.size == (32, 32)
            (shown,) = set(np.unique(mask)) - {0, 255}
            assert shown <= len(SCENE_CLASSES)


def test_masks_have_vocs_colours():
    image = Image.open(io.BytesIO(encode_mask(np.arange(256, dtype=np.uint8).reshape(16, 16))))
    assert np.array_equal(np.asarray(image), np.arange(256).reshape(16, 16))
    colours = np.asarray(image.convert("RGB")).reshape(256, 3).tolist()
    # aeroplane, bicycle, person, tv monitor and the outline, as VOC's development kit has them
    assert [colours[i] for i in (0, 1, 2, 15, 20, 255)] == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip
