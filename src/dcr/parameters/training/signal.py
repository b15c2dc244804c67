"""Which contrastive signal a recipe takes, with the signal's own numbers."""

from __future__ import annotations

from dataclasses import asdict, fields
from math import isfinite
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, model_validator

from dcr.parameters.section import Checked, did_you_mean

if TYPE_CHECKING:
    from dcr.losses.feature_signal import FeatureSignal
    from dcr.losses.signal import Signal as PairSignal

PLAIN = "infonce"
"""DCR's own signal: it has no numbers but the loss's temperature."""


class Signal(Checked):
    """A signal by name, and those of its numbers that are not to be the published ones.

    The numbers are the fields of the signal's class in ``dcr/losses/<name>.py``, which has their
    published values and ranges: no list of them stands here. The class is loaded (and PyTorch with
    it) for other signals than `PLAIN` alone.
    """

    model_config = ConfigDict(extra="allow")

    name: str

    @model_validator(mode="after")
    def _check_numbers(self) -> Signal:
        self.values()
        return self

    def values(self) -> dict[str, int | float]:
        """Return all of the signal's numbers by name; none for `PLAIN`.

        Raises:
            ValueError: there is no such signal, or number of it, or one is out of its range.
        """
        own = dict(self.model_extra or {})
        if self.name == PLAIN:
            _refuse(self.name, own, [])
            return {}
        signal: Any = self._build(own)
        return asdict(signal)

    def build(self, temperature: float) -> PairSignal | FeatureSignal:
        """Return the signal itself; ``temperature`` is that of the loss, which `PLAIN` takes."""
        own = dict(self.model_extra or {})
        return self._build({"temperature": temperature} if self.name == PLAIN else own)

    def _build(self, own: dict[str, Any]) -> PairSignal | FeatureSignal:
        from dcr.losses.signals import find_signal

        kind: Any = find_signal(self.name)  # a dataclass, which its abstract base is not
        known = {field.name: field.type for field in fields(kind)}
        _refuse(self.name, own, list(known))
        for name, value in own.items():
            _check_type(name, value, is_whole=known[name] in (int, "int"))
        built: PairSignal | FeatureSignal = kind(**own)
        return built


def _refuse(signal: str, own: dict[str, Any], known: list[str]) -> None:
    for name in own:
        if name not in known:
            has = f"its numbers are {', '.join(known)}" if known else "it has no numbers of its own"
            raise ValueError(
                f"signal {signal} has no number {name!r}{did_you_mean(name, known)}; {has}"
            )


def _check_type(name: str, value: Any, is_whole: bool) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and not whole:
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if not (whole or isinstance(value, float)) or not isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
