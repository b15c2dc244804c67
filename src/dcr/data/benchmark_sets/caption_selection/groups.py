"""Groups of images and captions, and the set that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.inside import check_file, tell_links
from dcr.data.benchmark_sets.parts import Box, Part, Sample, SplitSet, digest
from dcr.errors import UserError
from dcr.metrics.caption_selection import MAX_PAIRS, Pairing

MAX_MEMBERS = 100  # images or captions of one group
_FILES_A_PART = 1000


@dataclass(frozen=True)
class Group:
    """Images and captions of which some belong together.

    Attributes:
        name: unlike that of any other group of its set.
        images: (k,), their places among the samples of the set, from 0.
        captions: (m,).
        pairing: (image, caption) of each pair that belongs together, by place in the group.
        type: what it asks for, "" for none.
    """

    name: str
    images: tuple[int, ...]
    captions: tuple[str, ...]
    pairing: Pairing
    type: str = ""


@dataclass(frozen=True)
class CaptionSelectionSet(SplitSet):
    """Groups of images and captions; the samples are the images, each once.

    Attributes:
        groups: yields the groups, in the order of their set.
        words: of a hash over what the groups hold beside their images; () where parts hold it.
        published_rules: those of `dcr.metrics.caption_selection.RULES` that published numbers on
            such sets are of, the most usual one first; () where none are known.
        has_type_scores: whether types are scored, too; not where another kind of set does so.
    """

    groups: Callable[[], Iterable[Group]] = field(repr=False)
    words: tuple[str, ...] = ()
    published_rules: tuple[str, ...] = ()
    has_type_scores: bool = True

    def _words(self) -> Sequence[str]:
        return self.words


@dataclass(frozen=True)
class ImageFile:
    """An image of a set's folder, by its path in it, and the part of it that is seen."""

    name: str
    box: Box | None = None

    def __str__(self) -> str:
        return self.name if self.box is None else f"{self.name}#{','.join(map(str, self.box))}"


@dataclass(frozen=True)
class Annotation:
    """A group as a file of annotations tells it; ``where`` is file and line, for errors."""

    where: str
    name: str
    images: tuple[ImageFile, ...]
    captions: tuple[str, ...]
    pairing: Pairing
    type: str = ""


@dataclass(frozen=True)
class ImageFilesPart(Part):
    """Some image files of a folder."""

    name: str
    folder: Folder = field(repr=False)
    files: tuple[ImageFile, ...] = field(repr=False)

    def _hash(self) -> str:
        return digest(f"{file} {self.folder.sha256(file.name)}" for file in self.files)

    def samples(self) -> Iterator[Sample]:
        for file in self.files:
            content = self.folder.read_bytes(file.name)
            yield Sample(str(file), content, self.folder.place(str(file)), box=file.box)


def collect(
    folder: Folder,
    annotations: Iterable[Annotation],
    published_rules: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> CaptionSelectionSet:
    """Return the set that annotations make; every file is looked for, but no image is read.

    Args:
        folder: the set's, a local one.
        annotations: of all groups, each with a name of its own.
        published_rules: see `CaptionSelectionSet`.
        notes: sentences on what was left out.

    Raises:
        UserError: there is no group; one is not whole; or an image is not there, or not in the
            folder.
    """
    places: dict[ImageFile, int] = {}
    checked: set[str] = set()
    groups: dict[str, Group] = {}
    for annotation in annotations:
        check_group(annotation)
        for image in annotation.images:
            if image.name not in checked:
                check_file(folder, image.name, annotation.where)
                checked.add(image.name)
        if annotation.name in groups:
            raise UserError(
                f"{annotation.where}: there is a group {annotation.name[:80]!r} before it; each"
                " needs a name of its own"
            )
        groups[annotation.name] = Group(
            annotation.name,
            tuple(places.setdefault(image, len(places)) for image in annotation.images),
            annotation.captions,
            annotation.pairing,
            annotation.type,
        )
    if not groups:
        raise UserError(f"{folder} holds no group of images and captions")
    found = tuple(groups.values())
    files = list(places)
    parts = [
        ImageFilesPart(str(files[start]), folder, tuple(files[start : start + _FILES_A_PART]))
        for start in range(0, len(files), _FILES_A_PART)
    ]
    return CaptionSelectionSet(
        folder.name,
        str(folder),
        {"test": parts},
        groups=lambda: found,
        words=tuple(_word(group) for group in found),
        published_rules=tuple(published_rules),
        notes=(*notes, *tell_links(folder, checked)),
    )


def _word(group: Group) -> str:
    return repr((group.name, group.images, group.captions, group.pairing, group.type))


def check_group(annotation: Annotation) -> None:
    """Refuse a group that no rule can be asked of.

    Args:
        annotation: of the group.

    Raises:
        UserError: it has no image or caption, or too many of them; or its pairs do not fit.
    """
    where = annotation.where
    num_images, num_captions = len(annotation.images), len(annotation.captions)
    for what, number in (("images", num_images), ("captions", num_captions)):
        if not 1 <= number <= MAX_MEMBERS:
            raise UserError(
                f"{where}: a group has 1 to {MAX_MEMBERS} {what}, got {number} in group"
                f" {annotation.name[:80]!r}"
            )
    check_pairing(annotation.pairing, num_images, num_captions, where)


def check_pairing(pairs: Pairing, num_images: int, num_captions: int, where: str) -> None:
    """Refuse pairs that no rule can be asked of.

    Args:
        pairs: (image, caption) of each pair that belongs together, by place in the group.
        num_images: of the group. num_captions: of it.
        where: file and line, for the error.

    Raises:
        UserError: there is none, or one twice; one names no place of the group; or there are more
            than can be assigned one to one in reasonable time.
    """
    if not pairs or len(set(pairs)) < len(pairs):
        raise UserError(
            f"{where}: a group needs one pair of image and caption at least, and each once"
        )
    for image, caption in pairs:
        if not (0 <= image < num_images and 0 <= caption < num_captions):
            raise UserError(
                f"{where}: pair [{image}, {caption}] names no place among {num_images} images and"
                f" {num_captions} captions, which are counted from 0"
            )
    sides = zip(*pairs, strict=True)
    if any(len(set(side)) < len(side) for side in sides) and len(pairs) > MAX_PAIRS:
        raise UserError(
            f"{where}: a group in which an image or a caption belongs to several has at most"
            f" {MAX_PAIRS} pairs, got {len(pairs)}"
        )
