"""The headline estimator of a protocol, by name, and what leads where an outcome has too short a past for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sendap.cells import Cells
from sendap.effects import group_time, group_time_lagged
from sendap.errors import DesignError
from sendap.estimators import fit_group_time, fit_group_time_lagged
from sendap.estimators.group_time import Fitter
from sendap.estimators.group_time_lagged import LAGS
from sendap.protocol import Protocol
from sendap.results import Estimates


@dataclass(frozen=True)
class Lead:
    """A headline estimator: its ``name``, from cells to results, from a panel to a fit, and how many periods it needs
    before a start. ``instead`` says why it stands in for the protocol's, where it does."""

    name: str
    estimator: Callable[..., Estimates]
    fitter: Fitter
    past: int
    instead: str = ""


DIFFERENCES = Lead("group_time", group_time, fit_group_time, 1)
LEADS: Mapping[str, Lead] = {
    DIFFERENCES.name: DIFFERENCES,
    "group_time_lagged": Lead("group_time_lagged", group_time_lagged, fit_group_time_lagged, LAGS),
}


def lead_of(cells: Cells, protocol: Protocol, anticipation: int) -> Lead:
    """What leads for the one outcome of ``cells``: the protocol's headline estimator, or group-time differences where
    it can't be used: mostly because the outcome hasn't the past that it needs."""
    wanted = LEADS[protocol.headline]
    if wanted is DIFFERENCES:
        return wanted
    assert protocol.comparison is not None
    try:
        wanted.fitter(
            cells.panel(weights=protocol.weights, within=protocol.comparison.within),
            control=protocol.comparison.control,
            anticipation=anticipation,
        )
    except DesignError as error:
        return replace(DIFFERENCES, instead=f"By difference in differences instead: {error}")
    return wanted
