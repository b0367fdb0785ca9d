"""Synthetic stand-ins for the published tables, for machines without a data folder.

The files have the names, columns, symbols and codes of the publishers' own, so that everything runs through
the same readers; their figures are invented from the catalogue alone. A mark in the folder makes every page
that is made from them say that they're synthetic.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sendap.catalog import Catalog, DataFile, Dataset, Series, Shape
from sendap.files import whole, write_json
from sendap.periods import PeriodKind, period_label
from sendap.places import LocalAuthority
from sendap.sources.locate import SYNTHETIC_MARK

SEED = 20230302
FIRST, LAST = 2016, 2024

# Centre, spread between areas, spread between years of one area, and the bounds, by unit: round numbers that
# look like such series, chosen without sight of any real one.
SHAPES = {
    "plans_within_20_weeks_all": (60.0, 18.0, 9.0),
    "plans_within_20_weeks": (62.0, 18.0, 9.0),
    "requests_refused": (22.0, 8.0, 4.0),
    "pupils_with_plan": (4.0, 0.6, 0.15),
    "pupils_with_sen_support": (13.0, 1.5, 0.4),
    "absence_special": (11.0, 1.6, 0.8),
    "key_stage_2_plan": (9.0, 2.5, 2.0),
    "key_stage_2_sen_support": (24.0, 5.0, 3.0),
    "attainment_8_plan": (14.0, 3.0, 1.2),
    "attainment_8_sen_support": (33.0, 3.5, 1.0),
    "sen_spend": (105.0, 30.0, 10.0),
}
DEFAULT_SHAPE = (50.0, 10.0, 5.0)


def write_stand_in(catalog: Catalog, folder: Path, *, seed: int = SEED, datasets: Iterable[str] | None = None) -> Path:
    """Write published datasets of the catalogue as synthetic tables into ``folder``, and mark it: all, or those named.

    No effect of any programme is planted: an evaluation of these tables should find nothing but chance.
    """
    generator = np.random.default_rng(seed)
    areas = [area for area in catalog.places.current if area.first_month is None or area.first_month.year < 2019]
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(catalog.datasets if datasets is None else datasets)
    for dataset in catalog.datasets.values():
        if dataset.id not in wanted or dataset.access != "published" or dataset.to_confirm:
            continue
        if dataset.reader in ("none", "table"):
            continue
        if dataset.reader == "lait":
            _write_lait(dataset, areas, folder, generator)
        elif dataset.reader == "ees":
            _write_ees(dataset, areas, folder, generator)
        else:
            _write_tribunal(dataset, areas, folder, generator)
    write_json(folder / SYNTHETIC_MARK, {"synthetic": True, "seed": seed, "effect": "none planted"})
    return folder


def _values(shape: tuple[float, float, float], areas: int, years: int, generator: np.random.Generator) -> np.ndarray:
    """Areas by years: a level of its own for each area, and a wandering course from year to year."""
    centre, between, within = shape
    level = generator.normal(centre, between, size=(areas, 1))
    steps = generator.normal(0, within, size=(areas, years))
    course = steps.copy()
    for year in range(1, years):
        course[:, year] = 0.6 * course[:, year - 1] + steps[:, year]
    found = level + course
    return np.clip(found, centre * 0.05, centre * 2.5) if centre > 0 else found  # scores around zero have no floor


def _csv(frame: pd.DataFrame, path: Path) -> None:
    """CSV with a byte-order mark, gzipped where the name says so, without a time stamp."""
    text = frame.to_csv(index=False, lineterminator="\n").encode("utf-8-sig")
    with whole(path) as temporary:
        temporary.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def _write_lait(dataset: Dataset, areas: list[LocalAuthority], folder: Path, generator: np.random.Generator) -> None:
    parts = []
    kinds = {
        PeriodKind.CALENDAR: ("Calendar Year", str, range(FIRST, LAST + 1)),
        PeriodKind.ACADEMIC: ("Academic Year", lambda year: str(year + 1), range(FIRST - 1, LAST + 1)),
        PeriodKind.FINANCIAL: (
            "Financial Year",
            lambda year: f"{period_label(year, PeriodKind.FINANCIAL)} (OT)",
            range(FIRST, LAST + 1),
        ),
    }
    for series in dataset.series:
        year_type, label, years = kinds[series.period_kind]
        values = _values(_shape(series), len(areas), len(years), generator)
        if series.maximum is not None:
            values = np.minimum(values, series.maximum)
        shown = np.char.mod("%.1f", values).astype(object)
        shown[generator.random(values.shape) < 0.01] = "-"
        if "key_stage_2_pandemic" in series.breaks:
            shown[:, [position for position, year in enumerate(years) if year in (2019, 2020)]] = "-"
        for position, year in enumerate(years):
            parts.append(
                pd.DataFrame(
                    {
                        "Short Desc": series.select["Short Desc"],
                        "Data item": f"SYNTHETIC {series.label}",
                        "Years": label(year),
                        "LA and Regions": [area.name for area in areas],
                        "Values": shown[:, position],
                        "LA Number": [f"{area.three_digit_code}.0" for area in areas],
                        "Region": [area.region for area in areas],
                        "Topic": "Synthetic",
                        "Measure": f"SYNTHETIC {series.label}",
                        "Year_Type": year_type,
                    }
                )
            )
    _csv(pd.concat(parts, ignore_index=True), folder / dataset.folder / dataset.files[0].name)


def _write_ees(dataset: Dataset, areas: list[LocalAuthority], folder: Path, generator: np.random.Generator) -> None:
    """One block of rows for each selection that a series reads, with the columns that its series need."""
    for file in dataset.files:
        chosen = [series for series in dataset.series if series.file == file.name]
        if not chosen:
            continue
        blocks: dict[tuple[tuple[str, str], ...], list[Series]] = {}
        for series in chosen:
            blocks.setdefault(tuple(sorted(series.select.items())), []).append(series)
        kind = chosen[0].period_kind
        years = range(2019, LAST + 1) if kind is PeriodKind.CALENDAR else range(2018, LAST + 1)
        parts = []
        for year in years:
            for select, measured in blocks.items():
                rows = _ees_rows(file, kind, year, areas)
                for column, wanted in select:
                    rows[column] = wanted
                _fill(rows, dataset, file, measured, generator)
                parts.append(rows)
        _csv(pd.concat(parts, ignore_index=True), folder / dataset.folder / file.name)


def _ees_rows(file: DataFile, kind: PeriodKind, year: int, areas: list[LocalAuthority]) -> pd.DataFrame:
    """Rows of one year with their keys, and every other column not available."""
    rows = pd.DataFrame("x", index=range(len(areas)), columns=[column.name for column in file.columns])
    keys: dict[str, object] = {
        "time_period": str(year) if kind is PeriodKind.CALENDAR else f"{year}{(year + 1) % 100:02d}",
        "time_identifier": kind.value.capitalize(),
        "geographic_level": "Local authority",
        "country_code": "E92000001",
        "country_name": "England",
        "region_code": "",
        "region_name": [area.region for area in areas],
        "new_la_code": [area.la_code for area in areas],
        "old_la_code": [area.three_digit_code for area in areas],
        "la_name": [area.name for area in areas],
    }
    for name, value in keys.items():
        rows[name] = value
    return rows


def _fill(
    rows: pd.DataFrame, dataset: Dataset, file: DataFile, measured: list[Series], generator: np.random.Generator
) -> None:
    """Counts in which every part is at most its whole, and rates inside their bounds."""
    wholes = {str(series.denominator) for series in measured if series.denominator is not None}
    parts: dict[str, set[str]] = {}
    for series in measured:
        if series.value is not None:
            column = file.by_name[series.value]
            mean, between, within = _shape(series)
            values = generator.normal(mean, np.hypot(between, within), len(rows))
            low = 0.0 if column.minimum is None else column.minimum
            high = min(limit for limit in (column.maximum, series.maximum, np.inf) if limit is not None)
            rows[series.value] = np.round(np.clip(values, low, high), 0 if column.type == "integer" else 1)
        else:
            parts.setdefault(str(series.numerator), set()).add(str(series.denominator))
    counts: dict[str, np.ndarray] = {}
    shapes = {series.numerator: series.synthetic for series in measured}

    def count(name: str) -> np.ndarray:
        """A whole is drawn, a part is a share of the smallest of its wholes."""
        if name not in counts:
            above = [count(whole) for whole in sorted(parts.get(name, ()))]
            counts[name] = (
                generator.binomial(np.minimum.reduce(above), _shares(shapes.get(name), len(rows), generator))
                if above
                else generator.integers(80, 1500, len(rows))
            )
        return counts[name]

    for name in sorted(wholes | set(parts)):
        rows[name] = count(name)
    for series in measured:
        # Where a doubtful denominator is added up from its parts, they must add up to it here too.
        for doubtful in dataset.doubtful:
            if series.id in doubtful.series and doubtful.denominator:
                rest = counts[str(series.denominator)] - counts[str(series.numerator)]
                for name in (each for each in doubtful.denominator if each not in counts):
                    rows[name], rest = rest, np.zeros_like(rest)


def _shares(shape: Shape | None, size: int, generator: np.random.Generator) -> np.ndarray:
    """What share of its whole a part is: about as described, else some two thirds."""
    if shape is None:
        return generator.uniform(0.55, 0.75, size)
    return np.clip(generator.normal(shape.mean, np.hypot(shape.between, shape.within), size) / 100, 0.0, 1.0)


def _shape(series: Series) -> tuple[float, float, float]:
    found = series.synthetic
    return SHAPES.get(series.id, DEFAULT_SHAPE) if found is None else (found.mean, found.between, found.within)


def _write_tribunal(
    dataset: Dataset, areas: list[LocalAuthority], folder: Path, generator: np.random.Generator
) -> None:
    """The wide layout: a title, blank rows, years above measures, headings of regions, England at the foot."""
    years = list(range(2014, LAST + 1))
    width = 2 + 3 * len(years)
    blank = [""] * width
    top = ["Local Authority", "LA code", *(part for year in years for part in (str(year), "", ""))]
    measures = ["Appeals registered4", "Total Appealable Decisions1", "SEND Tribunal Appeal Rate2"]
    rows = [["SYNTHETIC table of appeals", *blank[1:]], blank, blank, top, ["", "", *measures * len(years)]]
    totals = np.zeros((len(years), 2), dtype=int)
    for region in sorted({area.region for area in areas}):
        rows.append([region.upper(), *blank[1:]])
        for area in sorted((each for each in areas if each.region == region), key=lambda each: each.name):
            cells = []
            for position in range(len(years)):
                decisions = int(generator.integers(400, 9000))
                appeals = int(generator.binomial(decisions, generator.uniform(0.008, 0.03)))
                totals[position] += (appeals, decisions)
                cells += [f" {appeals:,} " if appeals else " - ", f"{decisions:,}", f"{100 * appeals / decisions:.2f}%"]
            rows.append([area.name, area.three_digit_code, *cells])
    foot = [part for appeals, decisions in totals for part in (f"{appeals:,}", f"{decisions:,}", "")]
    rows.append(["England Total4,9", "", *foot])
    text = pd.DataFrame(rows).to_csv(index=False, header=False, lineterminator="\n")
    with whole(folder / dataset.folder / dataset.files[0].name) as temporary:
        temporary.write_bytes(text.encode("utf-8-sig"))
