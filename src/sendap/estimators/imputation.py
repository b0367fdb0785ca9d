"""Effects by imputation, and the two-stage estimator, on cells.

Unit and period effects are fitted to untreated cells only. The effect in a treated cell is what was observed less
what these effects say, and the terms are averages of such cells. Nothing already treated serves as a control.

Sources: Borusyak, Jaravel and Spiess (2024), doi:10.1093/restud/rdae007; Gardner (2021), arXiv:2207.05943. Their
averages are the same numbers; they differ in the estimates before treatment and in the spread that their errors
allow for (see ``fit_imputation`` and ``fit_two_stage``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

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

Level = Literal["unit", "cluster"]


@dataclass(frozen=True)
class Average:
    """An average of cells: those from the start on, of one cohort or event time where one is named.

    ``lead`` marks a coefficient before treatment that is fitted to the untreated cells instead.
    """

    term: str
    cohort: float = np.nan
    event_time: float = np.nan
    lead: bool = False

    def members(self, event: np.ndarray) -> np.ndarray:
        """Which cells it averages. ``event`` R by U by T, periods since the start."""
        return event >= 0 if np.isnan(self.event_time) else event == self.event_time


@dataclass
class ImputationFit(Allocated):
    """Imputed effects: overall, by event time and by cohort, then the coefficients before treatment."""

    panel: Panel
    anticipation: int
    unit_effects: Level
    leads: int | None
    two_stage: bool
    contrast: str = ""
    estimator: str = "imputation"

    def __post_init__(self) -> None:
        panel = self.panel
        if self.anticipation < 0:
            raise UsageError("anticipation must be 0 or more periods.")
        if self.leads is not None and self.leads < 0:
            raise UsageError("leads must be 0 or more periods.")
        if self.unit_effects not in ("unit", "cluster"):
            raise UsageError(f"unit_effects must be 'unit' or 'cluster', not '{self.unit_effects}'.")
        refuse_constant(panel)
        treated_cohorts(panel)
        periods_before(panel, self.anticipation)
        self._observed = np.isfinite(panel.mean) & (panel.weight > 0)
        self._levels = np.arange(len(panel.units)) if self.unit_effects == "unit" else panel.cluster
        cohorts = panel.cohort[None, :]
        _, effects, event = self._fitted(cohorts, np.ones_like(cohorts))
        usable = (effects.estimable() & self._observed)[0] & (event[0] >= 0)
        if not usable.any():
            raise DesignError(
                f"'{panel.outcome}' has no area to compare with: in every period after a start all areas of the same "
                "region are treated. Add areas that are never or later treated, or compare across regions."
            )
        self._kept: dict[str, np.ndarray] = {}
        self.lead_times: tuple[float, ...] = () if self.two_stage else self._leads(effects, event)
        self.averages = self._averages(usable, event[0])
        actual = self._allocate(cohorts, contributions=True, weights=True)
        assert actual.contributions is not None
        assert actual.weights is not None
        self.estimate, self._weights = actual.estimate[0, 0], without_dust(actual.weights[0])
        self.scores = by_cluster(actual.contributions[0, 0], panel.cluster, len(panel.clusters))
        self._describe(event[0], usable)
        used = len(np.unique(panel.cluster[(np.abs(self._weights) > 0).any(axis=(0, 2))]))
        self.crv1_factor = used / (used - 1)

    def _fitted(self, cohorts: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, Effects, np.ndarray]:
        """Weights of all kept cells, the effects fitted to the untreated, and event times (R by U by T)."""
        event = self.panel.periods[None, None, :] - cohorts[:, :, None]
        kept = np.where(self._observed, self.panel.weight, 0.0)[None] * keep[:, :, None]
        untreated = np.where(event < -self.anticipation, kept, 0.0)
        return kept, Effects(untreated, self._levels, self.panel.group), event

    def _leads(self, effects: Effects, event: np.ndarray) -> tuple[float, ...]:
        """Event times before treatment that get a coefficient, the earliest ones serving as their base."""
        seen = np.unique(event[effects.weight > 0])
        seen = seen[np.isfinite(seen)][::-1]
        wanted = len(seen) - 1 if self.leads is None else min(self.leads, len(seen) - 1)
        for count in range(wanted, 0, -1):
            columns, inverse = self._lead_columns(effects, event, seen[:count])
            gram = np.einsum("rut,rutk,rutl->rkl", effects.weight, columns, columns, optimize=True)
            if np.abs(np.einsum("rkl,rlk->rk", inverse, gram) - 1.0).max() < 1e-8:
                return tuple(float(each) for each in seen[:count])
        return ()

    def _lead_columns(
        self, effects: Effects, event: np.ndarray, times: np.ndarray | tuple[float, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Dummies before treatment without the effects (R by U by T by L), and their inverse cross-products."""
        columns = np.stack([effects.column((event == time).astype(float)) for time in times], axis=3)
        gram = np.einsum("rut,rutk,rutl->rkl", effects.weight, columns, columns, optimize=True)
        return columns, np.linalg.pinv(gram, rcond=1e-11, hermitian=True)

    def _averages(self, usable: np.ndarray, event: np.ndarray) -> list[Average]:
        cohort = np.broadcast_to(self.panel.cohort[:, None], event.shape)
        affected = self._observed & (event >= -self.anticipation) & np.isfinite(event)
        estimable = self._estimable & affected
        events = np.unique(event[estimable])
        made = [Average("overall")]
        made += [Average("group", cohort=float(each)) for each in np.unique(cohort[usable])]
        if self.two_stage:
            before = np.unique(event[self._observed & (event < -self.anticipation) & np.isfinite(event)])
            # The last period before treatment stands at zero by the convention of the method's software.
            events = np.concatenate([before[:-1], events])
        made += [Average("event", event_time=float(time), lead=True) for time in sorted(self.lead_times)]
        return made + [Average("event", event_time=float(time)) for time in events]

    @property
    def _estimable(self) -> np.ndarray:
        cohorts = self.panel.cohort[None, :]
        return self._fitted(cohorts, np.ones_like(cohorts))[1].estimable()[0]

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
        kept, effects, event = self._fitted(cohorts, np.ones_like(cohorts) if keep is None else keep)
        values = np.nan_to_num(self.panel.mean)[None] if variables is None else variables
        chosen = self.averages if terms is None else [self.averages[index] for index in terms]
        draws, units, periods = kept.shape
        residuals = [effects.residual(value[None]) for value in values]
        estimable = effects.estimable()
        estimate = np.full((len(values), draws, len(chosen)), np.nan)
        given = np.zeros((len(values), draws, units, len(chosen))) if contributions else None
        linear = np.zeros((draws, len(chosen), units, periods)) if weights else None
        leads = self._lead_columns(effects, event, self.lead_times) if any(each.lead for each in chosen) else None
        for column, average in enumerate(chosen):
            if average.lead:
                assert leads is not None
                self._add_lead(average, column, leads, effects, residuals, estimate, given, linear)
                continue
            members = average.members(event) & estimable
            if not np.isnan(average.cohort):
                members = members & (cohorts == average.cohort)[:, :, None]
            share = kept * members
            total = share.sum(axis=(1, 2), keepdims=True)
            share = np.divide(share, total, out=np.full_like(share, np.nan), where=total > 0)
            fitted, influence = effects.balance(-share)
            for index, residual in enumerate(residuals):
                estimate[index, :, column] = (share * residual).sum(axis=(1, 2))
                if given is not None:
                    centre = self._centre(share, residual, estimate[index, :, column], cohorts)
                    own = np.where(kept > 0, share * (residual - centre), 0.0)
                    given[index, :, :, column] = (own + influence * residual).sum(axis=2)
            if linear is not None:
                linear[:, column] = share + fitted
        return Batch(estimate, given, linear)

    def _add_lead(  # type: ignore[no-untyped-def]
        self, average, column, leads, effects, residuals, estimate, given, linear
    ) -> None:
        """One coefficient before treatment, from the regression of untreated cells on all of them."""
        columns, inverse = leads
        position = self.lead_times.index(average.event_time)
        weighted = np.einsum("rl,rutl->rut", inverse[:, position], columns, optimize=True) * effects.weight
        shown = np.einsum("rut,rut->r", weighted, columns[..., position])
        for index, residual in enumerate(residuals):
            inside = np.where(effects.weight > 0, residual, 0.0)
            moments = np.einsum("rut,rutl,rut->rl", effects.weight, columns, inside, optimize=True)
            coefficients = (inverse @ moments[..., None])[..., 0]
            known = np.abs(shown - 1.0) < 1e-8
            estimate[index, :, column] = np.where(known, coefficients[:, position], np.nan)
            if given is not None:
                left = inside - np.einsum("rutl,rl->rut", columns, coefficients)
                given[index, :, :, column] = (weighted * left).sum(axis=2)
        if linear is not None:
            linear[:, column] = weighted

    def _centre(self, share: np.ndarray, effect: np.ndarray, mean: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
        """What effects are compared with for their errors: the term's own mean, or that of cohort and period.

        The cohort's mean weighs cells by their squared shares (Borusyak, Jaravel and Spiess, equation 8), so effects
        that truly differ between cohorts or periods don't count as noise.
        """
        if self.two_stage:
            return mean[:, None, None]
        centre = np.zeros_like(share)
        for cohort in np.unique(cohorts[np.isfinite(cohorts)]):
            own = (cohorts == cohort)[:, :, None] * share**2
            size = own.sum(axis=1, keepdims=True)
            average = np.divide(
                (own * effect).sum(axis=1, keepdims=True), size, out=np.zeros_like(size), where=size > 0
            )
            centre += (own > 0) * average
        return centre

    def _describe(self, event: np.ndarray, usable: np.ndarray) -> None:
        rows = []
        for position, average in enumerate(self.averages):
            exposed = average.members(event)
            if not np.isnan(average.cohort):
                exposed = exposed & (self.panel.cohort == average.cohort)[:, None]
            described = describe(
                self.panel,
                average.term,
                self._weights[position],
                exposed,
                cohort=average.cohort,
                event_time=average.event_time,
                period=np.nan,
            )
            rows.append(described)
        lost = self._observed & (event >= 0) & ~usable
        if lost.any():
            units = int(lost.any(axis=1).sum())
            note = (
                f"{int(lost.sum())} treated cell(s) of {units} unit(s) are left out: their area was never seen "
                "untreated, or nobody in their period was."
            )
            for row in rows:
                row["note"] = note
        self.terms = term_frame(rows)

    @property
    def _width(self) -> int:
        return 1 + len(self.lead_times)


def fit_imputation(
    panel: Panel, *, anticipation: int = 0, unit_effects: Level = "unit", leads: int | None = None, contrast: str = ""
) -> ImputationFit:
    """Effects by imputation (Borusyak, Jaravel and Spiess 2024): overall, by event time and by cohort.

    Cells of the ``anticipation`` periods before the start aren't used as untreated; their effects are shown as event
    times. ``panel.group`` gives each region period effects of its own. ``unit_effects="cluster"`` lets the units of one
    cluster share one effect. Averages weigh cells by the panel's weights.

    Event times before that are coefficients of a regression of untreated cells alone, so that a test of them doesn't
    disturb the effects (the paper, section 4.4): the ``leads`` last ones (all that can be told apart, by default)
    against the earlier ones.

    Errors allow effects to differ by cohort and period (the paper, theorem 3), so they are
    conservative; a cohort of one unit has its own spread hidden, so use the jackknife or permutation there.

    Raises DesignError where nobody is treated in the data, nothing lies before treatment, nobody is left to compare
    with, or the outcome never varies.
    """
    return ImputationFit(panel, anticipation, unit_effects, leads, two_stage=False, contrast=contrast)


def fit_two_stage(
    panel: Panel, *, anticipation: int = 0, unit_effects: Level = "unit", contrast: str = ""
) -> ImputationFit:
    """Two-stage difference in differences (Gardner 2021): the averages of ``fit_imputation``, other errors.

    Event times before treatment are means of the first stage's residuals, the last one left out as the base. Errors
    are those of a method of moments that counts both stages, with the term's own mean as the centre.

    Raises DesignError as ``fit_imputation``.
    """
    return ImputationFit(
        panel, anticipation, unit_effects, None, two_stage=True, contrast=contrast, estimator="two_stage"
    )
