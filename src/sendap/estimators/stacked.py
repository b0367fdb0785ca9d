"""Stacked difference in differences on cells.

Each cohort becomes a sub-experiment of its own: the areas that start then, and clean controls, areas that nothing
happens to in the whole window. The sub-experiments are put on top of each other and fitted in one regression, with
effects of each unit and of each period inside each sub-experiment (and region), so nothing already treated serves as
a control. Controls get weights that give each sub-experiment the same share of treated weight; without them the
regression weighs treated and control trends differently, and its average has no clear meaning.

Sources: Cengiz, Dube, Lindner and Zipperer (2019), doi:10.1093/qje/qjz014; Wing, Freedman and Hollingsworth (2024),
"Stacked difference-in-differences", doi:10.3386/w32054: the weights (table 1) and the trimmed aggregate effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import by_cluster, refuse_constant, treated_cohorts
from sendap.estimators.partialling import (
    Allocated,
    Batch,
    Effects,
    describe,
    periods_before,
    term_frame,
    without_dust,
)

Control = Literal["never", "not_yet"]
IDENTIFIED = 1e-8


@dataclass(frozen=True)
class Window:
    """Periods looked at around each start, and the cohorts that the data cover from end to end.

    ``before`` counts the periods before the start and any anticipation, ``after`` those after the first treated one.
    ``left_out`` says in words which cohorts aren't covered.
    """

    before: int
    after: int
    cohorts: tuple[float, ...]
    left_out: tuple[str, ...]

    @property
    def words(self) -> str:
        text = f"Window: {self.before} period(s) before the start to {self.after} after its first."
        return " ".join([text, *self.left_out])


def find_window(panel: Panel, before: int | None, after: int | None, anticipation: int, control: Control) -> Window:
    """The window asked for, else the widest that keeps every cohort with a period before and clean controls.

    Raises UsageError for a window without a period before the start, DesignError where no cohort is covered.
    """
    if anticipation < 0:
        raise UsageError("anticipation must be 0 or more periods.")
    if control not in ("never", "not_yet"):
        raise UsageError(f"control must be 'never' or 'not_yet', not '{control}'.")
    if before is not None and before < 1:
        raise UsageError("before must be 1 or more periods: the last one before the start is the base.")
    if after is not None and after < 0:
        raise UsageError("after must be 0 or more periods.")
    first, last = float(panel.periods.min()), float(panel.periods.max())
    all_cohorts = treated_cohorts(panel)
    periods_before(panel, anticipation)
    latest = (
        np.unique(panel.cohort)[-1] if control == "not_yet" else panel.cohort[np.isinf(panel.cohort)].max(initial=0)
    )
    end = min(last, latest - 1 - anticipation)
    able = [cohort for cohort in all_cohorts if cohort - anticipation - first >= 1 and cohort <= end]
    if not able:
        raise DesignError(
            f"'{panel.outcome}' has no area to compare with: all areas are treated at once, or none is left untreated. "
            "Add areas that are never or later treated."
        )
    wide = int(min(cohort - anticipation - first for cohort in able)) if before is None else before
    late = int(min(end - cohort for cohort in able)) if after is None else after
    covered, reasons = [], {}
    for cohort in all_cohorts:
        if cohort - anticipation - wide < first:
            reasons.setdefault("the data don't hold their periods before", []).append(f"{cohort:g}")
        elif cohort + late > last:
            reasons.setdefault("the data end before their window does", []).append(f"{cohort:g}")
        elif cohort + late > end:
            reasons.setdefault("no area stays untreated through their window", []).append(f"{cohort:g}")
        else:
            covered.append(float(cohort))
    left_out = tuple(f"Areas that start in {', '.join(starts)} are left out: {why}." for why, starts in reasons.items())
    if not covered:
        raise DesignError(
            f"'{panel.outcome}': no start has {wide} period(s) before and {late} after its first with areas that stay "
            f"untreated. {' '.join(left_out)} Make the window narrower, or add periods or untreated areas."
        )
    return Window(wide, late, tuple(covered), left_out)


@dataclass
class StackedFit(Allocated):
    """Event-time effects of the stacked regression, and their mean over the periods after the start."""

    panel: Panel
    window: Window
    control: Control
    anticipation: int
    contrast: str = ""
    estimator: str = "stacked"

    def __post_init__(self) -> None:
        panel, window = self.panel, self.window
        self._observed = np.isfinite(panel.mean) & (panel.weight > 0)
        self._kept: dict[str, np.ndarray] = {}
        self.events = np.arange(-window.before - self.anticipation, window.after + 1)
        self._lay_out()
        cohorts = panel.cohort[None, :]
        weight, treated = self._stack(cohorts, np.ones_like(cohorts))
        if not weight.any():
            raise DesignError(
                f"'{panel.outcome}' has no area to compare with: none in the same region stays untreated through the "
                "window. Make the window narrower, or compare across regions."
            )
        self._columns = np.flatnonzero([(treated & self._at(number) & (weight > 0)).any() for number in self.events])
        found = self._regression(weight, treated)[1:]
        self._columns = self._columns[self._identified(*found)[0]]
        self._terms = [float(each) for each in self.events[self._columns]]
        if not any(each >= 0 for each in self._terms):
            raise DesignError(
                f"'{panel.outcome}': no effect after the start can be told apart from unit and period effects. "
                "Add areas or periods, or make the window narrower."
            )
        actual = self._allocate(cohorts, contributions=True, weights=True)
        assert actual.contributions is not None
        assert actual.weights is not None
        self.estimate, self._weights = actual.estimate[0, 0], without_dust(actual.weights[0])
        self.scores = by_cluster(actual.contributions[0, 0], panel.cluster, len(panel.clusters))
        self.terms = self._describe()
        self.crv1_factor = self._factor(weight[0] > 0)

    def _lay_out(self) -> None:
        """Which cell of the panel each event time of each sub-experiment is, and where its base lies."""
        periods, stacks = self.panel.periods, np.array(self.window.cohorts)
        wanted = stacks[:, None] + self.events[None, :]
        self._time = np.minimum(np.searchsorted(periods, wanted), len(periods) - 1)
        there = periods[self._time] == wanted  # S, W
        before = np.where(there & (self.events < -self.anticipation), np.arange(len(self.events)), -1)
        self._base = before.max(axis=1)
        rows = np.arange(len(stacks))
        base_time = self._time[rows, self._base]
        self._usable = np.moveaxis(self._observed[:, self._time], 0, 1) & there[:, None, :]  # S, U, W
        has_base = self._observed[:, base_time].T & (self._base >= 0)[:, None]
        self._size = np.where(has_base, self.panel.weight[:, base_time].T, 0.0)  # S, U
        groups = len(self.panel.group_names)
        self._group = (rows[:, None] * groups + self.panel.group[None, :]).ravel()
        self._limit = stacks + self.window.after + self.anticipation

    def _stack(self, cohorts: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the stacked cells (R by S times U by W), and which stacked units are treated (R by SU by 1).

        Controls of a sub-experiment and region weigh (its share of treated weight) / (its share of control weight).
        """
        stacks, groups = np.array(self.window.cohorts), len(self.panel.group_names)
        one_hot = np.eye(groups)[self.panel.group]
        size = self._size[None] * keep[:, None, :]
        treated = size * (cohorts[:, None, :] == stacks[None, :, None])
        clean = np.isinf(cohorts)[:, None, :] if self.control == "never" else cohorts[:, None, :] > self._limit[:, None]
        controls = size * clean
        there, against = treated @ one_hot, controls @ one_hot  # R, S, Q
        both = (there > 0) & (against > 0)
        there, against = there * both, against * both
        total = against.sum(axis=(1, 2), keepdims=True) / np.maximum(there.sum(axis=(1, 2), keepdims=True), 1e-300)
        share = np.divide(there * total, against, out=np.zeros_like(there), where=both)
        weight = treated * (both @ one_hot.T) + controls * (share @ one_hot.T)
        flat = (weight[..., None] * self._usable[None]).reshape(len(cohorts), -1, len(self.events))
        return flat, (treated > 0).reshape(len(cohorts), -1)[..., None]

    def _at(self, event: float) -> np.ndarray:
        """Stacked cells (SU by W) of an event time that isn't the base of their sub-experiment."""
        place = np.flatnonzero(self.events == event)[0]
        column = np.arange(len(self.events)) == place
        found = column[None, :] & (self._base != place)[:, None]
        return np.repeat(found, len(self.panel.units), axis=0)

    def _regression(
        self, weight: np.ndarray, treated: np.ndarray
    ) -> tuple[Effects, np.ndarray, np.ndarray, np.ndarray]:
        """The effects to take out, the columns without them (R by SU by W by P), their cross-products and inverse."""
        effects = Effects(weight, np.arange(weight.shape[1]), self._group)
        columns = np.stack(
            [effects.column((treated & self._at(event)).astype(float)) for event in self.events[self._columns]], axis=3
        )
        gram = np.einsum("rut,rutp,rutq->rpq", weight, columns, columns, optimize=True)
        return effects, columns, gram, np.linalg.pinv(gram, rcond=1e-11, hermitian=True)

    @staticmethod
    def _identified(columns: np.ndarray, gram: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        return np.abs(np.einsum("rpq,rqp->rp", inverse, gram) - 1.0) < IDENTIFIED

    def _allocate(
        self,
        cohorts: np.ndarray,
        *,
        variables: np.ndarray | None = None,
        keep: np.ndarray | None = None,
        terms: np.ndarray | None = None,
        contributions: bool = False,
        weights: bool = False,
    ) -> Batch:
        """Chosen terms with starts ``cohorts`` and sample ``keep`` (R by U, 0 or 1) for V by U by T variables."""
        weight, treated = self._stack(cohorts, np.ones((1, cohorts.shape[1])) if keep is None else keep)
        effects, columns, gram, inverse = self._regression(weight, treated)
        known = self._identified(columns, gram, inverse)
        values = np.nan_to_num(self.panel.mean)[None] if variables is None else variables
        # The first term averages the columns after the start; each other term is a column.
        after = np.array([event >= 0 for event in self._terms])
        chosen = np.concatenate([after[None] / after.sum(), np.eye(len(after))])
        chosen = chosen if terms is None else chosen[terms]
        missing = np.einsum("kp,rp->rk", (chosen > 0).astype(float), (~known).astype(float)) > 0
        rows = chosen @ inverse  # R, K, P
        draws, units = cohorts.shape
        estimate = np.full((len(values), draws, len(chosen)), np.nan)
        given = np.zeros((len(values), draws, units, len(chosen))) if contributions else None
        weighted = columns * weight[..., None]
        for index, value in enumerate(values):
            stacked = np.moveaxis(value[:, self._time], 0, 1).reshape(1, -1, len(self.events))
            residual = np.where(weight > 0, effects.residual(stacked), 0.0)
            moment = np.einsum("rutp,rut->rp", weighted, residual, optimize=True)
            estimate[index] = np.where(missing, np.nan, (rows @ moment[..., None])[..., 0])
            if given is not None:
                coefficients = (inverse @ moment[..., None])[..., 0]
                left = residual - (columns @ coefficients[:, None, :, None])[..., 0]
                scores = np.einsum("rutp,rut->rup", weighted, left, optimize=True) @ np.swapaxes(rows, 1, 2)
                given[index] = scores.reshape(draws, -1, units, len(chosen)).sum(axis=1)
        return Batch(estimate, given, self._unstacked(rows, weighted) if weights else None)

    def _unstacked(self, rows: np.ndarray, weighted: np.ndarray) -> np.ndarray:
        """The linear map on the panel's own cells (R by K by U by T): a cell counts in each of its sub-experiments."""
        shape = (len(rows), rows.shape[1], *self.panel.mean.shape)
        stacked = np.einsum("rkp,rutp->rkut", rows, weighted, optimize=True)
        stacked = stacked.reshape(*shape[:2], len(self.window.cohorts), shape[2], -1)
        linear = np.zeros(shape)
        for stack, times in enumerate(self._time):
            for column, time in enumerate(times):
                linear[..., time] += stacked[:, :, stack, :, column]
        return linear

    def _describe(self) -> pd.DataFrame:
        panel = self.panel
        event = panel.periods[None, :] - panel.cohort[:, None]
        own = np.isin(panel.cohort, self.window.cohorts)[:, None]
        rows = []
        for position, value in enumerate([np.nan, *self._terms]):
            exposed = own & ((event >= 0) if np.isnan(value) else (event == value))
            name = "overall" if np.isnan(value) else "event"
            about = {"cohort": np.nan, "period": np.nan, "event_time": value}
            rows.append(describe(panel, name, self._weights[position], exposed, **about))
        rows[0]["note"] = self.window.words
        return term_frame(rows)

    def _factor(self, used: np.ndarray) -> float:
        """G/(G-1) (N-1)/(N-k) with N stacked cells and k the period effects and the effects here.

        Unit effects lie inside clusters and aren't counted (Cameron and Miller 2015, doi:10.3368/jhr.50.2.317); the
        cluster is the real one, however many sub-experiments it serves in.
        """
        periods = sum(int(used[self._group == group].any(axis=0).sum()) for group in np.unique(self._group))
        cells, count = int(used.sum()), periods + len(self._terms)
        stacks, units = len(self.window.cohorts), len(self.panel.units)
        members = used.any(axis=1).reshape(stacks, units).any(axis=0)
        clusters = len(np.unique(self.panel.cluster[members]))
        if cells <= count or clusters < 2:
            raise DesignError(
                f"'{self.panel.outcome}' has {cells} cells for as many effects, so nothing is left to judge their "
                "error by. Make the window narrower, or add areas."
            )
        return clusters / (clusters - 1) * (cells - 1) / (cells - count)

    @property
    def _width(self) -> int:
        cells = len(self.window.cohorts) * len(self.events) * (len(self._terms) + 2)
        return max(1, cells // len(self.panel.periods))


def fit_stacked(
    panel: Panel,
    *,
    before: int | None = None,
    after: int | None = None,
    control: Control = "not_yet",
    anticipation: int = 0,
    contrast: str = "",
) -> StackedFit:
    """Stacked difference in differences: the trimmed aggregate effect, and effects by event time.

    ``before`` and ``after`` count the periods before the start (and any anticipation) and after its first period; by
    default the widest window that keeps every cohort. Cohorts whose window the data don't cover are left out and
    named, so that every event time averages the same areas: the composition never changes. ``control``: "not_yet"
    takes areas untreated through the whole window, "never" the never treated only. A unit weighs what it weighed in
    the base period; each treated unit counts equally (by that weight). "overall" is the mean over event times from
    the start on.

    Raises DesignError where nobody is treated in the data, nothing lies before treatment, nobody is left to compare
    with, no cohort is covered, or the outcome never varies; UsageError for a window that can't be.
    """
    refuse_constant(panel)
    window = find_window(panel, before, after, anticipation, control)
    return StackedFit(panel, window, control, anticipation, contrast)
