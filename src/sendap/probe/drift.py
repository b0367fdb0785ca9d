"""The change told with the trend that preceded it: would a straight line through the years before explain it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from sendap.errors import DesignError
from sendap.estimators.fit import Fit
from sendap.probe.robust_sets import EventPath
from sendap.probe.sensitivity import Target, event_path, target_weights

FEWEST_POINTS = 3
"""Points, the base among them, that a line is drawn through: with two it would be exact, and show nothing."""


@dataclass(frozen=True)
class Drift:
    """A line through the differences before the start, drawn on.

    ``slope`` per period and ``level`` at event time zero, through the coefficients before the base and the base
    itself; ``expected`` is what it makes of the target, ``rest`` the estimate less that with its 95% interval
    ``rest_low`` to ``rest_high``, which allows for the uncertainty of the line. ``largest`` is the largest difference
    before the start.
    """

    slope: float
    level: float
    expected: float
    estimate: float
    rest: float
    rest_low: float
    rest_high: float
    largest: float
    points: int


def straight_drift(
    fit: Fit | EventPath, *, anticipation: int = 0, target: Target = "overall", level: float = 0.95
) -> Drift:
    """Draw a least-squares line through the periods up to the base, and take it out of the target.

    The estimate less the line is a linear combination of the coefficients, so its interval is that of their covariance
    (normal, as for the robust sets, which bound a drift that bends).

    Raises DesignError as ``event_path`` does, and with fewer than three points before the start.
    """
    path = fit if isinstance(fit, EventPath) else event_path(fit, anticipation=anticipation)
    weights = target_weights(path, target)
    times = np.array([*path.times[path.before], path.base])
    if len(times) < FEWEST_POINTS:
        raise DesignError(f"There are {len(times)} periods before the start, too few to draw a line through.")
    design = np.column_stack([np.ones(len(times)), times])
    line = np.linalg.pinv(design)[:, :-1]  # the base is zero, so it counts as a point but adds nothing
    drawn = line @ path.estimate[path.before]
    after = path.after
    reach = np.array([weights[after].sum(), weights[after] @ path.times[after]])
    combined = weights.copy()
    combined[path.before] -= reach @ line
    rest, error = path.value(combined)
    half = float(norm.ppf(0.5 + level / 2)) * error
    estimate, _ = path.value(weights)
    return Drift(
        slope=float(drawn[1]),
        level=float(drawn[0]),
        expected=float(reach @ drawn),
        estimate=estimate,
        rest=rest,
        rest_low=rest - half,
        rest_high=rest + half,
        largest=float(np.abs(path.estimate[path.before]).max()),
        points=len(times),
    )
