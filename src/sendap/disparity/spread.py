"""How far apart areas are, once chance is taken out: the measure of the "postcode lottery", and its change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendap.cells import Cells
from sendap.disparity.intervals import tails
from sendap.disparity.rates import THRESHOLD, rates
from sendap.errors import DesignError, UsageError

FEWEST = 4
FEW_FOR_INTERVAL = 12
"""With this many areas or fewer in an arm no interval is drawn from resampling them; the permutation test stands."""


@dataclass(frozen=True)
class SpreadChange:
    """The spread between areas before and after, and how its change differs between treated and other areas.

    ``frame``, one row for "treated", "comparison" and "difference": ``arm, areas, before, after, change`` (standard
    deviations between areas in the outcome's unit, chance taken out), ``change_low, change_high`` (resampling areas;
    missing where an arm has twelve or fewer), ``before_children, after_children`` (children per area, the median).
    ``p_value`` asks how unusual the difference would be if the programme had gone to other areas, on the variances;
    ``left_out`` counts areas without enough children in both.
    """

    frame: pd.DataFrame
    p_value: float
    draws: int
    unit: str
    left_out: int

    def sentence(self) -> str:
        """What the change says, without claiming a cause."""
        at = self.frame.set_index("arm")
        words = {name: f"from {at.loc[name, 'before']:.1f} to {at.loc[name, 'after']:.1f}" for name in at.index[:2]}
        return (
            f"The spread between areas, with chance taken out, went {words['treated']} in the programme's areas and "
            f"{words['comparison']} in other areas (standard deviation, {self.unit or 'in units of the outcome'}; "
            f"p = {self.p_value:.2f} for the difference)."
        )


def between_variance(rate: np.ndarray, variance: np.ndarray) -> float:
    """Variance of areas' true rates, each area counting once: that of the rates less the mean chance variance.

    It may come out below zero, where areas differ by less than chance alone would make them.
    """
    return float(np.var(rate, ddof=1) - np.mean(variance))


def between_sd(rate: np.ndarray, variance: np.ndarray) -> float:
    """Standard deviation of areas' true rates, zero where chance explains all of their spread."""
    return float(np.sqrt(max(between_variance(rate, variance), 0.0)))


def _spreads(rate: np.ndarray, variance: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Between-area variance for R choices of areas (R by k positions), before and after: R by 2."""
    return np.var(rate[chosen], axis=1, ddof=1) - np.mean(variance[chosen], axis=1)


def spread_change(
    cells: Cells,
    outcome: str | None = None,
    *,
    before: Sequence[int],
    after: Sequence[int],
    level: float = 0.95,
    threshold: int = THRESHOLD,
    draws: int = 1999,
    seed: int = 20230902,
) -> SpreadChange:
    """The change of the spread between areas, treated against comparison; periods and strata are added up.

    An area is treated where its cohort isn't missing. Inference is by areas: the p-value deals the treated areas out
    anew (inside regions, where the cells hold them), the intervals draw whole areas with replacement.

    Raises UsageError for periods that overlap or aren't there; DesignError where an arm has fewer than four areas.
    """
    if set(before) & set(after) or not before or not after:
        raise UsageError("before and after are two lists of periods that don't overlap.")
    table = _areas(cells, outcome, before, after)
    enough = (table[["observed_before", "observed_after"]] >= threshold).all(axis=1)
    left_out = int((~enough).sum())
    table = table[enough].sort_values("cluster").reset_index(drop=True)
    treated = np.flatnonzero(table["treated"])
    others = np.flatnonzero(~table["treated"])
    if min(len(treated), len(others)) < FEWEST:
        raise DesignError(
            f"{len(treated)} treated and {len(others)} other areas have {threshold} children or more both before and "
            f"after; a spread needs at least {FEWEST} in each arm."
        )
    rate = table[["rate_before", "rate_after"]].to_numpy()
    variance = table[["variance_before", "variance_after"]].to_numpy()
    generator = np.random.default_rng(seed)

    def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        one, two = _spreads(rate, variance, first), _spreads(rate, variance, second)
        return (one[:, 1] - one[:, 0]) - (two[:, 1] - two[:, 0])

    found = abs(float(difference(treated[None, :], others[None, :])[0]))
    dealt = _deal(table, draws, generator)
    beyond = np.abs(difference(dealt[:, : len(treated)], dealt[:, len(treated) :])) >= found * (1 - 1e-12)
    resampled = [arm[generator.integers(0, len(arm), (draws, len(arm)))] for arm in (treated, others)]
    changes = [
        np.diff(np.sqrt(np.maximum(_spreads(rate, variance, chosen), 0.0)), axis=1)[:, 0] for chosen in resampled
    ]
    few = [len(treated) <= FEW_FOR_INTERVAL, len(others) <= FEW_FOR_INTERVAL]
    rows = [
        _row(name, table.loc[arm], rate[arm], variance[arm], change, level, hidden)
        for name, arm, change, hidden in zip(("treated", "comparison"), (treated, others), changes, few, strict=True)
    ]
    rows.append(_difference(rows, changes, level, any(few)))
    unit = cells.outcomes[outcome or next(iter(cells.outcomes))].unit
    p_value = float((1 + beyond.sum()) / (1 + draws))
    return SpreadChange(pd.DataFrame(rows), p_value, draws, unit, left_out)


def spread_by_period(
    cells: Cells,
    outcome: str | None = None,
    *,
    level: float = 0.95,
    threshold: int = THRESHOLD,
    draws: int = 999,
    seed: int = 20230902,
) -> pd.DataFrame:
    """How far apart areas are in each period: the standard deviation of their true rates, in the outcome's unit.

    Each area counts once, and what chance adds is taken out. Columns ``period, areas, spread, low, high`` (drawing
    areas), ``children`` (the median area's) and ``without_chance`` (whether chance alone explains less than all of the
    spread). A period with fewer than four areas of ``threshold`` children has no figure. Strata are added up.
    """
    found = rates(cells, outcome, by=("cluster", "period"))
    generator = np.random.default_rng(seed)
    rows = []
    for period, frame in found.frame.groupby("period"):
        kept = frame[frame["observed"] >= threshold]
        rate, variance = kept["rate"].to_numpy() * found.scale, kept["variance"].to_numpy() * found.scale**2
        row = {"period": int(period), "areas": len(kept), "children": float(kept["observed"].median())}
        if len(kept) >= FEWEST:
            chosen = generator.integers(0, len(kept), (draws, len(kept)))
            drawn = np.sqrt(np.maximum(_spreads(rate[:, None], variance[:, None], chosen)[:, 0], 0.0))
            low, high = np.quantile(drawn, tails(level, len(kept)))
            between = between_variance(rate, variance)
            row |= {"spread": max(between, 0.0) ** 0.5, "low": low, "high": high, "without_chance": between > 0}
        rows.append(row)
    columns = ["period", "areas", "spread", "low", "high", "children", "without_chance"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _areas(cells: Cells, outcome: str | None, before: Sequence[int], after: Sequence[int]) -> pd.DataFrame:
    known = set(cells.frame["period"])
    missing = [period for period in (*before, *after) if period not in known]
    if missing:
        raise UsageError(f"These cells hold no period {missing[0]}. They hold {', '.join(map(str, sorted(known)))}.")
    parts = []
    for name, periods in (("before", before), ("after", after)):
        found = rates(cells.filter(period=list(periods)), outcome, by="cluster")
        rows = found.frame.set_index("cluster")[["observed", "rate", "variance"]]
        rows["rate"] *= found.scale
        rows["variance"] *= found.scale**2
        parts.append(rows.add_suffix(f"_{name}"))
    table = parts[0].join(parts[1], how="outer").fillna({"observed_before": 0, "observed_after": 0})
    table["treated"] = cells.frame.groupby("cluster")["cohort"].first().reindex(table.index).notna()
    table = table.reset_index()
    table["region"] = 0
    if cells.clusters is not None and "region" in cells.clusters.columns:
        names = table["cluster"].map(cells.clusters.set_index("cluster")["region"]).astype(str)
        table["region"] = np.unique(names, return_inverse=True)[1]
    return table


def _deal(table: pd.DataFrame, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Orders of the areas in which the first places are the treated ones, as many in each region as there were."""
    region, treated = table["region"].to_numpy(), table["treated"].to_numpy()
    first, second = [], []
    for name in np.unique(region):
        inside = np.flatnonzero(region == name)
        mixed = generator.permuted(np.tile(inside, (draws, 1)), axis=1)
        size = int(treated[inside].sum())
        first.append(mixed[:, :size])
        second.append(mixed[:, size:])
    return np.concatenate([*first, *second], axis=1)


def _row(
    name: str, rows: pd.DataFrame, rate: np.ndarray, variance: np.ndarray, change: np.ndarray, level: float, few: bool
) -> dict[str, object]:
    spread = [between_sd(rate[:, at], variance[:, at]) for at in (0, 1)]
    low, high = np.quantile(change, tails(level, len(rows)))
    return {
        "arm": name,
        "areas": len(rows),
        "before": spread[0],
        "after": spread[1],
        "change": spread[1] - spread[0],
        "change_low": np.nan if few else low,
        "change_high": np.nan if few else high,
        "before_children": float(rows["observed_before"].median()),
        "after_children": float(rows["observed_after"].median()),
    }


def _difference(rows: list[dict[str, object]], changes: list[np.ndarray], level: float, few: bool) -> dict[str, object]:
    low, high = np.quantile(changes[0] - changes[1], tails(level, min(int(row["areas"]) for row in rows)))
    return {
        "arm": "difference",
        "areas": sum(int(row["areas"]) for row in rows),  # type: ignore[call-overload]
        **{name: rows[0][name] - rows[1][name] for name in ("before", "after", "change")},  # type: ignore[operator]
        "change_low": np.nan if few else low,
        "change_high": np.nan if few else high,
        "before_children": np.nan,
        "after_children": np.nan,
    }
