"""Effect sizes: natural frequencies, standardised differences, odds ratios, months of progress.

The outcome's own unit comes first. Only continuous outcomes of pupils are standardised, and always by the standard
deviation of pupils (between and within areas, without covariates): that of area means would make an effect look three
to six times larger.

Sources: Hedges (1981), doi:10.3102/10769986006002107, for g; Hedges (2007), doi:10.3102/1076998606298043, for
clustered designs; Sánchez-Meca, Marín-Martínez and Chacón-Moscoso (2003), doi:10.1037/1082-989X.8.4.448, for Cox's d;
the Education Endowment Foundation's table of months for project reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from sendap.cells import Cells
from sendap.cells.moments import squared_deviations
from sendap.errors import DesignError, UsageError

Kind = Literal["individual", "clustered", "difference in differences", "Cox"]
STAGES = ("reception", "key stage 1", "key stage 2", "key stage 3", "key stage 4")
MONTHS = (0.05, 0.10, 0.19, 0.27, 0.36, 0.45, 0.53, 0.62, 0.70, 0.79, 0.88, 0.96)
"""Least g, to two decimals, of 1 month, 2 months and so on to 12."""

COX = 1.65


@dataclass(frozen=True)
class EffectSize:
    """A standardised difference with its interval. ``sd`` is what the difference was divided by (NaN for Cox)."""

    g: float
    standard_error: float
    ci_low: float
    ci_high: float
    level: float
    sd: float
    kind: Kind


@dataclass(frozen=True)
class PupilSpread:
    """How much pupils vary, without covariates, about the mean of their side (treated or not) and period.

    ``sd`` is the pooled standard deviation of pupils, between and within clusters together. ``between`` and
    ``within`` are the variance components of clusters and of pupils inside them (analysis of variance), ``icc`` the
    first as a share of both. ``n`` pupils (and periods) in ``clusters`` clusters of ``cluster_size`` on average.
    """

    sd: float
    between: float
    within: float
    icc: float
    n: float
    clusters: int
    cluster_size: float


def pupil_spread(cells: Cells, outcome: str | None = None, *, anticipation: int = 0) -> PupilSpread:
    """The unconditional spread of pupils before the start, from the moments of cells alone.

    Periods before anyone was treated or could have moved in anticipation, all areas. Variance components by analysis
    of variance with unequal groups (Searle, Casella and McCulloch 1992, Variance Components, 3.6). Survey weights are
    scaled to the number of pupils.

    Raises DesignError where the cells hold figures of areas and not of pupils, a share (use percentage points and the
    odds ratio), or nothing before the start.
    """
    whole = cells.margin(keep=[]) if cells.strata else cells
    panel = whole.panel(outcome)
    name, first = panel.outcome, float(panel.cohort.min())
    rows = whole.only(name).frame
    rows = rows[(rows["period"] < first - anticipation) & (rows["n_observed"] > 0)]
    if rows.empty:
        raise DesignError(f"'{name}' has no pupils before the start, so there is no spread to standardise by.")
    _refuse_shares(name, panel.info.unit, rows)
    count = rows["n_observed"].to_numpy(dtype=float)
    scale = count.sum() / rows["weight"].sum()
    weight = rows["weight"].to_numpy(dtype=float) * scale
    inside = squared_deviations(rows).to_numpy() * scale
    if count.max() <= 1 or inside.sum() <= 1e-12 * (rows["sum_squares"].sum() * scale):
        raise DesignError(
            f"'{name}' comes as figures of areas, so the spread of pupils isn't known. The standard deviation of area "
            "means would make an effect look three to six times larger. Give its size in its own unit."
        )
    mean = (rows["sum"] / rows["weight"]).to_numpy(dtype=float)
    side = pd.factorize(pd.MultiIndex.from_arrays([rows["cohort"].notna(), rows["period"]]))[0]
    size = np.bincount(side, weight)
    centre = np.bincount(side, weight * mean) / size
    across = weight @ (mean - centre[side]) ** 2
    sides, groups, total = len(size), len(rows), weight.sum()
    if groups <= sides or total <= groups:
        raise DesignError(f"'{name}' has too few areas or pupils before the start to say how much they vary.")
    within = inside.sum() / (total - groups)
    typical = (total - (np.bincount(side, weight**2) / size).sum()) / (groups - sides)
    between = max((across / (groups - sides) - within) / typical, 0.0)
    return PupilSpread(
        sd=float(np.sqrt((inside.sum() + across) / (total - sides))),
        between=float(between),
        within=float(within),
        icc=float(between / (between + within)),
        n=float(count.sum()),
        clusters=int(rows["cluster"].nunique()),
        cluster_size=float(total / groups),
    )


def _refuse_shares(name: str, unit: str, rows: pd.DataFrame) -> None:
    """Raises DesignError for an outcome with two values: a share."""
    some = rows["sum"].abs() > 0
    ratio = (rows.loc[some, "sum_squares"] / rows.loc[some, "sum"]).to_numpy()
    two = ratio.size > 0 and rows["n_observed"].max() > 1 and np.ptp(ratio) <= 1e-9 * np.abs(ratio).max()
    if unit == "per cent" or two:
        raise DesignError(
            f"'{name}' is a share. Only continuous outcomes are standardised: give percentage points first, and the "
            "odds ratio second."
        )


def hedges_g(
    difference: float,
    *,
    sd_treated: float,
    sd_comparison: float,
    n_treated: int,
    n_comparison: int,
    level: float = 0.95,
) -> EffectSize:
    """Hedges's g of a difference between two groups of individuals (adjusted, if covariates were used).

    g = J d, d over the pooled standard deviation, J = 1 - 3 / (4 (n1 + n0 - 2) - 1) (Hedges 1981); normal interval.
    """
    if min(n_treated, n_comparison) < 2 or min(sd_treated, sd_comparison) <= 0:
        raise UsageError("Give at least two in each group, and standard deviations above 0.")
    free = n_treated + n_comparison - 2
    pooled = np.sqrt(((n_treated - 1) * sd_treated**2 + (n_comparison - 1) * sd_comparison**2) / free)
    g = (1 - 3 / (4 * free - 1)) * difference / pooled
    error = np.sqrt((n_treated + n_comparison) / (n_treated * n_comparison) + g**2 / (2 * free))
    return _with_interval(g, error, level, pooled, "individual")


def hedges_g_clustered(
    difference: float,
    *,
    total_sd: float,
    icc: float,
    cluster_size: float,
    n_treated: float,
    n_comparison: float,
    from_components: bool = False,
    level: float = 0.95,
) -> EffectSize:
    """Hedges's d of a difference between clusters, over the total standard deviation of pupils (Hedges 2007, 15, 16).

    ``total_sd``: the pooled sample standard deviation of pupils inside the two sides, which falls short of the true
    one by sqrt(1 - 2 (n - 1) icc / (N - 2)); the difference is multiplied by that. ``from_components``: it is the root
    of the sum of estimated variance components, which doesn't fall short, so nothing is corrected. Equal cluster
    sizes are assumed; give the mean.
    """
    n, total = cluster_size, n_treated + n_comparison
    if total_sd <= 0 or not 0 <= icc < 1 or n < 1 or total - 2 <= 2 * (n - 1) * icc:
        raise UsageError(
            "Give a standard deviation above 0, an icc from 0 to below 1, and more than one cluster a side."
        )
    room = total - 2 - 2 * (n - 1) * icc
    d = difference / total_sd * (1.0 if from_components else np.sqrt(room / (total - 2)))
    spread = (total - 2) * (1 - icc) ** 2 + n * (total - 2 * n) * icc**2 + 2 * (total - 2 * n) * icc * (1 - icc)
    variance = total / (n_treated * n_comparison) * (1 + (n - 1) * icc) + d**2 * spread / (2 * (total - 2) * room)
    return _with_interval(d, np.sqrt(variance), level, total_sd, "clustered")


def _with_interval(g: float, error: float, level: float, sd: float, kind: Kind) -> EffectSize:
    reach = stats.norm.ppf(0.5 + level / 2) * error
    return EffectSize(float(g), float(error), float(g - reach), float(g + reach), level, float(sd), kind)


def did_size(row: pd.Series, spread: PupilSpread) -> EffectSize:
    """A row of results over the spread of pupils before the start: g_DiD, with the row's own interval.

    The interval is the one that is valid for the number of treated clusters; the spread is taken as known.
    """
    if row["unit"] == "per cent":
        raise DesignError(f"'{row['outcome']}' is a share: give percentage points first, and the odds ratio second.")
    size = spread.sd
    return EffectSize(
        g=float(row["estimate"] / size),
        standard_error=float(row["std_error"] / size),
        ci_low=float(row["ci_low"] / size),
        ci_high=float(row["ci_high"] / size),
        level=float(row["ci_level"]),
        sd=size,
        kind="difference in differences",
    )


@dataclass(frozen=True)
class OddsRatio:
    """An odds ratio with its interval; ``corrected`` where a half was added to each count because one was zero."""

    ratio: float
    ci_low: float
    ci_high: float
    level: float
    corrected: bool = False


def odds_ratio(
    events_treated: float, n_treated: float, events_comparison: float, n_comparison: float, *, level: float = 0.95
) -> OddsRatio:
    """The odds ratio of two shares with Woolf's (1955) interval; Haldane's half where a count is zero."""
    counts = np.array(
        [events_treated, n_treated - events_treated, events_comparison, n_comparison - events_comparison], dtype=float
    )
    if (counts < 0).any() or min(n_treated, n_comparison) <= 0:
        raise UsageError("Events must lie between 0 and the number in their group.")
    corrected = bool((counts == 0).any())
    counts = counts + 0.5 * corrected
    log = np.log(counts[0] * counts[3] / (counts[1] * counts[2]))
    reach = stats.norm.ppf(0.5 + level / 2) * np.sqrt((1 / counts).sum())
    return OddsRatio(*(float(np.exp(each)) for each in (log, log - reach, log + reach)), level, corrected)


def odds_ratio_of_effect(share: float, effect: float, ci_low: float, ci_high: float, level: float = 0.95) -> OddsRatio:
    """The odds ratio that a difference in percentage points stands for, given the treated areas' share (per cent).

    The share that they would have had is theirs less the effect; where an end of the interval leads below 0 or above
    100 per cent, that end of the ratio is infinite or 0.
    """
    if not 0 < share < 100:
        raise UsageError("The share of treated areas must lie between 0 and 100 per cent.")
    here = share / (100 - share)

    def against(change: float) -> float:
        other = share - change
        return float(np.inf if other <= 0 else 0.0 if other >= 100 else here / (other / (100 - other)))

    ratio = against(effect)
    if not 0 < ratio < np.inf:
        raise DesignError(
            "Without the effect the share would lie outside 0 to 100 per cent, so there is no odds ratio."
        )
    return OddsRatio(ratio, against(ci_low), against(ci_high), level)


def cox_d(found: OddsRatio) -> EffectSize:
    """Cox's d = ln(odds ratio) / 1.65: only to compare a share with other studies."""
    if not 0 < found.ratio < np.inf:
        raise UsageError("The odds ratio must be above 0 and finite.")
    with np.errstate(divide="ignore"):
        g, low, high = (float(np.log(each) / COX) for each in (found.ratio, found.ci_low, found.ci_high))
    error = (high - low) / (2 * float(stats.norm.ppf(0.5 + found.level / 2)))
    return EffectSize(g, error if np.isfinite(error) else float("nan"), low, high, found.level, float("nan"), "Cox")


def months(g: float) -> int:
    """Months of progress for an effect size, below zero for less: g rounded to two decimals, then the table.

    12 stands for 0.96 and over.
    """
    if not np.isfinite(g):
        raise UsageError("There are no months for an effect size that isn't a finite number.")
    size = float(Decimal(repr(abs(float(g)))).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))
    found = sum(size >= least - 1e-9 for least in MONTHS)
    return found if g > 0 else -found


@dataclass(frozen=True)
class MonthsOfProgress:
    """Months at the estimate and at both ends of the interval, with the effect size that they stand for."""

    months: int
    low: int
    high: int
    size: EffectSize


def months_of_progress(size: EffectSize, *, measure: str, stage: str) -> MonthsOfProgress:
    """Months of progress, only for a test score from reception to key stage 4.

    ``measure`` must be "attainment" (never absence, exclusion, waits, wellbeing or a share); ``stage`` one of
    ``STAGES``. Raises DesignError for anything else.
    """
    if measure != "attainment" or size.kind == "Cox":
        what = "a share" if size.kind == "Cox" else measure
        raise DesignError(f"Months of progress are for test scores only, not for {what}. Give the outcome's own unit.")
    if stage not in STAGES:
        raise DesignError(f"Months of progress are for {', '.join(STAGES)}, not for {stage}.")
    return MonthsOfProgress(months(size.g), months(size.ci_low), months(size.ci_high), size)


@dataclass(frozen=True)
class Frequency:
    """A difference as a number in every ``per`` children, with its interval."""

    count: float
    low: float
    high: float
    per: int


def natural_frequency(estimate: float, ci_low: float, ci_high: float) -> Frequency:
    """Percentage points as a number in every 100; in every 1,000 or 10,000 where the larger end would be under 1."""
    if not np.isfinite([estimate, ci_low, ci_high]).all():
        raise UsageError("A natural frequency needs an estimate and both ends of its interval.")
    largest = max(abs(ci_low), abs(ci_high))
    per = next((each for each in (100, 1_000, 10_000) if largest * each / 100 >= 1), 10_000)
    return Frequency(estimate * per / 100, ci_low * per / 100, ci_high * per / 100, per)
