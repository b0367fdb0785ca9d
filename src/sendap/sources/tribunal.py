"""The table of appeals to the SEND Tribunal, as the Ministry of Justice lays it out.

Two rows of headings (years above, measures below), headings of regions between the rows, footnote digits
glued to names. The published table prints the three-digit codes of Central Bedfordshire and Cambridgeshire
swapped, so areas are found by name and the printed code is only kept to be looked at.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from sendap.errors import DataError, did_you_mean
from sendap.places import Places
from sendap.sources.tables import read_text

_MEASURES = {
    "appeals registered": "appeals_registered",
    "total appealable decisions": "appealable_decisions",
}


WIDEST = 200  # columns: three for each year, and then some


def _measure(heading: str) -> str | None:
    """The measure under a heading, without its footnotes. Figures "in development" are another method."""
    return _MEASURES.get(re.sub(r"[\d,]+$", "", heading.strip()).strip().lower())


def read_tribunal_table(path: Path, places: Places) -> pd.DataFrame:
    """One row an area and year: ``la_code, la_name, printed_code, year, appeals_registered,
    appealable_decisions``, as text.

    Raises DataError where the headings aren't found, or an area's name isn't known.
    """
    raw = read_text(path, header=None, names=range(WIDEST))
    raw = raw.fillna("").astype(str).apply(lambda column: column.str.strip())
    raw.index = pd.RangeIndex(1, len(raw) + 1, name="row")
    heads = raw.index[raw[0].str.lower() == "local authority"]
    if len(heads) != 1:
        raise DataError(
            f"{path.name}, column 1: found {len(heads)} rows that begin with 'Local Authority', expected one, with the "
            "years beside it. Download the table again as CSV."
        )
    if heads[0] == raw.index[-1]:
        raise DataError(f"{path.name}, row {heads[0]}: nothing follows the row of years. Download the table again.")
    years = raw.loc[heads[0]].where(raw.loc[heads[0]].str.fullmatch(r"20\d\d")).ffill()
    columns = {
        position: (str(year), measure)
        for position, (year, heading) in enumerate(zip(years, raw.loc[heads[0] + 1], strict=True))
        if isinstance(year, str) and (measure := _measure(heading)) is not None
    }
    if len(columns) < 2:
        raise DataError(
            f"{path.name}, row {heads[0] + 1}: found no columns of appeals and decisions under the years, expected "
            f"{' and '.join(repr(words) for words in _MEASURES)}. Download the table again as CSV."
        )
    for year in sorted({year for year, _ in columns.values()}):
        lacking = [words for words, measure in _MEASURES.items() if (year, measure) not in columns.values()]
        if lacking:
            raise DataError(
                f"{path.name}, row {heads[0] + 1}: found no column '{lacking[0]}' under {year}, expected one for each "
                "year. Download the table again as CSV."
            )
    body = raw.loc[heads[0] + 2 :]
    ends = body.index[body[0].str.lower().str.startswith(("england", "sources"))]
    areas = body.loc[: ends[0] - 1] if len(ends) else body
    # The heading of a region has a name and no figures.
    areas = areas[(areas[0] != "") & (areas[list(columns)] != "").any(axis=1)]
    codes = areas[0].map(places.code_of_name)
    if codes.isna().any():
        name = areas.loc[codes.isna(), 0].iloc[0]
        raise DataError(
            f"{path.name}, column 'Local Authority', row {codes.index[codes.isna()][0]}: found '{name}', expected the "
            "name of a local authority in data-catalog/codes/local-authorities.csv."
            f"{did_you_mean(name, [area.name for area in places.authorities])}"
        )
    parts = []
    for year in sorted({year for year, _ in columns.values()}):
        part = pd.DataFrame({"la_code": codes, "la_name": areas[0], "printed_code": areas[1], "year": year})
        for position, (column_year, measure) in columns.items():
            if column_year == year:
                part[measure] = areas[position]
        parts.append(part)
    table = pd.concat(parts)
    return table[["la_code", "la_name", "printed_code", "year", *_MEASURES.values()]]
