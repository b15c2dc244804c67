"""Tars of a benchmark set, a part each, read without trusting them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS, Folder
from dcr.data.benchmark_sets.parts import Part, Sample
from dcr.data.shards.reading import MAX_IMAGE_BYTES, MAX_TEXT_BYTES
from dcr.data.shards.sample import split_name
from dcr.data.shards.tar_fields import TarDamaged
from dcr.data.shards.tar_headers import Member, read_members
from dcr.data.shards.tar_streams import TarStream
from dcr.errors import UserError

_TEXTS = ("cls", "txt", "json")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Members:
    """The members of one sample that sets use, undecoded.

    Attributes:
        key: of the sample.
        where: words that say which sample it is, for errors.
        contents: bytes by extension.
    """

    key: str
    where: str
    contents: dict[str, bytes] = field(default_factory=dict)

    def image(self) -> bytes:
        """Return the encoded image.

        Raises:
            UserError: there is none.
        """
        extension = next((name for name in IMAGE_EXTENSIONS if name in self.contents), None)
        if extension is None:
            raise UserError(
                f"{self.where} has no image: expected one of {', '.join(IMAGE_EXTENSIONS)}"
            )
        return self.contents[extension]

    def text(self, extension: str) -> str:
        """Return the text of the member with ``extension``.

        Raises:
            UserError: it is missing or not UTF-8.
        """
        if extension not in self.contents:
            raise UserError(f"{self.where} has no {extension} member")
        try:
            return self.contents[extension].decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"the {extension} member of {self.where} is not UTF-8 text") from error


Parse = Callable[[Members], Sample]


@dataclass(frozen=True)
class TarPart(Part):
    """One tar of a split; ``parse`` makes a sample of its members."""

    folder: Folder
    name: str
    parse: Parse = field(repr=False)

    def _hash(self) -> str:
        return self.folder.sha256(self.name)

    def samples(self) -> Iterator[Sample]:
        shard = self.folder.place(self.name)
        num_samples = 0
        with self.folder.open(self.name) as stream:
            groups = _read_tar(stream, shard)
            while (members := _next_group(groups, shard)) is not None:
                num_samples += 1
                yield self.parse(members)
        if num_samples == 0:
            raise UserError(
                f"{shard} is empty: a shard holds at least one sample (make it again or fix"
                " nshards.txt)"
            )


def _read_tar(stream: BinaryIO, shard: str) -> Iterator[Members]:
    """Yield the members of each sample; tell of members of no sample."""
    tar = TarStream(stream)
    sample = None
    num_passed_over = 0
    first = ""
    for member in read_members(tar.read):
        if member.is_folder:
            continue
        name = split_name(member.name) if member.is_file else None
        if name is None:
            num_passed_over += 1
            first = first or member.name
            continue
        key, extension = name
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Members(key, f"sample {key!r} of {shard}")
        if extension in sample.contents:
            raise TarDamaged(f"{member.name[:80]!r}: duplicate file name in tar file")
        if extension in (*IMAGE_EXTENSIONS, *_TEXTS):
            sample.contents[extension] = _content(tar, member, extension, sample)
    if sample is not None:
        yield sample
    if num_passed_over:
        logger.warning("%s: %d members were passed over, %r first", shard, num_passed_over, first)


def _content(tar: TarStream, member: Member, extension: str, sample: Members) -> bytes:
    held = sum(map(len, sample.contents.values()))
    limit = MAX_TEXT_BYTES if extension in _TEXTS else MAX_IMAGE_BYTES - held
    if member.size > limit:
        raise TarDamaged(
            f"{member.name[:80]!r} is too large: a sample has at most {MAX_IMAGE_BYTES >> 20} MiB,"
            f" a text {MAX_TEXT_BYTES >> 20}"
        )
    content = tar.read(member.offset_data, member.size)
    if len(content) < member.size:
        raise TarDamaged("it is cut short within a member")
    return content


def _next_group(groups: Iterator[Members], shard: str) -> Members | None:
    try:
        return next(groups, None)
    except (TarDamaged, OSError) as error:
        raise UserError(
            f"{shard} cannot be read as a tar of samples ({error}): make it again"
        ) from error
