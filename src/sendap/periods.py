"""Time labels of published statistics, and the months they cover.

SEN2 counts calendar years, the school census school years, spend financial years. Labels that look alike
cover different months, so nothing here compares labels: a period knows its months.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sendap.errors import DataError


class PeriodKind(StrEnum):
    CALENDAR = "calendar year"
    ACADEMIC = "academic year"
    FINANCIAL = "financial year"


FIRST_MONTH = {PeriodKind.CALENDAR: 1, PeriodKind.ACADEMIC: 9, PeriodKind.FINANCIAL: 4}

MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month. ``index`` counts months since year 0, so that months can be subtracted."""

    index: int

    @classmethod
    def of(cls, year: int, month: int) -> Month:
        return cls(year * 12 + month - 1)

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read ``2023-09``. A bare year, ``2022``, is taken as its January.

        Raises DataError for anything else.
        """
        match = re.fullmatch(r"(\d{4})(?:-(0[1-9]|1[0-2]))?", str(text).strip())
        if not match:
            raise DataError(f"'{text}' isn't a month. Write it as year and month, for example 2023-09.")
        return cls.of(int(match[1]), int(match[2] or 1))

    @property
    def year(self) -> int:
        return self.index // 12

    @property
    def month(self) -> int:
        return self.index % 12 + 1

    def __sub__(self, other: Month) -> int:
        return self.index - other.index

    def plus(self, months: int) -> Month:
        return Month(self.index + months)

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02d}"

    @property
    def words(self) -> str:
        return f"{MONTH_NAMES[self.month - 1]} {self.year}"


@dataclass(frozen=True, order=True)
class Period:
    """A year of one kind, named by the calendar year in which it starts."""

    kind: PeriodKind
    year: int

    @property
    def label(self) -> str:
        """``2024``, ``2023/24`` (school year) or ``2023-24`` (financial year)."""
        return period_label(self.year, self.kind)

    def window(self, measured: tuple[int, int] | None = None) -> tuple[Month, Month]:
        """First and last month in which the figure is measured.

        ``measured`` gives them as month numbers inside the period, for figures of a moment: ``(1, 1)`` for
        the January census of a school year, ``(5, 5)`` for key stage 2 tests. Without it, the whole period.
        """
        first = FIRST_MONTH[self.kind]
        start = Month.of(self.year, first)
        if measured is None:
            return start, start.plus(11)
        opens, closes = (start.plus((month - first) % 12) for month in measured)
        return opens, closes


def period_label(year: int, kind: PeriodKind | str) -> str:
    kind = PeriodKind(kind)
    if kind is PeriodKind.CALENDAR:
        return f"{year}"
    separator = "/" if kind is PeriodKind.ACADEMIC else "-"
    return f"{year}{separator}{(year + 1) % 100:02d}"


_IDENTIFIERS = {
    "calendar year": PeriodKind.CALENDAR,
    "reporting year": PeriodKind.CALENDAR,
    "academic year": PeriodKind.ACADEMIC,
    "financial year": PeriodKind.FINANCIAL,
    "tax year": PeriodKind.FINANCIAL,
}


def parse_dfe(time_period: str, time_identifier: str) -> Period:
    """A period from the two time columns of a Department for Education file.

    Four digits name a calendar or reporting year, six consecutive digits (``202324``) a year that spans two.

    Raises DataError where the two columns don't fit together.
    """
    kind = _IDENTIFIERS.get(str(time_identifier).strip().lower())
    if kind is None:
        raise DataError(
            f"time_identifier '{time_identifier}' isn't known. Expected one of: {', '.join(sorted(_IDENTIFIERS))}."
        )
    text = str(time_period).strip()
    if re.fullmatch(r"\d{6}", text):
        year, second = int(text[:4]), int(text[4:])
        if kind is PeriodKind.CALENDAR or (year + 1) % 100 != second:
            raise DataError(f"time_period '{text}' doesn't fit time_identifier '{time_identifier}'.")
        return Period(kind, year)
    if re.fullmatch(r"\d{4}", text) and kind is PeriodKind.CALENDAR:
        return Period(kind, int(text))
    raise DataError(f"time_period '{text}' doesn't fit time_identifier '{time_identifier}'.")


_LAIT_KINDS = {
    "calendar year": PeriodKind.CALENDAR,
    "academic year": PeriodKind.ACADEMIC,
    "annual - january": PeriodKind.ACADEMIC,
    "financial year": PeriodKind.FINANCIAL,
}
_MARKER = re.compile(r"\s*\((?:Rev|prov|OT|BUD|[A-Za-z]{1,5})\)\s*$", re.IGNORECASE)


def parse_lait(years: str, year_type: str) -> Period:
    """A period from the ``Years`` and ``Year_Type`` columns of the Local Authority Interactive Tool.

    A bare year names the year in which a school or financial year *ends* (2024 is 2023/24), and markers such
    as ``(Rev)`` or ``(OT)`` follow some labels. Both were checked against the publishers' own tables.

    Raises DataError for labels that name no single year (``2014-16``, ``0``).
    """
    kind = _LAIT_KINDS.get(str(year_type).strip().lower())
    text = _MARKER.sub("", str(years).strip())
    if kind is None:
        raise DataError(f"Year_Type '{year_type}' isn't known. Expected one of: {', '.join(sorted(_LAIT_KINDS))}.")
    spans = re.fullmatch(r"(\d{4})-(\d{2})", text)
    if spans and kind is not PeriodKind.CALENDAR and (int(spans[1]) + 1) % 100 == int(spans[2]):
        return Period(kind, int(spans[1]))
    if re.fullmatch(r"(19|20)\d{2}", text):
        return Period(kind, int(text) if kind is PeriodKind.CALENDAR else int(text) - 1)
    raise DataError(f"Years '{years}' doesn't name one {kind.value}.")
