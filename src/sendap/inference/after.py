"""After the data: what an interval rules out, and what an estimate that stands out would be worth.

Power at the observed estimate says no more than its p-value does, so it isn't given. Instead: how often an estimate
with this error would be told from no change if the effect were the smallest that matters, how often such an estimate
would have the wrong sign (type S), and how many times too large it would be on average (type M).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from sendap.errors import UsageError
from sendap.numerals import decimals, show

ALPHA = 0.05


@dataclass(frozen=True)
class ErrorRates:
    """If the true effect is ``effect``: the power, the chance that a significant estimate has the wrong sign (type S),
    and how many times too large a significant estimate is on average (type M)."""

    effect: float
    power: float
    wrong_sign: float
    exaggeration: float


def error_rates(effect: float, *, std_error: float, alpha: float = ALPHA, dof: float = np.inf) -> ErrorRates:
    """Type S and type M error of an estimate that is normal, or t with ``dof`` degrees of freedom about the effect.

    Source: Gelman and Carlin (2014), doi:10.1177/1745691614551642; type M in closed form, E[T; T > c] =
    f(c) (dof + c^2) / (dof - 1), so infinite with one degree of freedom. Raises UsageError for an effect of zero or
    numbers out of their range.
    """
    if effect == 0 or not std_error > 0 or not 0 < alpha < 1 or not dof > 0:
        raise UsageError("effect must differ from 0, std_error and dof be above 0, and alpha lie between 0 and 1.")
    spread = stats.norm if np.isinf(dof) else stats.t(dof)
    shift, critical = abs(effect) / std_error, float(spread.ppf(1 - alpha / 2))
    right, wrong = spread.sf(critical - shift), spread.cdf(-critical - shift)

    def beyond(point: float) -> float:
        if np.isinf(dof):
            return float(spread.pdf(point))
        return float(spread.pdf(point) * (dof + point**2) / (dof - 1)) if dof > 1 else np.inf

    size = shift * (right - wrong) + beyond(critical - shift) + beyond(critical + shift)
    power = float(right + wrong)
    return ErrorRates(effect, power, float(wrong / power), float(size / power / shift))


@dataclass(frozen=True)
class AfterTheData:
    """What the interval ``low`` to ``high`` at ``level`` leaves out, and ``rates`` at the smallest effect that matters.

    ``std_error`` is that of the estimate, or where its method gives none, the half-width of the interval over the
    normal quantile. ``rates`` is None where there's no finite interval.
    """

    low: float
    high: float
    level: float
    smallest: float
    std_error: float
    rates: ErrorRates | None

    @property
    def rules_out_smallest(self) -> bool:
        """Whether effects of the smallest size that matters, either way, lie outside the interval."""
        return bool(-self.smallest < self.low and self.high < self.smallest)

    def ruled_out(self, unit: str = "") -> str:
        """What the interval rules out, in a sentence. ``unit`` is that of a difference, such as "percentage points"."""
        if np.isinf([self.low, self.high]).all() or np.isnan([self.low, self.high]).any():
            return "The data rule out no effect of any size."
        places = decimals((min(self.high, 1e300) - max(self.low, -1e300)) / 4)

        def said(value: float) -> str:
            return f"{show(abs(value), places)} {unit}".rstrip()

        falls = self._side(-self.high, -self.low, said, "fall")
        rises = self._side(self.low, self.high, said, "rise")
        return f"The {self.level:.0%} interval rules out {falls}, and {rises}."

    @staticmethod
    def _side(near: float, far: float, said: Any, word: str) -> str:
        if far <= 0:
            return f"any {word}"
        if np.isinf(far) and near <= 0:
            return f"no {word}, however large"
        parts = ([f"less than {said(near)}"] if near > 0 else []) + (
            [f"more than {said(far)}"] if np.isfinite(far) else []
        )
        return f"a {word} of {' or '.join(parts)}"

    def sentence(self, unit: str = "") -> str:
        """What the interval rules out, and what an estimate that stands out would be worth."""
        text = self.ruled_out(unit)
        if self.rates is None:
            return text
        rates, least = self.rates, f"{self.smallest:g} {unit}".rstrip()
        return (
            f"{text} If the true effect were {least}, the smallest that matters, a study like this one would tell it "
            f"from no change {rates.power:.0%} of the time. Its estimate would then have the wrong direction in "
            f"{rates.wrong_sign:.1%} of cases, and be {rates.exaggeration:.1f} times too large on average."
        )


def after_the_data(row: Mapping[str, Any], smallest: float) -> AfterTheData:
    """What a row of results rules out, and its type S and type M errors at ``smallest``, in the outcome's unit.

    Raises UsageError unless ``smallest`` is above zero.
    """
    if not smallest > 0:
        raise UsageError("The smallest effect that matters must be above 0.")
    low, high, level = (float(row[name]) for name in ("ci_low", "ci_high", "ci_level"))
    error, dof = float(row["std_error"]), float(row["dof"])
    if not np.isfinite(error):
        error, dof = (high - low) / 2 / float(stats.norm.ppf(0.5 + level / 2)), np.inf
    known = np.isfinite(error) and error > 0
    rates = None
    if known:
        rates = error_rates(smallest, std_error=error, dof=dof if np.isfinite(dof) else np.inf)
    return AfterTheData(low, high, level, smallest, error, rates)
