"""Which shards a recipe's ``shards`` means: all of them, or a sentence that says why not."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_COMPRESSED = re.compile(
    r"\.(tar\.(gz|bz2|xz|zst|zstd|lz4|lzma|z|br)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE
)
_BESIDE_SHARDS = re.compile(
    r"\.parquet$|_stats\.json$|^ingest\.json$|^\.dcr\.sha256$"
)  # img2dataset's files, and ours
_MARKS = "*?[{"
_NUM_NAMED = 3


@dataclass
class ShardListing:
    """Paths or URLs of tars, sorted within each pattern, each once; and how often what was
    passed over, in words.
    """

    shards: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """Return one line."""
        others = ", ".join(f"{what} {count}" for what, count in self.passed_over.items())
        return f"{len(self.shards)} shards" + (f"; passed over: {others}" if others else "")


def list_shards(source: str | list[str]) -> list[str]:
    """Return paths or URLs of the tars that ``source`` means, in the order and by the rules of
    `find_shards`.
    """
    return find_shards(source).shards


def find_shards(source: str | list[str]) -> ShardListing:
    """Return the tars that ``source`` means, and what it might have meant, too, and was passed
    over.

    Args:
        source: a folder of tars, one tar, a glob, a brace pattern (``name-{000000..000999}.tar``),
            several of these joined by ``::``, or a list of them; local or any fsspec URL. A folder
            that is there under a name with braces, brackets or stars is that folder, not a pattern.

    Raises:
        UserError: a part of ``source`` names no tar, or not all that it names is there or can be
            read.
    """
    patterns = [source] if isinstance(source, str) else list(source)
    listing = ShardListing()
    seen = set()
    for pattern in (part for text in patterns for part in _split(text)):
        for path, identity in _find(pattern, listing.passed_over):
            if identity in seen:
                listing.passed_over["named twice"] += 1
            else:
                seen.add(identity)
                listing.shards.append(path)
    if not listing.shards:
        raise UserError(
            "no shards: the list that names them is empty, give at least one folder, glob or tar"
        )
    return listing


def _split(text: Any) -> list[str]:
    """Return the parts of a text that joins several by ``::``, as webdataset and open_clip read
    it.
    """
    if not isinstance(text, str) or not text.strip():
        raise UserError(
            f"shards: {text!r} names no place; give a folder, a glob, a tar, or a list of them"
        )
    parts = [part.strip() for part in text.strip().split("::")]
    if any(part.startswith("pipe:") for part in parts):
        raise UserError(
            f"shards {text!r}: commands (pipe:) are not run; name files, or URLs that fsspec opens"
        )
    if len(parts) > 1 and not all(re.search(r"[./]", part) for part in parts):
        raise UserError(
            f"shards {text!r}: chained URLs are not read; :: joins paths, better give them as a"
            " list"
        )
    return parts


def _find(pattern: str, passed_over: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield path and identity of the tars that one pattern names."""
    import fsspec

    try:
        fs, inner = fsspec.url_to_fs(pattern)
        found = list(_Search(fs, pattern, passed_over).tars(inner))
    except (OSError, ValueError, ImportError, NotImplementedError) as exc:
        if isinstance(exc, UserError):
            raise
        raise UserError(f"shards {pattern!r} cannot be listed: {exc}") from exc
    if "file" not in fs.protocol:
        yield from ((fs.unstrip_protocol(path),) * 2 for path in found)
        return
    resolve = cache(os.path.realpath)  # of folders alone, which are few
    yield from (
        (path, f"{resolve(os.path.dirname(path))}/{os.path.basename(path)}") for path in found
    )


@dataclass
class _Search:
    """The search for what one pattern names in a file system."""

    fs: AbstractFileSystem
    pattern: str
    passed_over: Counter[str]

    def tars(self, inner: str) -> Iterator[str]:
        """Yield the tars that ``inner`` names, which is the pattern without its protocol."""
        folder, rest = self._split_at_first_mark(inner)
        matches = {name: self._match(folder, name) for name in self._expand(rest)}
        if missing := [name for name, found in matches.items() if not found]:
            raise UserError(self._describe_missing(missing, len(matches)))
        for name, found in matches.items():
            for path, kind in sorted(found.items()):
                yield from self._tars_at(path, kind, exact=not _has_marks(name))

    def _split_at_first_mark(self, inner: str) -> tuple[str, str]:
        """Split a path before its first part that is a pattern, and is not there as it is
        written.
        """
        parts = inner.split("/")
        for number, part in enumerate(parts):
            if _has_marks(part) and not self.fs.exists("/".join(parts[: number + 1])):
                return "/".join(parts[:number]), "/".join(parts[number:])
        return inner, ""

    def _expand(self, rest: str) -> Iterable[str]:
        from braceexpand import UnbalancedBracesError, braceexpand

        try:
            return dict.fromkeys(braceexpand(rest, escape=False))
        except UnbalancedBracesError as exc:
            raise UserError(
                f"shards {self.pattern!r}: unbalanced braces, write name-{{000000..000999}}.tar"
            ) from exc

    def _match(self, folder: str, name: str) -> dict[str, str]:
        """Return what is at a path, or matches a glob: paths with fsspec's types."""
        if _has_marks(name):
            found = self.fs.glob(f"{glob.escape(folder)}/{name}", detail=True)
            return {path: entry["type"] for path, entry in found.items()}
        path = f"{folder}/{name}" if name else folder
        try:
            kind = self.fs.info(path)["type"]
        except FileNotFoundError:
            return {}
        is_index = (
            kind == "file" and not _is_tar(path) and self.fs.isdir(path)
        )  # over http a folder is a page of links
        return {path: "directory" if is_index else kind}

    def _tars_at(self, path: str, kind: str, exact: bool) -> Iterator[str]:
        """Yield the tar that a path is, or those of the folder that it is; ``exact``: it was
        named, not matched.
        """
        name = _name(path)
        if self._is_folder(path, kind):
            yield from self._tars_in(path, exact)
        elif _COMPRESSED.search(name):
            raise UserError(_describe_compressed([path]))
        elif _is_tar(name) and (exact or not name.startswith(".")):
            yield self._there(path, kind)
        elif exact:
            raise UserError(f"shards {self.pattern!r}: {name} is no .tar, and shards are tars")
        else:
            self._pass_over([name])

    def _tars_in(self, folder: str, exact: bool) -> Iterator[str]:
        entries = {
            entry["name"].rstrip("/"): entry["type"] for entry in self.fs.ls(folder, detail=True)
        }
        entries.pop(folder.rstrip("/"), None)  # some stores list the folder itself
        folders = [path for path, kind in entries.items() if self._is_folder(path, kind)]
        names = {path: _name(path) for path in sorted(entries.keys() - folders)}
        if compressed := [path for path, name in names.items() if _COMPRESSED.search(name)]:
            raise UserError(_describe_compressed(compressed))
        tars = [path for path, name in names.items() if _is_tar(name) and not name.startswith(".")]
        if exact and not tars:
            raise UserError(self._describe_no_tars(sorted(folders), names.values()))
        self._pass_over(
            name for name in names.values() if not _is_tar(name) or name.startswith(".")
        )
        if others := len(folders) + (not tars):
            self.passed_over["folders"] += others
        yield from (self._there(path, entries[path]) for path in tars)

    def _is_folder(self, path: str, kind: str) -> bool:
        return kind == "directory" or (kind != "file" and self.fs.isdir(path))

    def _there(self, path: str, kind: str) -> str:
        if kind != "file" and not self.fs.exists(path):
            raise UserError(
                f"shards {self.pattern!r}: {path} is a link to a file that is not there"
            )
        return path

    def _pass_over(self, names: Iterable[str]) -> None:
        for name in names:
            if not _BESIDE_SHARDS.search(name):
                self.passed_over["hidden files" if name.startswith(".") else "other files"] += 1

    def _describe_missing(self, missing: list[str], count: int) -> str:
        named = (
            f"; {len(missing)} of the {count} that it names are missing ({_some(missing)})"
            if count > 1
            else ""
        )
        advice = "it must name existing .tar files or a folder that holds some"
        if re.search(r"[,;|\s]", re.sub(r"\{[^{}]*\}", "", self.pattern)):
            advice += "; several places are a list, shards: [a, b]"
        return f"no shard at {self.pattern!r}{named}: {advice}"

    def _describe_no_tars(self, folders: list[str], names: Iterable[str]) -> str:
        for folder in folders:
            if any(_is_tar(entry["name"]) for entry in self.fs.ls(folder, detail=True)):
                where = f"{self.pattern.rstrip('/')}/*/*.tar"
                return (
                    f"no shard at {self.pattern!r}: its tars lie in folders of it ({folder}); name"
                    f" them as {where}"
                )
        kinds = Counter(f".{name.rpartition('.')[2].lower()}" for name in names if "." in name)
        there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_NUM_NAMED))
        return (
            f"no shard at {self.pattern!r}: it holds {there or 'no file'}, and shards are .tar"
            " files"
        )


def _has_marks(path: str) -> bool:
    return any(mark in path for mark in _MARKS)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _is_tar(name: str) -> bool:
    return name.lower().endswith(".tar")


def _describe_compressed(paths: list[str]) -> str:
    return (
        f"shards: {len(paths)} of the tars are compressed ({_some(paths)}), and only plain ones can"
        " be read from any place; unpack them to .tar, or name the plain ones as folder/*.tar"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NUM_NAMED]) + (", ..." if len(names) > _NUM_NAMED else "")
