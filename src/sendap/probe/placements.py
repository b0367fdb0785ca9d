"""What a pilot could find, by simulation: place it at random dates and areas of real data in which there was none.

The minimum detectable effect by formula supposes normal errors and known degrees of freedom, which is optimistic with
few treated areas. Here the areas' own history gives the distribution of the estimate with no effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.group_time import Fitter
from sendap.probe.power import ALPHA, minimum_detectable_effect

CHUNK = 250
CURVE = 41


@dataclass(frozen=True)
class SimulatedPower:
    """What a pilot of ``treated`` areas, followed for ``after`` periods, could find among ``controls`` others.

    ``effect`` is found with the power asked for by a permutation test, in outcome units; ``formula`` is what the
    formula gives for the same standard error. ``spread`` is the standard deviation of the estimate with no effect over
    ``placements`` at the dates ``starts``. ``curve`` has ``effect`` and ``power``, the mean over dates and both signs.
    """

    treated: int
    controls: int
    after: int
    effect: float
    formula: float
    spread: float
    starts: tuple[int, ...]
    placements: int
    curve: pd.DataFrame

    def sentence(self, unit: str = "") -> str:
        """The smallest effect that would probably be found."""
        followed = f"{self.treated} area{'s' if self.treated > 1 else ''} followed for {self.after}"
        size = f"{self.effect:.3g} {unit}".rstrip()
        return (
            f"{followed} period{'s' if self.after > 1 else ''} would probably find an effect of {size}, and probably "
            "miss a smaller one."
        )


def simulated_power(
    panel: Panel,
    *,
    treated: int,
    after: int,
    before: int | None = None,
    anticipation: int = 0,
    draws: int = 1999,
    alpha: float = ALPHA,
    power: float = 0.8,
    seed: int = 20230902,
    fitter: Fitter = fit_group_time,
    past: int = 1,
) -> SimulatedPower:
    """The minimum detectable effect of a pilot placed at random dates and areas of data in which there was none.

    Only periods before any real start count (drop others with ``before``, the first period to leave out, where the
    anticipation of a real programme reaches further). At each date with a period before it and ``after`` from it on,
    the pilot is dealt to ``treated`` random areas ``draws`` times, and the overall group-time effect estimated on that
    date's own window. Its two-sided ``alpha`` critical value is that of the permutation test; the power against an
    effect is the share of placements that would pass it. ``fitter`` is the headline estimator, and ``past`` how many
    periods it needs before a start.

    Raises UsageError for numbers out of their range; DesignError where no date fits or too few areas are there.
    """
    if treated < 1 or after < 1 or draws < 99 or not (0 < alpha < 1 and alpha < power < 1):
        raise UsageError("treated and after must be 1 or more, draws 99 or more, and alpha lie between 0 and power.")
    first = float(np.min(panel.cohort) - anticipation if before is None else before)
    clean, positions = _dates(panel, treated, after, first, past + anticipation)
    count = len(clean.clusters)
    generator = np.random.default_rng(seed)
    found = [_placebo_estimates(clean, at, treated, after, anticipation, draws, generator, fitter) for at in positions]
    centred = [estimates - estimates.mean() for estimates in found]
    spread = float(np.sqrt(np.mean([each.var() for each in centred])))
    critical = [float(np.quantile(np.abs(each), 1 - alpha, method="higher")) for each in centred]

    def power_at(effect: float) -> float:
        shares = [
            np.mean(np.abs(each + sign * effect) > limit)
            for each, limit in zip(centred, critical, strict=True)
            for sign in (1, -1)
        ]
        return float(np.mean(shares))

    formula = minimum_detectable_effect(spread, dof=count - 2, alpha=alpha, power=power)
    effect = _first_found(power_at, power, formula)
    sizes = np.linspace(0, 2 * effect, CURVE)
    return SimulatedPower(
        treated=treated,
        controls=count - treated,
        after=after,
        effect=effect,
        formula=formula,
        spread=spread,
        starts=tuple(int(clean.periods[at]) for at in positions),
        placements=sum(map(len, found)),
        curve=pd.DataFrame({"effect": sizes, "power": [power_at(size) for size in sizes]}),
    )


def _dates(panel: Panel, treated: int, after: int, first: float, needed: int) -> tuple[Panel, list[int]]:
    """The periods before ``first``, and the positions in them at which a pilot could start, ``needed`` before it."""
    clean = panel.select([period for period in panel.periods if period < first])
    positions = list(range(needed, len(clean.periods) - after + 1))
    if not positions:
        raise DesignError(
            f"'{panel.outcome}' has {len(clean.periods)} periods without a programme, too few for "
            f"{'one' if needed == 1 else needed} before a start and {after} from it on."
        )
    if len(clean.clusters) < treated + 2:
        raise DesignError(f"'{panel.outcome}' has {len(clean.clusters)} areas, too few to treat {treated} and compare.")
    return clean, positions


def _first_found(power_at, power: float, scale: float) -> float:  # type: ignore[no-untyped-def]
    """The smallest effect found with this power, by doubling and halving."""
    low, high = 0.0, scale
    while power_at(high) < power:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high


def _placebo_estimates(
    panel: Panel,
    at: int,
    treated: int,
    after: int,
    anticipation: int,
    draws: int,
    generator: np.random.Generator,
    fitter: Fitter,
) -> np.ndarray:
    """The overall effect of a programme that never was, for each of R placements at one date."""
    window = panel.select(panel.periods[: at + after])
    start = float(panel.periods[at])
    clusters = len(window.clusters)
    dealt = np.full((draws, clusters), np.inf)
    chosen = generator.random((draws, clusters)).argpartition(treated, axis=1)[:, :treated]
    np.put_along_axis(dealt, chosen, start, axis=1)
    # The fit needs some allocation to know its terms; which one it is changes nothing.
    cohort = dealt[0][window.cluster]
    fit = fitter(replace(window, cohort=cohort), anticipation=anticipation)
    term = np.flatnonzero((fit.terms["term"] == "overall").to_numpy())
    with np.errstate(divide="ignore", invalid="ignore"):
        # A placement whose areas all lack a figure has no estimate, and is left out below.
        parts = [fit.permute(dealt[row : row + CHUNK], term).outcome[:, 0] for row in range(0, draws, CHUNK)]
    estimates = np.concatenate(parts)
    return estimates[np.isfinite(estimates)]
