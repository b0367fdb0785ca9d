"""Made-up cells of groups in areas, and the records behind them, for tests of disparity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sendap.cells import Cells, OutcomeInfo


def from_records(
    records: pd.DataFrame,
    *,
    outcome: str = "y",
    strata: Sequence[str],
    unit: str = "per cent",
    cohort: str | None = None,
) -> Cells:
    """Cells of a table of records (one row a child), by pandas: the brute-force way that tests compare with."""
    frame = records.assign(
        cluster=records.get("area", pd.Series("E1", index=records.index)),
        period=records.get("year", pd.Series(2024, index=records.index)),
        cohort=records[cohort] if cohort else np.nan,
        n=1.0,
        n_observed=records[outcome].notna().astype(float),
        sum=records[outcome].fillna(0.0).astype(float),
        sum_squares=records[outcome].fillna(0.0).astype(float) ** 2,
    ).assign(weight=lambda rows: rows["n_observed"], outcome=outcome)
    keys = ["outcome", "cluster", "period", *strata]
    sums = ["n", "n_observed", "weight", "sum", "sum_squares"]
    grouped = frame.groupby(keys, dropna=False)
    cells = grouped[sums].sum().join(grouped["cohort"].first()).reset_index()
    return Cells(cells, {outcome: OutcomeInfo(unit, f"outcome {outcome}")}, strata=tuple(strata))


def shares(table: pd.DataFrame, *, strata: Sequence[str], scale: float = 100.0) -> Cells:
    """Cells of counts: ``area`` (optional), strata, ``yes`` and ``n``."""
    rows = table.assign(
        area=table.get("area", pd.Series("E1", index=table.index)),
        year=table.get("year", pd.Series(2024, index=table.index)),
        start=table.get("start", pd.Series(np.nan, index=table.index)),
    )
    return Cells.from_rates(
        rows,
        cluster="area",
        period="year",
        cohort="start",
        outcome="y",
        numerator="yes",
        denominator="n",
        strata=list(strata),
        scale=scale,
        info=OutcomeInfo("per cent" if scale == 100 else "", "outcome y"),
    )
