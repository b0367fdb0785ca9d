"""p-values of several outcomes or terms at once, by the rules of the evaluation standard for each family.

The step-down method of Romano and Wolf needs draws of all statistics under no effect with their true dependence: here
every draw gives each cluster one multiplier, or deals the starts out once, for all members together. Sources: Romano
and Wolf (2005), doi:10.1198/016214504000000539, and (2016), doi:10.1016/j.spl.2016.02.012, for the p-values; Holm
(1979); Benjamini and Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sendap.errors import DataError, DesignError, UsageError
from sendap.inference.permutation import allocations, collect
from sendap.inference.wild_bootstrap import Kind, multipliers, wild_bootstrap
from sendap.results import Estimates

Family = Literal["primary", "secondary", "guard", "disparity", "exploratory"]
Resampling = Literal["auto", "multiplier", "permutation", "wild"]
STEP_DOWN = ("secondary", "disparity")
UNADJUSTED = ("primary", "guard")
FAMILIES = (*UNADJUSTED, *STEP_DOWN, "exploratory")
ADJUSTMENT_WORDS: Mapping[str, str] = {
    "none": "not adjusted",
    "holm": "Holm",
    "romano_wolf (multiplier)": "Romano and Wolf, the same multipliers of areas for all",
    "romano_wolf (permutation)": "Romano and Wolf, the same allocations of the starts for all",
    "romano_wolf (wild)": "Romano and Wolf, the same wild bootstrap draws for all",
    "benjamini_hochberg": "Benjamini and Hochberg (q-value, no claim)",
}
FEWEST_ALLOCATIONS = 20
DRAWS = 9999
SEED = 20230902


@dataclass(frozen=True)
class Draws:
    """Statistics of m members: as estimated (m), and under no effect in R shared draws (R by m), larger is rarer.

    ``exact`` says that the draws are all there are, the actual one among them. ``method`` names the resampling.
    """

    statistic: np.ndarray
    null: np.ndarray
    exact: bool
    method: str


@dataclass(frozen=True)
class Member:
    """One hypothesis of a family: a term of a fit, and the p-value of its headline method."""

    fit: Any
    term: int
    p_value: float
    inference: str

    @classmethod
    def of(cls, results: Estimates, term: str = "overall") -> Member:
        """The headline row of ``term`` and the fit behind it. Raises DataError where one is missing."""
        rows = results.headline()
        rows = rows[rows["term"] == term]
        if len(rows) != 1:
            raise DataError(f"The results hold {len(rows)} headline rows of the term '{term}', and one is needed.")
        row = rows.iloc[0]
        fit = results.parts.get(row["estimator"])
        if fit is None:
            raise DataError(f"The results don't hold the fit of '{row['estimator']}'. Take them before they're joined.")
        position = int(np.flatnonzero((fit.terms["term"] == term).to_numpy())[0])
        return cls(fit, position, float(row["p_value"]), str(row["inference"]))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """max over j up to k of min{(m - j + 1) p_(j), 1}; missing p-values stay missing and aren't counted."""
    return _adjusted(p_values, "holm")


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """q-values, min over j from k on of (m / j) p_(j); missing p-values stay missing and aren't counted."""
    return _adjusted(p_values, "fdr_bh")


def _adjusted(p_values: Sequence[float], method: str) -> np.ndarray:
    given = np.asarray(p_values, dtype=float)
    known = np.isfinite(given)
    found = np.full(given.shape, np.nan)
    if known.any():
        found[known] = multipletests(given[known], method=method)[1]
    return found


def romano_wolf(draws: Draws) -> np.ndarray:
    """Step-down p-values (m).

    In falling order of the statistics, p_(k) = max(p_(k-1), (1 + #{b: max over j from k on of t*_jb >= t_(k)}) /
    (B + 1)); with ``exact`` the actual draw is among the B, so it isn't added. A draw that lacks a statistic counts as
    extreme for it.
    """
    statistic = np.abs(np.asarray(draws.statistic, dtype=float))
    null = np.abs(np.asarray(draws.null, dtype=float))
    if null.ndim != 2 or null.shape[1] != len(statistic) or not np.isfinite(statistic).all():
        raise UsageError(f"Draws need one column for each of the {len(statistic)} statistics, all of them numbers.")
    null = np.where(np.isnan(null), np.inf, null)
    order = np.argsort(-statistic, kind="stable")
    # The largest of the statistics that are left, for each step.
    largest = np.maximum.accumulate(null[:, order[::-1]], axis=1)[:, ::-1]
    extra = 0 if draws.exact else 1
    # Equal statistics differ in their last digits, so nearly equal counts as extreme.
    extreme = (largest >= statistic[order] * (1 - 1e-10)).sum(axis=0)
    stepped = np.maximum.accumulate((extra + extreme) / (extra + len(null)))
    found = np.empty(len(statistic))
    found[order] = stepped
    return found


def multiplier_draws(members: Sequence[Member], *, draws: int = DRAWS, seed: int = SEED) -> Draws:
    """Sums of the clusters' contributions times normal numbers that all members share.

    Contributions are distances of leave-one-out estimates, so treated clusters have the weight of the jackknife. The
    statistic is the normal number with the p-value of the member's headline method, so members with few degrees of
    freedom count as they should, and alone each keeps that p-value. Clusters are matched by name.
    """
    names = sorted({name for each in members for name in map(str, each.fit.panel.clusters)})
    place = {name: position for position, name in enumerate(names)}
    scores = np.zeros((len(names), len(members)))
    for column, each in enumerate(members):
        away = each.fit.leave_one_out()[:, each.term] - each.fit.estimate[each.term]
        scores[[place[str(name)] for name in each.fit.panel.clusters], column] = np.nan_to_num(away)
    size = np.sqrt((scores**2).sum(axis=0))
    if not (size > 0).all():
        raise DesignError("A member's estimate doesn't change with any cluster, so there is nothing to draw from.")
    null = np.random.default_rng(seed).standard_normal((draws, len(names))) @ (scores / size)
    # A p-value of exactly zero would be infinitely rare.
    p_values = np.maximum([each.p_value for each in members], 1e-300)
    return Draws(stats.norm.isf(p_values / 2), null, exact=False, method="multiplier")


def permutation_draws(
    members: Sequence[Member], *, regions: Mapping[str, str] | None = None, draws: int = DRAWS, seed: int = SEED
) -> Draws:
    """Every member under the same allocations of the starts.

    Starts are dealt out once over the clusters of all members, inside ``regions`` (by cluster; else those of the
    fits), and each member takes its own clusters'. Statistics are studentised, or where some member has a single
    treated cluster, divided by their spread over the allocations. Raises DesignError where there are fewer than 20
    allocations, or a cluster starts at different times for different members.
    """
    starts: dict[str, float] = {}
    inside: dict[str, str] = {}
    for each in members:
        panel = each.fit.panel
        groups = [panel.group_names[at] if len(panel.group_names) else "" for at in panel.cluster_group]
        for name, start, group in zip(map(str, panel.clusters), panel.cluster_cohort, groups, strict=True):
            if starts.setdefault(name, float(start)) != float(start):
                raise DesignError(f"Cluster '{name}' doesn't start at the same time for every member of the family.")
            inside[name] = str(group) if regions is None else str(regions.get(name, ""))
    names = sorted(starts)
    numbers = np.unique([inside[name] for name in names], return_inverse=True)[1]
    dealt, exact = allocations(np.array([starts[name] for name in names]), numbers, draws, seed)
    if exact and len(dealt) < FEWEST_ALLOCATIONS:
        raise DesignError(f"There are only {len(dealt)} ways to deal the starts out.")
    single = any(int(each.fit.terms["treated_clusters"].iloc[each.term]) == 1 for each in members)
    statistic, null = np.empty(len(members)), np.empty((len(dealt), len(members)))
    for column, each in enumerate(members):
        own = np.searchsorted(names, list(map(str, each.fit.panel.clusters)))
        found, actual = collect(each.fit, dealt[:, own], np.array([each.term]))
        with np.errstate(invalid="ignore", divide="ignore"):
            size, own_size = (
                (np.sqrt(np.nanmean(found.outcome[:, 0] ** 2)),) * 2
                if single
                else (np.sqrt(part.square_outcome[:, 0]) for part in (found, actual))
            )
            null[:, column] = found.outcome[:, 0] / size
            statistic[column] = float(np.squeeze(actual.outcome[0, 0] / own_size))
    return Draws(statistic, null, exact, method="permutation")


def wild_draws(members: Sequence[Member], *, kind: Kind = "rademacher", draws: int = DRAWS, seed: int = SEED) -> Draws:
    """The restricted wild cluster bootstrap of least-squares fits, with the same multipliers for every member.

    Raises UsageError for other fits. Clusters are matched by name.
    """
    names = sorted({name for each in members for name in map(str, each.fit.panel.clusters)})
    shared = multipliers(len(names), kind=kind, draws=draws, seed=seed)
    found = []
    for each in members:
        if not hasattr(each.fit, "cross_products"):
            raise UsageError(f"The wild bootstrap is for least squares only, not '{each.fit.estimator}'.")
        own = np.searchsorted(names, list(map(str, each.fit.panel.clusters)))
        found.append(wild_bootstrap(each.fit, term=each.term, given=shared[:, own]))
    exact = kind == "rademacher" and len(shared) == 2 ** (len(names) - 1) <= draws
    null = np.column_stack([each.bootstrapped for each in found])
    return Draws(np.array([each.statistic for each in found]), null, exact, method="wild")


def adjust_family(
    family: Family,
    results: Mapping[str, Estimates],
    *,
    term: str = "overall",
    resampling: Resampling = "auto",
    regions: Mapping[str, str] | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
) -> pd.DataFrame:
    """p-values of one family's members, adjusted by its rule: ``member, p_value, p_adjusted, adjustment``.

    Primary outcomes and guards aren't adjusted, the latter because missing a harm is the costly error. Secondary
    outcomes and disparity interactions take Romano and Wolf's step-down p-values, or Holm's where draws can't be made
    together. Exploratory outcomes get Benjamini and Hochberg's q-values, and no claim rests on them.

    ``results`` are those of one estimator a member, as the estimators return them. ``resampling="auto"`` deals starts
    out where permutation is the headline of a member and shares multipliers otherwise. The same seed gives the same
    numbers. Raises UsageError for an unknown family or resampling.
    """
    if family not in FAMILIES:
        raise UsageError(f"family must be one of {', '.join(FAMILIES)}, not '{family}'.")
    if resampling not in ("auto", "multiplier", "permutation", "wild"):
        raise UsageError(f"resampling must be auto, multiplier, permutation or wild, not '{resampling}'.")
    rows = []
    for name, found in results.items():
        headline = found.headline().query("term == @term")
        p_value = float(headline["p_value"].iloc[0]) if len(headline) else np.nan
        rows.append({"member": name, "p_value": p_value})
    frame = pd.DataFrame(rows, columns=["member", "p_value"])
    p_values = frame["p_value"].to_numpy(dtype=float)
    if family in UNADJUSTED:
        return frame.assign(p_adjusted=p_values, adjustment="none")
    if family == "exploratory":
        return frame.assign(p_adjusted=benjamini_hochberg(p_values), adjustment="benjamini_hochberg")
    known = np.isfinite(p_values)
    if known.sum() <= 1:
        return frame.assign(p_adjusted=p_values, adjustment="none")
    try:
        members = [Member.of(found, term) for found, keep in zip(results.values(), known, strict=True) if keep]
        shared = _shared(members, resampling, regions, draws, seed)
        # No step may fall below the p-value of the member's own method.
        stepped = np.maximum(romano_wolf(shared), p_values[known])
    except (DataError, DesignError):
        return frame.assign(p_adjusted=holm(p_values), adjustment="holm")
    adjusted = np.full(len(frame), np.nan)
    adjusted[known] = stepped
    return frame.assign(p_adjusted=adjusted, adjustment=f"romano_wolf ({shared.method})")


def _shared(
    members: list[Member], resampling: Resampling, regions: Mapping[str, str] | None, draws: int, seed: int
) -> Draws:
    permuted = resampling == "permutation" or (
        resampling == "auto" and any(each.inference == "permutation" for each in members)
    )
    if permuted:
        return permutation_draws(members, regions=regions, draws=draws, seed=seed)
    if resampling == "wild":
        return wild_draws(members, draws=draws, seed=seed)
    return multiplier_draws(members, draws=draws, seed=seed)
