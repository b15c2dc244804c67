"""How far a long loop is: a bar on a terminal, else a line in the log every half minute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Generic, Protocol, TypeVar, overload

from tqdm import tqdm

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

INTERVAL = 30.0
"""Seconds from one line to the next."""


_ALWAYS_IN_LINES = False


class Bar(Protocol[T_co]):
    """What `show_progress` returns: tqdm's bar or `Lines`.

    Its type is that of what it iterates over, None if nothing.
    """

    def __iter__(self) -> Iterator[T_co]: ...

    def __enter__(self) -> Bar[T_co]: ...

    def __exit__(self, *_: object) -> None: ...

    def update(self, count: int = 1, /) -> object: ...

    def set_postfix(self, *, refresh: bool = True, **values: Any) -> None: ...

    def close(self) -> None: ...


def use_lines() -> None:
    """Tell in lines from here on, also on a terminal, where several processes' bars would mix."""
    global _ALWAYS_IN_LINES
    _ALWAYS_IN_LINES = True


@overload
def show_progress(
    items: Iterable[T],
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    leave: bool = True,
    disable: bool = False,
) -> Bar[T]: ...


@overload
def show_progress(
    items: None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    leave: bool = True,
    disable: bool = False,
) -> Bar[None]: ...


def show_progress(
    items: Iterable[T] | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    leave: bool = True,
    disable: bool = False,
) -> Bar[T] | Bar[None]:
    """Return what counts a loop: iterate over it, or call ``update`` inside ``with``.

    Args:
        items: to iterate over; none if the caller counts with ``update``.
        desc: what is done.
        unit: one of what is counted, in the singular.
        total: how many there are; the length of ``items`` by default, where they have one.
        initial: how many are done already.
        leave: whether a bar stays when the loop has ended.
        disable: show nothing, as in all processes but the first.
    """
    if disable or (sys.stderr.isatty() and not _ALWAYS_IN_LINES):
        options = {"total": total, "initial": initial, "leave": leave, "disable": disable}
        bar: Bar[T] = tqdm(items, desc=desc, unit=unit, **options)
        return bar
    if total is None and isinstance(items, Sized):
        total = len(items)
    return Lines(items, desc, unit, total, initial)


class Lines(Generic[T]):
    """Counts as tqdm does, and tells in the log; see `show_progress`.

    Args:
        items: as for `show_progress`; None where `update` counts.
        desc: first words of each line.
        unit: one item, in the singular.
        total: number of items; None where it is not known, and then no time left is told.
        initial: number of items that were done before: they count as done, not for the speed.
    """

    def __init__(
        self, items: Iterable[T] | None, desc: str, unit: str, total: int | None, initial: int
    ) -> None:
        self._items = items
        self._desc = desc
        self._unit = unit
        self._total = total
        self._initial = self._done = initial
        self._started = self._told = time.monotonic()
        self._postfix = ""

    def __iter__(self) -> Iterator[T]:
        for item in self._items or ():
            yield item
            self.update()

    def __enter__(self) -> Lines[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, count: int = 1) -> None:
        """Count ``count`` further items, and tell if it is time."""
        self._done += count
        now = time.monotonic()
        if now - self._told >= INTERVAL:
            self._told = now
            logger.info("%s", self._sentence(now - self._started))

    def set_postfix(self, *, refresh: bool = True, **values: Any) -> None:
        """Set what stands at the line's end.

        Args:
            refresh: is there for tqdm's sake: a line is never written again.
            values: what is shown, by name.
        """
        self._postfix = "".join(f", {name} {value}" for name, value in values.items())

    def close(self) -> None:
        """Do nothing: the pipeline tells its result."""

    def _sentence(self, seconds: float) -> str:
        units = f"{self._unit}{'' if self._done == 1 and self._total is None else 's'}"
        if not self._total:
            return (
                f"{self._desc}: {self._done:,} {units}, {describe_seconds(seconds)} so"
                f" far{self._postfix}"
            )
        new = self._done - self._initial
        left = (
            f", {describe_seconds(seconds / new * (self._total - self._done))} left" if new else ""
        )
        share = f"{100 * self._done / self._total:.0f} %"
        return (
            f"{self._desc}: {self._done:,} of {self._total:,} {units}, {share}{left}{self._postfix}"
        )


def describe_seconds(seconds: float) -> str:
    """Return ``seconds`` in their two largest units, for example ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
