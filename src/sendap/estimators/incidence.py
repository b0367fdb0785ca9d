"""Discrete-time curves with competing risks: hazards, survival, cumulative incidence, restricted mean time.

With n_j at risk in interval j and d_kj events of cause k: hazards h_kj = d_kj / n_j; survival S_j, the product of
1 - sum_k h_ki for i <= j (Kaplan and Meier 1958); cumulative incidence F_kj = sum_{i<=j} S_{i-1} h_ki (Aalen and
Johansen 1978). An event in interval j is given the time j, so to a horizon of H intervals the restricted mean time to
any event is sum_{j<H} S_j (Royston and Parmar 2013, doi:10.1186/1471-2288-13-152), and the time lost to cause k is
sum_{j<H} F_kj (Andersen, Canudas-Romo and Keiding 2013, doi:10.4054/DemRes.2013.29.41). The time *until* cause k, with
cases that never have it counted as H, is H less the time lost. Times after the last case at risk was lost from sight
are unknown, and missing here.

Late entry (left truncation) changes n_j only; it's right if entering late says nothing of what happens afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from sendap.cells import Cells, OutcomeInfo
from sendap.cells.durations import DurationArrays, DurationCells
from sendap.errors import UsageError

ANY = "any event"
FAR = 1e-12
"""Survival below this is none at all: the rest of the curve is flat, whoever is at risk."""


@dataclass(frozen=True)
class Curves:
    """Curves of C cells: ``hazard`` (C by K by J), ``survival`` (C by J + 1) and ``incidence`` (C by K by J + 1).

    The latter two are given after 0, 1, ..., J intervals. Missing where nobody was left at risk.
    """

    hazard: np.ndarray
    survival: np.ndarray
    incidence: np.ndarray

    @classmethod
    def of(cls, n: np.ndarray, events: np.ndarray) -> Curves:
        """Curves from those at risk (C by J) and events (C by K by J)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            hazard = np.where(n[:, None, :] > 0, events / n[:, None, :], np.nan)
        cells, causes, length = hazard.shape
        survival, incidence = np.ones((cells, length + 1)), np.zeros((cells, causes, length + 1))
        for j in range(length):
            alive = survival[:, j]
            # Nobody is at risk where all had their event: that's known. Where they were lost from sight, it isn't.
            over = np.abs(alive) < FAR
            step = np.where(over[:, None], 0.0, alive[:, None] * hazard[:, :, j])
            incidence[:, :, j + 1] = incidence[:, :, j] + step
            survival[:, j + 1] = np.where(over, 0.0, alive * (1 - hazard[:, :, j].sum(axis=1)))
        return cls(hazard, survival, incidence)

    def restricted_mean(self, horizon: int) -> np.ndarray:
        """Intervals free of any event, of the first ``horizon`` (C)."""
        return self.survival[:, :horizon].sum(axis=1)

    def time_until(self, cause: int, horizon: int) -> np.ndarray:
        """Intervals until a cause, of the first ``horizon``; ``horizon`` for cases that never have it (C)."""
        return horizon - self.incidence[:, cause, :horizon].sum(axis=1)


@dataclass(frozen=True)
class Target:
    """What is asked of the curves: a share (incidence of a cause) or a time, at a horizon. No cause: any event."""

    kind: str
    cause: str | None
    horizon: int

    def name(self, unit: str) -> str:
        if self.kind == "share":
            return f"{self.cause or ANY} within {self.horizon} {unit}"
        return f"{unit} until {self.cause or ANY} (of {self.horizon})"

    def value(self, curves: Curves, causes: Sequence[str]) -> np.ndarray:
        """The figure of each cell: a share from 0 to 1, or a number of intervals."""
        if self.kind == "share":
            if self.cause is None:
                return 1 - curves.survival[:, self.horizon]
            return curves.incidence[:, causes.index(self.cause), self.horizon]
        if self.cause is None:
            return curves.restricted_mean(self.horizon)
        return curves.time_until(causes.index(self.cause), self.horizon)

    def second_moment(self, curves: Curves, causes: Sequence[str]) -> np.ndarray:
        """The mean of the square: E[min(T, H)^2] = sum_{j<H} (2j + 1) P(T > j) for a time, the share for a share."""
        if self.kind == "share":
            return self.value(curves, causes)
        odd = 2 * np.arange(self.horizon) + 1.0
        if self.cause is None:
            return curves.survival[:, : self.horizon] @ odd
        return (1 - curves.incidence[:, causes.index(self.cause), : self.horizon]) @ odd


def targets(durations: DurationCells, horizons: Sequence[int], causes: Sequence[str | None]) -> list[Target]:
    """Shares at every horizon and times at the longest, for each cause. Raises UsageError, DesignError."""
    if not horizons or any(int(horizon) != horizon or horizon < 1 for horizon in horizons):
        raise UsageError("Give at least one horizon, each a whole number of intervals of at least 1.")
    for cause in causes:
        if cause is not None:
            durations.check_cause(cause)
    longest = int(max(horizons))
    durations.refuse_unfollowed(longest)
    shares = [Target("share", cause, int(horizon)) for cause in causes for horizon in horizons]
    return shares + [Target("time", cause, longest) for cause in causes]


def incidence_cells(
    durations: DurationCells, horizons: Sequence[int], causes: Sequence[str | None] | None = None
) -> Cells:
    """Cells whose outcomes are shares with an event by a horizon (per cent) and times until it.

    Each cell has the Aalen-Johansen figure of its own cluster, decision period and stratum, with as many records as it
    has cases. The outcomes are "<cause> within <horizon> <unit>" for each horizon, "<unit> until <cause> (of
    <horizon>)" for the longest; a cause of None is any event.

    What is exact, and what isn't. Where no case is lost from sight before the horizon, the figure is the mean over
    cases of "had the event by then" (or of the time, cut at the horizon), so every estimator gives what it gives on the
    records. With losses it's the mean of the cases' jackknife pseudo-observations n F - (n - 1) F_(-i) inside the cell
    (Andersen and Perme 2010, doi:10.1177/0962280209105020; that the mean is exact unless the longest case had its event
    and the one before it was lost is Stute and Wang 1994, Biometrika 81, 602). Regression on them is right as cells
    grow, if being lost says nothing of the event inside the cell. With late entry the mean is only near.

    Cells with nobody left at risk before the horizon have no figure; ``metadata["not_followed"]`` counts their cases.

    Raises DesignError where the data end before a decision period could be followed to the longest horizon, UsageError
    for an unknown cause or a horizon below 1.
    """
    causes = list(durations.causes) if causes is None else list(causes)
    wanted = targets(durations, horizons, causes)
    arrays = durations.arrays(int(max(horizons)))
    curves = Curves.of(arrays.n, arrays.events)
    unit, cases = durations.clock.unit, arrays.cases
    parts, infos, lost = [], {}, {}
    for target in wanted:
        scale = 100.0 if target.kind == "share" else 1.0
        value = target.value(curves, durations.causes)
        known = np.isfinite(value) & (cases > 0)
        name = target.name(unit)
        lost[name] = int(cases[~known].sum())
        count = np.where(known, cases, 0.0)
        square = np.where(known, target.second_moment(curves, durations.causes), 0.0)
        frame = arrays.keys[[*durations.keys, "cohort"]].assign(
            n=cases,
            n_observed=count,
            weight=count,
            sum=count * np.where(known, value, 0.0) * scale,
            sum_squares=count * square * scale**2,
        )
        frame.insert(0, "outcome", name)
        parts.append(frame)
        infos[name] = OutcomeInfo("per cent" if target.kind == "share" else unit, name)
    return Cells(
        frame=pd.concat(parts, ignore_index=True),
        outcomes=infos,
        strata=durations.strata,
        clusters=durations.clusters,
        metadata={**durations.metadata, "clock": durations.clock.starts, "not_followed": lost},
    )


def _bounds(estimate: np.ndarray, error: np.ndarray, critical: float) -> tuple[np.ndarray, np.ndarray]:
    """An interval inside 0 to 1, from log(-log) of the share."""
    inside = (estimate > FAR) & (estimate < 1 - FAR)
    share = np.where(inside, estimate, 0.5)
    slope = np.abs(share * np.log(share))
    moved = critical * error / slope
    middle = np.log(-np.log(share))
    low, high = np.exp(-np.exp(middle + moved)), np.exp(-np.exp(middle - moved))
    return np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def _jackknife(figures: Callable[[np.ndarray, np.ndarray], np.ndarray], arrays: DurationArrays) -> np.ndarray:
    """Standard errors of figures by leaving out each cluster (rows of ``arrays``): the CRV3 of the pooled curves."""
    count = len(arrays.n)
    total = figures(arrays.n.sum(axis=0)[None], arrays.events.sum(axis=0)[None])[0]
    without = figures(arrays.n.sum(axis=0) - arrays.n, arrays.events.sum(axis=0) - arrays.events)
    if count < 2:
        return np.full_like(total, np.nan)
    return np.sqrt((count - 1) / count * ((without - total) ** 2).sum(axis=0))


def incidence_curves(
    durations: DurationCells, *, by: Sequence[str] = (), horizon: int | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Pooled curves of groups, with standard errors by the cluster jackknife.

    ``by``: any of ``cluster``, ``period``, ``cohort`` and the strata. One row a group, cause and time 0 to ``horizon``
    (the last interval by default): ``time``, ``at_risk`` in the interval that begins then, ``cause`` ("any event" for
    one less survival), ``incidence``, ``time_until`` (restricted mean time until the cause, to ``time``), both with
    ``_se``; ``ci_low``, ``ci_high`` of the incidence by log(-log), with t(G - 1) for G clusters; ``clusters``. No
    interval where a group has one cluster.

    Curves pool the cases of a group, so areas count by their cases. Raises UsageError for an unknown key.
    """
    for name in by:
        if name not in (*durations.keys, "cohort"):
            raise UsageError(f"Curves can't be kept apart by '{name}'. Use {', '.join([*durations.keys, 'cohort'])}.")
    length = int(durations.frame["interval"].max()) if horizon is None else horizon
    if length < 1:
        raise UsageError(f"A horizon must be at least 1 interval, not {length}.")
    by = list(by)
    others = [*by, *([] if "cluster" in by else ["cluster"])]
    arrays = durations.arrays(length, by=others)
    grouped = arrays.keys.groupby(by, dropna=False, sort=True).indices if by else {(): np.arange(len(arrays.n))}
    rows = [
        _group_rows(
            dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True)), arrays, members, durations, level
        )
        for key, members in grouped.items()
    ]
    return pd.concat(rows, ignore_index=True)


def _group_rows(
    labels: dict[str, object], arrays: DurationArrays, members: np.ndarray, durations: DurationCells, level: float
) -> pd.DataFrame:
    part = DurationArrays(
        arrays.keys, *(getattr(arrays, name)[members] for name in ("n", "events", "entered", "censored"))
    )

    def shares(n: np.ndarray, events: np.ndarray) -> np.ndarray:
        curves = Curves.of(n, events)
        return np.concatenate([curves.incidence, 1 - curves.survival[:, None, :]], axis=1)

    def times(n: np.ndarray, events: np.ndarray) -> np.ndarray:
        free = 1 - shares(n, events)[:, :, :-1]
        return np.concatenate([np.zeros((*free.shape[:2], 1)), np.cumsum(free, axis=2)], axis=2)

    n, events = part.n.sum(axis=0)[None], part.events.sum(axis=0)[None]
    share, until = shares(n, events)[0], times(n, events)[0]
    share_se, until_se = _jackknife(shares, part), _jackknife(times, part)
    clusters = len(members)
    critical = float(stats.t.ppf(0.5 + level / 2, clusters - 1)) if clusters > 1 else np.nan
    low, high = _bounds(share, share_se, critical)
    length = share.shape[1]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    **labels,
                    "cause": cause,
                    "time": np.arange(length),
                    "at_risk": np.append(n[0], np.nan),
                    "incidence": share[k],
                    "incidence_se": share_se[k],
                    "ci_low": low[k],
                    "ci_high": high[k],
                    "time_until": until[k],
                    "time_until_se": until_se[k],
                    "clusters": clusters,
                }
            )
            for k, cause in enumerate([*durations.causes, ANY])
        ],
        ignore_index=True,
    )
