"""Local projections difference in differences on cells.

For each horizon h one regression of the change from the last period before the start to h periods after it, on being
newly treated, with effects of each period (and region). Only clean controls are in it: areas that are untreated up to
that horizon. Newly treated and controls differ in nothing else, so each period gives one difference in differences,
and the regression averages these: by their variance in plain least squares, by the treated areas where the rows are
weighted to give each treated area the same say.

Source: Dube, Girardi, Jordà and Taylor (2025), "A local projections approach to difference-in-differences",
doi:10.1002/jae.70000 (working paper: doi:10.3386/w31184).
"""

from __future__ import annotations

from collections.abc import Iterator
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
    describe,
    term_frame,
)
from sendap.estimators.stacked import Control, Window, find_window

Weighting = Literal["equal", "variance"]


@dataclass(frozen=True)
class Comparison:
    """One start: the periods whose mean is compared with the base (positions), and until when controls stay clean."""

    cohort: float
    times: tuple[int, ...]
    base: int
    latest: float


@dataclass(frozen=True)
class Horizon:
    """One regression: its comparisons. ``event_time`` is missing for the pooled effect."""

    event_time: float
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class _Rows:
    """The rows of one comparison under R allocations: change V by U; all else R by U.

    ``regressor`` is treatment without the period's mean, ``mean`` (V by R by U) the mean change of the period.
    """

    change: np.ndarray
    weight: np.ndarray
    regressor: np.ndarray
    mean: np.ndarray


@dataclass
class LocalProjectionsFit(Allocated):
    panel: Panel
    window: Window
    weighting: Weighting
    control: Control
    anticipation: int
    contrast: str = ""
    estimator: str = "local_projections"

    def __post_init__(self) -> None:
        if self.weighting not in ("equal", "variance"):
            raise UsageError(f"weighting must be 'equal' or 'variance', not '{self.weighting}'.")
        panel = self.panel
        self._observed = np.isfinite(panel.mean) & (panel.weight > 0)
        self._one_hot = np.eye(len(panel.group_names))[panel.group]
        self._kept: dict[str, np.ndarray] = {}
        cohorts = panel.cohort[None, :]
        possible = list(self._horizons())
        self.horizons: list[Horizon] = possible
        found = self._allocate(cohorts).estimate[0, 0]
        self.horizons = [each for each, value in zip(possible, found, strict=True) if np.isfinite(value)]
        if not self.horizons or not np.isnan(self.horizons[0].event_time):
            raise DesignError(
                f"'{panel.outcome}' has no area to compare with: none in the same region stays untreated through the "
                "window. Make the window narrower, or compare across regions."
            )
        actual = self._allocate(cohorts, contributions=True, weights=True)
        assert actual.contributions is not None
        assert actual.weights is not None
        self.estimate, self._weights = actual.estimate[0, 0], actual.weights[0]
        self.scores = by_cluster(actual.contributions[0, 0], panel.cluster, len(panel.clusters))
        self.terms = self._describe()
        self.crv1_factor = np.array([self._factor(horizon) for horizon in self.horizons])

    def _horizons(self) -> Iterator[Horizon]:
        """The pooled effect on the window, then each period before and after the start that isn't the base."""
        periods, anticipation = self.panel.periods, self.anticipation
        bases = {}
        for cohort in treated_cohorts(self.panel):
            before = np.flatnonzero(periods < cohort - anticipation)
            if before.size:
                bases[float(cohort)] = int(before[-1])

        def compared(cohort: float, times: np.ndarray) -> Comparison:
            latest = max(float(periods[times].max()) + anticipation, cohort)
            return Comparison(cohort, tuple(int(time) for time in times), bases[cohort], latest)

        after = self.window.after
        yield Horizon(
            np.nan,
            tuple(
                compared(cohort, np.flatnonzero((periods >= cohort) & (periods <= cohort + after)))
                for cohort in self.window.cohorts
            ),
        )
        reach = {
            (float(periods[time] - cohort), cohort, time)
            for cohort, base in bases.items()
            for time in range(len(periods))
            if time != base
        }
        for event in sorted({each for each, _, _ in reach}):
            own = sorted((cohort, time) for value, cohort, time in reach if value == event)
            yield Horizon(event, tuple(compared(cohort, np.array([time])) for cohort, time in own))

    def _rows(self, given: Comparison, values: np.ndarray, cohorts: np.ndarray, keep: np.ndarray) -> _Rows:
        """The newly treated and clean controls of one start, with the mean of each region's period taken out."""
        times = list(given.times)
        seen = self._observed[:, given.base] & self._observed[:, times].all(axis=1)
        size = np.where(seen, self.panel.weight[:, given.base], 0.0)[None] * keep
        treated = size * (cohorts == given.cohort)
        clean = np.isinf(cohorts) if self.control == "never" else cohorts > given.latest
        controls = size * (clean & (cohorts != given.cohort))
        there, against = treated @ self._one_hot, controls @ self._one_hot  # R, Q
        both = (there > 0) & (against > 0)
        total = np.where(both, there + against, 1.0)
        share = np.where(both, there / total, 0.0)
        change = np.where(seen, values[:, :, times].mean(axis=2) - values[:, :, given.base], 0.0)
        weight = (treated + controls) * (both @ self._one_hot.T)
        mean = np.stack([(weight * row) @ self._one_hot / total for row in change])
        regressor = (treated > 0) - share @ self._one_hot.T
        if self.weighting == "equal":
            # Least squares weighs a period by treated times controls over both; this leaves the treated.
            scale = np.divide(total, against, out=np.zeros_like(total), where=both)
            weight = weight * (scale @ self._one_hot.T)
        return _Rows(change, weight, np.where(weight > 0, regressor, 0.0), mean @ self._one_hot.T)

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
        panel = self.panel
        kept = np.ones((1, cohorts.shape[1])) if keep is None else keep
        values = np.nan_to_num(panel.mean)[None] if variables is None else variables
        chosen = self.horizons if terms is None else [self.horizons[index] for index in terms]
        draws, units = cohorts.shape
        estimate = np.full((len(values), draws, len(chosen)), np.nan)
        given = np.zeros((len(values), draws, units, len(chosen))) if contributions else None
        linear = np.zeros((draws, len(chosen), units, len(panel.periods))) if weights else None
        for column, horizon in enumerate(chosen):
            parts = [self._rows(each, values, cohorts, kept) for each in horizon.comparisons]
            moved = [part.weight * part.regressor for part in parts]
            size = sum((part.regressor * move).sum(axis=1) for part, move in zip(parts, moved, strict=True))
            size = np.where(size > 0, size, np.nan)
            sums = [np.einsum("ru,vu->vr", move, part.change) for part, move in zip(parts, moved, strict=True)]
            estimate[:, :, column] = sum(sums) / size
            for comparison, part, move in zip(horizon.comparisons, parts, moved, strict=True):
                scaled = move / size[:, None]
                if given is not None:
                    fitted = part.mean + estimate[:, :, column, None] * part.regressor
                    given[..., column] += scaled * (part.change[:, None, :] - fitted)
                if linear is not None:
                    times = list(comparison.times)
                    linear[:, column, :, times] += scaled[None] / len(times)
                    linear[:, column, :, comparison.base] -= scaled
        return Batch(estimate, given, linear)

    def _describe(self) -> pd.DataFrame:
        panel = self.panel
        event = panel.periods[None, :] - panel.cohort[:, None]
        rows = []
        for position, horizon in enumerate(self.horizons):
            value = horizon.event_time
            own = np.isin(panel.cohort, [each.cohort for each in horizon.comparisons])[:, None]
            exposed = own & ((event >= 0) if np.isnan(value) else (event == value))
            name = "overall" if np.isnan(value) else "event"
            about = {"cohort": np.nan, "period": np.nan, "event_time": value}
            rows.append(describe(panel, name, self._weights[position], exposed, **about))
        counted = "each treated unit counts equally" if self.weighting == "equal" else "periods count by their variance"
        note = f"Mean of the first {self.window.after + 1} period(s); {counted}."
        rows[0]["note"] = " ".join([note, *self.window.left_out])
        return term_frame(rows)

    def _factor(self, horizon: Horizon) -> float:
        """G/(G-1) (N-1)/(N-k) of one regression: k the effect and its periods (by region), N its rows.

        Periods in which nobody starts, or nobody is left to compare with, say nothing about it and aren't counted.
        """
        panel, cohorts = self.panel, self.panel.cohort[None, :]
        values, keep = np.nan_to_num(panel.mean)[None], np.ones_like(cohorts)
        used = np.stack([self._rows(each, values, cohorts, keep).weight[0] > 0 for each in horizon.comparisons])
        cells, count = int(used.sum()), 1 + int(sum((each @ self._one_hot > 0).sum() for each in used))
        clusters = len(np.unique(panel.cluster[used.any(axis=0)]))
        return clusters / (clusters - 1) * (cells - 1) / (cells - count) if cells > count else float("nan")

    @property
    def _width(self) -> int:
        return max(1, len({each.cohort for horizon in self.horizons for each in horizon.comparisons}))


def fit_local_projections(
    panel: Panel,
    *,
    weighting: Weighting = "equal",
    after: int | None = None,
    control: Control = "not_yet",
    anticipation: int = 0,
    contrast: str = "",
) -> LocalProjectionsFit:
    """Local projections difference in differences: a pooled effect, and one for each period before and after.

    ``weighting``: "equal" counts each treated unit equally (their reweighted estimator: the same number as group-time
    effects against the not yet treated, averaged by event time), "variance" is plain least squares. "overall" takes
    the mean of the outcome over the first ``after`` + 1 periods, for the starts that have them all; by default as
    many as every start has. A unit weighs what it weighed in the base period. Other arguments as ``fit_stacked``.

    Raises DesignError where nobody is treated in the data, nothing lies before treatment, nobody is left to compare
    with, no start has the periods asked for, or the outcome never varies.
    """
    refuse_constant(panel)
    window = find_window(panel, 1, after, anticipation, control)
    return LocalProjectionsFit(panel, window, weighting, control, anticipation, contrast)
