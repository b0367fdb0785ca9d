"""Synthetic stand-ins for published tables by group, in the publishers' layout, with no gap planted."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from sendap import groups
from sendap.files import whole, write_json
from sendap.periods import PeriodKind
from sendap.places import LocalAuthority, Places
from sendap.sources.group_catalog import Block, GroupTable, Measure
from sendap.sources.locate import SYNTHETIC_MARK

SEED = 20230417
FEWEST, USUAL, MOST = 4, 60, 600
"""Children of one area in a cell: of Unknown and of groups that are few, of most groups, of the largest."""

LARGE = ("White British", "WHITE", "Male", "Female")
FEW = ("Unclassified", "Irish Traveller", "Unknown")
ENGLAND_TIMES = 150
NOT_COLLECTED = ("Gypsy or Irish Traveller", "Roma", "Arab")
MAJOR_CODES = ("WHITE", "MIXED", "ASIAN", "BLACK", "CHINESE")


def write_group_stand_in(tables: Collection[GroupTable], places: Places, folder: Path, *, seed: int = SEED) -> Path:
    """Write every table by group as a synthetic file into ``folder``, and mark it.

    Areas have a level of their own each; groups differ by nothing but chance and where they live.
    """
    generator = np.random.default_rng(seed)
    areas = [area for area in places.current if area.first_month is None or area.first_month.year < 2011]
    for table in tables:
        level = {area.la_code: float(np.clip(generator.normal(0.3, 0.03), 0.1, 0.5)) for area in areas}
        rows = [_block(table, block, areas, level, generator) for block in table.blocks]
        _write(pd.concat(rows, ignore_index=True).fillna("Total"), folder / table.folder / table.file)
        if table.areas is not None:
            whole_areas = _rows(table, areas, [{}], generator, size=MOST * 10)
            counted = _counted(whole_areas, (table.main,), level, generator).assign(**table.areas.select)
            _write(counted, folder / table.folder / table.areas.file)
    write_json(folder / SYNTHETIC_MARK, {"synthetic": True, "seed": seed, "gap": "none planted"})
    return folder


def _write(frame: pd.DataFrame, path: Path) -> None:
    text = frame.to_csv(index=False, lineterminator="\n").encode("utf-8-sig")
    with whole(path) as temporary:
        temporary.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def _labels(table: GroupTable, stratum: str) -> list[str]:
    if stratum == "ethnicity":
        if table.ethnicity_level == "major":
            return list(MAJOR_CODES)
        return [
            "Unclassified" if name == groups.UNKNOWN else name for name in groups.MINORS if name not in NOT_COLLECTED
        ]
    return ["Male", "Female"] if stratum == "sex" else list(table.labels[stratum])


def _block(
    table: GroupTable,
    block: Block,
    areas: list[LocalAuthority],
    level: dict[str, float],
    generator: np.random.Generator,
) -> pd.DataFrame:
    names = list(block.strata)
    combined = []
    for labels in product(*(_labels(table, name) for name in names)):
        held = dict(zip(names, labels, strict=True))
        if block.sex_at_end:
            combined.append({next(iter(block.strata.values())): f"{held['ethnicity']} {held['sex']}"})
        else:
            combined.append({block.strata[name]: label for name, label in held.items()})
    where = areas if table.level != "National" else None
    rows = _rows(table, where, combined, generator)
    return _counted(rows, table.measures, level, generator).assign(**table.select, **block.select)


def _rows(
    table: GroupTable,
    areas: Iterable[LocalAuthority] | None,
    combined: list[dict[str, str]],
    generator: np.random.Generator,
    *,
    size: float | None = None,
) -> pd.DataFrame:
    """One row an area (England where there are none), year and group, with the children in ``_n``."""
    spans = {PeriodKind.CALENDAR: "Calendar year", PeriodKind.ACADEMIC: "Academic year"}
    made = []
    for area in areas if areas is not None else [None]:
        place = {"geographic_level": "National", "country_name": "England", "_area": ""}
        if area is not None:
            place = {
                "geographic_level": "Local authority", "country_name": "England", "region_name": area.region,
                "new_la_code": area.la_code, "old_la_code": area.three_digit_code, "la_name": area.name,
                "_area": area.la_code,
            }  # fmt: skip
        for year, labels in product(table.periods, combined):
            text = str(year) if table.period_kind is PeriodKind.CALENDAR else f"{year}{(year + 1) % 100:02d}"
            mean = size or _size(labels) * (1 if area is not None else ENGLAND_TIMES)
            made.append(
                {
                    "time_period": text, "time_identifier": spans[table.period_kind], **place, **labels,
                    "_n": int(generator.poisson(mean)),
                }
            )  # fmt: skip
    return pd.DataFrame(made)


def _size(labels: dict[str, str]) -> int:
    found = list(labels.values())
    if any(word in label for word in FEW for label in found):
        return FEWEST
    return MOST if any(label in LARGE for label in found) else USUAL


def _counted(
    rows: pd.DataFrame, measures: tuple[Measure, ...], level: dict[str, float], generator: np.random.Generator
) -> pd.DataFrame:
    """Columns of counts that fit one another, each measure drawn at its area's level."""
    share = rows["_area"].map(level).fillna(0.3).to_numpy()
    for measure in measures:
        count = rows["_n"].to_numpy()
        for name in measure.unknown:
            if name not in rows:
                rows[name] = generator.binomial(count, 0.03)
            count = count - rows[name].to_numpy()
        for name in measure.numerator:
            if name not in rows:
                rows[name] = generator.binomial(count, share)
        left = rows["_n"].to_numpy() - sum(rows[name].to_numpy() for name in measure.numerator)
        for name in measure.denominator:
            if name not in rows:
                rows[name] = left if len(measure.denominator) > 1 else rows["_n"].to_numpy()
    return rows.drop(columns=["_n", "_area"])
