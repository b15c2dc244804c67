"""Annotations in JSON and JSON lines, an entry at a time, each with the line that it stands on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dcr.data.benchmark_sets.files import Folder
from dcr.errors import UserError

MAX_BYTES = 256 << 20  # of a file of annotations; ARO's larger one has 12 MiB
_SPACE = re.compile(r"[ \t\r\n]*")
_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Entry:
    """One entry of a file of annotations.

    Attributes:
        where: file and line, for errors.
        name: its key in an object, its number in an array, from 0.
        value: as JSON gave it.
    """

    where: str
    name: str
    value: Any

    def get(self, field: str) -> Any:
        """Return ``field`` of an entry that is an object.

        Raises:
            UserError: it is no object, or has no such field.
        """
        if not isinstance(self.value, dict) or field not in self.value:
            raise UserError(f"{self.where}: expected an object with {field!r}")
        return self.value[field]

    def text(self, field: str) -> str:
        """Return the words of ``field``, without white space around them.

        Raises:
            UserError: there are none.
        """
        return check_text(self.get(field), field, self.where)

    def whole(self, field: str) -> int:
        """Return the whole number of ``field``.

        Raises:
            UserError: it is none, or has more than nine digits.
        """
        value = self.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 10**9:
            raise UserError(f"{self.where}: {field!r} must be a whole number, got {_show(value)}")
        return value


def check_text(value: Any, field: str, where: str) -> str:
    """Return ``value`` without white space around it, which must be words.

    Args:
        value: as JSON gave it.
        field: its name. where: file and line, both for the error.

    Raises:
        UserError: it is no text, or blank.
    """
    if not isinstance(value, str) or not value.strip() or not _is_unicode(value):
        raise UserError(f"{where}: {field!r} must be a text, got {_show(value)}")
    return value.strip()


def _is_unicode(value: str) -> bool:
    """Tell whether a text can be written as UTF-8: JSON may hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _show(value: Any) -> str:
    return json.dumps(value, default=str)[:80]


def read_json(folder: Folder, name: str) -> Iterator[Entry]:
    """Yield the entries of the array or object that the file ``name`` of ``folder`` holds.

    Raises:
        UserError: it is no JSON, or holds neither; or a key of an object occurs twice.
    """
    place = folder.place(name)
    text = folder.read_text(name, MAX_BYTES)
    try:
        yield from _scan(text, place)
    except json.JSONDecodeError as error:
        raise UserError(f"{place}, line {error.lineno}: not valid JSON ({error.msg})") from error
    except RecursionError as error:
        raise UserError(f"{place}: its JSON is nested too deeply") from error


def _scan(text: str, place: str) -> Iterator[Entry]:
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, 0)
    closing = _CLOSING.get(text[at : at + 1])
    if closing is None:
        raise json.JSONDecodeError("an array or an object is expected", text, at)
    at = _skip(text, at + 1)
    line = 1
    counted = 0
    keys: set[str] = set()
    number = 0
    while text[at : at + 1] != closing:
        if number:
            at = _skip(text, _pass(text, at, ","))
        line += text.count("\n", counted, at)
        counted = at
        name = str(number)
        if closing == "}":
            name, at = _key(text, at, keys)
        value, after = _decode(decode, text, at)
        yield Entry(f"{place}, line {line}", name, value)
        at = _skip(text, after)
        number += 1
    if _skip(text, at + 1) != len(text):
        raise json.JSONDecodeError("more follows after its end", text, at + 1)


def _key(text: str, at: int, keys: set[str]) -> tuple[str, int]:
    """Return the key at a place and the place of its value; ``keys`` were there before."""
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("a key in double quotes is expected", text, at)
    key, after = json.JSONDecoder().raw_decode(text, at)
    if key in keys or not _is_unicode(key):
        raise json.JSONDecodeError(f"the key {key[:40]!r} is there twice or no text", text, at)
    keys.add(key)
    return key, _skip(text, _pass(text, _skip(text, after), ":"))


def _decode(decode: Any, text: str, at: int) -> tuple[Any, int]:
    try:
        value, after = decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise json.JSONDecodeError(str(error), text, at) from error
    return value, after


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _pass(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise json.JSONDecodeError(f"expected {mark!r}", text, at)
    return at + 1


def read_json_lines(folder: Folder, name: str) -> Iterator[Entry]:
    """Yield the entries of the file ``name`` of ``folder``, one a line; blank lines are none.

    Raises:
        UserError: a line is no JSON.
    """
    place = folder.place(name)
    for number, line in enumerate(folder.read_text(name, MAX_BYTES).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{place}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not valid JSON") from error
        yield Entry(where, str(number), value)
