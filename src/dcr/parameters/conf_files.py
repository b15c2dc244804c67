"""What is wrong with a file of configuration, in words."""

from __future__ import annotations

import os
from collections.abc import Iterable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dcr.errors import UserError

_MISSING = object()
_DUE = "names with values are due (name: value)"


def read_mapping(path: Path, broken: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a YAML file says, unresolved; {} where there is none.

    Args:
        path: the file, UTF-8.
        broken: what to return for a file that cannot be read, None to raise.

    Raises:
        UserError: naming file, line and rule.
    """
    try:
        return deepcopy(_read(path, path.stat().st_mtime_ns)) if path.is_file() else {}
    except UserError:
        if broken is None:
            raise
        return broken


def explain_file(folder: Path) -> str | None:
    """Return what is wrong with the first broken configuration file in ``folder``, else None."""
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".yml", ".yaml", ".json") and path.is_file()
    )
    return next((reason for path in paths if (reason := _fault(path))), None) or _doubled(paths)


def check_names(path: Path, content: DictConfig) -> None:
    """Raise UserError unless a file, as OmegaConf has read it, gives values to names.

    A file of mere words is read as one name without a value.

    Args:
        path: of the file, for messages; its text is looked at, too.
        content: what OmegaConf made of it.
    """
    if (wrong := next((key for key in content if not isinstance(key, str)), None)) is not None:
        raise UserError(
            f"{shown(path)}: the key {wrong!r} is not a word: put it in quotes, or take it out"
        )
    if len(content) == 1 and ":" not in path.read_text(encoding="utf-8"):
        raise UserError(f"{shown(path)}: holds {next(iter(content))!r} where {_DUE}")


def explain_values(kind: str, paths: list[Path], exc: Exception) -> str:
    """Return which value of which file refers to what is not there.

    It may also be a list where another file has names.

    Args:
        kind: of configuration, for example ``parameters``.
        paths: the files of that kind, the recipe's own first.
        exc: OmegaConf's error.
    """
    key = str(getattr(exc, "full_key", None) or "")
    reason = str(exc).strip().splitlines()[0].removesuffix(".")
    if (clash := _clash(paths)) and "merge" in reason:
        return clash
    held = next((path for path in paths if _value(path, key) is not _MISSING), None)
    where = (
        f"{shown(held)}: {key}: {_value(held, key)!r}"
        if held and key
        else f"{kind}{f', {key}' if key else ''}"
    )
    if "Unsupported interpolation type" in reason:
        return (
            f"{where}: {reason}: values may refer to ${{globals:...}} and ${{runtime_params:...}}"
            " alone, and to ${oc.env:...} in credentials.yml; write the value itself"
        )
    return f"{where}: {reason}; see conf/base/globals.yml for what can be referred to"


def _clash(paths: list[Path]) -> str | None:
    """Return which key is a list in one file and names with values in another."""
    seen: dict[str, tuple[type, Path]] = {}
    for path in reversed(paths):
        for key, value in _nodes(read_mapping(path)):
            kind, above = seen.setdefault(key, (type(value), path))
            if {kind, type(value)} == {list, dict}:
                words: dict[type, str] = {list: "a list", dict: "names with values"}
                here = words[type(value)]
                there = words[kind]
                return (
                    f"{shown(path)}: {key!r} is {here}, got {value!r}, where {shown(above)} has"
                    f" {there}"
                )
    return None


def _nodes(content: dict[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Yield every key with dots and its value, mappings and what is in them."""
    for key, value in content.items():
        yield f"{above}{key}", value
        if isinstance(value, dict):
            yield from _nodes(value, f"{above}{key}.")


def _fault(path: Path) -> str | None:
    try:
        _read(path, path.stat().st_mtime_ns)
    except UserError as exc:
        return str(exc)
    return None


@lru_cache(maxsize=256)
def _read(path: Path, changed: int) -> dict[str, Any]:
    """Return a file's content; ``changed``, its time, keeps apart what it held at other times.

    Raises:
        UserError: with the rule that it breaks. It must be UTF-8, YAML, and a mapping from names to
            values.
    """
    where = shown(path)
    try:
        text = path.read_bytes().decode("utf-8")
        content = OmegaConf.create(text) if text.strip() else OmegaConf.create()
    except UnicodeDecodeError as exc:
        raise UserError(f"{where}: byte {exc.start} is not UTF-8; save the file as UTF-8") from exc
    except yaml.YAMLError as exc:
        raise UserError(f"{where}{_line(exc)}: {_problem(exc)}; mend the YAML there") from exc
    except OmegaConfBaseException as exc:
        raise UserError(f"{where}: {str(exc).splitlines()[0]}; mend it there") from exc
    if not isinstance(content, DictConfig):
        raise UserError(f"{where}: holds a list where {_DUE}")
    check_names(path, content)
    return cast(dict[str, Any], OmegaConf.to_container(content, resolve=False))


def shown(path: str | Path) -> str:
    """Return ``path`` as messages show it: relative to where the command runs, if it lies below."""
    return os.path.relpath(path) if Path(path).absolute().is_relative_to(Path.cwd()) else str(path)


def _doubled(paths: list[Path]) -> str | None:
    """Return which two files of one kind set the same key."""
    seen: dict[tuple[str, str], Path] = {}
    for path in paths:
        content = read_mapping(path)
        kind = path.stem.partition("_")[0]
        leaves = [key for key, value in _nodes(content) if not isinstance(value, dict)]
        for key in leaves if kind == "parameters" else content:
            if key.startswith("_"):
                continue
            if (kind, key) in seen:
                return (
                    f"{shown(path)} and {shown(seen[kind, key])} both set {key}: keep one of"
                    " the two"
                )
            seen[kind, key] = path
    return None


def _line(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _problem(exc: yaml.YAMLError) -> str:
    problem = getattr(exc, "problem", None) or str(exc)
    return " ".join(str(problem).split())


def _value(path: Path, key: str) -> Any:
    """Return the unresolved value at a dotted key of a file."""
    value: Any = read_mapping(path, broken={})
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value
