"""Effects where areas got more or less of a programme: a continuous treatment, on cells.

What parallel trends with the untreated identify are effects at the dose that an area had: the average over areas, and
over areas of similar dose. That one dose would have done more in the same areas than another isn't identified by it:
areas chose their dose, so a slope mixes what a dose does with who took it. So the slope of the two-way regression is
given as a description, with the weight that it puts on each area's effect.

Source: Callaway, Goodman-Bacon and Sant'Anna (2024), "Difference-in-differences with a continuous treatment",
doi:10.3386/w32117: level effects, strong parallel trends, and the decomposition of the two-way slope in levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators.fit import Permuted, by_cluster, refuse_constant, treated_cohorts
from sendap.estimators.group_time import GroupTimeFit
from sendap.estimators.partialling import (
    MOST_KEPT,
    Batch,
    Effects,
    describe,
    periods_before,
    term_frame,
    without_dust,
)

MOST_BINS = 3
SEED = 20230902
CAVEAT = (
    "Description, not an effect of dose: it reads as one only if areas with one dose would have responded to another "
    "dose as the areas that had it did (strong parallel trends)."
)


@dataclass(frozen=True)
class Bin:
    """Treated clusters of similar dose: from ``low`` to ``high``, both included."""

    low: float
    high: float

    @property
    def term(self) -> str:
        return f"dose {self.low:.4g}" if self.low == self.high else f"dose {self.low:.4g} to {self.high:.4g}"


@dataclass
class DoseFit:
    """Level effects (overall, by bin of dose, by event time), then the two-way slope. ``doses`` G, 0 for untreated."""

    panel: Panel
    doses: np.ndarray
    bins: tuple[Bin, ...]
    anticipation: int
    contrast: str = ""
    estimator: str = "dose"

    def __post_init__(self) -> None:
        panel = self.panel
        self._levels = GroupTimeFit(panel=panel, control="never", base="universal", anticipation=self.anticipation)
        names = [aggregate.term for aggregate in self._levels.aggregates]
        self._overall = names.index("overall")
        self._events = [position for position, name in enumerate(names) if name == "event"]
        self._observed = np.isfinite(panel.mean) & (panel.weight > 0)
        # Permutation moves the panel's starts to plant effects; the doses stay with these.
        self._cohorts = panel.cluster_cohort
        self._keep_estimable()
        actual = self._allocate(self._cohorts[None], self.doses[None], contributions=True, weights=True)
        assert actual.contributions is not None
        assert actual.weights is not None
        self.estimate, self._weights = actual.estimate[0, 0], without_dust(actual.weights[0])
        if np.isnan(self.estimate[-1]):
            raise DesignError(
                f"'{panel.outcome}': the slope in dose can't be told apart from area and period effects. There may be "
                "no untreated area left in some period or region."
            )
        self.scores = by_cluster(actual.contributions[0, 0], panel.cluster, len(panel.clusters))
        self.terms = self._describe()
        self.crv1_factor = self._factors()

    def _keep_estimable(self) -> None:
        """Leave out bins none of whose clusters can be compared."""
        found = self._allocate(self._cohorts[None], self.doses[None]).estimate[0, 0]
        self.bins = tuple(each for each, value in zip(self.bins, found[1:], strict=False) if np.isfinite(value))

    def _allocate(
        self,
        cohorts: np.ndarray,
        doses: np.ndarray,
        *,
        variables: np.ndarray | None = None,
        keep: np.ndarray | None = None,
        contributions: bool = False,
        weights: bool = False,
    ) -> Batch:
        """All terms with starts ``cohorts``, ``doses`` and sample ``keep`` (R by G) for V by U by T variables."""
        kept = np.ones_like(cohorts) if keep is None else keep
        values = np.nan_to_num(self.panel.mean)[None] if variables is None else variables
        options = {"variables": values, "contributions": contributions, "weights": weights}
        untreated = doses == 0
        parts = [
            self._levels.allocate(cohorts, keep=kept, terms=np.array([self._overall, *self._events]), **options),
            *(
                self._levels.allocate(
                    cohorts,
                    keep=kept * (untreated | ((doses >= each.low) & (doses <= each.high))),
                    terms=np.array([self._overall]),
                    **options,
                )
                for each in self.bins
            ),
            self._slope(cohorts, doses, kept, **options),
        ]
        # In the order of the terms: overall, bins, event times, slope.
        whole, *rest = parts

        def joined(name: str, axis: int) -> np.ndarray:
            first, events = np.split(getattr(whole, name), [1], axis=axis)
            pieces = [first, *(getattr(part, name) for part in rest[:-1]), events, getattr(rest[-1], name)]
            return np.concatenate(pieces, axis=axis)

        return Batch(
            joined("estimate", 2),
            joined("contributions", 3) if contributions else None,
            joined("weights", 1) if weights else None,
        )

    def _slope_sample(self, cohorts: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """Weights of the slope's cells, R by U by T: without those that may be anticipated."""
        panel = self.panel
        event = panel.periods[None, None, :] - cohorts[:, panel.cluster, None]
        anticipated = (event < 0) & (event >= -self.anticipation)
        return np.where(self._observed & ~anticipated, panel.weight, 0.0) * keep[:, panel.cluster, None]

    def _slope(
        self,
        cohorts: np.ndarray,
        doses: np.ndarray,
        keep: np.ndarray,
        *,
        variables: np.ndarray,
        contributions: bool,
        weights: bool,
    ) -> Batch:
        """The two-way regression on dose from the start on, with unit and period effects."""
        panel = self.panel
        after = panel.periods[None, None, :] >= cohorts[:, panel.cluster, None]
        effects = Effects(self._slope_sample(cohorts, keep), np.arange(len(panel.units)), panel.group)
        column = effects.column(after * doses[:, panel.cluster, None])
        moved = effects.weight * column
        size = (moved * column).sum(axis=(1, 2))
        moved = moved / np.where(size > 0, size, np.nan)[:, None, None]
        estimate, given = [], []
        for value in variables:
            residual = np.where(effects.weight > 0, effects.residual(value[None]), 0.0)
            found = (moved * residual).sum(axis=(1, 2))
            estimate.append(found)
            given.append((moved * (residual - found[:, None, None] * column)).sum(axis=2))
        return Batch(
            np.array(estimate)[:, :, None],
            np.array(given)[..., None] if contributions else None,
            moved[:, None] if weights else None,
        )

    def _describe(self) -> pd.DataFrame:
        panel, doses = self.panel, self.doses[self.panel.cluster]
        event = panel.periods[None, :] - panel.cohort[:, None]
        times = [self._levels.aggregates[position].event_time for position in self._events]
        terms = [
            ("overall", np.nan, doses > 0, " ".join([*self._levels.left_out, self._mean_dose(doses > 0)])),
            *((each.term, np.nan, (own := self._in(each, doses)), self._mean_dose(own)) for each in self.bins),
            *(("event", time, doses > 0, "") for time in times),
            ("slope", np.nan, doses > 0, ""),
        ]
        rows = []
        for position, (name, time, own, note) in enumerate(terms):
            exposed = own[:, None] & ((event >= 0) if np.isnan(time) else (event == time))
            about = {"cohort": np.nan, "period": np.nan, "event_time": time}
            rows.append({**describe(panel, name, self._weights[position], exposed, **about), "note": note})
        found = term_frame(rows)
        found.loc[len(found) - 1, "note"] = self._slope_note()
        return found

    @staticmethod
    def _in(each: Bin, doses: np.ndarray) -> np.ndarray:
        return (doses >= each.low) & (doses <= each.high) & (doses > 0)

    def _mean_dose(self, own: np.ndarray) -> str:
        clusters = np.unique(self.panel.cluster[own])
        return f"Mean dose {self.doses[clusters].mean():.4g}, against areas without any."

    def _slope_note(self) -> str:
        weights = self.slope_weights()
        low = weights[weights["weight"] < 0]
        if low.empty:
            return CAVEAT
        return (
            f"{CAVEAT} {len(low)} of {len(weights)} treated areas, with doses up to {low['dose'].max():.4g}, count "
            "with negative weight."
        )

    def slope_weights(self) -> pd.DataFrame:
        """What the slope makes of each treated area's effect: ``cluster, dose, weight, share``.

        The slope is the sum of ``weight`` times the effect in the area (its mean after the start). ``share`` is weight
        times dose, which sums to one: the slope averages effects per unit of dose by it, and where it's negative, an
        effect lowers the slope. Source: Callaway, Goodman-Bacon and Sant'Anna (2024), decomposition in levels.
        """
        panel = self.panel
        after = (panel.periods[None, :] >= panel.cohort[:, None]) & self._observed
        weight = by_cluster((self._weights[-1] * after).sum(axis=1), panel.cluster, len(panel.clusters))
        treated = self.doses > 0
        found = pd.DataFrame({"cluster": panel.clusters, "dose": self.doses, "weight": weight})[treated]
        found["share"] = found["weight"] * found["dose"]
        return found.sort_values(["dose", "cluster"]).reset_index(drop=True)

    def _factors(self) -> np.ndarray:
        """G/(G-1) for averages of level effects; for the slope that of its regression, as for the two-way effect."""
        panel = self.panel
        plain = np.full(len(self.terms), self._levels.crv1_factor)
        used = self._slope_sample(self._cohorts[None], np.ones((1, len(panel.clusters))))[0] > 0
        cells, groups = int(used.sum()), len(np.unique(panel.group))
        clusters = len(np.unique(panel.cluster[used.any(axis=1)]))
        count = 2 + groups * (len(panel.periods) - 1)
        plain[-1] = clusters / (clusters - 1) * (cells - 1) / (cells - count)
        return plain

    @cached_property
    def _without_each_cluster(self) -> Batch:
        """Estimates without each cluster, and the linear maps where they fit into memory with ease."""
        count = len(self._cohorts)
        small = count * len(self.estimate) * self.panel.mean.size <= MOST_KEPT
        parts = [self._without(cluster, weights=small) for cluster in range(count)]
        weights = np.concatenate([part.weights for part in parts if part.weights is not None]) if small else None
        return Batch(np.concatenate([part.estimate for part in parts], axis=1), None, weights)

    def _without(self, cluster: int, *, weights: bool) -> Batch:
        keep = (np.arange(len(self._cohorts)) != cluster).astype(float)
        return self._allocate(self._cohorts[None], self.doses[None], keep=keep[None], weights=weights)

    def leave_one_out(self) -> np.ndarray:
        return self._without_each_cluster.estimate[0]

    def weights(self) -> np.ndarray:
        return self._weights

    def leave_one_out_weights(self, term: int) -> np.ndarray:
        kept = self._without_each_cluster.weights
        if kept is not None:
            return kept[:, term]
        found = [self._without(cluster, weights=True).weights for cluster in range(len(self._cohorts))]
        return np.array([each[0, term] for each in found if each is not None])

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        """Starts dealt out as in ``cohorts``; among the clusters of each start, its doses at random.

        The actual starts keep the actual doses, so the actual deal is one of those that are equally likely.
        """
        panel = self.panel
        doses = self._deal_doses(cohorts)
        after = (panel.periods[None, :] >= panel.cohort[:, None]).astype(float)
        variables = np.stack([np.nan_to_num(panel.mean), after, after * self.doses[panel.cluster, None]])
        found = self._allocate(cohorts, doses, variables=variables, contributions=True)
        assert found.contributions is not None
        moved = np.moveaxis(found.contributions[..., terms], 2, 0)
        outcome, level, slope = np.moveaxis(by_cluster(moved, panel.cluster, len(panel.clusters)), 0, 2)
        last = np.asarray(terms) == len(self.terms) - 1
        planted = np.where(last, slope, level)
        return Permuted(
            outcome=found.estimate[0][:, terms],
            planted=np.where(last, found.estimate[2][:, terms], found.estimate[1][:, terms]),
            square_outcome=(outcome**2).sum(axis=1),
            cross=(outcome * planted).sum(axis=1),
            square_planted=(planted**2).sum(axis=1),
        )

    def _deal_doses(self, cohorts: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng(SEED)
        dealt = np.zeros(cohorts.shape)
        for start in np.unique(self._cohorts[np.isfinite(self._cohorts)]):
            own = self.doses[self._cohorts == start]
            for row, places in enumerate(cohorts == start):
                dealt[row, places] = generator.permutation(own)
        same = (cohorts == self._cohorts).all(axis=1)
        dealt[same] = self.doses
        return dealt


def doses_of(panel: Panel, doses: pd.Series) -> np.ndarray:
    """The dose of each cluster of the panel (G), from one indexed by cluster; never treated ones may lack it.

    Raises DataError for a treated cluster without a dose above zero, a dose without a start, a negative dose, or a
    cluster named twice.
    """
    if doses.index.has_duplicates:
        raise DataError(f"Cluster '{doses.index[doses.index.duplicated()][0]}' has two doses. Give each cluster one.")
    numbers = pd.to_numeric(doses, errors="coerce")
    if (numbers.isna() & doses.notna()).any():
        where = doses.index[numbers.isna() & doses.notna()][0]
        raise DataError(f"The dose of cluster '{where}' isn't a number. Give a share, a number of places or the like.")
    found = numbers.reindex(panel.clusters).to_numpy(dtype=float)
    treated = np.isfinite(panel.cluster_cohort)
    if (found < 0).any():
        raise DataError(f"The dose of cluster '{panel.clusters[found < 0][0]}' is negative. A dose is zero or more.")
    wrong = treated & ~(found > 0)
    if wrong.any():
        raise DataError(
            f"Cluster '{panel.clusters[wrong][0]}' has a start but no dose above zero ({int(wrong.sum())} such). "
            "Give its dose, or take its start away."
        )
    wrong = ~treated & (found > 0)
    if wrong.any():
        raise DataError(
            f"Cluster '{panel.clusters[wrong][0]}' has a dose but no start ({int(wrong.sum())} such). "
            "Give its first treated period, or take its dose away."
        )
    return np.nan_to_num(found)


def _bins(doses: np.ndarray, bins: int | Sequence[float]) -> tuple[Bin, ...]:
    """Bins of the treated clusters' doses: by quantiles, or between the given upper edges. Named by the doses in them.

    Equal doses stay together.
    """
    treated = np.sort(doses[doses > 0])
    if isinstance(bins, int):
        if bins < 1:
            raise UsageError("bins must be 1 or more, or a list of upper edges.")
        distinct = np.unique(treated)
        shares = np.arange(1, bins + 1) / bins
        edges = distinct if len(distinct) <= bins else np.quantile(treated, shares, method="inverted_cdf")
    else:
        edges = np.append(np.sort(np.asarray(bins, dtype=float)), np.inf)
    place = np.searchsorted(np.unique(edges), treated)
    return tuple(
        Bin(float(treated[place == each].min()), float(treated[place == each].max())) for each in np.unique(place)
    )


def fit_dose(
    panel: Panel,
    doses: pd.Series,
    *,
    bins: int | Sequence[float] = MOST_BINS,
    anticipation: int = 0,
    contrast: str = "",
) -> DoseFit:
    """Effects of a treatment of differing intensity: overall, by bin of dose, by event time, and the two-way slope.

    ``doses`` is indexed by cluster: how much of the programme it got, constant from its start on; zero or missing for
    the never treated, who are the comparison. ``bins`` is their number (equal numbers of treated areas) or a list of
    upper edges. Areas that start after the last period count as untreated. Level effects are group-time effects
    against the never treated; the slope is that of dose from the start on, with unit and period effects.

    Raises DesignError where nobody is treated in the data, nothing lies before treatment, every area has a dose, all
    doses are equal, or the outcome never varies; DataError where doses and starts contradict each other.
    """
    if anticipation < 0:
        raise UsageError("anticipation must be 0 or more periods.")
    refuse_constant(panel)
    inside = treated_cohorts(panel)
    periods_before(panel, anticipation)
    found = doses_of(panel, doses)
    later = panel.cohort > panel.periods.max() + anticipation
    panel = replace(panel, cohort=np.where(later, np.inf, panel.cohort))
    found = np.where(np.isinf(panel.cluster_cohort), 0.0, found)
    if not np.isinf(panel.cohort).any():
        raise DesignError(
            f"'{panel.outcome}' has no area to compare with: every area has a dose. Add areas without the programme; "
            "without any, only differences between doses are seen, which rest on strong parallel trends."
        )
    given = found[np.isin(panel.cluster_cohort, inside)]
    if np.ptp(given) <= 1e-12 * given.max():
        raise DesignError(
            f"Every treated area has the same dose, {given[0]:g}, so there is nothing to learn about dose. "
            "Use group_time or two_way."
        )
    return DoseFit(panel, found, _bins(found, bins), anticipation, contrast)
