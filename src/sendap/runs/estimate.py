"""Every estimate that a protocol asks for, from its cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from sendap.adopters import Adopters
from sendap.catalog import Catalog
from sendap.cells import Cells
from sendap.effects import event_study, group_time, two_way
from sendap.effects_more import extended_two_way, imputation, sun_abraham
from sendap.errors import DesignError
from sendap.probe import TrendCheck, base_years, check_trends
from sendap.protocol import Outcome, Protocol
from sendap.results import ACROSS, APART, MAIN, SINGLE, SURE, WIDER, Estimates, tidy

Progress = Callable[[str], None]
_ESTIMATOR = {"base_years": "two_by_two"}


def estimate_all(
    cells: Cells, protocol: Protocol, catalog: Catalog, progress: Progress = lambda text: None
) -> tuple[Estimates, dict[str, TrendCheck]]:
    """Headline, alternatives and sensitivity for every outcome, and the check of earlier trends.

    An outcome that can't be estimated gives a row that says why; it never stops the others.
    """
    results, trends = [], {}
    for outcome in protocol.outcomes:
        progress(outcome.name)
        part, trend = _estimate_outcome(cells.only(outcome.id), protocol, outcome, catalog)
        results.append(part)
        if trend is not None:
            trends[outcome.id] = trend
    combined = Estimates.concat(results).with_columns(pilot=protocol.id, synthetic=cells.synthetic)
    return Estimates(_adjust(combined.frame)), trends


def _estimate_outcome(
    cells: Cells, protocol: Protocol, outcome: Outcome, catalog: Catalog
) -> tuple[Estimates, TrendCheck | None]:
    anticipation = int(cells.metadata["anticipation"][outcome.id])  # type: ignore[index]
    common: dict[str, Any] = {
        "weights": protocol.weights,
        "anticipation": anticipation,
        "seed": protocol.seed,
        "draws": protocol.draws,
    }
    assert protocol.comparison is not None
    within, control = protocol.comparison.within, protocol.comparison.control
    found: list[Estimates] = []
    trend: TrendCheck | None = None
    try:
        main = group_time(cells, control=control, within=within, contrast=MAIN, **common)
        trend = check_trends(main.parts["group_time"], anticipation)
        found.append(main)
    except DesignError as error:
        found.append(_not_estimable(cells, MAIN, "group_time", str(error)))
    if trend is not None:
        found += _alternatives(cells, protocol, within, common)
        found += _sensitivity(cells, protocol, catalog, common)
    labelled = Estimates.concat(found).with_columns(family=outcome.family, population=outcome.population, stratum="all")
    if outcome.family == "exploratory":
        ok = labelled.frame["status"] == "ok"
        labelled = Estimates(labelled.frame.assign(status=labelled.frame["status"].mask(ok, "exploratory")))
    return labelled, trend


def _attempt(call: Callable[..., Estimates], cells: Cells, contrast: str, **arguments: Any) -> Estimates:
    """An estimator on the cells of one outcome, or the row that says why it can't be applied."""
    try:
        return call(cells, contrast=contrast, **arguments)
    except DesignError as error:
        return _not_estimable(cells, contrast, _ESTIMATOR.get(call.__name__, call.__name__), str(error))


def _not_estimable(cells: Cells, contrast: str, estimator: str, reason: str) -> Estimates:
    (name,) = cells.outcomes
    row = {
        "outcome": name,
        "contrast": contrast,
        "estimator": estimator,
        "term": "overall",
        "inference": "none",
        "unit": cells.outcomes[name].unit,
        "status": "not_estimable",
        "headline": True,
        "note": reason,
    }
    return Estimates(tidy([row]))


def _alternatives(cells: Cells, protocol: Protocol, within: str | None, common: dict[str, Any]) -> list[Estimates]:
    overall = {"permute": False, "only": ("overall",)}
    calls = (
        (two_way, {}),
        (event_study, {}),
        (imputation, overall),
        (sun_abraham, overall),
        (extended_two_way, overall),
    )
    found = [
        _attempt(call, cells, MAIN, within=within, **{**common, **options})
        for call, options in calls
        if call.__name__ in protocol.alternatives
    ]
    if "two_by_two" in protocol.alternatives:
        frame = cells.frame
        starts = frame["cohort"].dropna()
        before = sorted(int(year) for year in frame["period"].unique() if year < starts.min() - common["anticipation"])
        after = int(frame["period"].max())
        found.append(
            _attempt(base_years, cells, SINGLE, before=before, after=after, weights=common["weights"], within=None)
        )
    return found


def _sensitivity(cells: Cells, protocol: Protocol, catalog: Catalog, common: dict[str, Any]) -> list[Estimates]:
    """The overall effect again under other choices of areas and base; only its overall term is kept."""
    assert protocol.comparison is not None
    within, control = protocol.comparison.within, protocol.comparison.control
    adopters: Any = cells.metadata["adopters"]
    unsure = Adopters.of_content(protocol.programme, adopters).unsure
    others = {
        area.la_code
        for programme in protocol.overlaps
        if programme in catalog.rollouts
        for area in catalog.rollout(programme).areas
    }
    plans: list[tuple[str, Cells, dict[str, Any]]] = [(ACROSS, cells, {"within": None})]
    if unsure:
        plans.append((SURE, cells.without_clusters(unsure), {"within": within}))
    if others:
        plans.append((APART, cells.without_clusters(others), {"within": within}))
    wider = {"within": within, "anticipation": common["anticipation"] + 1}
    plans.append((WIDER, cells, wider))
    fixed = {"control": control, "permute": False, "only": ("overall",)}
    return [
        Estimates(_attempt(group_time, subset, contrast, **{**common, **fixed, **change}).headline())
        for contrast, subset, change in plans
    ]


def _adjust(frame: pd.DataFrame) -> pd.DataFrame:
    """Holm's p-values over the secondary family, on the headline effect of each outcome."""
    headline = (
        (frame["estimator"] == "group_time")
        & (frame["term"] == "overall")
        & (frame["contrast"] == MAIN)
        & frame["headline"]
    )
    chosen = headline & (frame["family"] == "secondary") & np.isfinite(frame["p_value"])
    frame = frame.copy()
    if chosen.any():
        frame.loc[chosen, "p_adjusted"] = multipletests(frame.loc[chosen, "p_value"], method="holm")[1]
    primary = headline & (frame["family"] == "primary")
    frame.loc[primary, "p_adjusted"] = frame.loc[primary, "p_value"]
    return frame
