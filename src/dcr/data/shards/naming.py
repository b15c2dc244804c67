"""What shards are called in tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from dcr.data.shards.listing import list_shards
from dcr.errors import UserError


def name_shards(shards: list[str]) -> dict[str, str]:
    """Return a short unique name for each path or URL of ``shards``: ``a/00000.tar`` is ``00000``.

    Names do not depend on where the data lies, so tables made of them are equal on every machine.
    Where two folders hold the same file name, as much of the path as tells them apart is put before
    it, joined by `-`.
    """
    paths = {
        shard: PurePosixPath(re.sub(r"\.tar$", "", shard, flags=re.IGNORECASE)).parts
        for shard in shards
    }
    for depth in range(1, max(map(len, paths.values()), default=0) + 1):
        names = {
            shard: "-".join(part.strip("/") for part in path[-depth:])
            for shard, path in paths.items()
        }
        if len(set(names.values())) == len(names):
            return names
    raise UserError("two shards cannot be told apart by their names: rename one of them")


def sources_of(shards: list[str], sources: Mapping[str, str | list[str]]) -> dict[str, str]:
    """Return by a shard's name the source that it is of.

    Args:
        shards: paths or URLs of all, as `dcr.data.shards.find_shards` lists those of all sources.
        sources: by name, the shards as a recipe writes them.

    Raises:
        UserError: a shard is of two sources, which one list of all names once.
    """
    names = name_shards(shards)
    if len(sources) == 1:
        return dict.fromkeys(names.values(), *sources)
    found: dict[str, str] = {}
    for source, written in sources.items():
        for path in list_shards(written):
            name = names.get(path)
            if name is None or name in found:
                raise UserError(
                    f"shard {path} is of two sources: name it in one of `sources` alone"
                )
            found[name] = source
    return found
