"""Which shards there are, and what they are called in tables."""

from __future__ import annotations

from pathlib import PurePosixPath

from dcr.errors import UserError


def list_shards(source: str | list[str]) -> list[str]:
    """Return the tars that ``source`` names, sorted within each pattern, each once.

    Args:
        source: a folder of tars, one tar, a glob, a brace pattern (``name-{000000..000999}.tar``), or a
            list of these; local or any fsspec URL.

    Raises:
        UserError: a part of ``source`` names no tar that exists.
    """
    patterns = [source] if isinstance(source, str) else list(source)
    shards = list(dict.fromkeys(shard for pattern in patterns for shard in _expand_braces(str(pattern))))
    if not shards:
        raise UserError("no shards: the list that names them is empty, give at least one folder, glob or tar")
    return shards


def name_shards(shards: list[str]) -> dict[str, str]:
    """Return a short unique name for each shard: ``a/00000.tar`` is ``00000``.

    Names do not depend on where the data lies, so tables made of them are equal on every machine. Where two
    folders hold the same file name, as much of the path as tells them apart is put before it, joined by `-`.
    """
    paths = {shard: PurePosixPath(shard.removesuffix(".tar")).parts for shard in shards}
    for depth in range(1, max(map(len, paths.values()), default=0) + 1):
        names = {shard: "-".join(part.strip("/") for part in path[-depth:]) for shard, path in paths.items()}
        if len(set(names.values())) == len(names):
            return names
    raise UserError("two shards cannot be told apart by their names: rename one of them")


def _expand_braces(pattern: str) -> list[str]:
    from braceexpand import UnbalancedBracesError, braceexpand

    try:
        return [shard for path in braceexpand(pattern) for shard in _find(path)]
    except UnbalancedBracesError as exc:
        raise UserError(f"shards {pattern!r}: unbalanced braces, write name-{{000000..000999}}.tar") from exc


def _find(path: str) -> list[str]:
    import fsspec

    try:
        fs, inner = fsspec.url_to_fs(path)
        if any(mark in path for mark in "*?["):
            found = sorted(fs.glob(inner))
        elif fs.isdir(inner):
            found = sorted(fs.glob(inner.rstrip("/") + "/*.tar"))
        else:
            found = [inner] if fs.exists(inner) else []
    except (OSError, ValueError, ImportError) as exc:
        raise UserError(f"shards {path!r} cannot be listed: {exc}") from exc
    if not found:
        raise UserError(f"no shard at {path!r}: it must name existing .tar files or a folder that holds some")
    return found if "file" in fs.protocol else [fs.unstrip_protocol(name) for name in found]
