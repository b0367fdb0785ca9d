"""Areas compared as like with like: standardised ratios and rates, with their limits.

Rows come in the order of the areas' codes, never of their figures: what one area's figure says is how far chance and
the mix of its children explain it, not whether it stands above another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from sendap.cells import Cells
from sendap.disparity.intervals import critical, wilson
from sendap.disparity.rates import THRESHOLD, TOO_FEW, Rates, rates
from sendap.errors import DesignError, UsageError

EXACT_BELOW = 10
"""Below this many events Byar's approximation isn't close enough, and the exact limits are used."""


def exact_limits(observed: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the mean of a Poisson count, by chi-squared. Source: Garwood (1936), doi:10.1093/biomet/28.3-4.437."""
    observed = np.asarray(observed, dtype=float)
    tail = (1 - level) / 2
    low = np.where(observed > 0, stats.chi2.ppf(tail, 2 * np.maximum(observed, 1e-300)) / 2, 0.0)
    return low, stats.chi2.isf(tail, 2 * (observed + 1)) / 2


def byar(observed: np.ndarray, expected: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Limits of observed over expected by Byar's approximation; exact where fewer than 10 events were observed.

    Source: Breslow and Day (1987), Statistical Methods in Cancer Research, volume 2, equation 2.13.
    """
    observed, expected = np.asarray(observed, dtype=float), np.asarray(expected, dtype=float)
    z, more, some = critical(level), observed + 1, np.maximum(observed, 1.0)
    low = observed * (1 - 1 / (9 * some) - z / (3 * np.sqrt(some))) ** 3
    high = more * (1 - 1 / (9 * more) + z / (3 * np.sqrt(more))) ** 3
    few = observed < EXACT_BELOW
    exact_low, exact_high = exact_limits(observed, level=level)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(few, exact_low, low) / expected, np.where(few, exact_high, high) / expected


def standardised_ratios(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: Sequence[str],
    level: float = 0.95,
    threshold: int = THRESHOLD,
) -> pd.DataFrame:
    """Observed over expected events of each area, expected at the national rate of each stratum (indirect).

    ``by``: the strata whose mix is allowed for (sex, FSM, deprivation). The national rates are those of all areas in
    the cells. Ratios of two areas aren't comparable with one another, each only with 1, since each is weighted by its
    own mix. Columns: ``cluster, n, events, expected, rate`` (per child), ``ratio, ratio_low, ratio_high, status``;
    areas with fewer than ``threshold`` children or expected events below 1 are too few to say.

    Raises DesignError for an outcome that isn't a share, or strata that margins hold only one at a time.
    """
    parts = _crossed(cells, outcome, by)
    frame = parts.frame
    events = frame["rate"] * frame["observed"]
    national = events.groupby(_key(frame, by)).transform("sum") / frame.groupby(_key(frame, by))["observed"].transform(
        "sum"
    )
    made = (
        frame.assign(events=events, expected=national * frame["observed"])
        .groupby("cluster")
        .agg(n=("observed", "sum"), events=("events", "sum"), expected=("expected", "sum"))
        .reset_index()
    )
    made["rate"] = made["events"] / made["n"]
    made["ratio"] = made["events"] / made["expected"].where(made["expected"] > 0)
    made["ratio_low"], made["ratio_high"] = byar(made["events"], made["expected"], level=level)
    few = (made["n"] < threshold) | (made["expected"] < 1)
    return _blank(made, few, ["rate", "ratio", "ratio_low", "ratio_high"])


def standardised_rates(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: Sequence[str],
    level: float = 0.95,
    threshold: int = THRESHOLD,
) -> pd.DataFrame:
    """The rate that each area would have with the national mix of children (direct), in the outcome's unit.

    Columns: ``cluster, n, rate`` (crude), ``standardised, standardised_low, standardised_high, covered`` (the share of
    the national mix that the area has any children of), ``status``. An area that lacks a stratum has no standardised
    rate, and is too few to say. Limits are Wilson's for the crude count, stretched by the ratio of the two standard
    errors, after Dobson and others (1991), doi:10.1002/sim.4780100317.

    Raises as ``standardised_ratios``.
    """
    parts = _crossed(cells, outcome, by)
    frame, scale = parts.frame, parts.scale
    share = frame.groupby(_key(frame, by))["observed"].transform("sum") / frame["observed"].sum()
    rate, count = frame["rate"], frame["observed"]
    spread = rate * (1 - rate)
    made = (
        frame.assign(
            events=rate * count,
            standardised=share * rate,
            variance=share**2 * spread / count,
            plain=count * spread,
            covered=share,
        )
        .groupby("cluster")
        .agg(
            n=("observed", "sum"),
            events=("events", "sum"),
            standardised=("standardised", "sum"),
            variance=("variance", "sum"),
            plain=("plain", "sum"),
            covered=("covered", "sum"),
        )
        .reset_index()
    )
    crude = made["events"] / made["n"]
    low, high = wilson(crude.to_numpy(), made["n"].to_numpy(), level=level)
    # With no variation inside any stratum the two standard errors are both zero; the crude limits then stand.
    stretch = (
        np.sqrt((made["variance"] / made["plain"].where(made["plain"] > 0)).fillna(1 / made["n"] ** 2)) * made["n"]
    )
    few = (made["n"] < threshold) | (made["covered"] < 1 - 1e-9)
    made["rate"] = crude * scale
    made["standardised_low"] = (made["standardised"] + stretch * (low - crude)).clip(0, 1) * scale
    made["standardised_high"] = (made["standardised"] + stretch * (high - crude)).clip(0, 1) * scale
    made["standardised"] *= scale
    made = made.drop(columns=["events", "variance", "plain"])
    return _blank(made, few, ["standardised", "standardised_low", "standardised_high"])


def _crossed(cells: Cells, outcome: str | None, by: Sequence[str]) -> Rates:
    if isinstance(by, str) or not by:
        raise UsageError("by is a list of the strata whose mix is allowed for.")
    parts = rates(cells, outcome, by=("cluster", *by))
    if not parts.share:
        raise DesignError(f"'{parts.outcome}' isn't a share of children, so it has no expected number of events.")
    return parts


def _key(frame: pd.DataFrame, by: Sequence[str]) -> list[pd.Series]:
    return [frame[name] for name in by]


def _blank(made: pd.DataFrame, few: pd.Series, columns: Sequence[str]) -> pd.DataFrame:
    made = made.sort_values("cluster").reset_index(drop=True)
    made.loc[few, list(columns)] = np.nan
    made["status"] = np.where(few, TOO_FEW, "ok")
    return made
