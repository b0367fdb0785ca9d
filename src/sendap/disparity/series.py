"""A gap year by year in treated and in comparison areas, and how many children have no group recorded."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.intervals import tails
from sendap.disparity.rates import THRESHOLD, TOO_FEW, margin_of, rates
from sendap.errors import UsageError, did_you_mean

TREATED, COMPARISON, EVERY = "treated", "comparison", "all"


def arms(cells: Cells) -> pd.Series:
    """The arm of each cluster: treated where its cohort isn't missing; "all" where no area or every area is treated."""
    treated = cells.frame.groupby("cluster")["cohort"].first().notna()
    if treated.all() or not treated.any():
        return pd.Series(EVERY, index=treated.index)
    return treated.map({True: TREATED, False: COMPARISON})


def gap_series(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    group: str,
    reference: str,
    level: float = 0.95,
    threshold: int = THRESHOLD,
    draws: int = 999,
    seed: int = 20230902,
) -> pd.DataFrame:
    """The gap ``group`` minus ``reference`` in each period and arm, with limits from drawing whole areas.

    This is what a triple difference assumes to be parallel before the start, so it's for looking at. Children of an arm
    are pooled. Columns: ``arm, period, n_group, n_reference, rate_group, rate_reference, gap, low, high`` (in the
    outcome's unit), ``ratio, status``; periods in which either group has fewer than ``threshold`` children are too few
    to say, and kept.

    Raises UsageError for an unknown stratum or group, DesignError where margins can't answer.
    """
    found = rates(cells, outcome, by=("cluster", "period", by))
    frame = found.frame.assign(**{by: found.frame[by].astype(str)})
    for name in (group, reference):
        if name not in set(frame[by]):
            raise UsageError(f"The stratum '{by}' has no group '{name}'.{did_you_mean(name, set(frame[by]))}")
    frame = frame.assign(arm=frame["cluster"].map(arms(cells)), events=frame["rate"] * frame["observed"] * found.scale)
    periods = np.sort(frame["period"].unique())
    generator = np.random.default_rng(seed)
    made = []
    for arm in [name for name in (TREATED, COMPARISON, EVERY) if (frame["arm"] == name).any()]:
        rows = frame[(frame["arm"] == arm) & frame[by].isin([group, reference])]
        clusters, at = np.unique(rows["cluster"].to_numpy(dtype=object), return_inverse=True)
        sums = np.zeros((2, len(clusters), len(periods), 2))
        place = (at, np.searchsorted(periods, rows["period"]), (rows[by] == reference).to_numpy().astype(int))
        np.add.at(sums[0], place, rows["events"].to_numpy())
        np.add.at(sums[1], place, rows["observed"].to_numpy())
        copies = generator.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), size=draws)
        copies = np.concatenate([np.ones((1, len(clusters))), copies])
        with np.errstate(divide="ignore", invalid="ignore"):
            events, count = (np.tensordot(copies, part, axes=1) for part in sums)
            rate = events / count
        made.append(_arm(arm, periods, rate, count[0], level, threshold, len(clusters)))
    return pd.concat(made, ignore_index=True)


def _arm(
    arm: str, periods: np.ndarray, rate: np.ndarray, count: np.ndarray, level: float, threshold: int, areas: int
) -> pd.DataFrame:
    """Rows of one arm from rates of R + 1 draws (by T by 2, the first as observed) and counts (T by 2)."""
    gap = rate[:, :, 0] - rate[:, :, 1]
    few = (count < threshold).any(axis=1)
    low, high = np.full(len(periods), np.nan), np.full(len(periods), np.nan)
    low[~few], high[~few] = np.nanquantile(gap[1:, ~few], tails(level, areas), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(rate[0, :, 1] > 0, rate[0, :, 0] / rate[0, :, 1], np.nan)
    return pd.DataFrame(
        {
            "arm": arm,
            "period": periods,
            "n_group": count[:, 0],
            "n_reference": count[:, 1],
            "rate_group": np.where(few, np.nan, rate[0, :, 0]),
            "rate_reference": np.where(few, np.nan, rate[0, :, 1]),
            "gap": np.where(few, np.nan, gap[0]),
            "low": low,
            "high": high,
            "ratio": np.where(few, np.nan, ratio),
            "status": np.where(few, TOO_FEW, "ok"),
        }
    )


def unknown_share(cells: Cells, outcome: str | None = None, *, by: str) -> pd.DataFrame:
    """How many records have no group recorded, by arm and period: ``arm, period, n, unknown, share`` (standard 6.2).

    A share that moves differently in the two arms can make a gap seem to change. Raises as ``gap_series``.
    """
    if outcome is None and len(cells.outcomes) != 1:
        raise UsageError(f"Name the outcome: {', '.join(cells.outcomes)}.")
    one = margin_of(cells.only(outcome or next(iter(cells.outcomes))), [by])
    frame = one.frame.assign(arm=one.frame["cluster"].map(arms(one)))
    frame["unknown"] = frame["n"].where(frame[by].astype(str) == groups.UNKNOWN, 0.0)
    made = frame.groupby(["arm", "period"], as_index=False)[["n", "unknown"]].sum()
    return made.assign(share=made["unknown"] / made["n"])
