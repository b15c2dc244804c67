"""MMVP-VLM's folder: ``Questions.csv`` and ``MLLM_VLM Images/<type>/<id>.jpg``."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS, Folder
from dcr.data.benchmark_sets.listing import Listing
from dcr.data.benchmark_sets.overrides import NO_OVERRIDES, Overrides
from dcr.data.benchmark_sets.parts import Part, Sample, digest
from dcr.errors import UserError

IMAGE_FOLDERS = ("MLLM_VLM Images", "MLLM_VLM_Images", "MMVP_VLM_Images")
PROMPT = "a photo of "

Question = tuple[int, str, str]
"""Id, type and statement of a row."""


@dataclass(frozen=True)
class Pair:
    """One MMVP-VLM pair, the odd id first: ids, texts with their prompt, and image files."""

    type: str
    ids: tuple[int, int]
    texts: tuple[str, str]
    images: tuple[Path, Path]


@dataclass(frozen=True)
class MMVPSet(Part):
    """An MMVP-VLM folder: its pairs in file order; the samples are their images, two a pair.

    ``notes`` are sentences on what was left out of it; ``overrides`` and ``is_overridden`` as in
    `dcr.data.benchmark_sets.parts.SplitSet`.
    """

    name: str
    pairs: list[Pair]
    folder: str = ""
    notes: tuple[str, ...] = ()
    overrides: Overrides = NO_OVERRIDES
    is_overridden: bool = False

    @property
    def tested(self) -> Sequence[Part]:
        """The parts that scores are computed on: the one that it is."""
        return [self]

    @property
    def published_rules(self) -> tuple[str, ...]:
        """The rule of its published numbers, see `dcr.metrics.caption_selection`."""
        return ("image_score",)

    def _hash(self) -> str:
        files = (
            f"{sample.key} {hashlib.sha256(sample.content).hexdigest()}"
            for sample in self.samples()
        )
        return digest(
            [*files, *(f"{pair.type} {text}" for pair in self.pairs for text in pair.texts)]
        )

    def samples(self) -> Iterator[Sample]:
        for pair in self.pairs:
            for number, path in zip(pair.ids, pair.images, strict=True):
                try:
                    yield Sample(str(number), path.read_bytes(), str(path))
                except OSError as error:
                    raise UserError(f"{path} cannot be read: {error.strerror}") from error


def open_mmvp(location: Folder) -> MMVPSet:
    """Open an MMVP-VLM folder; every row is checked, but no image is read.

    That a row's image is there is checked, too.

    Args:
        location: a local folder, with ``Questions.csv`` and one of `IMAGE_FOLDERS`.

    Raises:
        UserError: the table cannot be read, its rows are no pairs, or an image is missing.
    """
    folder = Path(location.path)
    questions = folder / "Questions.csv"
    image_folder = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
    if image_folder is None:
        raise UserError(
            f"{folder} has no image folder: it must be called one of {', '.join(IMAGE_FOLDERS)}"
        )
    try:
        lines = list(
            csv.reader(io.StringIO(location.read_text(questions.name), newline=""), strict=True)
        )
    except csv.Error as error:
        raise UserError(f"{questions} is not a readable csv file: {error}") from error
    rows = [
        _parse_question(questions, number, line)
        for number, line in enumerate(lines, 1)
        if number > 1 and line
    ]
    if not rows:
        raise UserError(f"{questions} holds no question: after the header row, rows come in pairs")
    if len(rows) % 2:
        raise UserError(
            f"{questions} has {len(rows)} questions, but they come in pairs: one row is missing or"
            f" too many (the last is id {rows[-1][0]})"
        )
    pairs = [
        _make_pair(questions, image_folder, rows[index], rows[index + 1])
        for index in range(0, len(rows), 2)
    ]
    if len({number for pair in pairs for number in pair.ids}) < len(rows):
        raise UserError(f"{questions} uses an id twice: every question needs its own")
    return MMVPSet(folder.name, pairs, str(folder), _describe_images(image_folder, pairs))


def _describe_images(image_folder: Path, pairs: list[Pair]) -> tuple[str, ...]:
    listing = Listing(image_folder)
    asked = {path.relative_to(image_folder).as_posix() for pair in pairs for path in pair.images}
    there = [
        name
        for folder in listing.folders(image_folder)
        for name in listing.images(image_folder / folder)
    ]
    listing.leave_out("images without a question", *(name for name in there if name not in asked))
    return tuple(listing.notes())


def _parse_question(questions: Path, number: int, line: list[str]) -> Question:
    if (
        len(line) != 3
        or not (line[0].strip().isdecimal() and len(line[0]) < 10)
        or not line[2].strip()
    ):
        raise UserError(
            f"{questions}, row {number}: expected id (a whole number), type and statement, got"
            f" {','.join(line)[:80]!r}"
        )
    kind = line[1].strip()
    if kind in ("", ".", "..") or "/" in kind or "\\" in kind or "\x00" in kind:
        raise UserError(
            f"{questions}, row {number}: type must be the name of an image folder, got"
            f" {kind[:80]!r}"
        )
    return int(line[0]), kind, line[2].strip()


def _make_pair(questions: Path, image_folder: Path, first: Question, second: Question) -> Pair:
    if first[1] != second[1] or first[0] % 2 == second[0] % 2:
        raise UserError(
            f"{questions}: ids {first[0]} and {second[0]} are no pair (one type, one odd and one"
            " even id): a row is missing, doubled or out of order before them"
        )
    odd, even = sorted((first, second), key=lambda row: row[0] % 2 == 0)
    return Pair(
        first[1],
        (odd[0], even[0]),
        (PROMPT + odd[2], PROMPT + even[2]),
        (
            _find_image(image_folder / odd[1], odd[0]),
            _find_image(image_folder / even[1], even[0]),
        ),
    )


def _find_image(folder: Path, number: int) -> Path:
    for extension in IMAGE_EXTENSIONS:
        if (path := folder / f"{number}.{extension}").is_file():
            return path
    raise UserError(
        f"the image of question {number} is missing: {folder / f'{number}.jpg'} does not exist"
    )
