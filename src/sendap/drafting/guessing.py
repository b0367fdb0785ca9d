"""What a column is, guessed from its metadata, its name and its values."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from sendap.datasets import Column
from sendap.drafting.opening import CODE, Opened
from sendap.drafting.screening import PLACE_COLUMNS, REQUIRED
from sendap.drafting.symbols import KNOWN, as_numbers
from sendap.sources.ees.codes import LEVELS

MOST_CODES = 60
MOST_STRANGE = 3
SEEN = 200
LABELS = {
    "time_period": "Year, four digits, or six for a year that spans two",
    "time_identifier": "Kind of period",
    "geographic_level": "Level of the area",
    "country_code": "Country code",
    "country_name": "Country",
    "region_code": "Region code",
    "region_name": "Region",
    "new_la_code": "Nine-character area code",
    "old_la_code": "Three-digit area code",
    "la_name": "Area",
}
UNITS = {"%": "per cent", "£": "pounds", "£m": "million pounds", "pp": "percentage points", "numberstring": ""}
_SHARE = re.compile(r"(_|\b)(percent(age)?|pc|pct|rate|proportion)(_|\b)|%", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(^|[_ ])(code|id|urn|ukprn|laestab|number_code)s?$", re.IGNORECASE)
_FIXED = {*PLACE_COLUMNS, *REQUIRED, "year", "years"}


@dataclass(frozen=True)
class Guessed:
    """A column, whether it is measured (an indicator), and what of it is only guessed, in words (empty: nothing)."""

    column: Column
    measured: bool
    guess: str = ""


def in_words(name: str) -> str:
    words = " ".join(re.sub(r"[_\s]+", " ", name).split())
    return words[:1].upper() + words[1:] if words else name


def guess_column(opened: Opened, name: str) -> Guessed:
    """The description of one column of an opened file."""
    values = opened.table[name].fillna("").astype(str)
    told = opened.meta_of(name)
    label = told.get("label") or LABELS.get(name) or in_words(name)
    if not opened.header:
        label = f"Looks like {_looks_like(values)}"
    if name in _FIXED or _IDENTIFIER.search(name):
        codes = tuple(sorted(values.unique())) if name == "geographic_level" else ()
        return Guessed(
            Column(name=name, type="text" if name.endswith("_name") else "code", label=label, codes=codes), False
        )
    strange = opened.signs(name)
    measured = told["col_type"] == "Indicator" if told.get("col_type") else _is_measured(values, strange)
    if measured and not _can_be_read(values, strange):
        return Guessed(
            Column(name=name, type="text", label=label),
            False,
            f"'{name}' holds text although it is called an indicator",
        )
    guess = "" if told.get("col_type") else f"'{name}' is {'a measure' if measured else 'a label'}"
    if not measured:
        labels = sorted(values.unique())
        listed = tuple(labels) if opened.header and len(labels) <= MOST_CODES and _repeats(values) else ()
        return Guessed(Column(name=name, type="code", label=label, codes=listed), False, guess)
    return Guessed(_measure(name, label, values, told), True, guess)


def _measure(name: str, label: str, values: pd.Series, told: dict[str, str]) -> Column:
    numbers = as_numbers(pd.Series(values.unique()))
    share = told["indicator_unit"] == "%" if told.get("indicator_unit") else bool(_SHARE.search(f"{name} {label}"))
    whole = bool((numbers.dropna() % 1 == 0).all()) and not share
    unit = UNITS.get(told.get("indicator_unit", ""), "") or ("per cent" if share else "count" if whole else "")
    low = 0.0 if numbers.notna().any() and numbers.min() >= 0 else None
    return Column(name=name, type="integer" if whole else "number", label=label, unit=unit, minimum=low)


def _is_measured(values: pd.Series, strange: pd.Series) -> bool:
    """Numbers for the most part, with few other signs; or nothing but the signs for no data."""
    others = [value for value in strange.index if value not in KNOWN]
    numbers = len(values) - int(strange.sum())
    if numbers == 0:
        return not others and any(value != "" for value in strange.index)
    return len(others) <= MOST_STRANGE and int(strange[others].sum()) * 2 < numbers


def _can_be_read(values: pd.Series, strange: pd.Series) -> bool:
    return sum(value not in KNOWN for value in strange.index) <= MOST_STRANGE


def _repeats(values: pd.Series) -> bool:
    return values.nunique() * 2 <= len(values)


def _looks_like(values: pd.Series) -> str:
    """What the values of a column without a heading look like, in words."""
    found = values.str.strip()
    some = found[found != ""].drop_duplicates().head(SEEN)
    if some.empty:
        return "nothing: it is blank"
    if some.isin([row[0] for row in LEVELS.values()]).all():
        return "geographic_level"
    if some.str.fullmatch(r"(Academic|Calendar|Financial|Reporting|Tax) year").all():
        return "time_identifier"
    if some.str.fullmatch(CODE).all():
        start = {"E92": "country_code", "E12": "region_code", "E13": "region_code"}.get(str(some.iloc[0])[:3])
        return start or "new_la_code"
    if some.str.fullmatch(r"20\d{4}|(19|20)\d\d").all():
        return "time_period"
    if pd.to_numeric(some, errors="coerce").notna().all():
        return "numbers"
    if len(some) == SEEN:
        return "text"
    shown = ", ".join(f"'{value}'" for value in some.head(3))
    return f"labels such as {shown}"
