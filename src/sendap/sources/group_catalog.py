"""What a published table by group holds: its blocks of rows, its measures, and the questions it can't answer.

Read from ``data-catalog/groups/``, one YAML file for each table. A *block* is a set of rows that crosses some strata
(ethnicity by sex, or ethnicity alone): a table of margins has one block for each margin, a crossed table one block.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from sendap.catalog import Described, read_model
from sendap.errors import DataError, UsageError, did_you_mean
from sendap.periods import PeriodKind

Role = Literal["outcome", "refusal", "wait", "take-up"]
HARMONISED = ("ethnicity", "sex")
"""Strata whose labels are read by ``sendap.groups``; any other stratum lists its labels."""


class Block(Described):
    """Rows that cross some strata. ``select`` chooses them: a column, and the one label that it must hold.

    ``strata`` names the column of each stratum. ``totals`` are labels that hold several categories together and are
    passed over. ``sex_at_end``: the column holds two strata in one label ("Ethnicity Minor Irish Female").
    """

    strata: dict[str, str]
    select: dict[str, str] = Field(default_factory=dict)
    totals: tuple[str, ...] = ()
    sex_at_end: bool = False


class Measure(Described):
    """A share of children: counts in ``numerator`` over those in ``denominator``, each a sum of columns.

    ``unknown`` are columns of children in the denominator of whom it isn't known: they're taken out of it.
    ``role`` says what it is about: an outcome, or a step of the process (a refusal, a wait, take-up). ``complement``:
    the table counts those without it. ``means`` says it in plain words after "the share of ...".
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    label: str
    means: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    better: Literal["higher", "lower"]
    role: Role = "outcome"
    complement: bool = False
    periods: tuple[int, ...] = ()
    note: str = ""


class AreaFigures(Described):
    """Where the same measure is published by area, but not by group: another file of the same publication."""

    file: str
    select: dict[str, str] = Field(default_factory=dict)


class Gradient(Described):
    stratum: str
    order: tuple[str, ...]
    """Categories, the most deprived first."""


class Programme(Described):
    """A programme whose areas are followed beside others, and the periods before and after its start.

    ``after`` is empty where the figures end before the programme began.
    """

    rollout: str
    before: tuple[int, ...]
    after: tuple[int, ...] = ()
    note: str = ""


class GroupTable(Described):
    """A published table by group: what it is, how to read it, and what it says nothing about."""

    id: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    title: str
    question: str
    who: str
    publisher: str
    publication: str
    licence: str
    access: Literal["published", "restricted", "local"]
    address: str
    folder: str
    release: str
    file: str
    level: Literal["Local authority", "National"]
    period_kind: PeriodKind
    periods: tuple[int, ...]
    symbols: dict[str, str]
    blocks: tuple[Block, ...]
    labels: dict[str, dict[str, str]] = Field(default_factory=dict)
    """For each stratum that isn't harmonised: the publisher's label, and the one that is shown."""
    ethnicity_level: Literal["minor", "major"] = "minor"
    references: dict[str, str] = Field(default_factory=dict)
    measures: tuple[Measure, ...]
    select: dict[str, str] = Field(default_factory=dict)
    areas: AreaFigures | None = None
    gradient: Gradient | None = None
    adjust_for: tuple[str, ...] = ()
    programme: Programme | None = None
    rounding: str = "The publisher doesn't round these counts."
    notes: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()

    @model_validator(mode="after")
    def parts_fit(self) -> GroupTable:
        strata = self.strata
        for name in strata:
            if name not in HARMONISED and name not in self.labels:
                raise ValueError(f"stratum '{name}' has no labels: list them under labels")
        for name in (*self.labels, *self.references, *self.adjust_for):
            if name not in strata:
                raise ValueError(f"'{name}' isn't a stratum of any block")
        if self.gradient is not None:
            shown = set(self.labels.get(self.gradient.stratum, {}).values())
            wrong = [name for name in self.gradient.order if name not in shown]
            if wrong:
                raise ValueError(f"gradient: '{wrong[0]}' isn't a label of '{self.gradient.stratum}'")
        if self.main.role != "outcome":
            raise ValueError("the first measure must be an outcome")
        ids = [measure.id for measure in self.measures]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"measure '{name}' is described twice")
        return self

    @cached_property
    def strata(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for block in self.blocks for name in block.strata))

    @property
    def main(self) -> Measure:
        """The measure that the report is about: the first."""
        return self.measures[0]

    @property
    def crossed(self) -> tuple[str, ...]:
        """The strata of the block that crosses most, or nothing where none are crossed."""
        largest = max((tuple(block.strata) for block in self.blocks), key=len)
        return largest if len(largest) > 1 else ()

    @property
    def by(self) -> tuple[str, ...]:
        """The strata whose gaps are shown: all but the one of the gradient and those only adjusted for."""
        ordered = self.gradient.stratum if self.gradient is not None else None
        return tuple(name for name in self.strata if name != ordered and name not in self.adjust_for)

    @property
    def source(self) -> str:
        return f"{self.publisher}, {self.publication}, {self.release}"


def read_group_tables(folder: Path) -> dict[str, GroupTable]:
    """Every table by group of a data catalogue, by its id.

    Raises DataError for a file that can't be read, or an id that is taken twice.
    """
    found: dict[str, GroupTable] = {}
    for path in sorted((folder / "groups").glob("*.yaml")):
        table = read_model(GroupTable, path)
        if table.id in found:
            raise DataError(f"{path.name}: the id '{table.id}' is taken by another file of data-catalog/groups.")
        found[table.id] = table
    return found


def find_group_table(folder: Path, name: str) -> GroupTable:
    """One table by group. Raises UsageError for a name that isn't there."""
    tables = read_group_tables(folder)
    if name.upper() not in tables:
        raise UsageError(f"There is no disparity report '{name}'.{did_you_mean(name.upper(), tables)}")
    return tables[name.upper()]
