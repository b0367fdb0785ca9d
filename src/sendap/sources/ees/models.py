"""Answers of the API as typed models. Keys that aren't used here are passed over, so that new ones do no harm."""

from __future__ import annotations

from functools import cached_property

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Paging(Answer):
    page: int
    page_size: int
    total_results: int
    total_pages: int


class Publication(Answer):
    id: str
    title: str
    slug: str
    summary: str = ""
    last_published: str = ""


class TimeSpan(Answer):
    start: str
    end: str


class Release(Answer):
    title: str = ""
    slug: str = ""


class Version(Answer):
    """One version of a data set. ``number`` is ``1.0``, ``2.1`` or ``2.1.1``."""

    number: str = Field(validation_alias="version")
    published: str | None = None
    type: str = ""
    status: str = ""
    notes: str = ""
    total_results: int | None = None
    time_periods: TimeSpan | None = None
    geographic_levels: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    indicators: tuple[str, ...] = ()
    release: Release | None = None

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.number.split(".") if part.isdigit())


class DataSet(Answer):
    id: str
    title: str
    summary: str = ""
    status: str = ""
    superseding_data_set_id: str | None = None
    latest_version: Version | None = None


class FilterOption(Answer):
    id: str
    label: str
    is_aggregate: bool = False


class Filter(Answer):
    id: str
    column: str = ""
    label: str
    hint: str = ""
    options: tuple[FilterOption, ...]


class Indicator(Answer):
    id: str
    column: str = ""
    label: str
    unit: str | None = ""
    decimal_places: int | None = None


class Level(Answer):
    code: str
    label: str = ""


class LocationOption(Answer):
    """A place. The older documentation prints ``name`` where the service writes ``label``."""

    id: str
    label: str = Field(validation_alias=AliasChoices("label", "name"))
    code: str | None = None
    old_code: str | None = None
    urn: str | None = None
    la_estab: str | None = None
    ukprn: str | None = None


class LocationGroup(Answer):
    level: Level
    options: tuple[LocationOption, ...]


class TimePeriod(Answer):
    code: str
    period: str
    label: str = ""


class Meta(Answer):
    """What a version holds: the ids that queries name, with their labels and columns."""

    filters: tuple[Filter, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    geographic_levels: tuple[Level, ...] = ()
    locations: tuple[LocationGroup, ...] = ()
    time_periods: tuple[TimePeriod, ...] = ()

    @cached_property
    def options(self) -> dict[str, tuple[Filter, FilterOption]]:
        return {option.id: (each, option) for each in self.filters for option in each.options}

    @cached_property
    def indicator_by_id(self) -> dict[str, Indicator]:
        return {indicator.id: indicator for indicator in self.indicators}

    @cached_property
    def place_by_id(self) -> dict[tuple[str, str], LocationOption]:
        return {(group.level.code, place.id): place for group in self.locations for place in group.options}


class Row(Answer):
    """One result. Ids everywhere; values are text, because symbols stand among them."""

    time_period: TimePeriod
    geographic_level: str
    locations: dict[str, str]
    filters: dict[str, str]
    values: dict[str, str]


class Warned(Answer):
    message: str = ""
    code: str = ""
    path: str | None = None
    detail: object = None


class QueryPage(Answer):
    paging: Paging
    warnings: tuple[Warned, ...] = ()
    results: tuple[Row, ...] = ()


class PublicationPage(Answer):
    paging: Paging
    results: tuple[Publication, ...]


class DataSetPage(Answer):
    paging: Paging
    results: tuple[DataSet, ...]


class VersionPage(Answer):
    paging: Paging
    results: tuple[Version, ...]
