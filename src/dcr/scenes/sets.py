"""The demo's world on disk, in the formats that outside data comes in.

Image-text shards as img2dataset writes them, an MMVP-VLM folder, and classification and retrieval
sets in CLIP_benchmark's WebDataset layout. Each image depends on the seed, its split and its index
alone; the splits are "train" for shards and ``split`` ("test", "validation", ...) for the rest, so
that no two of them share an image.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TypeVar

from joblib import Parallel, delayed

from dcr import seeds
from dcr.data.shards import Sample, write_shard, write_tar
from dcr.files import atomic_folder
from dcr.parameters import ScenesParameters
from dcr.progress import Bar, show_progress
from dcr.scenes.drawing import encode_jpeg, render
from dcr.scenes.world import (
    MMVP_TYPES,
    SCENE_CLASSES,
    TEMPLATES,
    caption,
    sample_attributes,
    sample_pair,
    statement,
)

T = TypeVar("T")
Folder = str | os.PathLike[str]


def write_shards(folder: Folder, parameters: ScenesParameters) -> None:
    """Write the training images as img2dataset's shards, replacing what was there.

    They are ``folder/00000.tar``, ``.parquet``, ``_stats.json`` and so on.

    Args:
        folder: is replaced whole, once all is drawn.
        parameters: number of images, images per shard, size, seed, and what captions leave out.
    """
    num_shards = math.ceil(parameters.num_train_images / parameters.images_per_shard)
    with atomic_folder(folder) as target, progress("shards", parameters.num_train_images) as bar:
        for shard in range(num_shards):
            write_shard(target, f"{shard:05d}", watched(iter_shard_samples(parameters, shard), bar))


def iter_shard_samples(parameters: ScenesParameters, shard: int) -> Iterator[Sample]:
    """Yield the samples of training shard number ``shard``, drawn by ``n_jobs`` processes.

    They are keyed as img2dataset does. Their metadata is the url and the attributes; `write_shard`
    adds what img2dataset states besides, sha256 included.

    Args:
        parameters: as for `write_shards`.
        shard: counted from 0.
    """
    start = shard * parameters.images_per_shard
    stop = min(start + parameters.images_per_shard, parameters.num_train_images)
    digits = math.ceil(math.log10(max(parameters.images_per_shard, 2)))
    drawn = delayed(_train_sample)
    yield from Parallel(n_jobs=parameters.n_jobs, return_as="generator", batch_size=50)(
        drawn(parameters, f"{shard:05d}{index - start:0{digits}d}", index)
        for index in range(start, stop)
    )


def _train_sample(parameters: ScenesParameters, key: str, index: int) -> Sample:
    attributes = sample_attributes(parameters.seed, "train", index)
    image = draw(parameters, attributes, "train", index)
    generator = seeds.numpy_generator(parameters.seed, "caption", "train", index)
    text = caption(
        attributes,
        generator,
        parameters.caption_class_probability,
        parameters.caption_detail_probability,
    )
    metadata = {"url": f"scenes://train/{index}", "attributes": attributes}
    return Sample(key, image, "jpg", text, metadata)


def write_mmvp(folder: Folder, parameters: ScenesParameters, split: str = "test") -> None:
    """Write an MMVP-VLM folder with ``mmvp_pairs_per_type`` pairs of each of the nine types.

    The two images of a pair share class, nuisance and all details but the one of their type.

    Args:
        folder: is replaced whole, once all is drawn.
        parameters: number of pairs, size and seed.
        split: names the stream that the scenes are drawn from; another split has other images.
    """
    num_images = 2 * len(MMVP_TYPES) * parameters.mmvp_pairs_per_type
    with atomic_folder(folder) as target, progress("MMVP-VLM", num_images) as bar:
        rows = []
        for number, (kind, text, image) in enumerate(
            watched(_iter_questions(parameters, split), bar), start=1
        ):
            path = target / "MLLM_VLM Images" / kind / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
            rows.append((number, kind, text))
        with open(target / "Questions.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [("Question ID", "Type", "Statement"), *rows]
            )


def _iter_questions(parameters: ScenesParameters, split: str) -> Iterator[tuple[str, str, bytes]]:
    for kind, detail in MMVP_TYPES.items():
        stream = f"{split}/mmvp_vlm/{detail}"
        for index in range(parameters.mmvp_pairs_per_type):
            for attributes in sample_pair(parameters.seed, stream, detail, index):
                yield (
                    kind,
                    statement(attributes, detail),
                    draw(parameters, attributes, stream, index),
                )


def write_classification(folder: Folder, parameters: ScenesParameters, split: str = "test") -> None:
    """Write a classification set, parts ``train`` (for probes) and ``test``.

    A sample's json has its attributes.

    Args:
        folder: is replaced whole, once all is drawn.
        parameters: sizes of both parts, image size and seed.
        split: as for `write_mmvp`.
    """
    sizes = {
        "train": parameters.num_classification_train,
        "test": parameters.num_classification_test,
    }
    with atomic_folder(folder) as target, progress("classification", sum(sizes.values())) as bar:
        write_lines(target / "classnames.txt", SCENE_CLASSES)
        write_lines(target / "zeroshot_classification_templates.txt", TEMPLATES)
        for part, size in sizes.items():
            images = _iter_classification(parameters, f"{split}/classification/{part}", size)
            _write_part(target / part, watched(images, bar))


def _iter_classification(
    parameters: ScenesParameters, stream: str, size: int
) -> Iterator[list[tuple[str, bytes]]]:
    for index in range(size):
        attributes = sample_attributes(parameters.seed, stream, index)
        yield [
            (f"{index:06d}.jpg", draw(parameters, attributes, stream, index)),
            (f"{index:06d}.cls", str(attributes["class"]).encode()),
            (f"{index:06d}.json", json.dumps({"attributes": attributes}).encode()),
        ]


def write_retrieval(folder: Folder, parameters: ScenesParameters, split: str = "test") -> None:
    """Write a retrieval set, part ``test`` alone, of several captions an image.

    The first names everything.

    Args:
        folder: is replaced whole, once all is drawn.
        parameters: number of images and of captions for each, image size and seed.
        split: as for `write_mmvp`.
    """
    with (
        atomic_folder(folder) as target,
        progress("retrieval", parameters.num_retrieval_images) as bar,
    ):
        write_lines(target / "dataset_type.txt", ["retrieval"])
        _write_part(
            target / "test", watched(_iter_retrieval(parameters, f"{split}/retrieval"), bar)
        )


def _iter_retrieval(parameters: ScenesParameters, stream: str) -> Iterator[list[tuple[str, bytes]]]:
    for index in range(parameters.num_retrieval_images):
        attributes = sample_attributes(parameters.seed, stream, index)
        generator = seeds.numpy_generator(parameters.seed, "caption", stream, index)
        texts = [caption(attributes)]
        while len(texts) < parameters.captions_per_retrieval_image:
            texts.append(
                caption(attributes, generator, 1.0, parameters.retrieval_detail_probability)
            )
        yield [
            (f"{index:06d}.jpg", draw(parameters, attributes, stream, index)),
            (f"{index:06d}.txt", "\n".join(texts).encode()),
        ]


def draw(
    parameters: ScenesParameters, attributes: Mapping[str, int], stream: str, index: int
) -> bytes:
    """Return the JPEG of the picture of ``attributes``, number ``index`` of its ``stream``.

    ``parameters`` give its seed and size.
    """
    return encode_jpeg(render(attributes, parameters.seed, stream, index, parameters.image_size))


def _write_part(folder: Path, images: Iterator[list[tuple[str, bytes]]]) -> None:
    folder.mkdir()
    write_tar(folder / "0.tar", chain.from_iterable(images))
    write_lines(folder / "nshards.txt", ["1"])


def write_lines(path: Path, lines: tuple[str, ...] | list[str]) -> None:
    """Write ``lines`` to the file at ``path``."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def progress(name: str, num_images: int) -> Bar[None]:
    """Return a bar over the ``num_images`` images of the set ``name``."""
    return show_progress(total=num_images, desc=f"drawing {name}", unit="image")


def watched(items: Iterator[T], bar: Bar[None]) -> Iterator[T]:
    """Yield ``items``, and move ``bar`` by one for each."""
    for item in items:
        yield item
        bar.update()
