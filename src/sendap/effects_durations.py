"""Effects on time to event: duration cells in, results out, inference chosen by the number of treated clusters.

The headline is the difference in cumulative incidence at fixed horizons and in restricted mean time. Hazard ratios are
secondary.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Literal

import numpy as np

from sendap.cells.core import Weights
from sendap.cells.durations import DurationCells
from sendap.effects import _results, event_study, group_time, two_by_two, two_way
from sendap.errors import UsageError
from sendap.estimators.hazards import Link, fit_hazard
from sendap.estimators.incidence import incidence_cells, incidence_curves, targets
from sendap.results import Estimates

__all__ = ["hazard_effects", "incidence_cells", "incidence_curves", "incidence_effects"]

Estimator = Literal["group_time", "two_way", "event_study", "two_by_two"]
Exposure = Literal["decision", "calendar"]
ESTIMATORS = {"group_time": group_time, "two_way": two_way, "event_study": event_study, "two_by_two": two_by_two}
NOT_COLLAPSIBLE = (
    "Secondary: a hazard ratio isn't collapsible, and those still open differ between the sides once the programme has "
    "had an effect. Read the cumulative incidence first."
)
NOT_FOLLOWED = "Areas and periods with nobody left under observation before the horizon have no figure."


def partly_exposed(horizon: int, exposure: Exposure, period_length: int | None) -> int:
    """How many decision periods before the start were still open when the programme began.

    With ``exposure="decision"`` the programme reaches only cases decided after its start: none. With "calendar" it
    reaches every open case, so a case decided less than ``horizon`` intervals before the start is partly exposed.
    ``period_length`` is that of a decision period in intervals. Raises UsageError where it's needed and missing.
    """
    if exposure == "decision":
        return 0
    if exposure != "calendar":
        raise UsageError(f"exposure must be 'decision' or 'calendar', not '{exposure}'.")
    if period_length is None or period_length < 1:
        raise UsageError(
            "With exposure='calendar', name the length of a decision period in intervals, for example "
            "period_length=13. Cases decided within the horizon before the start are partly exposed, so they can't be "
            "the base."
        )
    return ceil(horizon / period_length)


def incidence_effects(
    durations: DurationCells,
    *,
    horizons: Sequence[int],
    causes: Sequence[str | None] | None = None,
    estimator: Estimator = "group_time",
    stratum: str | None = None,
    exposure: Exposure = "decision",
    period_length: int | None = None,
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Difference in differences in cumulative incidence and restricted mean time, by decision period.

    Parameters
    ----------
    horizons
        Intervals since the decision, for example ``[26, 52]`` weeks. Shares are taken at each (per cent, differences in
        percentage points), times at the longest (in the clock's unit, an event counted at the end of its interval).
    causes
        Types of event; None among them for any event. All by default.
    estimator
        "group_time" (default), "two_way", "event_study", or "two_by_two" with ``before`` and ``after``.
    stratum
        One effect for each value of this stratum, named in the column ``stratum``. Others are added up.
    exposure, period_length
        Whom the programme reaches: cases decided after its start ("decision"), or all open cases ("calendar"), for
        which the periods that ran into the start are left out of the base. See ``partly_exposed``.
    anticipation, weights, within, contrast, options
        As for ``sendap.group_time``. ``weights="children"`` counts areas by their cases.

    What is exact and what isn't with cases lost from sight: see ``incidence_cells``.

    Raises DesignError where the data end before a decision period can be followed to the longest horizon, and as the
    estimator does; UsageError for an unknown cause, stratum or estimator.
    """
    if estimator not in ESTIMATORS:
        raise UsageError(f"estimator must be one of {', '.join(ESTIMATORS)}, not '{estimator}'.")
    if stratum is not None:
        durations = durations.margin(keep=[stratum])
        parts = [
            incidence_effects(
                durations.filter(**{stratum: value}).margin(keep=[]),
                horizons=horizons,
                causes=causes,
                estimator=estimator,
                exposure=exposure,
                period_length=period_length,
                anticipation=anticipation,
                weights=weights,
                within=within,
                contrast=contrast,
                **options,
            ).with_columns(stratum=str(value))
            for value in sorted(durations.frame[stratum].unique())
        ]
        return Estimates.concat(parts)
    pooled = durations.margin(keep=[])
    wanted = targets(pooled, horizons, list(durations.causes) if causes is None else list(causes))
    cells = incidence_cells(pooled, horizons, causes)
    found = []
    for target in wanted:
        name = target.name(durations.clock.unit)
        given = {**options, "weights": weights, "within": within, "contrast": contrast}
        reached = anticipation + partly_exposed(target.horizon, exposure, period_length)
        if estimator != "two_by_two":
            given["anticipation"] = reached
        elif reached:
            raise UsageError(
                "two_by_two takes no anticipation: choose a period before that no exposed case reaches into, and leave "
                "exposure='decision' and anticipation=0."
            )
        result = ESTIMATORS[estimator](cells, name, **given)
        if cells.metadata["not_followed"][name]:  # type: ignore[index]
            notes = [f"{note} {NOT_FOLLOWED}".strip() for note in result.frame["note"]]
            result = result.with_columns(note=notes)
        found.append(result)
    return Estimates(Estimates.concat(found).frame, parts={"cells": cells})


def hazard_effects(
    durations: DurationCells,
    *,
    horizon: int,
    causes: Sequence[str] | None = None,
    link: Link = "cloglog",
    exposure: Exposure = "decision",
    period_length: int | None = None,
    anticipation: int = 0,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """The programme's effect on the hazard of each cause, a secondary result.

    Estimates and intervals are logarithms (of the ratio of hazards with the complementary log-log link, of odds with
    "logit"), so that no effect is zero as everywhere else; ``note`` gives the ratio with its interval. Areas have
    levels of their own, decision periods and intervals effects common to all. With staggered starts the one effect also
    compares the newly with the already treated. Other arguments as ``incidence_effects``.

    Raises UsageError for an unknown cause or link, DesignError as ``sendap.estimators.hazards.fit_hazard``.
    """
    reached = anticipation + partly_exposed(horizon, exposure, period_length)
    found, fits = [], {}
    for cause in durations.causes if causes is None else causes:
        fit = fit_hazard(durations, cause, horizon=horizon, link=link, anticipation=reached, contrast=contrast)
        found.append(_results(durations, fit, options))  # type: ignore[arg-type]
        fits[cause] = fit
    frame = Estimates.concat(found).frame
    ratios = np.exp(frame[["estimate", "ci_low", "ci_high"]].to_numpy(dtype=float))
    words = "Hazard ratio" if link == "cloglog" else "Odds ratio of the hazard"
    frame["note"] = [
        " ".join(filter(None, (_ratio(words, *ratio), NOT_COLLAPSIBLE, note)))
        for ratio, note in zip(ratios, frame["note"], strict=True)
    ]
    return Estimates(frame, parts=fits).with_columns(family="secondary")


def _ratio(words: str, estimate: float, low: float, high: float) -> str:
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{words} {estimate:.2f}."
    return f"{words} {estimate:.2f} ({low:.2f} to {high:.2f})."
