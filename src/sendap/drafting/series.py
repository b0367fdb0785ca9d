"""Series that a described file offers: each measure of its local authorities, in the rows that hold everyone.

Files hold totals beside their parts, so a series must say which rows it reads. The rows of everyone are those of a
filter's "Total" (or "All ..."), of a label that two filters share (a topic and its only category), or of a filter with
one label. What is chosen is always a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from sendap.catalog import Series
from sendap.datasets import Column
from sendap.errors import DataError
from sendap.periods import PeriodKind, parse_dfe, parse_lait
from sendap.places import Places

LEAST_COVERED = 0.9
_TOTAL = re.compile(r"(total|all|all pupils|all children)", re.IGNORECASE)
_ALL = re.compile(r"(all\b.*|.*\btotal|total\b.*)", re.IGNORECASE)


def identifier(text: str) -> str:
    """A name as series are called: lower case, words joined by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "series"


def rows_of_everyone(rows: pd.DataFrame, filters: list[str]) -> tuple[dict[str, str], list[str]]:
    """The label of each filter that holds everyone, as far as names tell; the most frequent label where they don't.

    Returns the labels, and the filters without a label of everyone.
    """
    chosen: dict[str, str] = {}
    without: list[str] = []
    for name in filters:
        if rows[name].nunique() == 1:
            chosen[name] = str(rows[name].iloc[0])
    left = [name for name in filters if name not in chosen]
    for position, first in enumerate(left):
        for second in left[position + 1 :]:
            same = rows.loc[rows[first].str.strip().str.lower() == rows[second].str.strip().str.lower(), first]
            if len(same) and first not in chosen and second not in chosen:
                chosen[first] = chosen[second] = str(same.value_counts().index[0])
    for name in (each for each in left if each not in chosen):
        labels = rows[name].value_counts()
        for pattern in (_TOTAL, _ALL):
            fits = [label for label in labels.index if pattern.fullmatch(str(label).strip())]
            if fits:
                chosen[name] = str(fits[0])
                break
        else:
            chosen[name] = str(labels.index[0])
            without.append(name)
    return {name: chosen[name] for name in filters}, without


def of_published_layout(
    table: pd.DataFrame, columns: Iterable[Column], filters: list[str], file: str, places: Places
) -> tuple[tuple[Series, ...], list[str]]:
    """A series for each measure of a file in the service's layout, and what is uncertain about them, in words.

    There are none, and the reason is given, where the file has no local authorities, names areas or periods that
    aren't known, or has several rows of everyone for an area and period.
    """
    lacking = [name for name in ("time_identifier", "new_la_code") if name not in table.columns]
    if lacking:
        return (), [f"No series are offered: the file has no column '{lacking[0]}'."]
    rows = table[table["geographic_level"] == "Local authority"]
    if rows.empty:
        return (), ["No series are offered: the file has no rows of local authorities."]
    codes = rows["new_la_code"].str.strip()
    unknown = codes[~codes.isin(places.by_code)]
    if len(unknown):
        return (), [
            f"No series are offered: {len(unknown):,} rows name no local authority that is known (found "
            f"'{unknown.iloc[0]}'). Add its code to data-catalog/codes, or take the rows out."
        ]
    try:
        kinds = {parse_dfe(*labels).kind for labels in rows.groupby(["time_period", "time_identifier"]).groups}
    except DataError as error:
        return (), [f"No series are offered: {error}"]
    if len(kinds) > 1:
        return (), ["No series are offered: the file holds several kinds of period."]
    select, without = rows_of_everyone(rows, filters)
    kept = rows[(rows[list(select)] == pd.Series(select)).all(axis=1)] if select else rows
    keys = pd.DataFrame({"area": places.canonical(kept["new_la_code"], where=file), "period": kept["time_period"]})
    if keys.empty or keys.duplicated().any():
        return (), ["No series are offered: no choice of labels leaves one row for each area and period."]
    every = pd.DataFrame({"area": codes, "period": rows["time_period"]}).drop_duplicates()
    if len(keys) < LEAST_COVERED * len(every):
        return (), [
            f"No series are offered: rows where {_said(select)} cover {len(keys):,} of "
            f"{len(every):,} areas and periods."
        ]
    notes = [f"Series are read from the rows where {_said(select)}: is that everyone?"] if select else []
    if without:
        said = _said({name: select[name] for name in without})
        notes = [f"Series are read from the rows where {_said(select)}. No label is of everyone where {said}."]
    made = [
        Series(
            id=identifier(column.name), file=file, label=column.label, unit=column.unit or "number",
            period_kind=next(iter(kinds)), select=select, value=column.name,
        )
        for column in columns
    ]  # fmt: skip
    return tuple(_unlike(made)), notes


def _said(select: dict[str, str]) -> str:
    return ", ".join(f"{name} is '{label}'" for name, label in select.items())


def _unlike(series: list[Series]) -> list[Series]:
    """Series whose names differ only in case or signs get a number, so that each has a name of its own."""
    seen: dict[str, int] = {}
    named = []
    for each in series:
        seen[each.id] = seen.get(each.id, 0) + 1
        named.append(each if seen[each.id] == 1 else each.model_copy(update={"id": f"{each.id}_{seen[each.id]}"}))
    return named


def of_the_tool(table: pd.DataFrame, file: str) -> tuple[tuple[Series, ...], list[str]]:
    """A series for each indicator of the Local Authority Interactive Tool whose labels name single years."""
    made, without = [], []
    for name, rows in table.groupby("Short Desc", sort=True):
        try:
            kinds = {parse_lait(*labels).kind for labels in rows.groupby(["Years", "Year_Type"]).groups}
        except DataError:
            kinds = set()
        if len(kinds) != 1:
            without.append(str(name))
            continue
        percent = "%" in str(rows["Data item"].iloc[0]) or "percentage" in str(rows["Data item"].iloc[0]).lower()
        made.append(
            Series(
                id=identifier(str(name)), file=file, label=str(rows["Data item"].iloc[0]).strip(),
                unit="per cent" if percent else "number", period_kind=PeriodKind(next(iter(kinds))),
                select={"Short Desc": str(name)}, value="Values",
            )
        )  # fmt: skip
    notes = ["The unit of each series."]
    if without:
        notes.append(f"{len(without)} indicators have labels that name no single year, so they aren't offered.")
    return tuple(_unlike(made)), notes
