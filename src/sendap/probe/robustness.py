"""Does the finding hang on one area, or on the date? Leave each area out in turn, and pretend an earlier start.

Placebo groups (areas dealt the programme at random) are what permutation does; see ``sendap.inference.permutation``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.fit import Fit, treated_cohorts
from sendap.inference import infer
from sendap.results import Estimates, tidy

Fitter = Callable[[Panel], Fit]
NAMED = 3


@dataclass(frozen=True)
class Influence:
    """The estimate without each area.

    ``areas`` has one row an area that the estimate rests on, the most influential first: ``cluster``, ``treated`` (ever
    in the data), ``estimate`` without it, and ``change`` against the estimate with all. Areas without which nothing
    can be estimated come last, with both missing.
    """

    estimate: float
    areas: pd.DataFrame

    @property
    def low(self) -> float:
        return float(self.areas["estimate"].min())

    @property
    def high(self) -> float:
        return float(self.areas["estimate"].max())

    @property
    def changes_sign(self) -> tuple[str, ...]:
        """Areas without which the estimate would point the other way."""
        other = np.sign(self.areas["estimate"]) * np.sign(self.estimate) < 0
        return tuple(self.areas.loc[other, "cluster"].astype(str))

    @property
    def needed(self) -> tuple[str, ...]:
        """Areas without which nothing can be estimated."""
        return tuple(self.areas.loc[self.areas["estimate"].isna(), "cluster"].astype(str))

    def sentence(self, names: dict[str, str] | None = None) -> str:
        """The range of the estimates and the area that matters most, by its name where ``names`` holds it."""
        if self.areas["estimate"].isna().all():
            return "Without any one of its areas nothing could be estimated."
        first = str(self.areas["cluster"].iloc[0])
        called = (names or {}).get(first, first)
        told = (
            f"Leaving out one area at a time moves the estimate of {self.estimate:.3g} to between {self.low:.3g} and "
            f"{self.high:.3g}; {called} matters most."
        )
        if self.needed:
            told += f" {len(self.needed)} area(s) can't be left out, since nothing could be estimated without them."
        if self.changes_sign:
            listed = [(names or {}).get(each, each) for each in self.changes_sign]
            more = f" (or any of {len(listed) - NAMED} others)" if len(listed) > NAMED else ""
            told += f" Without {' or '.join(listed[:NAMED])}{more} it would point the other way."
        return told


def leave_one_out(fit: Fit, *, term: int | None = None) -> Influence:
    """One term (by default the overall effect) without each area that it rests on.

    Raises UsageError where the fit has no overall effect and no term is named.
    """
    if term is None:
        overall = np.flatnonzero((fit.terms["term"] == "overall").to_numpy())
        if not len(overall):
            raise UsageError(f"'{fit.estimator}' has no overall effect. Name the term to leave areas out of.")
        term = int(overall[0])
    panel = fit.panel
    estimate = float(fit.estimate[term])
    used = np.unique(panel.cluster[(np.abs(fit.weights()[term]) > 0).any(axis=1)])
    without = fit.leave_one_out()[used, term]
    areas = pd.DataFrame(
        {
            "cluster": panel.clusters[used],
            "treated": panel.cluster_cohort[used] <= panel.periods.max(),
            "estimate": without,
            "change": without - estimate,
        }
    )
    order = areas["change"].abs().sort_values(ascending=False, kind="stable", na_position="last").index
    return Influence(estimate, areas.loc[order].reset_index(drop=True))


def before_treatment(panel: Panel, *, anticipation: int = 0, earlier: int) -> Panel:
    """Only the data from before each area's start and its anticipation, with all starts ``earlier`` periods sooner.

    Periods are counted in the unit of the panel's periods. Areas that start after the last period, or never, keep all
    of their data; but periods that come after every treated area's own are dropped.

    Raises UsageError where ``earlier`` isn't above ``anticipation``; DesignError where nobody is treated.
    """
    if earlier <= anticipation:
        raise UsageError(f"A placebo start must be more than {anticipation} period(s) earlier, not {earlier}.")
    treated_cohorts(panel)
    # Starts after the data end are kept as untreated: their periods here are all before treatment.
    late = panel.cohort - anticipation > panel.periods.max()
    hidden = panel.periods[None, :] >= (panel.cohort - anticipation)[:, None]
    cohort = np.where(late, np.inf, panel.cohort - earlier)
    periods = panel.periods[(~hidden & np.isfinite(cohort)[:, None]).any(axis=0)]
    masked = replace(
        panel,
        cohort=cohort,
        mean=np.where(hidden, np.nan, panel.mean),
        weight=np.where(hidden, 0.0, panel.weight),
        n=np.where(hidden, 0.0, panel.n),
    )
    return masked.select(periods)


def placebo_dates(
    panel: Panel,
    *,
    anticipation: int = 0,
    earlier: Sequence[int] | None = None,
    fitter: Fitter = fit_group_time,
    contrast: str = "a start that never was",
    **options: Any,
) -> Estimates:
    """The overall effect had every area started some periods earlier, from data before the real start only.

    An effect where there can't be one says that areas moved apart for another reason. ``earlier`` lists the shifts, by
    default all that leave a period before; ``fitter`` makes a fit from a panel, such as ``fit_two_way`` or a
    ``functools.partial`` of ``fit_group_time``; ``options`` go to inference (``draws, seed, regions, level``). Returns
    one headline row a shift, with ``event_time`` minus the shift; a shift that can't be estimated gives a row that
    says why. Tests of different shifts share data, so they aren't independent.

    Raises UsageError for a shift within the anticipation; DesignError where nobody is treated.
    """
    shifts = _possible(panel, anticipation) if earlier is None else list(earlier)
    found = []
    for shift in shifts:
        placebo = before_treatment(panel, anticipation=anticipation, earlier=int(shift))
        try:
            fit = fitter(placebo)
            rows = infer(fit, permute=False, only=("overall",), **options).headline()
        except DesignError as error:
            rows = tidy([_refused(panel, str(error))])
        found.append(Estimates(rows.assign(contrast=contrast, event_time=-float(shift))))
    if not found:
        raise DesignError(
            f"'{panel.outcome}' has fewer than two periods before the start, so no earlier start can be tried."
        )
    return Estimates.concat(found)


def _possible(panel: Panel, anticipation: int) -> list[int]:
    """Shifts that leave some treated area a period before the placebo start and one from it on."""
    shifts = set()
    for cohort in treated_cohorts(panel):
        clean = panel.periods[panel.periods < cohort - anticipation]
        shifts |= {int(cohort - period) for period in clean[1:]}
    return sorted(shifts)


def _refused(panel: Panel, reason: str) -> dict[str, object]:
    return {
        "outcome": panel.outcome,
        "term": "overall",
        "inference": "none",
        "unit": panel.info.unit,
        "status": "not_estimable",
        "headline": True,
        "note": reason,
    }
