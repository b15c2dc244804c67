"""What papers state, as a file of tables that a person keeps.

They are numbers with their source, the rule that gives them, and the scores of this project that
they stand beside. A number in it was not measured here, and was measured on its authors' own
set-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, PositiveInt

from dcr.errors import UserError
from dcr.parameters.section import Checked, build, did_you_mean

_SEE = "docs/ledger.md"


class Source(Checked):
    """A document: its title, and the place where it can be read."""

    title: str = Field(min_length=1)
    place: str = Field(min_length=1)


class PublishedEncoder(Checked):
    """An encoder that tables name.

    ``method`` made it from ``base``, another of the file's encoders; None is a model that nobody
    enhanced.
    """

    name: str = Field(min_length=1)
    method: str = Field(min_length=1)
    base: str | None = None


class Table(Checked):
    """One measure of one document.

    ``sets`` are names of evaluation sets, over whose scores the numbers are the mean. ``rule`` is
    one of caption selection's where the benchmark has such, else words. ``items`` is how many the
    numbers are of, None where that is not told. ``trainings`` is over how many trainings each is
    the mean. ``rounding`` is how far, in the table's unit, a
    number may be from its value. ``values`` are scores by encoder, ``improvements`` what the
    document states as encoder minus base.
    """

    source: str
    title: str = Field(min_length=1)
    benchmark: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    sets: list[str] = Field(min_length=1)
    rule: str = Field(min_length=1)
    items: PositiveInt | None
    trainings: PositiveInt
    unit: Literal["percent", "fraction"]
    rounding: float = Field(ge=0)
    values: dict[str, float] = Field(default_factory=dict)
    improvements: dict[str, float] = Field(default_factory=dict)
    note: str = ""

    @property
    def scale(self) -> float:
        """What a number of the table is multiplied with to be a fraction."""
        return 0.01 if self.unit == "percent" else 1.0

    @property
    def key(self) -> str:
        """The measure as ``benchmark.metric``."""
        return f"{self.benchmark}.{self.metric}"


@dataclass(frozen=True)
class Columns:
    """What is stated of a backbone and of what was made of it.

    Attributes:
        name: the backbone's.
        scores: fractions by method and ``benchmark.metric``.
        places: of the documents that state them.
    """

    name: str
    scores: Mapping[str, Mapping[str, float]]
    places: Sequence[str]


class PublishedTables(Checked):
    """The whole file."""

    sources: dict[str, Source]
    encoders: dict[str, PublishedEncoder]
    tables: list[Table]

    def columns(self, backbone: str) -> Columns:
        """Return what is stated of a backbone, a method each.

        Where several tables state a number of one measure, the first one's counts.

        Args:
            backbone: one of the encoders, without a base.

        Raises:
            UserError: it is not.
        """
        bases = [name for name, encoder in self.encoders.items() if encoder.base is None]
        if backbone not in bases:
            raise UserError(
                f"reporting.published_backbone: {backbone!r} is no base encoder of the published"
                f" tables{did_you_mean(backbone, bases)}; there are: {', '.join(bases)}"
            )
        scores: dict[str, dict[str, float]] = {}
        places: dict[str, None] = {}
        for name, encoder in self.encoders.items():
            for table in self.tables:
                if backbone in (name, encoder.base) and name in table.values:
                    own = scores.setdefault(encoder.method, {})
                    if table.key not in own:
                        own[table.key] = table.values[name] * table.scale
                        places[self.sources[table.source].place] = None
        return Columns(self.encoders[backbone].name, scores, list(places))


def check_tables(values: Mapping[str, Any], path: str) -> PublishedTables:
    """Return the tables of a file as their class.

    Args:
        values: what the file says.
        path: of the file, for messages.

    Raises:
        UserError: naming the file and the first key that is unknown, missing, of the wrong type, or
            refers to what the file does not hold.
    """
    tables = build(PublishedTables, values, f"key of {path}:", "", _SEE)
    fault = next(_faults(tables), None)
    if fault is not None:
        raise UserError(f"{path}: {fault}; see {_SEE}")
    return tables


def _faults(tables: PublishedTables) -> Iterator[str]:
    """Yield what refers to nothing, or says the same twice."""
    for name, encoder in tables.encoders.items():
        yield from _of_encoder(f"encoders.{name}", name, encoder, tables)
    seen: dict[tuple[str, ...], int] = {}
    for number, table in enumerate(tables.tables):
        yield from _of_table(f"tables.{number}", table, tables)
        what = (table.source, table.title, table.key)
        if what in seen:
            yield (
                f"tables.{number}: {table.key} of {table.title!r} stands in tables.{seen[what]}"
                " already: make one of the two"
            )
        seen[what] = number


def _of_encoder(
    key: str, name: str, encoder: PublishedEncoder, tables: PublishedTables
) -> Iterator[str]:
    if not name.isidentifier():
        yield f"{key}: a name must be a plain word, as dcr_vitl14"
    if encoder.base is None:
        return
    if encoder.base not in tables.encoders:
        yield (
            f"{key}.base: {encoder.base!r} is none of the file's encoders"
            f"{did_you_mean(encoder.base, list(tables.encoders))}"
        )
    elif tables.encoders[encoder.base].base is not None:
        yield f"{key}.base: {encoder.base!r} has a base itself: name the model that nobody enhanced"


def _of_table(key: str, table: Table, tables: PublishedTables) -> Iterator[str]:
    if table.source not in tables.sources:
        yield (
            f"{key}.source: {table.source!r} is none of the file's sources"
            f"{did_you_mean(table.source, list(tables.sources))}"
        )
    if not table.values and not table.improvements:
        yield f"{key}: states no number: give it values or improvements"
    for kind in ("values", "improvements"):
        for name in getattr(table, kind):
            if name not in tables.encoders:
                yield (
                    f"{key}.{kind}: {name!r} is none of the file's encoders"
                    f"{did_you_mean(name, list(tables.encoders))}"
                )
    for name in table.improvements:
        if name in tables.encoders and tables.encoders[name].base is None:
            yield f"{key}.improvements: {name!r} has no base that it could improve upon"
