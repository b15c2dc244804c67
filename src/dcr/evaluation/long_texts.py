"""Texts that a text tower cannot read to their end: counted and told, since they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone


@dataclass(frozen=True)
class CutTexts:
    """Which texts of a set are longer than a tower's context.

    Attributes:
        what: the texts in words, in the plural.
        lengths: (N,), tokens of each before any is cut, start and end tokens included.
        context: tokens that the tower reads.
    """

    what: str
    lengths: Sequence[int]
    context: int

    @property
    def share(self) -> float:
        """The share of the texts that are cut, in [0, 1]."""
        return sum(length > self.context for length in self.lengths) / len(self.lengths)

    def tell(self) -> list[str]:
        """Return a sentence on the texts that are cut; none where the tower reads all."""
        number = sum(length > self.context for length in self.lengths)
        if number == 0:
            return []
        return [
            f"{number} of {len(self.lengths)} {self.what} ({100 * self.share:.1f} %) have more than"
            f" the {self.context} tokens that a text tower reads, up to {max(self.lengths)}: their"
            " ends are cut"
        ]


def count_cut(backbone: Backbone, texts: list[str], what: str) -> CutTexts:
    """Count the tokens of ``texts`` of which the tower of ``backbone`` reads only the first.

    Args:
        backbone: the encoder.
        texts: (N,), N > 0.
        what: they are, in the plural.
    """
    context = int(backbone.tokenize([""]).shape[1])
    return CutTexts(what, backbone.count_tokens(texts), context)
