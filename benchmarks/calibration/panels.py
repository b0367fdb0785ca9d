"""Real figures of areas, in years before the Change Programme, complete and in units of their own spread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sendap.catalog import Catalog
from sendap.sources.read import read_series

LAST_YEAR = 2022
FEWEST_YEARS, FEWEST_AREAS = 5, 110
SERIES = (
    ("lait", "plans_within_20_weeks_all", 1),
    ("lait", "requests_refused", -1),
    ("lait", "pupils_with_plan", 1),
    ("lait", "pupils_with_sen_support", 1),
    ("lait", "absence_special", -1),
    ("lait", "key_stage_2_sen_support", 1),
    ("lait", "attainment_8_sen_support", 1),
    ("send-tribunal-appeal-rate", "appeal_rate", -1),
)
"""Dataset, series, and whether more is better."""


@dataclass(frozen=True)
class Figures:
    """``values`` is areas by years without gaps; ``sign`` turns it so that more is better."""

    name: str
    sign: int
    values: np.ndarray
    years: np.ndarray
    codes: np.ndarray
    region: np.ndarray
    scale: float


def figures(catalog: Catalog, data_dir: Path) -> list[Figures]:
    """Every series with enough years and areas. ``scale``: the spread of an area around its own mean and the year's."""
    found = []
    for dataset, series, sign in SERIES:
        frame = read_series(catalog, dataset, series, data_dir).frame
        wide = frame[frame["period"] <= LAST_YEAR].pivot_table(index="la_code", columns="period", values="value")
        wide = wide.loc[:, wide.notna().sum() >= FEWEST_AREAS].dropna()
        # Consecutive years from the last: a gap (no tests in the pandemic) would make "the year before" unclear.
        years = wide.columns.to_numpy()
        if len(wide.columns) < FEWEST_YEARS or len(wide) < FEWEST_AREAS:
            continue
        values = wide.to_numpy()
        within = values - values.mean(axis=1, keepdims=True)
        within -= within.mean(axis=0, keepdims=True)
        names = [catalog.places.region_of(code) for code in wide.index]
        region = np.unique(names, return_inverse=True)[1]
        found.append(
            Figures(series, sign, values, years.astype(int), wide.index.to_numpy(), region, float(within.std()))
        )
    return found
