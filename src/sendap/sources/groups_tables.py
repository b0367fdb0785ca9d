"""A published table by group, from its publisher's file to tidy counts: one row an area, period, group and measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sendap import groups
from sendap.errors import DataError, did_you_mean
from sendap.files import sha256
from sendap.periods import parse_dfe
from sendap.places import Places
from sendap.sources.group_catalog import Block, GroupTable, Measure
from sendap.sources.locate import locate
from sendap.sources.tables import check_key, read_text, rows_in_words, to_numbers

ENGLAND = "England"
COUNTS = ("numerator", "denominator")
GONE = "unknown"


@dataclass(frozen=True)
class GroupCounts:
    """A table by group as read.

    ``frame``: ``measure, area, period``, one column for each stratum (``groups.EVERYONE`` where the row's block doesn't
    hold it), ``numerator, denominator`` and ``reason`` where a count is missing. ``areas``: counts of the first measure
    by area without any stratum, from another file, or None. ``england``: the publisher's own figures for England in the
    same shape as ``frame``, to check sums against, or empty. ``names``: ``area, name, region``. ``digests`` name the
    files that were read, with their hashes.
    """

    table: GroupTable
    frame: pd.DataFrame
    areas: pd.DataFrame | None
    england: pd.DataFrame
    names: pd.DataFrame
    digests: dict[str, str]


def group_files(table: GroupTable, data_dir: Path) -> list[Path]:
    """The files that a table is read from. Raises DataError for one that isn't there."""
    wanted = [table.file] + ([table.areas.file] if table.areas is not None else [])
    return [locate(table, name, data_dir) for name in wanted]  # type: ignore[arg-type]


def read_group_table(table: GroupTable, places: Places, data_dir: Path) -> GroupCounts:
    """Read one table by group.

    An area keeps the code of today where only its code has changed. Areas that were abolished since stay as they were,
    so that England is whole in every year.

    Raises DataError for a missing file or column, a label that isn't described, text in a count, a numerator over its
    denominator, a repeated group, or a year without a row.
    """
    paths = group_files(table, data_dir)
    text = _chosen(_text(paths[0], table), table.select, paths[0])
    text = text[text["_period"].isin(table.periods)]
    lacking = [year for year in table.periods if not (text["_period"] == year).any()]
    if lacking:
        raise DataError(
            f"{paths[0].name} has no row for {lacking[0]}, which data-catalog/groups expects of {table.id}. Correct "
            "periods there, or download the file again."
        )
    levels = text["geographic_level"].str.strip()
    frame = _counts(text[levels == table.level], table, places, paths[0])
    england = frame.iloc[:0]
    if table.level != "National" and (levels == "National").any():
        england = _counts(text[levels == "National"], table, places, paths[0])
    areas = None
    if table.areas is not None:
        other = _chosen(_text(paths[1], table), table.areas.select, paths[1])
        local = other["geographic_level"].str.strip() == "Local authority"
        other = other[local & other["_period"].isin(table.periods)]
        areas = _measured(other, table.main, _areas(other, places, paths[1]), {}, table, paths[1])
    return GroupCounts(
        table=table,
        frame=frame,
        areas=areas,
        england=england,
        names=_names([frame, areas], places),
        digests={path.name: sha256(path) for path in paths},
    )


def _text(path: Path, table: GroupTable) -> pd.DataFrame:
    frame = read_text(path)
    for column in ("time_period", "geographic_level"):
        if column not in frame.columns:
            raise DataError(f"{path.name} lacks the column '{column}'.{did_you_mean(column, frame.columns)}")
    kind = frame["time_identifier"] if "time_identifier" in frame.columns else table.period_kind.value
    labels = pd.DataFrame({"period": frame["time_period"], "kind": kind})
    years = {}
    for (period, identifier), rows in labels.groupby(["period", "kind"], sort=False):
        found = parse_dfe(period, identifier)
        if found.kind is not table.period_kind:
            raise DataError(
                f"{path.name}, {rows_in_words(rows.index)}: found '{identifier}', expected {table.period_kind.value} "
                f"for {table.id}. Correct period_kind in data-catalog/groups."
            )
        years[period] = found.year
    return frame.assign(_period=frame["time_period"].map(years))


def _chosen(frame: pd.DataFrame, select: dict[str, str], path: Path) -> pd.DataFrame:
    """Rows whose columns hold the selected labels, whatever their case."""
    keep = pd.Series(True, index=frame.index)
    for column, wanted in select.items():
        if column not in frame.columns:
            raise DataError(f"{path.name} lacks the column '{column}'.{did_you_mean(column, frame.columns)}")
        keep &= frame[column].str.strip().str.lower() == wanted.lower()
    if not keep.any():
        words = ", ".join(f"{column} '{label}'" for column, label in select.items())
        raise DataError(f"{path.name} has no row with {words}. Has the publisher changed its labels?")
    return frame[keep]


def _areas(rows: pd.DataFrame, places: Places, path: Path) -> pd.Series:
    if not (rows["geographic_level"].str.strip() == "Local authority").any():
        return pd.Series(ENGLAND, index=rows.index)
    codes = rows["new_la_code"].str.strip()
    unknown = ~codes.isin(places.by_code)
    # Files name a few abolished areas by an old code that the list of areas holds under its three digits.
    codes = codes.mask(unknown, rows["old_la_code"].str.strip())
    return places.canonical(codes.rename("new_la_code"), where=path.name)


def _counts(rows: pd.DataFrame, table: GroupTable, places: Places, path: Path) -> pd.DataFrame:
    parts = []
    for block in table.blocks:
        chosen = _chosen(rows, block.select, path)
        strata = _strata(chosen, block, table, path)
        keep = strata.notna().all(axis=1)
        chosen, strata = chosen[keep], strata[keep]
        places_of = [name for name in ("new_la_code", "old_la_code") if name in chosen.columns]
        check_key(chosen, ["time_period", *places_of, *dict.fromkeys(block.strata.values())], path=path)
        area = _areas(chosen, places, path)
        for measure in table.measures:
            parts.append(_measured(chosen, measure, area, {name: strata[name] for name in strata}, table, path))
    return pd.concat(parts, ignore_index=True)


def _strata(rows: pd.DataFrame, block: Block, table: GroupTable, path: Path) -> pd.DataFrame:
    """The harmonised label of each stratum of a block; missing where a row holds several together."""
    found = {}
    totals = {label.lower() for label in block.totals}
    for name, column in block.strata.items():
        if column not in rows.columns:
            raise DataError(f"{path.name} lacks the column '{column}'.{did_you_mean(column, rows.columns)}")
        labels = rows[column].str.split().str.join(" ")
        if block.sex_at_end:
            parts = groups.split_sex(labels)
            labels = parts["sex"] if name == "sex" else parts["label"]
        together = labels.str.lower().isin(totals)
        found[name] = pd.Series(None, index=rows.index, dtype=object)
        kept = labels[~together]
        if name == "ethnicity":
            named = groups.ethnicity(kept, level=table.ethnicity_level, where=path.name)
        elif name == "sex":
            named = groups.sex(kept, where=path.name)
        else:
            named = _named(kept, name, table, path)
        found[name] = found[name].where(together, named.reindex(rows.index))
        found[name] = found[name].mask(together, None)
    return pd.DataFrame(found)


def _named(labels: pd.Series, stratum: str, table: GroupTable, path: Path) -> pd.Series:
    known = {label.lower(): shown for label, shown in table.labels[stratum].items()}
    named = labels.str.lower().map(known)
    if named.isna().any():
        wrong = labels[named.isna()]
        raise DataError(
            f"{path.name}, {rows_in_words(wrong.index)}: '{wrong.iloc[0]}' isn't a described label of '{stratum}'."
            f"{did_you_mean(wrong.iloc[0], table.labels[stratum])} Describe it in data-catalog/groups."
        )
    return named


def _measured(
    rows: pd.DataFrame,
    measure: Measure,
    area: pd.Series,
    strata: dict[str, pd.Series],
    table: GroupTable,
    path: Path,
) -> pd.DataFrame:
    """Counts of one measure, labels that mean the same added up."""
    found = pd.DataFrame({"measure": measure.id, "area": area, "period": rows["_period"]}, index=rows.index)
    for name in table.strata:
        found[name] = strata.get(name, groups.EVERYONE)
    reason = pd.Series(None, index=rows.index, dtype=object)
    for role, columns in (
        ("numerator", measure.numerator),
        ("denominator", measure.denominator),
        (GONE, measure.unknown),
    ):
        total = pd.Series(0.0, index=rows.index)
        for column in columns:
            if column not in rows.columns:
                raise DataError(f"{path.name} lacks the column '{column}'.{did_you_mean(column, rows.columns)}")
            numbers, reasons = to_numbers(rows[column], dict(table.symbols), path=path)
            total, reason = total + numbers, reason.fillna(reasons)
        found[role] = total
    found["denominator"] -= found.pop(GONE)
    found["reason"] = reason
    found = _together(found, ["measure", "area", "period", *table.strata])
    if measure.complement:
        found["numerator"] = found["denominator"] - found["numerator"]
    if measure.periods:
        found = found[found["period"].isin(measure.periods)]
    over = (found["numerator"] > found["denominator"]) & (found["denominator"] > 0)
    wrong = over | (found["numerator"] < 0) | (found["denominator"] < 0)
    if wrong.any():
        row = found[wrong].iloc[0]
        raise DataError(
            f"{path.name}, area {row['area']}, {row['period']}: {measure.id} counts {row['numerator']:g} of "
            f"{row['denominator']:g} ({int(wrong.sum())} rows like it), expected a count from zero to its whole. "
            "Correct the file, or leave the year out in data-catalog/groups."
        )
    # A whole of nobody says nothing, whatever is counted in it.
    empty = found["denominator"] == 0
    found.loc[empty, list(COUNTS)] = float("nan")
    found["reason"] = found["reason"].mask(empty, "nobody to count")
    return found


def _together(found: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows whose labels mean the same, added up; missing where a part is missing."""
    if not found.duplicated(keys).any():
        return found
    grouped = found.groupby(keys, sort=False)
    sums = grouped[list(COUNTS)].agg(lambda values: values.sum(skipna=False))
    return sums.join(grouped["reason"].first()).reset_index()


def _names(frames: list[pd.DataFrame | None], places: Places) -> pd.DataFrame:
    codes = sorted({code for frame in frames if frame is not None for code in frame["area"]})
    return pd.DataFrame(
        {
            "area": codes,
            "name": [ENGLAND if code == ENGLAND else places.name_of(code) for code in codes],
            "region": ["" if code == ENGLAND else places.region_of(code) for code in codes],
        }
    )
