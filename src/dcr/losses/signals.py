"""The contrastive signals by name, as recipes choose them: each is a module of this room.

A module ``<name>.py`` that defines a `Signal` or `FeatureSignal` is the signal of that name, so
that adding one touches no other file. Its dataclass has the published numbers as defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from pkgutil import iter_modules

from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.signal import Signal


def _find() -> Iterator[tuple[str, type[Signal] | type[FeatureSignal]]]:
    """Yield every signal's name and class, in alphabetical order."""
    own = Path(__file__)
    names = sorted(module.name for module in iter_modules([str(own.parent)]))
    for name in names:
        if name == own.stem:
            continue
        module = import_module(f"dcr.losses.{name}")
        for value in vars(module).values():
            is_own = isinstance(value, type) and value.__module__ == module.__name__
            if is_own and issubclass(value, Signal | FeatureSignal) and not isabstract(value):
                yield name, value


_ALL = dict(_find())

SIGNALS: dict[str, type[Signal]] = {
    name: kind for name, kind in _ALL.items() if issubclass(kind, Signal)
}
"""Those that take similarities, and so serve `dcr` and `naive`."""

FEATURE_SIGNALS: dict[str, type[FeatureSignal]] = {
    name: kind for name, kind in _ALL.items() if issubclass(kind, FeatureSignal)
}
"""Those that take image features, and so serve `naive` alone."""


def find_signal(name: str) -> type[Signal] | type[FeatureSignal]:
    """Return the class of the signal ``name``.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in _ALL:
        close = difflib.get_close_matches(name, _ALL, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_ALL)}"
        raise ValueError(f"there is no signal {name!r}; {hint}")
    return _ALL[name]
