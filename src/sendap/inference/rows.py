"""Rows of results by method: cluster-robust t tests, and the tests for few treated clusters.

A maker takes what was asked, its method and the positions of terms, and returns one row a term. A second method that
can't be applied gives a row that says why, without an interval; so does a headline method, marked as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from sendap.errors import DesignError
from sendap.estimators.fit import Fit
from sendap.inference.cluster_robust import crv1_variance, crv2, crv3_variance, satterthwaite_dof
from sendap.inference.few_treated import (
    FewTreatedResult,
    conley_taber,
    ferman_pinto,
    mean_sizes,
    rearrangement,
)
from sendap.inference.selector import Choice

ONE_SIDED = 0.95
ENOUGH_CONTROLS = 40
"""Untreated clusters from which on tests with their series keep their level with several treated ones."""


@dataclass(frozen=True)
class Asked:
    """A fit with what is asked of it. ``base``: what a term's rows share; ``choices``: the methods of each term."""

    fit: Fit
    base: Mapping[int, dict[str, Any]]
    choices: Mapping[int, Choice]
    effective: np.ndarray
    level: float
    draws: int
    seed: int
    regions: np.ndarray | None

    @cached_property
    def left_out(self) -> np.ndarray:
        """Estimates without each cluster, G by K."""
        return self.fit.leave_one_out()

    @property
    def levels(self) -> tuple[float, float]:
        """The level asked for, and that whose ends are one-sided bounds."""
        return self.level, 2 * ONE_SIDED - 1

    def errors(self, method: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Standard errors of all terms, and their degrees of freedom where these come with them."""
        if method == "crv1":
            return np.sqrt(crv1_variance(self.fit)), np.full(len(self.effective), len(self.fit.panel.clusters) - 1.0)
        if method == "crv2":
            variance, dof = crv2(self.fit)  # type: ignore[arg-type]
            return np.sqrt(variance), dof
        return np.sqrt(crv3_variance(self.left_out, self.fit.estimate)), None

    def row(self, position: int, method: str, **values: Any) -> dict[str, Any]:
        """One row of a term; ``note`` is added to the term's own."""
        base = self.base[position]
        note = f"{base['note']} {values.pop('note', '')}".strip()
        return {
            **base,
            "inference": method,
            "effective_clusters": self.effective[position],
            "headline": method == self.choices[position].headline,
            "ci_level": self.level,
            **values,
            "note": note,
        }


def unavailable(asked: Asked, position: int, method: str, reason: str) -> dict[str, Any]:
    """A row without an interval, with the reason."""
    headline = asked.choices[position].headline in (method, "none")
    note = f"No interval: {reason.rstrip('.')}."
    row = asked.row(position, "none" if headline else method, status="not_estimable", headline=headline, note=note)
    return {key: value for key, value in row.items() if key not in ("effective_clusters", "ci_level")}


def ends(intervals: tuple[tuple[float, float], ...]) -> dict[str, float]:
    """Interval and one-sided bounds, from intervals at the two levels of ``Asked.levels``."""
    (low, high), (one_low, one_high) = intervals
    return {"ci_low": low, "ci_high": high, "one_sided_low": one_low, "one_sided_high": one_high}


def from_error(estimate: float, error: float, dof: float, level: float) -> dict[str, Any]:
    """Standard error, degrees of freedom, p-value, interval and one-sided bounds by Student's t."""
    reach = [stats.t.ppf(chance, dof) * error for chance in (0.5 + level / 2, ONE_SIDED)]
    p_value = float(2 * stats.t.sf(abs(estimate) / error, dof)) if error > 0 else np.nan
    both = tuple((estimate - each, estimate + each) for each in reach)
    return {"std_error": error, "dof": dof, "p_value": p_value, "ci_level": level, **ends(both)}


def cluster_robust_rows(asked: Asked, method: str, positions: list[int]) -> list[dict[str, Any]]:
    """CRV1 with G - 1 degrees of freedom, CRV2 and CRV3 with Satterthwaite's."""
    errors, known = asked.errors(method)
    rows = []
    for at in positions:
        dof = satterthwaite_dof(asked.fit, at) if known is None else float(known[at])
        lost = int((~np.isfinite(asked.left_out[:, at])).sum()) if method == "crv3" else 0
        note = f"{lost} cluster(s) can't be left out of the jackknife." if lost else ""
        values = from_error(asked.base[at]["estimate"], float(errors[at]), dof, asked.level)
        rows.append(asked.row(at, method, **values, note=note))
    return rows


def placebo_rows(asked: Asked, method: str, positions: list[int]) -> list[dict[str, Any]]:
    """The tests of Conley and Taber and of Ferman and Pinto."""
    options: dict[str, Any] = {"draws": asked.draws, "seed": asked.seed, "levels": asked.levels}
    rows = []
    for at in positions:
        note = ""
        try:
            if method == "ferman_pinto":
                found, note = _by_size(asked.fit, at, options)
            else:
                found = conley_taber(asked.fit, at, **options)
        except DesignError as error:
            rows.append(unavailable(asked, at, method, str(error)))
            continue
        treated = int(asked.base[at]["treated_clusters"])
        if treated > 1 and found.controls < ENOUGH_CONTROLS:
            note = f"{note} With {found.controls} untreated clusters this test rejects somewhat too often.".strip()
        if found.left_out:
            note = f"{note} {found.left_out} untreated cluster(s) lack a figure and give no errors.".strip()
        values = {"p_value": found.p_value, "draws": found.draws, **ends(found.intervals)}
        rows.append(asked.row(at, method, **values, note=note))
    return rows


def _by_size(fit: Fit, term: int, options: dict[str, Any]) -> tuple[FewTreatedResult, str]:
    """Ferman and Pinto's test where cluster sizes are known and differ, else Conley and Taber's, and a note."""
    sizes = mean_sizes(fit.panel)
    used = np.unique(fit.panel.cluster[(np.abs(fit.weights()[term]) > 0).any(axis=1)])
    if not (sizes[used] > 0).all():
        return conley_taber(fit, term, **options), "Sizes aren't known, so this is Conley and Taber's test."
    if np.ptp(sizes[used]) <= 1e-9 * sizes[used].max():
        return conley_taber(
            fit, term, **options
        ), "All clusters have the same size, so this is Conley and Taber's test."
    return ferman_pinto(fit, term, **options), ""


def rearrangement_rows(asked: Asked, method: str, positions: list[int]) -> list[dict[str, Any]]:
    """Hagemann's test for one treated cluster."""
    rows = []
    for at in positions:
        try:
            found = rearrangement(asked.fit, at, levels=asked.levels)
        except DesignError as error:
            rows.append(unavailable(asked, at, method, str(error)))
            continue
        note = f"Holds if the treated cluster varies at most {found.ratio:g} times as much as the untreated ones."
        if found.largest_ratio > 0:
            note += f" No effect is rejected up to {found.largest_ratio:.2g} times."
        rows.append(asked.row(at, method, p_value=found.p_value, **ends(found.intervals), note=note))
    return rows
