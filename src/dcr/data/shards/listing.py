"""Which shards a recipe's ``shards`` means: all of them, or a sentence that says why not."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from dcr.data.remote import Tree, check_url
from dcr.data.shards.searching import Search
from dcr.errors import UserError


@dataclass
class ShardListing:
    """What was found.

    Attributes:
        shards: paths or URLs of tars, sorted within each pattern, each once.
        passed_over: how often what was passed over, in words.
    """

    shards: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """Return one line."""
        others = ", ".join(f"{what} {count}" for what, count in self.passed_over.items())
        return f"{len(self.shards)} shards" + (f"; passed over: {others}" if others else "")


def list_shards(source: str | list[str]) -> list[str]:
    """Return paths or URLs of the tars that ``source`` means, in the order of `find_shards`."""
    return find_shards(source).shards


def find_shards(source: str | list[str]) -> ShardListing:
    """Return the tars that ``source`` means, and what it might have meant and was passed over.

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
    """Return the parts of a text that joins several by ``::``, as webdataset and open_clip do."""
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
    check_url(pattern, "shards")
    try:
        tree = Tree(pattern, f"shards {pattern!r}")
        found = list(Search(tree, pattern, passed_over).tars())
    except UserError:
        raise
    except (OSError, ValueError) as exc:
        raise UserError(f"shards {pattern!r} cannot be listed: {exc}") from exc
    if tree.is_remote:
        yield from ((tree.fs.unstrip_protocol(path),) * 2 for path in found)
        return
    resolve = cache(os.path.realpath)  # of folders alone, which are few
    yield from (
        (path, f"{resolve(os.path.dirname(path))}/{os.path.basename(path)}") for path in found
    )
