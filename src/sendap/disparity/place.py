"""Areas compared as like with like: standardised ratios and rates, with their limits.

Rows come in the order of the areas' codes, never of their figures: what one area's figure says is how far chance and
the mix of its children explain it, not whether it stands above another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.intervals import critical, newcombe, wilson
from sendap.disparity.rates import THRESHOLD, TOO_FEW, Rates, rates
from sendap.disparity.shrinkage import beta_binomial, normal
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


def area_gaps(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    reference: str,
    level: float = 0.95,
    threshold: int = THRESHOLD,
) -> pd.DataFrame:
    """The gap of each group to ``reference`` inside each area, and the same drawn towards the mean of all areas.

    Periods are added up. Columns: ``cluster, group, n, n_reference, rate, rate_reference, gap, gap_low, gap_high``
    (Newcombe, in the outcome's unit), ``shrunk, shrunk_low, shrunk_high`` (empirical Bayes over the areas of the group,
    where there are three or more) and ``status``. Rows in which either group has fewer than ``threshold`` children are
    too few to say, and kept. In the order of areas' codes, then of groups.

    Raises DesignError for an outcome that isn't a share.
    """
    found = rates(cells, outcome, by=("cluster", by))
    if not found.share:
        raise DesignError(f"'{found.outcome}' isn't a share of children.")
    frame = found.frame.assign(group=found.frame[by].astype(str))[["cluster", "group", "observed", "rate"]]
    base = frame[frame["group"] == reference].drop(columns="group")
    made = frame[frame["group"] != reference].merge(base, on="cluster", how="left", suffixes=("", "_reference"))
    few = (made["observed"] < threshold) | ~(made["observed_reference"] >= threshold)
    p1, n1, p0, n0 = (made[name].to_numpy() for name in ("rate", "observed", "rate_reference", "observed_reference"))
    gap, low, high = newcombe(p1, n1, p0, n0, level=level)
    # An estimate of the variance that isn't zero where a share is (Agresti and Caffo 2000).
    kept1, kept0 = ((p * n + 1) / (n + 2) for p, n in ((p1, n1), (p0, n0)))
    variance = kept1 * (1 - kept1) / (n1 + 2) + kept0 * (1 - kept0) / (n0 + 2)
    for name, values in (("gap", gap), ("gap_low", low), ("gap_high", high)):
        made[name] = values * found.scale
    made[["shrunk", "shrunk_low", "shrunk_high"]] = np.nan
    for _, rows in made[~few].groupby("group"):
        if len(rows) >= 3:
            drawn = normal(gap[rows.index] * found.scale, variance[rows.index] * found.scale**2, level=level)
            made.loc[rows.index, "shrunk"] = drawn.estimate
            made.loc[rows.index, "shrunk_low"], made.loc[rows.index, "shrunk_high"] = drawn.low, drawn.high
    made[["rate", "rate_reference"]] *= found.scale
    made = made.rename(columns={"observed": "n", "observed_reference": "n_reference"})
    columns = ["rate", "rate_reference", "gap", "gap_low", "gap_high"]
    made.loc[few, columns] = np.nan
    made["status"] = np.where(few, TOO_FEW, "ok")
    order = {name: place for place, name in enumerate(groups.in_order(made["group"]))}
    made = made.sort_values(["cluster", "group"], key=lambda each: each.map(order) if each.name == "group" else each)
    numbers = ["n", "n_reference", *columns, "shrunk", "shrunk_low", "shrunk_high"]
    return made[["cluster", "group", *numbers, "status"]].reset_index(drop=True)


def shrunken_shares(cells: Cells, outcome: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """Each area's share drawn towards the mean of all (beta-binomial): ``cluster, shrunk, shrunk_low, shrunk_high``.

    In the outcome's unit; strata and periods are added up. Raises as ``beta_binomial``, and DesignError for a mean.
    """
    found = rates(cells, outcome, by="cluster")
    if not found.share:
        raise DesignError(f"'{found.outcome}' isn't a share of children.")
    frame = found.frame
    drawn = beta_binomial(frame["rate"] * frame["observed"], frame["observed"], level=level)
    scaled = {name: found.scale * getattr(drawn, part) for name, part in _SHRUNK.items()}
    return pd.DataFrame({"cluster": frame["cluster"], **scaled}).sort_values("cluster").reset_index(drop=True)


_SHRUNK = {"shrunk": "estimate", "shrunk_low": "low", "shrunk_high": "high"}


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
