"""Made-up panels for tests of estimators and inference: small, seeded, with gaps where asked."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap.cells import Cells, OutcomeInfo


def made_up(
    *,
    areas: int = 30,
    years: int = 6,
    starts: tuple[float, ...] = (2019.0, 2021.0),
    share_treated: float = 0.4,
    regions: int = 3,
    missing: float = 0.0,
    effect: float = 0.0,
    counts: bool = False,
    seed: int = 1,
) -> pd.DataFrame:
    """A long panel ``area, year, cohort, region, y, n``: area and year effects, noise, a known effect."""
    generator = np.random.default_rng(seed)
    treated = round(areas * share_treated)
    cohort = np.full(areas, np.nan)
    cohort[:treated] = [starts[position % len(starts)] for position in range(treated)]
    region = np.array([f"region {number}" for number in generator.integers(0, regions, areas)])
    for number in range(regions):
        # Each region has treated and untreated areas, so that comparisons inside it are possible.
        region[number], region[areas - 1 - number] = f"region {number}", f"region {number}"
    frame = pd.DataFrame(
        [
            {"area": f"A{area:03d}", "year": 2016 + year, "cohort": cohort[area], "region": region[area]}
            for area in range(areas)
            for year in range(years)
        ]
    )
    level = dict(zip(frame["area"].unique(), generator.normal(50, 10, areas), strict=True))
    drift = dict(zip(frame["year"].unique(), generator.normal(0, 3, years), strict=True))
    frame["y"] = (
        frame["area"].map(level)
        + frame["year"].map(drift)
        + effect * (frame["year"] >= frame["cohort"])
        + generator.normal(0, 2, len(frame))
    )
    frame["n"] = generator.integers(20, 400, len(frame)) if counts else 1
    if missing:
        frame = frame[generator.random(len(frame)) >= missing]
    return frame.reset_index(drop=True)


def as_cells(frame: pd.DataFrame) -> Cells:
    """The panel as cells: rates of weight one, or of ``n`` children each."""
    clusters = frame[["area", "region"]].drop_duplicates().rename(columns={"area": "cluster"}).reset_index(drop=True)
    cells = pd.DataFrame(
        {
            "outcome": "y",
            "cluster": frame["area"],
            "period": frame["year"],
            "cohort": frame["cohort"],
            "n": frame["n"].astype(float),
            "n_observed": frame["n"].astype(float),
            "weight": frame["n"].astype(float),
            "sum": frame["n"] * frame["y"],
            "sum_squares": frame["n"] * frame["y"] ** 2,
        }
    )
    return Cells(cells, {"y": OutcomeInfo("points", "outcome y")}, clusters=clusters)
