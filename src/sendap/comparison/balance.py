"""How alike treated and comparison areas are, before and after a comparison group was chosen.

Sources: Stuart (2010), doi:10.1214/09-STS313, and Austin (2009), doi:10.1002/sim.3697, for standardised differences
and variance ratios; Kish (1965), Survey Sampling, 11.7, for the effective number; Crump, Hotz, Imbens and Mitnik
(2009), doi:10.1093/biomet/asn055, for trimming at 0.1 and 0.9. The bounds 0.1 and 0.25 are those of the standard.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

from sendap.comparison.group import ComparisonGroup
from sendap.comparison.profiles import Profiles
from sendap.errors import DesignError, UsageError

GOOD, FAIL = 0.1, 0.25
CRUMP = (0.1, 0.9)
Scale = Literal["pooled", "treated"]
Judgement = Literal["good", "fair", "fail"]


@dataclass(frozen=True)
class Balance:
    """``table`` has one row a measure: ``measure, treated`` (mean), ``before, after`` (means of the comparison areas,
    each counted alike and as weighted), ``difference_before, difference_after`` (standardised: treated less comparison
    over ``scale``), ``ratio_before, ratio_after`` (variance of treated over comparison) and ``judgement``.

    ``effective_controls`` is Kish's number, ``largest_share`` the largest share that one comparison area has.
    """

    table: pd.DataFrame
    scale: Scale
    treated: int
    controls: int
    effective_controls: float
    largest_share: float

    @property
    def worst(self) -> Judgement:
        """The judgement on the measure that is balanced worst."""
        order = ("fail", "fair", "good")
        return min(self.table["judgement"], key=order.index)


def judge(difference: float) -> Judgement:
    """Under 0.1 standard deviations is good, over 0.25 fails (standard of evaluation, section 1)."""
    size = abs(difference)
    return "good" if size < GOOD else "fail" if not size <= FAIL else "fair"


def _moments(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and variance of each column; the variance is the sample variance where weights are equal."""
    share = weight / weight.sum()
    mean = share @ values
    free = 1.0 - (share**2).sum()
    variance = share @ (values - mean) ** 2 / free if free > 1e-12 else np.full(values.shape[1], np.nan)
    return mean, variance


def balance(group: ComparisonGroup, *, scale: Scale = "pooled") -> Balance:
    """Means, standardised differences and variance ratios before and after weighting.

    ``scale``: the standard deviation that differences are divided by, from the areas before weighting and the same
    before and after: "pooled" is the root of the mean of the two sides' variances, "treated" that of the treated.
    "Before" is all areas that could be chosen; "after" the treated areas that are kept, and the weighted others.

    Raises DesignError where that deviation isn't known, as with one treated area and scale="treated".
    """
    if scale not in ("pooled", "treated"):
        raise UsageError(f"scale must be 'pooled' or 'treated', not '{scale}'.")
    found = group.profiles
    weight = np.array([group.weights.get(each, 0.0) for each in found.clusters]) * found.base
    sides = {
        name: _moments(found.values[mark], given[mark])
        for name, mark, given in (
            ("all treated", found.treated, found.base),
            ("all others", ~found.treated, found.base),
            ("treated", found.treated, weight),
            ("others", ~found.treated, weight),
        )
    }
    variance = [sides["all treated"][1], sides["all others"][1]]
    known = variance[:1] if scale == "treated" else [each for each in variance if np.isfinite(each).all()]
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(np.mean(known, axis=0))
        if not known or not np.isfinite(deviation).all():
            raise DesignError(f"'{found.outcome}' has too few areas for a standard deviation. Use scale='pooled'.")
        before = (sides["all treated"][0] - sides["all others"][0]) / deviation
        after = (sides["treated"][0] - sides["others"][0]) / deviation
        table = pd.DataFrame(
            {
                "measure": found.names,
                "treated": sides["treated"][0],
                "before": sides["all others"][0],
                "after": sides["others"][0],
                "difference_before": before,
                "difference_after": after,
                "ratio_before": sides["all treated"][1] / sides["all others"][1],
                "ratio_after": sides["treated"][1] / sides["others"][1],
                "judgement": [judge(value) for value in after],
            }
        )
    return Balance(
        table=table,
        scale=scale,
        treated=len(group.treated),
        controls=len(group.controls),
        effective_controls=group.effective_controls,
        largest_share=float(group.shares.max()),
    )


@dataclass(frozen=True)
class Overlap:
    """How likely areas were to be treated, given what they were like before, by logistic regression.

    ``propensity`` by cluster; ``treated_range`` and ``control_range`` their lowest and highest; ``outside`` the treated
    areas beyond the highest or lowest of the untreated. ``separated``: the measures tell the two sides apart
    completely, so there is no propensity (NaN) and no overlap.
    """

    propensity: pd.Series
    treated_range: tuple[float, float]
    control_range: tuple[float, float]
    outside: tuple[str, ...]
    share_outside: float
    separated: bool


def overlap(profiles: Profiles) -> Overlap:
    """The propensity of each area (logistic regression of treatment on the measures, standardised)."""
    size = profiles.values.std(axis=0)
    design = sm.add_constant((profiles.values - profiles.values.mean(axis=0)) / np.where(size > 0, size, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerfectSeparationWarning)
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        try:
            fit = sm.GLM(profiles.treated.astype(float), design, family=sm.families.Binomial()).fit(maxiter=200)
            likely = np.asarray(fit.fittedvalues)
            separated = not fit.converged or bool(((likely > 0.5) == profiles.treated).all())
        except (PerfectSeparationError, PerfectSeparationWarning):
            separated = True
    if separated:
        likely = np.full(len(profiles.clusters), np.nan)
    treated, others = likely[profiles.treated], likely[~profiles.treated]
    names = profiles.clusters[profiles.treated]
    beyond = np.ones(len(treated), dtype=bool) if separated else (treated > others.max()) | (treated < others.min())
    return Overlap(
        propensity=pd.Series(likely, index=pd.Index(profiles.clusters, name="cluster"), name="propensity"),
        treated_range=(float(treated.min()), float(treated.max())),
        control_range=(float(others.min()), float(others.max())),
        outside=tuple(sorted(names[beyond])),
        share_outside=float(beyond.mean()),
        separated=separated,
    )


def trimmed(profiles: Profiles, *, rule: Literal["range", "crump"] = "range") -> Profiles:
    """The profiles without areas that have no counterpart, each left out with the reason.

    ``rule``: "range" leaves out treated areas beyond the range of the untreated ones' propensities; "crump" leaves out
    all areas with a propensity under 0.1 or over 0.9. The effect is then that on the areas that are kept.

    Raises DesignError where the two sides don't overlap at all.
    """
    if rule not in ("range", "crump"):
        raise UsageError(f"rule must be 'range' or 'crump', not '{rule}'.")
    found = overlap(profiles)
    if found.separated:
        raise DesignError(
            f"'{profiles.outcome}': what areas were like before tells treated and untreated apart completely, so none "
            "has a counterpart. Use fewer measures, or another comparison."
        )
    likely = found.propensity.to_numpy()
    if rule == "range":
        reason = "its propensity lies outside the range of the untreated areas"
        return profiles.only(~np.isin(profiles.clusters, found.outside), reason)
    return profiles.only(
        (likely >= CRUMP[0]) & (likely <= CRUMP[1]), f"its propensity lies outside {CRUMP[0]:g} to {CRUMP[1]:g}"
    )
