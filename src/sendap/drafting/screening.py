"""Rules that the Department for Education screens its data files by, as far as a reader of the files depends on them.

Source: Department for Education, eesyscreener (its checks of columns, geography, time, symbols, metadata and
harmonised names) and the analysts' guide, "Open data standards".

One leniency: the bare words "ethnicity" (a column) and "Ethnicity" (a group of characteristics) are taken, because
files published before the standard use them and they leave nothing unclear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from sendap.drafting.opening import NULLS, Opened
from sendap.drafting.symbols import NOW, NULL, OBSOLETE, OLD
from sendap.errors import DataError, did_you_mean
from sendap.groups import read_ethnicity
from sendap.places import Places
from sendap.sources.ees.codes import CODE_OF_IDENTIFIER, LEVELS, SPANNING
from sendap.sources.tables import rows_in_words

REQUIRED = ("time_period", "time_identifier", "geographic_level", "country_code", "country_name")
META_REQUIRED = (
    "col_name", "col_type", "label", "indicator_grouping", "indicator_unit", "indicator_dp", "filter_hint",
    "filter_grouping_column",
)  # fmt: skip
UNITS = ("", "%", "pp", "£", "£m", "numberstring")
COUNTRIES = {
    "E92000001": "England", "K02000001": "United Kingdom", "K03000001": "Great Britain",
    "K04000001": "England and Wales", "N92000002": "Northern Ireland", "S92000003": "Scotland", "W92000004": "Wales",
}  # fmt: skip
REGIONS = {
    "E12000001": "North East", "E12000002": "North West", "E12000003": "Yorkshire and The Humber",
    "E12000004": "East Midlands", "E12000005": "West Midlands", "E12000006": "East of England", "E12000007": "London",
    "E12000008": "South East", "E12000009": "South West", "E13000001": "Inner London", "E13000002": "Outer London",
}  # fmt: skip
UNPLACED = ("x", "z", "")
PLACE_COLUMNS = frozenset(name for row in LEVELS.values() for name in row[1:] if name)
HARMONISED = {
    "ethnic": ("ethnicity_major", "ethnicity_minor", "ethnicity_detailed", "minority_ethnic", "ethnicity"),
    "sen_": ("sen_status", "sen_primary_need", "sen_secondary_need", "sen_provision"),
    "primary_need": ("sen_primary_need",),
    "secondary_need": ("sen_secondary_need",),
    "establishment_type": ("establishment_type", "establishment_type_group"),
    "provider_type": ("provider_type",),
}
ETHNIC_LABELS = frozenset({
    "Total", "Unknown", "White", "Mixed/Multiple ethnic groups", "Asian/Asian British",
    "Black/African/Caribbean/Black British", "Other ethnic group", "English/Welsh/Scottish/Northern Irish/British",
    "Irish", "Gypsy or Irish Traveller", "Roma", "Any other White background", "White and Black Caribbean",
    "White and Black African", "White and Asian", "Any other Mixed/Multiple ethnic background", "Indian", "Pakistani",
    "Bangladeshi", "Chinese", "Any other Asian background", "African", "Caribbean",
    "Any other Black/African/Caribbean background", "Arab", "Any other ethnic group",
})  # fmt: skip
"""The standard's words, whatever stands around a slash."""
ETHNIC_GROUPS = ("Ethnicity Major", "Ethnicity Minor", "Ethnicity Detailed", "Minority Ethnic")


@dataclass(frozen=True)
class Finding:
    """What breaks a rule: the rule's short name, what was found where, and whether it is grave."""

    rule: str
    text: str
    grave: bool = True


def is_published_layout(table: pd.DataFrame) -> bool:
    """Whether a table is meant to have the layout of the statistics service."""
    return {"time_period", "geographic_level"} <= set(table.columns)


def screen(opened: Opened, indicators: list[str], places: Places) -> list[Finding]:
    """Everything in a file of the service's layout that breaks a rule, graver ones first."""
    checks: tuple[Callable[[Opened, list[str], Places], Iterator[Finding]], ...] = (
        _required, _levels, _time, _country_and_region, _authorities, _copies, _symbols, _metadata, _names,
        _ethnic_groups,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(opened, indicators, places)]
    return sorted(found, key=lambda finding: not finding.grave)


def _listed(values: object, most: int = 4) -> str:
    names = [f"'{value}'" for value in values]  # type: ignore[attr-defined]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _required(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    missing = [name for name in REQUIRED if name not in opened.table.columns]
    if missing:
        yield Finding("required columns", f"the column {_listed(missing)} is missing; every file must have it.")


def _levels(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    table = opened.table
    known = {row[0]: row for row in LEVELS.values()}
    for label, rows in table.groupby("geographic_level", sort=True):
        if label not in known:
            yield Finding(
                "geographic level",
                f"column 'geographic_level', {rows_in_words(rows.index)}: found '{label}', which isn't a level."
                f"{did_you_mean(str(label), known)}",
            )
            continue
        wanted = [name for name in known[str(label)][1:3] if name]
        missing = [name for name in wanted if name not in table.columns and name not in REQUIRED]
        if missing:
            yield Finding("geographic columns", f"rows of level '{label}' need the column {_listed(missing)}.")
        for name in (each for each in wanted if each in table.columns):
            blank = rows.index[rows[name].str.strip() == ""]
            if len(blank):
                # Authorities abolished before 2009 were never given a nine-character code.
                yield Finding(
                    "geographic columns filled",
                    f"column '{name}', {rows_in_words(blank)}: blank in a row of level '{label}'.",
                )


def _time(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    table = opened.table
    if "time_identifier" not in table.columns:
        return
    spans = set()
    for (identifier, period), rows in table.groupby(["time_identifier", "time_period"], sort=True):
        code = CODE_OF_IDENTIFIER.get(str(identifier).strip().lower())
        where = rows_in_words(rows.index)
        if code is None:
            yield Finding(
                "time identifier",
                f"column 'time_identifier', {where}: found '{identifier}', not a kind of period.",
            )
            continue
        spans.add(code in SPANNING)
        digits = str(period).strip()
        fits = bool(re.fullmatch(r"\d{6}", digits)) and (int(digits[:4]) + 1) % 100 == int(digits[4:])
        if code in SPANNING and not fits:
            yield Finding(
                "time period",
                f"column 'time_period', {where}: found '{period}', expected six digits of two years that follow, as "
                f"202324, for '{identifier}'.",
            )
        elif code not in SPANNING and not re.fullmatch(r"\d{4}", digits):
            yield Finding(
                "time period",
                f"column 'time_period', {where}: found '{period}', expected four digits for '{identifier}'.",
            )
    if len(spans) > 1:
        yield Finding(
            "one kind of period", "years of four and of six digits stand in one file, so they can't be ordered."
        )


def _country_and_region(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    for prefix, known in (("country", COUNTRIES), ("region", REGIONS)):
        code_name, label_name = f"{prefix}_code", f"{prefix}_name"
        if not {code_name, label_name} <= set(opened.table.columns):
            continue
        for (code, label), rows in opened.table.groupby([code_name, label_name], sort=True):
            if str(code) in UNPLACED:
                continue
            if known.get(str(code), "").lower() != str(label).strip().lower():
                expected = f"'{known[str(code)]}'" if str(code) in known else f"a code such as {next(iter(known))}"
                yield Finding(
                    f"{prefix} code",
                    f"column '{code_name}', {rows_in_words(rows.index)}: found '{code}' with '{label}', expected "
                    f"{expected}.",
                )


def _authorities(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    if "new_la_code" not in opened.table.columns:
        return
    for code, rows in opened.table.groupby(opened.table["new_la_code"].str.strip(), sort=True):
        if str(code) in UNPLACED or all(part in places.by_code for part in str(code).split(" / ")):
            continue
        yield Finding(
            "local authority code",
            f"column 'new_la_code', {rows_in_words(rows.index)}: found '{code}', not a code of a local authority."
            f"{did_you_mean(str(code), places.by_code)}",
        )


def _copies(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    keys = [name for name in opened.table.columns if name not in indicators]
    copies = opened.table.index[opened.table.duplicated(keys, keep=False)]
    if len(copies):
        yield Finding("no row twice", f"{rows_in_words(copies)}: the same place, period and filters more than once.")


def _symbols(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    for name in indicators:
        for value in opened.signs(name).index:
            found.setdefault(str(value), []).append(name)
    in_meta = sorted(
        {value for value in opened.meta.to_numpy().ravel() if value in NULLS} if opened.meta is not None else set()
    )
    for rule, family, what in (
        ("no NULL or NA", NULL, "what programs write for nothing"),
        ("no old symbols", OLD, "old signs for no data"),
        ("no obsolete symbols", OBSOLETE, "obsolete signs"),
        ("no blanks", {"": ""}, "blanks"),
    ):
        here = [value for value in found if value in family]
        if here:
            columns = sorted({name for value in here for name in found[value]})
            yield Finding(
                rule,
                f"column {_listed(columns)}: found {_listed(here)}, {what}; the signs of today are {_listed(NOW, 9)}.",
            )
    if in_meta:
        yield Finding("no NULL or NA in metadata", f"the metadata hold {_listed(in_meta)}; leave such fields blank.")
    other = [value for value in found if value not in NOW | NULL | OLD | OBSOLETE and value != ""]
    if other:
        columns = sorted({name for value in other for name in found[value]})
        yield Finding("numbers in indicators", f"column {_listed(columns)}: found {_listed(other)}, expected numbers.")


def _metadata(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    meta = opened.meta
    if meta is None:
        return
    missing = [name for name in META_REQUIRED if name not in meta.columns]
    if missing:
        yield Finding("columns of the metadata", f"the metadata lack {_listed(missing)}.")
    names = list(meta["col_name"])
    strange = [name for name in names if name not in opened.table.columns]
    if strange:
        yield Finding(
            "metadata fit the data", f"the metadata describe {_listed(strange)}, which the file doesn't have."
        )
    groups = {opened.meta_of(name).get("filter_grouping_column", "") for name in names}
    told = {*names, *groups, *REQUIRED, *PLACE_COLUMNS}
    silent = [name for name in opened.table.columns if name not in told and opened.table[name].nunique() > 1]
    if silent:
        yield Finding("data fit the metadata", f"the metadata don't describe {_listed(silent)}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield Finding("metadata describe once", f"the metadata describe {_listed(twice)} more than once.")
    wrong = sorted({kind for kind in meta["col_type"] if kind not in ("Filter", "Indicator")})
    if wrong:
        yield Finding("kinds of column", f"col_type: found {_listed(wrong)}, expected Filter or Indicator.")
    units = sorted({opened.meta_of(name).get("indicator_unit", "") for name in names} - set(UNITS))
    if units:
        yield Finding(
            "units", f"indicator_unit: found {_listed(units)}, expected one of {_listed(UNITS[1:], 9)} or blank."
        )


def _names(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    if opened.meta is None:
        return
    named = [name for name in opened.meta["col_name"] if opened.meta_of(name).get("col_type") == "Filter"]
    named += [opened.meta_of(name).get("filter_grouping_column", "") for name in named]
    for pattern, standard in HARMONISED.items():
        wrong = sorted({name for name in named if pattern in name.lower() and not _is_standard(name)})
        if wrong:
            yield Finding(
                "harmonised names", f"the filter {_listed(wrong)} should be called one of {_listed(standard[:4])}."
            )


def _is_standard(name: str) -> bool:
    return any(name in standard for standard in HARMONISED.values())


def _ethnic_groups(opened: Opened, indicators: list[str], places: Places) -> Iterator[Finding]:
    table = opened.table
    if {"characteristic_group", "characteristic"} <= set(table.columns):
        ethnic = table[table["characteristic_group"].str.contains("ethnic", case=False)]
        wrong = [
            group for group in sorted(ethnic["characteristic_group"].unique())
            if group.strip() != "Ethnicity" and not any(standard in group for standard in ETHNIC_GROUPS)
        ]  # fmt: skip
        if wrong:
            yield Finding(
                "groups of characteristics",
                f"column 'characteristic_group': found {_listed(wrong)}, expected one of {_listed(ETHNIC_GROUPS)}.",
            )
        labels = ethnic.loc[
            ethnic["characteristic_group"].str.strip().isin(("Ethnicity", *ETHNIC_GROUPS)), "characteristic"
        ]
        yield from _ethnic_labels("characteristic", labels)
    for name in ("ethnicity_major", "ethnicity_minor", "ethnicity"):
        if name in table.columns:
            yield from _ethnic_labels(name, table[name])


def _ethnic_labels(name: str, labels: pd.Series) -> Iterator[Finding]:
    """Labels are read by meaning. One that isn't known is grave; one in other words than the standard's isn't."""
    unknown, drifted = [], []
    for label in sorted(labels.unique()):
        if re.sub(r"\s*/\s*", "/", label) in ETHNIC_LABELS:
            continue
        try:
            read_ethnicity(label)
        except DataError:
            unknown.append(label)
        else:
            drifted.append(label)
    if unknown:
        yield Finding("ethnic groups", f"column '{name}': found {_listed(unknown)}, which aren't known ethnic groups.")
    if drifted:
        yield Finding(
            "words for ethnic groups", f"column '{name}': {_listed(drifted)} aren't the standard's words.", grave=False
        )
