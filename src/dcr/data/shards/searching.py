"""The tars that one pattern names in a file system."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from dcr.data.remote import Tree, has_marks
from dcr.errors import UserError

_COMPRESSED = re.compile(
    r"\.(tar\.(gz|bz2|xz|zst|zstd|lz4|lzma|z|br)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE
)
# img2dataset's files, and ours.
_BESIDE_SHARDS = re.compile(r"\.parquet$|_stats\.json$|^ingest\.json$|^\.dcr\.sha256$")
_NUM_NAMED = 3
_NUM_REQUESTS = 16  # at a time


@dataclass
class Search:
    """The search for what one pattern names in a file system.

    Attributes:
        tree: the file system.
        pattern: as the recipe gives it, for messages.
        passed_over: is counted up, in place.
    """

    tree: Tree
    pattern: str
    passed_over: Counter[str]

    def tars(self) -> Iterator[str]:
        """Yield the paths of the tars that the pattern names.

        Raises:
            UserError: it names what is not there, or no tar, or a compressed one; see `Tree`.
        """
        folder, rest = self._split_at_first_mark(self.tree.root)
        matches = self._match_all(folder, list(self._expand(rest)))
        if missing := [name for name, found in matches.items() if not found]:
            raise UserError(self._describe_missing(missing, len(matches)))
        for name, found in matches.items():
            for path, kind in sorted(found.items()):
                yield from self._tars_at(path, kind, exact=not _has_marks(name))

    def _split_at_first_mark(self, inner: str) -> tuple[str, str]:
        """Split a path before its first part that is a pattern, and not there as it is written."""
        parts = inner.split("/")
        for number, part in enumerate(parts):
            if _has_marks(part) and not self.tree.is_there("/".join(parts[: number + 1])):
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

    def _match_all(self, folder: str, names: list[str]) -> dict[str, dict[str, str]]:
        """Return what each name stands for; of a remote store many are asked for at a time."""
        match = partial(self._match, folder)
        if not self.tree.is_remote:
            return {name: match(name) for name in names}
        first = {name: match(name) for name in names[:1]}  # may fill a listing
        with ThreadPoolExecutor(_NUM_REQUESTS) as pool:
            return first | dict(zip(names[1:], pool.map(match, names[1:]), strict=True))

    def _match(self, folder: str, name: str) -> dict[str, str]:
        """Return what is at a path, or matches a glob: paths with fsspec's types."""
        if has_marks(name):
            return self.tree.glob(folder, name)
        path = f"{folder}/{name}" if name else folder
        kind = self.tree.kind(path)
        return {} if kind is None else {path: kind}

    def _tars_at(self, path: str, kind: str, exact: bool) -> Iterator[str]:
        """Yield the tar that a path is, or those of the folder that it is.

        Args:
            path: in the file system.
            kind: fsspec's type of it.
            exact: it was named, not matched.
        """
        name = _name(path)
        if self.tree.is_folder(path, kind):
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
        entries = self.tree.entries(folder)
        folders = [path for path, kind in entries.items() if self.tree.is_folder(path, kind)]
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

    def _there(self, path: str, kind: str) -> str:
        if kind != "file" and not self.tree.fs.exists(path):
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
            if any(_is_tar(path) for path in self.tree.entries(folder)):
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
    return has_marks(path) or "{" in path


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
