"""Published tables as claims: one number each, with what would hold if there were nothing to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dcr.ledger.verdicts import Alternative, Stated
from dcr.published.tables import PublishedTables, Source, Table

SCORE = "score"
IMPROVEMENT = "improvement"
NO_CHANGE = Alternative("no change", Stated(0.0, 0.0))


@dataclass(frozen=True)
class Claim:
    """A published number.

    Attributes:
        kind: :data:`SCORE`, or :data:`IMPROVEMENT` of an encoder over its base.
        encoder, base: names of the tables' encoders; ``base`` is None of a model that nobody
            enhanced.
        name: the encoder's, in words.
        published: the number, a fraction.
        alternatives: see `dcr.ledger.verdicts`.
        table, source: what states it.
        number: the table's place in the file.
    """

    kind: str
    encoder: str
    base: str | None
    name: str
    published: Stated
    alternatives: Sequence[Alternative]
    table: Table
    source: Source
    number: int


def list_claims(tables: PublishedTables) -> list[Claim]:
    """Return what ``tables`` claim, in order: of each encoder its improvement, then its score.

    Where a table states both scores their difference is claimed, too. A base that it leaves out is
    taken from the first table of the same document, measure, sets and rule that has it.
    """
    return [
        claim
        for number, table in enumerate(tables.tables)
        for encoder in dict.fromkeys((*table.values, *table.improvements))
        for claim in _claims_of(tables, number, table, encoder)
    ]


def _claims_of(tables: PublishedTables, number: int, table: Table, encoder: str) -> Iterator[Claim]:
    told = tables.encoders[encoder]

    def claim(kind: str, published: Stated, alternatives: Sequence[Alternative]) -> Claim:
        """Return a claim on the encoder."""
        source = tables.sources[table.source]
        return Claim(
            kind, encoder, told.base, told.name, published, alternatives, table, source, number
        )

    score = _score(table, encoder)
    base = None if told.base is None else _base_score(tables, table, encoder, told.base)
    if encoder in table.improvements:
        yield claim(IMPROVEMENT, _stated(table, table.improvements[encoder]), [NO_CHANGE])
    elif score is not None and base is not None:
        yield claim(IMPROVEMENT, score - base, [NO_CHANGE])
    if score is not None and base is not None:
        yield claim(SCORE, score, [Alternative("its base's published score", base)])
    elif score is not None:
        yield claim(SCORE, score, _made_of(tables, table, encoder))


def _stated(table: Table, number: float) -> Stated:
    return Stated(number * table.scale, table.rounding * table.scale)


def _score(table: Table, encoder: str) -> Stated | None:
    return _stated(table, table.values[encoder]) if encoder in table.values else None


def _base_score(tables: PublishedTables, table: Table, encoder: str, base: str) -> Stated | None:
    """Return the published score of an encoder's base: stated, or what the improvement leaves."""
    if base in table.values:
        return _score(table, base)
    if encoder in table.improvements and encoder in table.values:
        return _stated(table, table.values[encoder]) - _stated(table, table.improvements[encoder])
    alike = (
        other
        for other in tables.tables
        if base in other.values
        and (other.source, other.key, other.sets, other.rule)
        == (table.source, table.key, table.sets, table.rule)
    )
    other = next(alike, None)
    return None if other is None else _score(other, base)


def _made_of(tables: PublishedTables, table: Table, base: str) -> list[Alternative]:
    """Return the scores of what was made of a base, as the table states them."""
    return [
        Alternative(f"the published score of {tables.encoders[name].method}", _stated(table, value))
        for name, value in table.values.items()
        if tables.encoders[name].base == base
    ]
