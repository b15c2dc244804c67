"""Any classification set into CLIP_benchmark's WebDataset layout, for other tools to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from dcr.data.benchmark_sets.class_names import CLASS_NAMES
from dcr.data.benchmark_sets.clip_benchmark import KIND, TEMPLATES
from dcr.data.benchmark_sets.parts import ClassificationSet, Sample
from dcr.data.shards import write_tar
from dcr.errors import UserError
from dcr.files import atomic_folder
from dcr.progress import show_progress

_TYPES = {b"\xff\xd8": "jpg", b"\x89PNG": "png", b"RIFF": "webp"}


def write_clip_benchmark(
    dataset: ClassificationSet,
    folder: Path,
    templates: Sequence[str],
    max_shard_bytes: int = 1 << 28,
) -> None:
    """Write a set to ``folder``, whole or not at all.

    Images keep their bytes, and equal sets give equal bytes.

    Args:
        dataset: the set; each of its images is decoded once, so that a broken one is found here.
        folder: that must not exist yet.
        templates: of the prompts, with ``{c}`` where the class name goes; if empty, the set's own.
        max_shard_bytes: of images after which a tar ends.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already: name a new folder, or remove it first")
    if wrong := [template for template in templates if "{c}" not in template]:
        raise UserError(
            f"every template must hold {{c}} where the class name goes, got {wrong[0]!r}"
        )
    with atomic_folder(folder) as place:
        write_lines(place / CLASS_NAMES, dataset.class_names)
        write_lines(place / TEMPLATES, list(templates) or dataset.templates)
        write_lines(place / KIND, ["classification"])
        for split in dataset.splits:
            samples = show_progress(dataset.samples(split), desc=f"write {split}", unit="image")
            write_split(place / split, iter(samples), max_shard_bytes)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write ``lines`` to the UTF-8 file ``path``, each ended by a line feed."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_split(folder: Path, samples: Iterator[Sample], max_shard_bytes: int) -> None:
    """Write a split's tars and their number, decoding each image once.

    A sample with captions gets no label.

    Args:
        folder: the split's, in which the tars lie.
        samples: all of it, in the order of the tars.
        max_shard_bytes: of images after which a tar ends.
    """
    num_shards = 0
    for shard, group in groupby(_numbered(samples, max_shard_bytes), key=lambda row: row[0]):
        write_tar(
            folder / f"{shard}.tar",
            (member for _, key, sample in group for member in _members(key, sample)),
        )
        num_shards = shard + 1
    write_lines(folder / "nshards.txt", [str(num_shards)])


def _numbered(samples: Iterator[Sample], max_shard_bytes: int) -> Iterator[tuple[int, str, Sample]]:
    """Yield shard number, key and sample."""
    shard = filled = 0
    for index, sample in enumerate(samples):
        if filled and filled + len(sample.content) > max_shard_bytes:
            shard += 1
            filled = 0
        filled += len(sample.content)
        yield shard, f"s{index:08d}", sample


def _members(key: str, sample: Sample) -> Iterator[tuple[str, bytes]]:
    yield f"{key}.{image_extension(sample)}", sample.content
    if sample.captions:
        yield f"{key}.txt", "\n".join(sample.captions).encode()
    else:
        yield f"{key}.cls", str(sample.label).encode()


def image_extension(sample: Sample) -> str:
    """Return the extension of what the image of ``sample`` is, whatever its file was called.

    Raises:
        UserError: it cannot be decoded, or is of a format that sets do not hold.
    """
    sample.image.close()
    for start, extension in _TYPES.items():
        if sample.content.startswith(start):
            return extension
    raise UserError(
        f"{sample.where} is no {', '.join(_TYPES.values())} picture, which sets are made of:"
        " convert it"
    )
