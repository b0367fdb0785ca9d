"""Queries of a data set: typed, checked against its metadata before anything is sent.

Criteria nest: ``And``, ``Or`` and ``Not`` hold further criteria, ``Facets`` hold the conditions themselves. The JSON
of a query is that of the service, so that ``Query.model_validate_json(query.to_json())`` gives the same query again.

    latest = Facets(geographic_levels=Among(eq="LA"), time_periods=Times(eq=Time(period="2022/2023", code="AY")))
    Query(criteria=And(all=[latest, Not(none=Facets(filters=Among(eq="1oX7c")))]), indicators=["04nTr"])
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from sendap.errors import UsageError, did_you_mean
from sendap.sources.ees.codes import LEVELS, SPANNING, TIME_CODES
from sendap.sources.ees.models import Meta

LARGEST_PAGE = 10_000
LONGEST_CODE = 30

Value = TypeVar("Value")


class Part(BaseModel):
    """A part of a query: unknown keys are refused, and an empty part says so."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class _Comparison(Part, Generic[Value]):
    eq: Value | None = None
    not_eq: Value | None = None
    in_: Annotated[tuple[Value, ...], Field(min_length=1)] | None = Field(default=None, alias="in")
    not_in: Annotated[tuple[Value, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def says_something(self) -> _Comparison[Value]:
        if next(self.values(), None) is None:
            raise ValueError(f"give one of {', '.join(field.alias for field in type(self).model_fields.values())}")
        return self

    def values(self) -> Iterator[Value]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple):
                yield from value
            elif value is not None:
                yield value


Text = Annotated[str, Field(min_length=1)]
Id = Annotated[str, Field(min_length=1, pattern=r"^\S+$")]
LevelCode = Literal[tuple(LEVELS)]  # type: ignore[valid-type]
TimeCode = Literal[tuple(TIME_CODES)]  # type: ignore[valid-type]


class Among(_Comparison[Id]):
    """Equal to, not equal to, in or not in ids of filter options."""


class Levels(_Comparison[LevelCode]):
    """The same of geographic levels, by code."""


class Place(Part):
    """A location: its level, and one property that names it."""

    level: LevelCode
    id: Text | None = None
    code: Annotated[str, Field(min_length=1, max_length=LONGEST_CODE)] | None = None
    old_code: Annotated[str, Field(min_length=1, max_length=10)] | None = None
    urn: Text | None = None
    la_estab: Text | None = None
    ukprn: Text | None = None

    @model_validator(mode="after")
    def is_named_once(self) -> Place:
        if sum(value is not None for value in self._names().values()) != 1:
            raise ValueError("name a location by one of id, code, oldCode, urn, laEstab, ukprn")
        return self

    def _names(self) -> dict[str, str | None]:
        return {name: getattr(self, name) for name in ("id", "code", "old_code", "urn", "la_estab", "ukprn")}

    @property
    def named(self) -> tuple[str, str]:
        """The property that names it, and its value."""
        return next((name, value) for name, value in self._names().items() if value is not None)


class Places(_Comparison[Place]):
    """The same of locations."""


class Time(Part):
    """A period: ``2022`` or, for years that span two, ``2022/2023``; and the code of its kind."""

    period: Annotated[str, Field(pattern=r"^\d{4}(/\d{4})?$")]
    code: TimeCode

    @model_validator(mode="after")
    def years_follow(self) -> Time:
        first, _, second = self.period.partition("/")
        if second and int(second) != int(first) + 1:
            raise ValueError(f"'{self.period}': the second year must follow the first")
        if second and self.code not in SPANNING:
            raise ValueError(f"'{self.period}': {TIME_CODES[self.code]} is named by one year")
        return self

    @property
    def key(self) -> tuple[str, str]:
        return self.period[:4], self.code


class Times(_Comparison[Time]):
    """The same of periods, which have an order besides."""

    gt: Time | None = None
    gte: Time | None = None
    lt: Time | None = None
    lte: Time | None = None


class Facets(Part):
    """Conditions that must all hold."""

    filters: Among | None = None
    geographic_levels: Levels | None = None
    locations: Places | None = None
    time_periods: Times | None = None

    @model_validator(mode="after")
    def is_not_empty(self) -> Facets:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("give at least one of filters, geographicLevels, locations, timePeriods")
        return self


class And(Part):
    all: Annotated[tuple[Criteria, ...], Field(min_length=1)] = Field(alias="and")


class Or(Part):
    any: Annotated[tuple[Criteria, ...], Field(min_length=1)] = Field(alias="or")


class Not(Part):
    none: Criteria = Field(alias="not")


Criteria = And | Or | Not | Facets
_SORT = re.compile(r"timePeriod|geographicLevel|location\|[A-Z]+|(filter|indicator)\|\S+")


class Sort(Part):
    field: str
    direction: Literal["Asc", "Desc"] = "Asc"

    @model_validator(mode="after")
    def field_is_known(self) -> Sort:
        if not _SORT.fullmatch(self.field):
            raise ValueError("sort by timePeriod, geographicLevel, location|LEVEL, filter|id or indicator|id")
        return self


class Query(Part):
    """A whole query. Without ``indicators``, all of them."""

    criteria: Criteria | None = None
    indicators: Annotated[tuple[Id, ...], Field(min_length=1)] | None = None
    sorts: tuple[Sort, ...] = ()
    debug: bool = False
    page: Annotated[int, Field(ge=1)] = 1
    page_size: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 1000

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_none=True)

    def on_page(self, number: int) -> Query:
        return self.model_copy(update={"page": number})


for _model in (And, Or, Not, Query):
    _model.model_rebuild()


def facets_of(criteria: Criteria | None) -> Iterator[Facets]:
    """Every condition of criteria, however deep."""
    if isinstance(criteria, Facets):
        yield criteria
    elif isinstance(criteria, (And, Or)):
        for part in criteria.all if isinstance(criteria, And) else criteria.any:
            yield from facets_of(part)
    elif isinstance(criteria, Not):
        yield from facets_of(criteria.none)


def check_query(query: Query, meta: Meta) -> None:
    """Refuse a query that names what the data set doesn't hold, before it is sent.

    Raises UsageError with everything that isn't known, each with the nearest name that is.
    """
    problems: list[str] = []

    def known(what: str, found: str, allowed: object) -> None:
        names = {str(name) for name in allowed}  # type: ignore[attr-defined]
        if found not in names:
            problems.append(f"there is no {what} '{found}'.{did_you_mean(found, names)}")

    levels = {level.code for level in meta.geographic_levels} | {group.level.code for group in meta.locations}
    for facets in facets_of(query.criteria):
        for option in facets.filters.values() if facets.filters else ():
            known("filter option", option, meta.options)
        for level in facets.geographic_levels.values() if facets.geographic_levels else ():
            known("geographic level", level, levels)
        for place in facets.locations.values() if facets.locations else ():
            _check_place(place, meta, problems)
        if facets.time_periods is not None:
            for time in (facets.time_periods.eq, *(facets.time_periods.in_ or ())):
                if time is not None and time.key not in {(each.period[:4], each.code) for each in meta.time_periods}:
                    held = ", ".join(sorted(f"{each.period} {each.code}" for each in meta.time_periods))
                    problems.append(f"there is no period {time.period} {time.code}. It holds {held}.")
    for indicator in query.indicators or ():
        known("indicator", indicator, meta.indicator_by_id)
    for sort in query.sorts:
        kind, _, name = sort.field.partition("|")
        if kind == "filter":
            known("filter to sort by", name, [each.id for each in meta.filters])
        elif kind == "indicator":
            known("indicator to sort by", name, meta.indicator_by_id)
        elif kind == "location":
            known("level to sort by", name, levels)
    if problems:
        raise UsageError("The query can't be asked of this data set: " + " ".join(dict.fromkeys(problems)))


def _check_place(place: Place, meta: Meta, problems: list[str]) -> None:
    group = next((group for group in meta.locations if group.level.code == place.level), None)
    if group is None:
        problems.append(f"there are no locations of level {place.level}.")
        return
    name, value = place.named
    held = {str(getattr(each, name)) for each in group.options if getattr(each, name) is not None}
    if value not in held:
        problems.append(f"no location of level {place.level} has {name} '{value}'.{did_you_mean(value, held)}")
