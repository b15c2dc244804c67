"""Samples out of tars that nobody vouches for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from dcr.data.remote import open_file
from dcr.data.shards.grouping import Group
from dcr.data.shards.sample import CaptionNames, Sample, split_name
from dcr.data.shards.tar_fields import TarCut, TarDamaged
from dcr.data.shards.tar_headers import Member, read_members
from dcr.errors import UserError

MAX_IMAGE_BYTES = 256 << 20
MAX_TEXT_BYTES = 4 << 20
_NAMES = CaptionNames()
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd


def read_samples(shard: str) -> Iterator[Sample]:
    """Yield the samples of ``shard``, a tar, in its order, as far as it is sound.

    The shard is a local path or an fsspec URL. See `ShardReader` for what is refused and how damage
    is reported.
    """
    with ShardReader(shard) as reader:
        yield from reader


class ShardReader:
    """Iterate the samples of one tar without trusting it.

    Nothing is unpacked or unpickled and no link is followed: links, devices, sparse files, absolute
    names and ``..`` leave a sample with the problem ``unsafe_member``. Memory is bounded whatever a
    header declares. Reading ends at the first damaged place.

    Args:
        shard: an uncompressed tar, local path or fsspec URL.
        start: byte offset of the member header to begin with (`Sample.offset`).
        names: of the member and the key that hold captions.
        whole: most of it will be read; a remote one is then fetched into the cache. See
            `dcr.data.remote`.

    Attributes:
        size: bytes of the tar.
        damage: after iterating, what is wrong with the tar in words; None when it is sound.
        unreadable_bytes: bytes behind the damage, from the header of the first member that is not
            whole.
        apart: after iterating, the first key whose members do not stand together, so that they were
            given in pieces; None if there is none.

    Raises:
        UserError: the shard cannot be opened, or the disk or network fails while it is read.
    """

    def __init__(
        self, shard: str, start: int = 0, names: CaptionNames = _NAMES, whole: bool = True
    ) -> None:
        self.shard = shard
        self.start = start
        self.names = names
        self.whole = whole
        self.size = 0
        self.damage: str | None = None
        self.unreadable_bytes = 0
        self.apart: str | None = None
        self._seen: dict[str, int] = {}  # by key, which kinds of members came already

    def __enter__(self) -> ShardReader:
        try:
            self._file: BinaryIO = open_file(self.shard, self.whole)
            self.size = self._file.seek(0, io.SEEK_END)
        except OSError as exc:
            raise UserError(f"shard {self.shard} cannot be opened: {exc}") from exc
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Sample]:
        group: Group | None = None
        for member in self._members():
            name = split_name(member.name)
            if name is None or member.is_folder:
                continue
            key, extension = name
            if group is None or key != group.key or extension in group.extensions:
                if group is not None:
                    yield self._finish(group)
                group = Group(key, member.offset, self.names)
            group.extensions.add(extension)
            self._read_into(group, extension, member)
        if group is not None:
            yield self._finish(group)

    def _finish(self, group: Group) -> Sample:
        """Return a group's sample.

        Pieces of one sample differ in what they hold, samples of one key do not.
        """
        roles = group.roles()
        before = self._seen.get(group.key, 0)
        if before and not before & roles and self.apart is None:
            self.apart = group.key
        self._seen[group.key] = before | roles
        return group.sample()

    def _members(self) -> Iterator[Member]:
        """Yield the members one by one; at the first damaged place note it and stop."""
        end = self.start
        try:
            for member in read_members(self._read, end):
                yield member
                if self._is_cut(member):
                    return self._note("it is cut short within a member", member.offset)
                end = member.end
        except TarCut as exc:
            self._note(str(exc), end)
        except TarDamaged as exc:
            self._note(self._explain(str(exc)), end)

    def _explain(self, problem: str) -> str:
        start = self._read(0, 6)
        if start.startswith(_COMPRESSED):
            return "it is compressed, and shards must be plain tars"
        return f"its tar structure is damaged ({problem})" if start else "it is empty"

    def _note(self, damage: str, offset: int) -> None:
        self.damage = damage
        self.unreadable_bytes = max(0, self.size - offset)

    def _read(self, position: int, size: int) -> bytes:
        self._file.seek(position)
        try:
            return self._file.read(size)
        except OSError as exc:  # no damage of the tar, and another run may go well
            raise UserError(
                f"shard {self.shard} cannot be read: {type(exc).__name__} {exc}; run again"
            ) from exc

    def _is_cut(self, member: Member) -> bool:
        return member.offset_data + member.size > self.size

    def _read_into(self, group: Group, extension: str, member: Member) -> None:
        role = group.role(extension)
        limit = MAX_IMAGE_BYTES if role == "image" else MAX_TEXT_BYTES
        if not _is_safe(member):
            group.problems.add("unsafe_member")
        elif self._is_cut(member):
            group.problems.add("tar_truncated")
        elif role is None or role in group.content:
            return
        elif member.size > limit:
            group.problems.add("member_too_large")
        else:
            group.content[role] = self._read(member.offset_data, member.size)
            group.image_extension = extension if role == "image" else group.image_extension


def _is_safe(member: Member) -> bool:
    name = member.name
    inside = (
        not name.startswith("/")
        and ".." not in name.split("/")
        and "\\" not in name
        and "\0" not in name
    )
    return inside and member.is_file
