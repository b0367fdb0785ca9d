"""Rows with simultaneous bands: intervals for the event times of a fit that hold all at once.

Event times with enough clusters take the multiplier bootstrap of their contributions, with the standard errors and the
fewest degrees of freedom of their headline method. Those with few treated clusters take the largest of their
statistics over the allocations of the starts (Westfall and Young 1993; the form of ``permutation_test`` without
studentising), so that no band rests on a normal distribution that few clusters don't give.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sendap.errors import DesignError
from sendap.inference.bands import SimultaneousBand, simultaneous_band
from sendap.inference.cluster_robust import satterthwaite_dof
from sendap.inference.permutation import allocations, collect
from sendap.inference.rows import Asked
from sendap.inference.rows_by_draws import FEWEST_ALLOCATIONS
from sendap.inference.selector import SOME

BAND = "band"
MULTIPLIER_DRAWS = 9999


def band_rows(asked: Asked) -> list[dict[str, Any]]:
    """Rows with ``inference="band"`` for the event times, never the headline; none where there are no event times."""
    events = [at for at in asked.choices if asked.base[at]["term"] == "event"]
    methods = {at: asked.choices[at].headline for at in events}
    robust = [at for at in events if methods[at] in ("crv1", "crv2", "crv3")]
    few = [at for at in events if methods[at] == "permutation"]
    rows: list[dict[str, Any]] = []
    for chosen, make in ((robust, _multiplier_band), (few, _permutation_band)):
        band = make(asked, chosen) if chosen else None
        if band is None:
            continue
        said = f"Holds for {len(chosen)} of {len(events)} event times at once: {band.critical:.2f} standard errors"
        said += f" each way, where one alone would need {band.pointwise:.2f}."
        for position, at in enumerate(chosen):
            ends = {"ci_low": band.low[position], "ci_high": band.high[position]}
            ends |= {"p_adjusted": band.p_adjusted[position], "draws": band.draws}
            rows.append(asked.row(at, BAND, **ends, headline=False, note=said))
    return rows


def _multiplier_band(asked: Asked, chosen: list[int]) -> SimultaneousBand:
    # Terms with different methods share the more careful one.
    methods = {asked.choices[at].headline for at in chosen}
    few = any(min(_sides(asked, at)) <= SOME for at in chosen)
    method = "crv3" if few or len(methods) > 1 else methods.pop()
    errors, known = asked.errors(method)
    dof = min(satterthwaite_dof(asked.fit, at) if known is None else float(known[at]) for at in chosen)
    return simultaneous_band(
        asked.fit.estimate[chosen],
        scores=asked.fit.scores[:, chosen],
        std_error=errors[chosen],
        level=asked.level,
        dof=dof,
        draws=MULTIPLIER_DRAWS,
        seed=asked.seed,
    )


def _sides(asked: Asked, at: int) -> tuple[int, int]:
    treated, clusters = (int(asked.base[at][name]) for name in ("treated_clusters", "clusters"))
    return treated, clusters - treated


def _permutation_band(asked: Asked, chosen: list[int]) -> SimultaneousBand | None:
    """The band from the largest standardised estimate over the allocations; None where there are too few of them."""
    fit = asked.fit
    groups = fit.panel.cluster_group if asked.regions is None else asked.regions
    dealt, exact = allocations(fit.panel.cluster_cohort, groups, asked.draws, asked.seed)
    if exact and len(dealt) < FEWEST_ALLOCATIONS:
        return None
    try:
        found, _ = collect(fit, dealt, np.array(chosen))
    except DesignError:
        return None
    if np.isfinite(found.outcome).all(axis=1).sum() < FEWEST_ALLOCATIONS:
        return None
    return permutation_band(fit.estimate[chosen], found.outcome, level=asked.level, exact=exact)


def permutation_band(
    estimate: np.ndarray, permuted: np.ndarray, *, level: float = 0.95, exact: bool = False
) -> SimultaneousBand:
    """The band of K estimates from their values under R allocations (``permuted``, R by K).

    Each term's standard error is the root mean square of its permuted values, and the critical value the quantile of
    the largest ratio over the terms, counting the actual allocation among them unless ``exact`` says it's there.
    """
    values = permuted[np.isfinite(permuted).all(axis=1)]
    error = np.sqrt((values**2).mean(axis=0))
    ratios = np.abs(values / error)
    largest = np.sort(ratios.max(axis=1))
    extra = 0 if exact else 1
    total = len(largest) + extra

    def quantile(sorted_values: np.ndarray) -> float:
        needed = int(np.ceil(level * total - 1e-9))
        return float(sorted_values[needed - 1]) if needed <= len(sorted_values) else float("inf")

    critical = quantile(largest)
    above = len(largest) - np.searchsorted(largest, np.abs(estimate / error) * (1 - 1e-10), side="left")
    pointwise = max(quantile(np.sort(column)) for column in ratios.T)
    # Where the actual allocation gives the critical value itself, no effect lies on the edge of the band, so inside.
    reach = critical * error * (1 + 1e-10)
    return SimultaneousBand(
        critical, pointwise, estimate - reach, estimate + reach, (extra + above) / total, level, len(largest)
    )
