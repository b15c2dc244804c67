"""What the torture tests share: a seed, an amount, and a count that is told at the end.

`make test` runs a sample of each part; `make test-torture SEED=7` runs them whole, with the seed as
an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COUNT = "torture:"


@dataclass(frozen=True)
class Torture:
    """How hard this run tries.

    Attributes:
        seed: of everything that a test draws; tests derive generators of their own from it.
        whole: all of it, not a sample.
        record: keeps a number under a name for the summary.
    """

    seed: int
    whole: bool
    record: Callable[[str, object], None]

    def amount(self, sample: int, whole: int) -> int:
        """Return how many cases this run tries."""
        return whole if self.whole else sample

    def choose(self, cases: list, sample: int) -> list:
        """Return all cases, or a sample of them that the seed draws."""
        if self.whole or len(cases) <= sample:
            return list(cases)
        places = np.random.default_rng(self.seed).choice(len(cases), sample, replace=False)
        return [cases[place] for place in sorted(places)]

    def count(self, what: str, number: int) -> None:
        """Add to a count of the summary, for example ``("kills", 12)``."""
        self.record(COUNT + what, number)


def counts(reports: list) -> dict[str, int]:
    """Add up what the tests counted, by name; works over the processes of pytest-xdist."""
    total: dict[str, int] = {}
    for report in reports:
        for name, number in getattr(report, "user_properties", []):
            if name.startswith(COUNT):
                total[name.removeprefix(COUNT)] = total.get(name.removeprefix(COUNT), 0) + number
    return total
