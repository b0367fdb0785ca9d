"""Group-time average effects (Callaway and Sant'Anna 2021, doi:10.1016/j.jeconom.2020.12.001) on cells.

One routine serves the estimate, the cluster jackknife and thousands of permutations: it takes R allocations
of the starts at once, so the estimate is the case R = 1 and a test can't compute anything else than it.

With a region, treated areas are compared with the untreated areas of their own region, and the regions are
averaged by their treated areas: outcome regression on the region, saturated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import Permuted, by_cluster, refuse_constant, treated_cohorts

Control = Literal["never", "not_yet"]
Base = Literal["universal", "varying"]


@dataclass(frozen=True)
class Pair:
    """One ATT(g, t): cohort, period and base as positions in the panel's periods."""

    cohort: float
    time: int
    base: int


@dataclass(frozen=True)
class Aggregate:
    """An average of pairs. ``shares``: cohort sizes weight the pairs; else the pairs count equally."""

    term: str
    pairs: tuple[int, ...]
    shares: bool
    cohort: float = np.nan
    period: float = np.nan
    event_time: float = np.nan


@dataclass
class Allocation:
    """Estimates under R allocations: per term, R estimates, and R by U contributions for each variable."""

    estimate: np.ndarray  # V, R, K
    contributions: np.ndarray | None  # V, R, U, K
    weights: np.ndarray | None  # R, K, U, T


@dataclass
class GroupTimeFit:
    panel: Panel
    control: Control
    base: Base
    anticipation: int
    contrast: str = ""
    estimator: str = "group_time"
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.control not in ("never", "not_yet"):
            raise UsageError(f"control must be 'never' or 'not_yet', not '{self.control}'.")
        if self.base not in ("universal", "varying"):
            raise UsageError(f"base must be 'universal' or 'varying', not '{self.base}'.")
        if self.anticipation < 0:
            raise UsageError("anticipation must be 0 or more periods.")
        self.pairs = self._pairs()
        self._keep_estimable()
        if not any(self.panel.periods[pair.time] >= pair.cohort for pair in self.pairs):
            raise DesignError(
                f"'{self.panel.outcome}' has no start from which on both treated and comparison areas have figures. "
                f"{' '.join(self.left_out)} Put small groups together, or add later periods.".replace("  ", " ")
            )
        actual = self.allocate(self.panel.cluster_cohort[None, :], contributions=True, weights=True)
        assert actual.contributions is not None
        assert actual.weights is not None
        self.estimate = actual.estimate[0, 0]
        self._weights = actual.weights[0]
        count = len(self.panel.clusters)
        self.scores = by_cluster(actual.contributions[0, 0], self.panel.cluster, count)
        used = int((np.abs(self._weights).sum(axis=(0, 2)) > 0).sum())
        self.crv1_factor = used / (used - 1)

    def _base_of(self, cohort: float, time: int) -> int | None:
        """Position of the base period: the last before treatment and anticipation, or the one before."""
        periods = self.panel.periods
        before = np.flatnonzero(periods < cohort - self.anticipation)
        if before.size == 0:
            return None
        if self.base == "varying" and periods[time] < cohort - self.anticipation:
            return time - 1 if time > 0 else None
        return int(before[-1])

    def _pairs(self) -> list[Pair]:
        found = []
        for cohort in treated_cohorts(self.panel):
            if self._base_of(cohort, len(self.panel.periods) - 1) is None:
                self.left_out.append(
                    f"Areas that start in {cohort:g} have no period before they could be affected, so no effect can "
                    "be estimated for them."
                )
                continue
            for time in range(len(self.panel.periods)):
                base = self._base_of(cohort, time)
                if base is not None and base != time:
                    found.append(Pair(float(cohort), time, base))
        if not found:
            raise DesignError(
                f"'{self.panel.outcome}' has no period before treatment, so there is nothing to compare with. "
                "Add earlier periods, or choose another outcome."
            )
        return found

    def _aggregates(self) -> list[Aggregate]:
        periods = self.panel.periods
        made = [
            Aggregate(
                "att",
                (index,),
                False,
                pair.cohort,
                float(periods[pair.time]),
                periods[pair.time] - pair.cohort,
            )
            for index, pair in enumerate(self.pairs)
        ]
        post = [index for index, pair in enumerate(self.pairs) if periods[pair.time] >= pair.cohort]
        made.append(Aggregate("overall", tuple(post), True))
        for cohort in sorted({self.pairs[index].cohort for index in post}):
            members = tuple(index for index in post if self.pairs[index].cohort == cohort)
            made.append(Aggregate("group", members, False, cohort=cohort))
        events = sorted({float(periods[pair.time] - pair.cohort) for pair in self.pairs})
        for event in events:
            members = tuple(i for i, pair in enumerate(self.pairs) if periods[pair.time] - pair.cohort == event)
            made.append(Aggregate("event", members, True, event_time=event))
        for period in sorted({int(periods[self.pairs[index].time]) for index in post}):
            members = tuple(index for index in post if periods[self.pairs[index].time] == period)
            made.append(Aggregate("calendar", members, True, period=float(period)))
        return made

    def _controls(self, cohorts: np.ndarray, pair: Pair) -> np.ndarray:
        if self.control == "never":
            return np.isinf(cohorts)
        latest = self.panel.periods[max(pair.time, pair.base)] + self.anticipation
        return (cohorts > latest) & (cohorts != pair.cohort)

    @cached_property
    def _group_of_unit(self) -> np.ndarray:
        """One-hot U by Q: the region of each unit."""
        count = len(self.panel.group_names)
        return np.eye(count)[self.panel.group]

    def _pair_estimates(
        self, pair: Pair, variables: np.ndarray, cohorts: np.ndarray, keep: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ATT(g, t) for each variable and allocation, the contributions of units, and the weights of units.

        ``variables`` V by U by T; ``cohorts`` and ``keep`` R by U. Returns V by R; V by R by U; R by U.
        """
        weight, mean, one_hot = self.panel.weight, self.panel.mean, self._group_of_unit
        seen = np.isfinite(mean[:, pair.time]) & np.isfinite(mean[:, pair.base])
        share = np.where(seen, weight[:, pair.base], 0.0)[None, :] * keep
        treated = share * (cohorts == pair.cohort)
        controls = share * self._controls(cohorts, pair)
        control_weight = controls @ one_hot  # R, Q
        has_controls = control_weight > 0
        treated = treated * (has_controls.astype(float) @ one_hot.T)
        treated_weight = treated @ one_hot
        total = treated_weight.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            treated = treated / total
            scaled = np.where(has_controls, treated_weight / total / control_weight, 0.0)
            controls_share = controls * (scaled @ one_hot.T)
        unit_weight = treated - controls_share
        change = np.where(seen, variables[:, :, pair.time] - variables[:, :, pair.base], 0.0)  # V, U
        estimate = np.einsum("ru,vu->vr", unit_weight, change)
        with np.errstate(invalid="ignore", divide="ignore"):
            control_mean = np.stack([(controls * row) @ one_hot / control_weight for row in change])  # V, R, Q
        control_mean = np.where(has_controls, control_mean, 0.0) @ one_hot.T  # V, R, U
        gap = change[:, None, :] - control_mean
        contributions = treated * (gap - estimate[:, :, None]) - controls_share * gap
        return estimate, contributions, unit_weight

    def allocate(
        self,
        cluster_cohorts: np.ndarray,
        *,
        variables: np.ndarray | None = None,
        keep: np.ndarray | None = None,
        terms: np.ndarray | None = None,
        contributions: bool = False,
        weights: bool = False,
    ) -> Allocation:
        """Every chosen term under each allocation (R by G first treated periods, ``keep`` R by G of 0 and 1).

        ``variables`` are V by U by T, the outcome by default; ``terms`` numbers some of ``aggregates``.
        """
        panel = self.panel
        cohorts = cluster_cohorts[:, panel.cluster]
        kept = np.ones_like(cohorts) if keep is None else keep[:, panel.cluster]
        values = np.nan_to_num(panel.mean)[None] if variables is None else variables
        chosen = self.aggregates if terms is None else [self.aggregates[index] for index in terms]
        draws, units = cohorts.shape
        unit_size = panel.weight.sum(axis=1) / np.maximum((panel.weight > 0).sum(axis=1), 1)
        # First pass: how much each pair counts in each term, which needs to know which pairs can be estimated.
        needed = sorted({index for aggregate in chosen for index in aggregate.pairs})
        pairs = {i: self._pair_estimates(self.pairs[i], values, cohorts, kept) for i in needed}
        size = {i: ((cohorts == self.pairs[i].cohort) * kept) @ unit_size for i in needed}
        estimate = np.full((len(values), draws, len(chosen)), np.nan)
        given = np.zeros((len(values), draws, units, len(chosen))) if contributions else None
        linear = np.zeros((draws, len(chosen), units, len(panel.periods))) if weights else None
        for column, aggregate in enumerate(chosen):
            ok = np.stack([np.isfinite(pairs[i][0][0]) for i in aggregate.pairs], axis=1)
            raw = np.stack([size[i] if aggregate.shares else np.ones(draws) for i in aggregate.pairs], axis=1)
            raw = np.where(ok, raw, 0.0)
            total = raw.sum(axis=1, keepdims=True)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = raw / total
            parts = np.stack([np.where(ok[:, j], pairs[i][0], 0.0) for j, i in enumerate(aggregate.pairs)], axis=2)
            mean = np.einsum("vrj,rj->vr", parts, share)
            estimate[:, :, column] = mean
            for j, i in enumerate(aggregate.pairs):
                pair = self.pairs[i]
                counts = np.where(ok[:, j], share[:, j], 0.0)
                if given is not None:
                    given[..., column] += counts[None, :, None] * np.nan_to_num(pairs[i][1])
                    if aggregate.shares and len(aggregate.pairs) > 1:
                        # The shares of the cohorts are estimated too.
                        member = (cohorts == pair.cohort) * kept * unit_size
                        with np.errstate(invalid="ignore", divide="ignore"):
                            moved = np.where(ok[:, j], parts[:, :, j] - mean, 0.0)[:, :, None] * (member / total)
                        given[..., column] += moved
                if linear is not None:
                    moved = counts[:, None] * np.nan_to_num(pairs[i][2])
                    linear[:, column, :, pair.time] += moved
                    linear[:, column, :, pair.base] -= moved
        return Allocation(estimate, given, linear)

    def _keep_estimable(self) -> None:
        """Drop pairs without treated or control areas, name them, and describe the terms that remain."""
        panel = self.panel
        cohorts = panel.cluster_cohort[None, :]
        plain = np.nan_to_num(panel.mean)[None]
        ones = np.ones((1, len(panel.units)))
        unit_cohorts = cohorts[:, panel.cluster]
        found = [self._pair_estimates(pair, plain, unit_cohorts, ones) for pair in self.pairs]
        usable = [bool(np.isfinite(estimate[0, 0])) for estimate, _, _ in found]
        if not any(usable):
            raise DesignError(
                f"'{panel.outcome}' has no area to compare with: all areas are treated at once, or none in the same "
                "region is untreated. Use control='not_yet', or compare across regions."
            )
        lost = {pair.cohort for pair in self.pairs}
        self.pairs = [pair for pair, use in zip(self.pairs, usable, strict=True) if use]
        self._name_lost(sorted(lost - {pair.cohort for pair in self.pairs}))
        self._unit_weights = [weight[0] for (_, _, weight), use in zip(found, usable, strict=True) if use]
        self.aggregates = self._aggregates()
        rows = []
        for aggregate in self.aggregates:
            moved = np.array([self._unit_weights[index] for index in aggregate.pairs])
            treated = np.unique(panel.cluster[(moved > 0).any(axis=0)])
            control = np.unique(panel.cluster[(moved < 0).any(axis=0)])
            counted = (np.abs(moved) > 0).any(axis=0)
            rows.append(
                {
                    "term": aggregate.term,
                    "cohort": aggregate.cohort,
                    "period": aggregate.period,
                    "event_time": aggregate.event_time,
                    "treated_clusters": len(treated),
                    "control_clusters": len(np.setdiff1d(control, treated)),
                    "n": float(panel.n[counted].sum()),
                    "note": " ".join(self.left_out) if aggregate.term == "overall" else "",
                }
            )
        self.terms = pd.DataFrame(rows)

    def _name_lost(self, cohorts: list[float]) -> None:
        """Say which starts nobody can be compared with."""
        self.left_out += [
            f"Areas that start in {cohort:g} have no area to compare with, so no effect can be estimated for them."
            for cohort in cohorts
        ]

    def leave_one_out(self) -> np.ndarray:
        return self._without_each_cluster().estimate[0]

    def _without_each_cluster(self, terms: np.ndarray | None = None, *, weights: bool = False) -> Allocation:
        count = len(self.panel.clusters)
        cohorts = np.repeat(self.panel.cluster_cohort[None, :], count, axis=0)
        return self.allocate(cohorts, keep=1.0 - np.eye(count), terms=terms, weights=weights)

    def weights(self) -> np.ndarray:
        return self._weights

    def leave_one_out_weights(self, term: int) -> np.ndarray:
        found = self._without_each_cluster(np.array([term]), weights=True).weights
        assert found is not None
        return found[:, 0]

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        panel = self.panel
        planted = (panel.periods[None, :] >= panel.cohort[:, None]).astype(float)
        variables = np.stack([np.nan_to_num(panel.mean), planted])
        found = self.allocate(cohorts, variables=variables, terms=terms, contributions=True)
        assert found.contributions is not None
        count = len(panel.clusters)
        if count == len(panel.units):
            outcome, effect = found.contributions
        else:
            moved = np.moveaxis(found.contributions, 2, 0)
            outcome, effect = np.moveaxis(by_cluster(moved, panel.cluster, count), 0, 2)
        return Permuted(
            outcome=found.estimate[0],
            planted=found.estimate[1],
            square_outcome=(outcome**2).sum(axis=1),
            cross=(outcome * effect).sum(axis=1),
            square_planted=(effect**2).sum(axis=1),
        )


Fitter = Callable[..., GroupTimeFit]
"""``fit_group_time`` or ``fit_group_time_lagged``: a panel, and ``control`` and ``anticipation`` by name."""


def fit_group_time(
    panel: Panel,
    *,
    control: Control = "never",
    base: Base = "universal",
    anticipation: int = 0,
    contrast: str = "",
) -> GroupTimeFit:
    """ATT(g, t) and its overall, group, event-time and calendar averages.

    ``anticipation`` is the number of periods before the start that may already be affected: the base is the
    last period before them. The overall effect is the average over treated cohorts and periods, weighted by
    the size of the cohorts (the "simple" aggregate).

    Raises DesignError where nobody is treated in the data, nothing lies before treatment, or nobody is left
    to compare with, or for an outcome that never varies.
    """
    refuse_constant(panel)
    return GroupTimeFit(panel=panel, control=control, base=base, anticipation=anticipation, contrast=contrast)


def fit_two_by_two(panel: Panel, *, before: int, after: int, contrast: str = "") -> GroupTimeFit:
    """Difference in differences between two periods: areas treated by ``after`` against the never treated.

    Raises DesignError where a period isn't in the data, an area is treated by ``before``, or the outcome never varies.
    """
    for period in (before, after):
        if period not in panel.periods:
            raise DesignError(f"'{panel.outcome}' has no period {period}. It has {', '.join(map(str, panel.periods))}.")
    treated_cohorts(panel)
    pair = panel.select([before, after])
    if (pair.cohort <= before).any():
        raise DesignError(
            f"Some areas are treated by {before} already, so it can't serve as the period before. "
            "Choose an earlier period, or leave these areas out."
        )
    refuse_constant(pair)
    cohort = np.where(pair.cohort <= after, float(after), pair.cohort)
    return GroupTimeFit(
        panel=replace(pair, cohort=cohort),
        control="never",
        base="universal",
        anticipation=0,
        contrast=contrast,
        estimator="two_by_two",
    )
