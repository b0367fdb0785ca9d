"""From ids of the API to labels, and from labels to the columns of the catalogue, and back.

Rows of a query come out in the columns of the CSV file of the same data set, so that the readers of ``sendap`` take
them as they take a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import pandas as pd

from sendap.catalog import Series
from sendap.errors import DataError, UsageError, did_you_mean
from sendap.sources.ees.codes import CODE_OF_IDENTIFIER, LEVELS, TIME_CODES, api_period, csv_period
from sendap.sources.ees.models import Filter, LocationOption, Meta, Row
from sendap.sources.ees.query import Among, And, Criteria, Facets, Levels, Query, Time

Key = TypeVar("Key")
Value = TypeVar("Value")


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


class Names:
    """The ids of one version of a data set, by column and label as the catalogue knows them."""

    def __init__(self, meta: Meta):
        self.meta = meta

    def filter(self, column: str) -> Filter:
        """The filter of a CSV column, or of a label. Raises UsageError for one that isn't there."""
        for each in self.meta.filters:
            if column == each.column or _plain(column) == _plain(each.label):
                return each
        raise UsageError(
            f"The data set has no filter '{column}'.{did_you_mean(column, [each.column for each in self.meta.filters])}"
        )

    def option(self, column: str, label: str) -> str:
        """The id of an option, whatever the case and spacing of its label."""
        options = self.filter(column).options
        for option in options:
            if _plain(option.label) == _plain(label):
                return option.id
        raise UsageError(
            f"The filter '{column}' has no option '{label}'.{did_you_mean(label, [option.label for option in options])}"
        )

    def indicator(self, column: str) -> str:
        for each in self.meta.indicators:
            if column == each.column or _plain(column) == _plain(each.label):
                return each.id
        raise UsageError(
            f"The data set has no indicator '{column}'."
            f"{did_you_mean(column, [each.column for each in self.meta.indicators])}"
        )

    def time(self, time_period: str, time_identifier: str) -> Time:
        """The period of the two time columns of a CSV file. Raises UsageError for an identifier that isn't known."""
        code = CODE_OF_IDENTIFIER.get(_plain(time_identifier))
        if code is None:
            raise UsageError(
                f"time_identifier '{time_identifier}' isn't known.{did_you_mean(time_identifier, TIME_CODES.values())}"
            )
        return Time(period=api_period(time_period), code=code)

    def of_series(self, series: Series, level: str = "LA") -> Query:
        """The query of a series of the catalogue: its selected rows at one level, and the columns it is read from.

        ``select`` may name columns that the service folds into another filter (the group of a characteristic); they
        are passed over where the service has no such filter and another column is selected.
        """
        held = {each.column for each in self.meta.filters}
        chosen = {column: label for column, label in series.select.items() if column in held}
        if series.select and not chosen:
            self.filter(next(iter(series.select)))
        parts: list[Criteria] = [Facets(geographic_levels=Levels(eq=level))]
        parts += [Facets(filters=Among(eq=self.option(column, label))) for column, label in chosen.items()]
        columns = [name for name in (series.value, series.numerator, series.denominator) if name is not None]
        return Query(criteria=And(all=tuple(parts)), indicators=tuple(self.indicator(name) for name in columns))


def _places(row: Row, meta: Meta) -> dict[str, str]:
    found: dict[str, str] = {}
    for level, place_id in row.locations.items():
        place = _held(meta.place_by_id, (level, place_id), f"location '{place_id}' of level {level}")
        _, code_column, name_column, second_column = _held(LEVELS, level, f"geographic level '{level}'")
        if code_column:
            found[code_column] = _code(place)
        found[name_column] = place.label
        if second_column:
            found[second_column] = place.old_code or place.la_estab or ""
    return found


def _code(place: LocationOption) -> str:
    return place.code or place.urn or place.ukprn or ""


def _held(known: Mapping[Key, Value], key: Key, what: str) -> Value:
    if key not in known:
        raise DataError(f"The service names {what}, which its metadata lack.")
    return known[key]


def to_table(rows: Iterable[Row], meta: Meta) -> pd.DataFrame:
    """Rows of a query as text in the columns of a CSV file: time, place, filters, indicators.

    Shape: one row a result; a column of a place that no row has is left out, and is blank where one row lacks it.
    Raises DataError for an id that the metadata lack.
    """
    records = []
    for row in rows:
        time = row.time_period
        record = {
            "time_period": csv_period(time.period),
            "time_identifier": _held(TIME_CODES, time.code, f"kind of period '{time.code}'"),
            "geographic_level": _held(LEVELS, row.geographic_level, f"geographic level '{row.geographic_level}'")[0],
            **_places(row, meta),
        }
        for filter_id, option_id in row.filters.items():
            held, option = _held(meta.options, option_id, f"option '{option_id}' of filter '{filter_id}'")
            record[held.column or held.label] = option.label
        for indicator_id, value in row.values.items():
            indicator = _held(meta.indicator_by_id, indicator_id, f"indicator '{indicator_id}'")
            record[indicator.column or indicator.label] = value
        records.append(record)
    return pd.DataFrame(records, dtype=str).fillna("")
