"""Difference in differences on a cause-specific hazard, in discrete time, on duration cells.

In interval j the cause happens to d of n cases at risk. With link g, cluster c and decision period t,

    g(h_ctj) = a_c + b_t + e_j + theta * treated_ct,

fitted by maximum likelihood; other causes count as leaving. With the complementary log-log link exp(theta) is the ratio
of hazards of continuous time under proportional hazards (Prentice and Gloeckler 1978, doi:10.2307/2529588), with the
logit a ratio of odds. It's secondary: a hazard ratio isn't collapsible, so it changes with what is adjusted for even
without confounding (Martinussen and Vansteelandt 2013, doi:10.1007/s10985-013-9242-z), and those still at risk differ
between the sides once the programme has had an effect.

The information needs only sums of the working weights over pairs of cluster, period and interval, so a fit costs little
more than one exponential a cell, and the jackknife fits the model again without each cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from sendap.cells import OutcomeInfo, Panel
from sendap.cells.durations import DurationCells
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import Permuted, refuse_constant, treated_cohorts

Link = Literal["cloglog", "logit"]
UNITS = {"cloglog": "log hazard ratio", "logit": "log odds ratio"}
MOST_STEPS = 100
FARTHEST = 12.0
"""An effect beyond this on the scale of the link has no finite estimate: one side has no events or nothing else."""


@dataclass(frozen=True)
class Counts:
    """Cases at risk and events (G by T by J), and which clusters are exposed in which period (G by T)."""

    n: np.ndarray
    events: np.ndarray
    exposed: np.ndarray

    def without(self, cluster: int) -> Counts:
        keep = np.arange(len(self.n)) != cluster
        return Counts(self.n[keep], self.events[keep], self.exposed[keep])

    def informative(self) -> np.ndarray:
        """Cells that bear on the effect: none of a cluster, period or interval in which nothing, or all, happens."""
        kept = self.n > 0
        while True:
            before = kept.sum()
            for axes in ((1, 2), (0, 2), (0, 1)):
                cases = np.where(kept, self.n, 0.0).sum(axis=axes, keepdims=True)
                happened = np.where(kept, self.events, 0.0).sum(axis=axes, keepdims=True)
                kept = kept & (happened > 0) & (happened < cases)
            if kept.sum() == before:
                return kept


@dataclass(frozen=True)
class Solved:
    """A fit: coefficients (clusters, then periods, intervals, effect), what the last step computed.

    ``weight`` (working weights), ``residual`` (contribution to the score) and ``spread`` (its standard deviation under
    the model) are G by T by J. ``inverse`` is that of the observed information with cluster effects taken out; ``own``
    (G by P) has the other columns' means in each cluster under it.
    """

    cluster: np.ndarray
    rest: np.ndarray
    weight: np.ndarray
    residual: np.ndarray
    spread: np.ndarray
    inverse: np.ndarray
    own: np.ndarray

    @property
    def effect(self) -> float:
        return float(self.rest[-1])


def _mean(link: Link, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hazard and its slope by the linear predictor."""
    eta = np.clip(eta, -30.0, 30.0 if link == "logit" else 3.5)
    if link == "logit":
        hazard = expit(eta)
        return hazard, hazard * (1 - hazard)
    rate = np.exp(eta)
    return -np.expm1(-rate), rate * np.exp(-rate)


def _margins(values: np.ndarray, exposed: np.ndarray) -> np.ndarray:
    """Sums over cells of each cluster by period (but the first), interval (but the first) and exposure, G by P."""
    by_period, by_interval = values.sum(axis=2), values.sum(axis=1)
    return np.column_stack([by_period[:, 1:], by_interval[:, 1:], (by_period * exposed).sum(axis=1)])


def _information(weight: np.ndarray, exposed: np.ndarray) -> np.ndarray:
    """Cross-products of periods, intervals and exposure, P by P, before cluster effects are taken out."""
    periods, intervals = weight.shape[1:]
    by_period = weight.sum(axis=2)
    treated = np.einsum("gt,gtj->tj", exposed, weight)
    size = periods + intervals - 1
    made = np.zeros((size, size))
    t, j = slice(0, periods - 1), slice(periods - 1, size - 1)
    made[t, t] = np.diag(by_period.sum(axis=0)[1:])
    made[j, j] = np.diag(weight.sum(axis=(0, 1))[1:])
    made[t, j] = weight.sum(axis=0)[1:, 1:]
    made[j, t] = made[t, j].T
    made[t, -1] = made[-1, t] = treated.sum(axis=1)[1:]
    made[j, -1] = made[-1, j] = treated.sum(axis=0)[1:]
    made[-1, -1] = treated.sum()
    return made


def _taken_out(weight: np.ndarray, exposed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of periods, intervals and exposure in each cluster (G by P), and their information without clusters."""
    total = weight.sum(axis=(1, 2))
    cross = _margins(weight, exposed)
    own = np.divide(cross, total[:, None], out=np.zeros_like(cross), where=total[:, None] > 0)
    return own, _information(weight, exposed) - cross.T @ own


def _observed(link: Link, weight: np.ndarray, residual: np.ndarray, hazard: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Working weights of the observed information; for the logit they're the expected ones."""
    return weight if link == "logit" else weight - residual * (1 - rise / hazard)


def solve(counts: Counts, link: Link, start: tuple[np.ndarray, np.ndarray] | None = None) -> Solved:
    """Maximum likelihood by Fisher scoring, from ``start`` where one is given.

    Raises DesignError where the effect isn't identified or has no finite estimate.
    """
    kept = counts.informative()
    n, events = np.where(kept, counts.n, 0.0), np.where(kept, counts.events, 0.0)
    exposed = counts.exposed
    clusters, periods, intervals = n.shape
    if start is None:
        share = events.sum() / max(n.sum(), 1.0)
        first = np.log(share / (1 - share)) if link == "logit" else np.log(-np.log1p(-share))
        start = np.full(clusters, first), np.zeros(periods + intervals - 1)
    cluster, rest = start[0].copy(), start[1].copy()
    for _ in range(MOST_STEPS):
        period = np.r_[0.0, rest[: periods - 1]]
        interval = np.r_[0.0, rest[periods - 1 : -1]]
        eta = (cluster[:, None] + period + rest[-1] * exposed)[:, :, None] + interval
        hazard, rise = _mean(link, eta)
        variance = np.maximum(hazard * (1 - hazard), 1e-300)
        slope = rise / variance
        weight, residual = n * rise * slope, slope * (events - n * hazard)
        total = weight.sum(axis=(1, 2))
        own, information = _taken_out(weight, exposed)
        score = _margins(residual, exposed).sum(axis=0) - own.T @ residual.sum(axis=(1, 2))
        inverse = np.linalg.pinv(information, rcond=1e-12, hermitian=True)
        step = inverse @ score
        free = residual.sum(axis=(1, 2))
        own_step = np.divide(free, total, out=np.zeros_like(free), where=total > 0) - own @ step
        largest = max(np.abs(step).max(), np.abs(own_step).max())
        if largest < 1e-11:
            break
        held = min(1.0, 3.0 / largest)
        rest, cluster = rest + held * step, cluster + held * own_step
    known = abs((inverse @ information)[-1, -1] - 1.0) < 1e-6
    if not known or abs(rest[-1]) > FARTHEST or largest > 1e-6:
        raise DesignError(
            "The hazard ratio has no finite estimate: some side has no such event in some period, or the effect can't "
            "be told apart from area and period effects. Use the cumulative incidence, or merge periods or causes."
        )
    own, information = _taken_out(_observed(link, weight, residual, hazard, rise), exposed)
    inverse = np.linalg.pinv(information, rcond=1e-12, hermitian=True)
    return Solved(cluster, rest, weight, residual, slope * np.sqrt(n * variance), inverse, own)


@dataclass
class HazardFit:
    """One effect on the hazard of a cause. ``panel`` has a unit for each cluster and interval.

    The estimate isn't linear in the observed hazards of the cells: ``weights`` are its derivatives by them, times the
    standard deviation that each has under the model. Cells differ much in how many are at risk, so what takes them
    as equally sure (degrees of freedom, effective clusters) does so in these units.
    """

    panel: Panel
    counts: Counts
    link: Link
    contrast: str = ""

    def __post_init__(self) -> None:
        self.estimator = f"hazard_{self.link}"
        self._solved = solve(self.counts, self.link)
        self.estimate = np.array([self._solved.effect])
        self.scores = self._contributions(self._solved, self.counts.exposed)[:, None]
        informative = self.counts.informative()
        used = informative.any(axis=(1, 2))
        self.crv1_factor = used.sum() / (used.sum() - 1)
        treated = (informative & self.counts.exposed.astype(bool)[:, :, None]).any(axis=(1, 2))
        idle = int((~used).sum())
        self.terms = pd.DataFrame(
            {
                "term": ["overall"],
                "cohort": np.nan,
                "period": np.nan,
                "event_time": np.nan,
                "treated_clusters": int(treated.sum()),
                "control_clusters": int((used & ~treated).sum()),
                "n": float(np.where(used[:, None], self.counts.n[:, :, 0], 0.0).sum()),
                "note": f"{idle} area(s) without such an event say nothing of the ratio." if idle else "",
            }
        )

    @staticmethod
    def _contributions(solved: Solved, exposed: np.ndarray) -> np.ndarray:
        """What each cluster adds to the effect (G)."""
        return (_margins(solved.residual, exposed) - solved.own * solved.residual.sum(axis=(1, 2))[:, None]) @ (
            solved.inverse[:, -1]
        )

    @cached_property
    def _without_each(self) -> list[Solved | None]:
        """The fit again without each cluster, from the full one; None where it has no finite solution."""
        found: list[Solved | None] = []
        for cluster in range(len(self.counts.n)):
            start = np.delete(self._solved.cluster, cluster), self._solved.rest
            try:
                found.append(solve(self.counts.without(cluster), self.link, start))
            except DesignError:
                found.append(None)
        return found

    def leave_one_out(self) -> np.ndarray:
        return np.array([[np.nan if each is None else each.effect] for each in self._without_each])

    def _derivative(self, solved: Solved, exposed: np.ndarray) -> np.ndarray:
        """The effect's derivative by each cell's hazard, in standard deviations of that hazard, G by T by J."""
        row = solved.inverse[-1]
        periods = exposed.shape[1]
        period = np.r_[0.0, row[: periods - 1]]
        interval = np.r_[0.0, row[periods - 1 : -1]]
        pull = (period + row[-1] * exposed)[:, :, None] + interval - (solved.own @ row)[:, None, None]
        return pull * solved.spread

    def _as_units(self, values: np.ndarray) -> np.ndarray:
        """G by T by J as U by T, a unit for each cluster and interval."""
        return np.moveaxis(values, 2, 1).reshape(-1, values.shape[1])

    def weights(self) -> np.ndarray:
        return self._as_units(self._derivative(self._solved, self.counts.exposed))[None]

    def leave_one_out_weights(self, term: int) -> np.ndarray:
        found = np.full((len(self.counts.n), *self.panel.mean.shape), np.nan)
        for cluster, each in enumerate(self._without_each):
            if each is not None:
                kept = self._derivative(each, np.delete(self.counts.exposed, cluster, axis=0))
                found[cluster] = self._as_units(np.insert(kept, cluster, 0.0, axis=0))
        return found

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        """One scoring step from the fitted model for each allocation, with its working weights.

        On the working response (linear predictor plus residual over weight) the step is weighted least squares, so the
        hypothesised effects of a test by inversion enter it linearly.
        """
        solved, exposed = self._solved, self.counts.exposed
        dealt = (self.panel.periods[None, None, :] >= cohorts[:, :, None]).astype(float)
        dealt = dealt * (self.counts.n.sum(axis=2) > 0)[None]
        weight = solved.weight
        nuisance = np.linalg.pinv(_information(weight, exposed)[:-1, :-1] - self._taken(weight), hermitian=True)
        planted = weight * exposed[:, :, None]
        planted = planted - weight * self._projected(planted, weight, nuisance)
        # The working response less what areas, periods and intervals explain: the effect's part and the residual.
        outcome = solved.effect * planted + solved.residual
        estimates, contributions = [], []
        fitted, size, own = self._dealt(dealt, weight, nuisance)
        for variable in (outcome, planted):
            by_period, by_interval = variable.sum(axis=2), variable.sum(axis=1)
            estimate = np.einsum("rgt,gt->r", dealt, by_period) / size
            given = np.einsum("rgt,gt->rg", dealt - fitted[0][:, None, :], by_period) - fitted[1] @ by_interval.T
            estimates.append(estimate)
            contributions.append((given - estimate[:, None] * own) / size[:, None])
        first, second = contributions
        return Permuted(
            outcome=estimates[0][:, None],
            planted=estimates[1][:, None],
            square_outcome=(first**2).sum(axis=1)[:, None],
            cross=(first * second).sum(axis=1)[:, None],
            square_planted=(second**2).sum(axis=1)[:, None],
        )

    def _taken(self, weight: np.ndarray) -> np.ndarray:
        """What cluster effects take from the cross-products of periods and intervals."""
        cross = _margins(weight, self.counts.exposed)[:, :-1]
        total = np.maximum(weight.sum(axis=(1, 2)), 1e-300)
        return cross.T @ (cross / total[:, None])

    def _projected(self, weighted: np.ndarray, weight: np.ndarray, nuisance: np.ndarray) -> np.ndarray:
        """The part of a variable (given times its weight) that areas, periods and intervals explain, G by T by J."""
        total = np.maximum(weight.sum(axis=(1, 2)), 1e-300)
        own = _margins(weight, self.counts.exposed)[:, :-1] / total[:, None]
        sums = weighted.sum(axis=(1, 2))
        coefficients = nuisance @ (_margins(weighted, self.counts.exposed)[:, :-1].sum(axis=0) - own.T @ sums)
        periods = weight.shape[1]
        period, interval = np.r_[0.0, coefficients[: periods - 1]], np.r_[0.0, coefficients[periods - 1 :]]
        cluster = sums / total - own @ coefficients
        return (cluster[:, None] + period)[:, :, None] + interval

    def _dealt(
        self, dealt: np.ndarray, weight: np.ndarray, nuisance: np.ndarray
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
        """For R allocations (R by G by T): what periods and intervals explain (R by T, R by J), the squared size of the
        rest (R), and how it's spread over clusters (R by G)."""
        total = np.maximum(weight.sum(axis=(1, 2)), 1e-300)
        own = _margins(weight, self.counts.exposed)[:, :-1] / total[:, None]
        by_period = weight.sum(axis=2)
        periods = weight.shape[1]
        held = dealt * by_period[None]
        sums = held.sum(axis=2)
        at_interval = dealt.reshape(len(dealt), -1) @ weight.reshape(-1, weight.shape[2])
        cross = np.concatenate([held.sum(axis=1)[:, 1:], at_interval[:, 1:]], axis=1)
        coefficients = (cross - sums @ own) @ nuisance
        none = np.zeros((len(dealt), 1))
        period = np.concatenate([none, coefficients[:, : periods - 1]], axis=1)
        interval = np.concatenate([none, coefficients[:, periods - 1 :]], axis=1)
        cluster = sums / total - coefficients @ own.T
        left = dealt - cluster[:, :, None] - period[:, None, :]
        # Sums of weight times interval effect, by cluster and period, then the square of what is left, by cluster.
        moved = (interval @ weight.reshape(-1, weight.shape[2]).T).reshape(len(dealt), *by_period.shape)
        square = (left**2 * by_period[None] - 2 * left * moved).sum(axis=2) + interval**2 @ weight.sum(axis=1).T
        size = square.sum(axis=1)
        return (period, interval), np.where(size > 1e-9 * weight.sum(), size, np.nan), square


def fit_hazard(
    durations: DurationCells,
    cause: str,
    *,
    horizon: int,
    link: Link = "cloglog",
    anticipation: int = 0,
    contrast: str = "",
) -> HazardFit:
    """The effect on the hazard of one cause in the first ``horizon`` intervals; strata are added up.

    Decision periods whose late cases can't be followed to the horizon serve as far as they go. The ``anticipation``
    periods before the start are left out for the treated.

    Raises UsageError for an unknown cause or link, DesignError where nobody is treated, nothing lies before treatment,
    or the ratio has no finite estimate.
    """
    if link not in UNITS:
        raise UsageError(f"link must be 'cloglog' or 'logit', not '{link}'.")
    if horizon < 1 or anticipation < 0:
        raise UsageError("horizon must be 1 or more intervals, anticipation 0 or more periods.")
    position = durations.check_cause(cause)
    arrays = durations.arrays(horizon, by=["cluster", "period"])
    clusters, cluster = np.unique(arrays.keys["cluster"].to_numpy(dtype=object), return_inverse=True)
    periods, period = np.unique(arrays.keys["period"].to_numpy(dtype=int), return_inverse=True)
    cohort = np.full(len(clusters), np.inf)
    cohort[cluster] = arrays.keys["cohort"].fillna(np.inf).to_numpy(dtype=float)
    shape = (len(clusters), len(periods), horizon)
    n, events = np.zeros(shape), np.zeros(shape)
    n[cluster, period], events[cluster, period] = arrays.n, arrays.events[:, position]
    event = periods[None, :] - cohort[:, None]
    skipped = (event < 0) & (event >= -anticipation)
    n[skipped], events[skipped] = 0.0, 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, events / n, np.nan)
    units = pd.DataFrame({"cluster": np.repeat(clusters, horizon), "interval": np.tile(np.arange(horizon) + 1, len(n))})

    def as_units(values: np.ndarray) -> np.ndarray:
        return np.moveaxis(values, 2, 1).reshape(-1, len(periods))

    panel = Panel(
        outcome=f"hazard of {cause}",
        clusters=clusters,
        units=units.assign(cohort=np.where(np.isfinite(cohort), cohort, np.nan).repeat(horizon)),
        periods=periods,
        cohort=cohort.repeat(horizon),
        cluster=np.arange(len(clusters)).repeat(horizon),
        group=np.zeros(len(units), dtype=int),
        group_names=("all",),
        mean=as_units(mean),
        weight=as_units(n),
        n=as_units(n),
        weights="children",
        info=OutcomeInfo(UNITS[link], f"hazard of {cause}"),
    )
    treated_cohorts(panel)
    exposed = ((event >= 0) & (n.sum(axis=2) > 0)).astype(float)
    if not ((event < 0) & (n.sum(axis=2) > 0) & np.isfinite(cohort)[:, None]).any():
        raise DesignError(
            f"'{panel.outcome}' has no period before treatment, so there is nothing to compare with. "
            "Add earlier decision periods, or choose another outcome."
        )
    refuse_constant(panel, units["interval"].to_numpy())
    return HazardFit(panel, Counts(n, events, exposed), link, contrast)
