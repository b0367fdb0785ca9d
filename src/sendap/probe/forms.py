"""Levels, logarithms or proportions: does the sign depend on the form in which trends are taken as parallel?

Parallel trends in one form rule them out in another, unless areas began at the same level. Source: Roth and Sant'Anna
(2023), doi:10.3982/ECTA19402.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from sendap.errors import DesignError
from sendap.estimators.group_time import GroupTimeFit
from sendap.inference.cluster_robust import crv3_variance
from sendap.probe.linear import FEWEST, LinearEffect, in_units, overall_term, treated_mean

FORMS = ("levels", "logs", "proportions")


@dataclass(frozen=True)
class Forms:
    """The overall effect by form, all in outcome units.

    ``frame``: ``form`` ("levels"; "logs" of each area's figure; "proportions", where means of groups would have grown
    by the same factor, as in a Poisson model), ``estimate, low, high, note``. ``low`` and ``high`` are missing with few
    clusters.
    """

    frame: pd.DataFrame

    @property
    def sign_depends(self) -> bool:
        """Whether forms point different ways."""
        return self.frame["estimate"].dropna().map(np.sign).nunique() > 1

    @property
    def clear_both_ways(self) -> bool:
        """Whether one form's interval lies above zero and another's below."""
        return bool((self.frame["low"] > 0).any() and (self.frame["high"] < 0).any())


def functional_forms(fit: GroupTimeFit, *, level: float = 0.95) -> Forms:
    """The headline design in levels, logarithms and proportions."""
    panel, linear = fit.panel, LinearEffect.of(fit)
    base = linear.on(panel.mean, level=level)
    rows: list[tuple[object, ...]] = [("levels", base.estimate, base.low, base.high, "")]
    known = panel.mean[np.isfinite(panel.mean) & (panel.weight > 0)]
    nothing = float("nan")
    if known.min() > 0:
        found = linear.on(np.log(np.where(np.isfinite(panel.mean), panel.mean, 1.0)), level=level)
        mean = treated_mean(panel)
        rows.append(("logs", *(in_units(each, mean) for each in (found.estimate, found.low, found.high)), ""))
    else:
        share = float((known <= 0).mean())
        why = f"{share:.1%} of the figures are zero or below, and have no logarithm."
        rows.append(("logs", nothing, nothing, nothing, why))
    if known.min() >= 0:
        try:
            estimate, without = ratio_effect(fit)
        except DesignError as error:
            rows.append(("proportions", nothing, nothing, nothing, str(error)))
        else:
            half = nothing
            if min(linear.treated, linear.controls) >= FEWEST:
                error_of = float(np.sqrt(crv3_variance(without[:, None], np.array([estimate]))[0]))
                half = float(t.ppf(0.5 + level / 2, base.dof)) * error_of
            rows.append(("proportions", estimate, estimate - half, estimate + half, ""))
    else:
        rows.append(("proportions", nothing, nothing, nothing, "Some figures are below zero."))
    return Forms(pd.DataFrame(rows, columns=["form", "estimate", "low", "high", "note"]))


def ratio_effect(fit: GroupTimeFit) -> tuple[float, np.ndarray]:
    """The overall effect if means would have grown by the same factor, and the same without each cluster (G).

    Each ATT(g, t) is the treated mean less its base times the growth of the comparison mean, inside each region: for
    two groups and periods what Poisson quasi-likelihood gives. Averaged as the overall effect of ``fit``. Source:
    Wooldridge (2023), doi:10.1093/ectj/utad016.

    Raises DesignError where a comparison mean is zero in a base period.
    """
    panel = fit.panel
    count = len(panel.clusters)
    overall = fit.aggregates[overall_term(fit)]
    size = panel.weight.sum(axis=1) / np.maximum((panel.weight > 0).sum(axis=1), 1)
    # Row 0 holds all clusters, row 1 + g all but cluster g.
    keep = np.vstack([np.ones(count), 1.0 - np.eye(count)])[:, panel.cluster]
    total = shares = np.zeros(count + 1)
    for index in overall.pairs:
        pair = fit.pairs[index]
        effect = _pair(fit, pair.cohort, pair.time, pair.base, keep)
        share = np.where(np.isfinite(effect), keep @ (size * (panel.cohort == pair.cohort)), 0.0)
        total = total + np.where(share > 0, effect, 0.0) * share
        shares = shares + share
    with np.errstate(invalid="ignore", divide="ignore"):
        found = total / shares
    if not np.isfinite(found[0]):
        raise DesignError(f"'{panel.outcome}': a comparison mean is zero in a base period, so nothing can be scaled.")
    return float(found[0]), found[1:]


def _pair(fit: GroupTimeFit, cohort: float, time: int, base: int, keep: np.ndarray) -> np.ndarray:
    """ATT(g, t) in proportions for each row of ``keep`` (R by U)."""
    panel = fit.panel
    seen = np.isfinite(panel.mean[:, time]) & np.isfinite(panel.mean[:, base])
    weight = np.where(seen, panel.weight[:, base], 0.0)
    if fit.control == "never":
        untreated = np.isinf(panel.cohort)
    else:
        latest = panel.periods[max(time, base)] + fit.anticipation
        untreated = (panel.cohort > latest) & (panel.cohort != cohort)
    region = np.eye(len(panel.group_names))[panel.group]

    def sums(members: np.ndarray, period: int | None) -> np.ndarray:
        values = np.ones(len(weight)) if period is None else np.nan_to_num(panel.mean[:, period])
        return keep @ (region * (weight * members * values)[:, None])

    treated = panel.cohort == cohort
    held, compared = sums(treated, None), sums(untreated, None)
    both = (held > 0) & (compared > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        growth = sums(untreated, time) / sums(untreated, base)
        gap = np.where(both, sums(treated, time) - sums(treated, base) * growth, 0.0)
        return np.asarray(gap.sum(axis=1) / np.where(both, held, 0.0).sum(axis=1))
