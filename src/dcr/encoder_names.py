"""Names of encoders: by which method, with which seed, and whether aligned after training.

`base` and a method's name are the encoders that the recipe is about: ``dcr``, ``reconstruction``.
Beside them stand ``dcr@2``, trained again with seed 2 in stage 2; ``dcr_unaligned``, as training
left it, where ``dcr`` is what pipeline `alignment` made of it; and ``base_aligned``, the base
treated in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

BASE = "base"
ALIGNED = "_aligned"
UNALIGNED = "_unaligned"
METHOD_PATTERN = r"(?!base$)[a-z][a-z0-9_]*(?<!_aligned)(?<!_unaligned)"
"""What a method may be called, so that its encoders' names can be told apart."""

_NAME = re.compile(rf"(?P<method>[^@]+?)(?P<form>{ALIGNED}|{UNALIGNED}|)(?:@(?P<seed>\d+))?")


@dataclass(frozen=True)
class EncoderName:
    """The parts of an encoder's name.

    Attributes:
        method: `base`, a method of stage 2, or any name of ``more_encoders``.
        form: ``""`` for the encoder that goes by the method's own name, else :data:`ALIGNED` or
            :data:`UNALIGNED`.
        seed: of stage 2 where it was trained again; None for the recipe's own.
    """

    method: str
    form: str = ""
    seed: int | None = None

    def __str__(self) -> str:
        return f"{self.method}{self.form}" + ("" if self.seed is None else f"@{self.seed}")

    @classmethod
    def parse(cls, name: str) -> EncoderName:
        """Return the parts of ``name``.

        Every name has some, so that nothing needs to be refused.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            return cls(name)
        seed = found["seed"]
        return cls(found["method"], found["form"], None if seed is None else int(seed))

    @property
    def without_seed(self) -> str:
        """The name under which the seeds of one method are told together."""
        return str(replace(self, seed=None))


def run_name(method: str, phase: int | None = None, seed: int | None = None) -> str:
    """Return the name of a run of stage 2, as checkpoints have it: ``dcr``, ``dcr.2``, ``dcr.2@1``.

    Args:
        method: of stage 2.
        phase: its place among the method's, from 1; None where there is one phase.
        seed: of stage 2 where the method is trained again; None for the recipe's own.
    """
    return str(EncoderName(method if phase is None else f"{method}.{phase}", seed=seed))


def split_run(name: str) -> tuple[str, int | None]:
    """Return the encoder that the run ``name`` of stage 2 trains, and its phase.

    The phase is None where it is the only one.
    """
    run = EncoderName.parse(name)
    method, dot, phase = run.method.rpartition(".")
    return (
        (str(replace(run, method=method)), int(phase))
        if dot and phase.isdecimal()
        else (name, None)
    )


def aligned_name(name: str) -> str:
    """Return the name of the encoder ``name`` once it is aligned: only the base changes its own."""
    return str(replace(EncoderName.parse(name), form=ALIGNED)) if name == BASE else name


def unaligned_name(name: str) -> str:
    """Return the name of the encoder ``name`` as trained, beside its aligned form.

    Only the base keeps its own.
    """
    return name if name == BASE else str(replace(EncoderName.parse(name), form=UNALIGNED))


def group_seeds(names: Iterable[str]) -> dict[str, list[str]]:
    """Return ``names`` by method, a method's seeds together, the recipe's own first.

    They stand under the name without a seed.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: EncoderName.parse(name).seed is not None):
        groups.setdefault(EncoderName.parse(name).without_seed, []).append(name)
    order = {EncoderName.parse(name).without_seed: None for name in names}
    return {name: groups[name] for name in order}
