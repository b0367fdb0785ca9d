"""What could be wrong with the headline effects: computed once for a run, kept as plain content."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sendap.cells import Cells
from sendap.errors import DesignError
from sendap.estimators import fit_group_time, fit_two_way
from sendap.probe.decomposition import negative_weights
from sendap.probe.power import trend_power
from sendap.probe.robustness import leave_one_out, placebo_dates
from sendap.probe.sensitivity import sensitivity
from sendap.protocol import Protocol

Content = dict[str, Any]


def probe_all(cells: Cells, protocol: Protocol) -> dict[str, Content]:
    """By outcome: robust sets and breakdown, power of the trend test, influence of areas, placebo starts, weights.

    Each part is there, or holds the ``reason`` why it can't be.
    """
    return {outcome.id: _probe(cells.only(outcome.id), protocol, outcome.id) for outcome in protocol.outcomes}


def _probe(cells: Cells, protocol: Protocol, outcome: str) -> Content:
    anticipation = int(cells.metadata["anticipation"][outcome])  # type: ignore[index]
    panel = cells.panel(weights=protocol.weights, within=protocol.comparison.within)
    names = {} if cells.clusters is None else dict(zip(cells.clusters["cluster"], cells.clusters["name"], strict=True))
    try:
        fit = fit_group_time(panel, control=protocol.comparison.control, anticipation=anticipation)
    except DesignError as error:
        return {"reason": str(error)}

    def robust() -> Content:
        found = sensitivity(fit, anticipation=anticipation, target="overall")
        return {
            "sentence": found.sentence(),
            "breakdown_relative": plain(found.breakdown_relative),
            "breakdown_smooth": plain(found.breakdown_smooth),
            "largest_step": plain(found.largest_step),
            "sets": [{key: plain(value) for key, value in row.items()} for row in found.frame().to_dict("records")],
        }

    def power() -> Content:
        found = trend_power(fit, anticipation=anticipation, target="overall")
        return {"slope_50": found.slope_50, "slope_80": found.slope_80, "sentence": found.sentence()}

    def influence() -> Content:
        found = leave_one_out(fit)
        return {"low": plain(found.low), "high": plain(found.high), "sentence": found.sentence(names)}

    def placebo() -> Content:
        fitter = partial(fit_group_time, control=protocol.comparison.control)
        found = placebo_dates(panel, anticipation=anticipation, fitter=fitter).frame
        columns = ("event_time", "estimate", "ci_low", "ci_high", "status", "note")
        return {"rows": [{key: plain(row[key]) for key in columns} for row in found.to_dict("records")]}

    def weights() -> Content:
        found = negative_weights(fit_two_way(panel, anticipation=anticipation))
        return {"cells": int(found.cells), "negative": int(found.negative_cells), "sum": plain(found.negative_sum)}

    parts = {"robust": robust, "power": power, "influence": influence, "placebo": placebo, "weights": weights}
    return {name: _attempt(part) for name, part in parts.items()}


def _attempt(part: Callable[[], Content]) -> Content:
    try:
        return part()
    except DesignError as error:
        return {"reason": str(error)}


def plain(value: Any) -> Any:
    """A value that JSON holds: a missing number as None, an infinite one in a word."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    number = float(value)
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else "infinite"
