"""Words on a headline that compares areas with the same figures in the last periods before the start."""

from __future__ import annotations

from sendap.estimators.group_time_lagged import LAGS
from sendap.numerals import show
from sendap.probe import TrendCheck
from sendap.protocol import Outcome
from sendap.report import probe_words as words
from sendap.report.context import Evaluated
from sendap.results import MAIN


def assumption_words(where: str, shared: str, plain: str) -> str:
    """What is assumed in place of parallel trends. ``shared`` and ``plain`` are what is known of the areas."""
    return (
        f"Not assumed. Assumed instead, {where}: areas with the same figures in the last two unexposed periods would "
        "have had the same since, whatever they were chosen for. That allows for figures that drift back after an "
        f"unusual year, which parallel trends don't. {shared} which makes it plausible. It fails if something else "
        f"decided who was chosen and moved the figures later: {plain} The difference in differences beside it assumes "
        "parallel trends."
    )


def earlier_words(evaluated: Evaluated, outcome: Outcome, trend: TrendCheck) -> str:
    """The test of the years before those that are alike by design, for the checklist."""
    return (
        f"Joint test of {trend.periods} earlier period{'' if trend.periods == 1 else 's'}, for areas with the same "
        f"figures in the last two: p = {trend.p_value:.2f}, largest difference "
        f"{words.size(evaluated, outcome, trend.largest)}. No area was dropped to make it pass."
    )


def trend_sentence(trend: TrendCheck, size: str) -> str:
    """Whether areas with the same recent figures were alike in the years before those; ``size`` is the difference."""
    tested = f"{trend.periods} earlier year{'' if trend.periods == 1 else 's'}"
    if trend.differs:
        return (
            f"Areas with the same figures in the last two unexposed years weren't alike in earlier ones (joint "
            f"test of {tested}, p = {trend.p_value:.3f}; difference of up to {size}). No effect can be claimed."
        )
    return (
        f"Areas are compared that had the same figures in the last two unexposed years. The joint test of "
        f"{tested} doesn't show that they differed then (p = {trend.p_value:.2f}), though the difference was up to "
        f"{size}. With so few areas only large differences would have been found."
    )


def partly_exposed_words(evaluated: Evaluated) -> str:
    """Differences in the periods between the last unexposed one and the start; empty where there is none."""
    primary = evaluated.protocol.primary
    ahead = evaluated.ahead(primary)
    rows = evaluated.rows(primary, estimator=evaluated.lead(primary), term="event", contrast=MAIN)
    near = rows[(rows["event_time"] < 0) & (rows["event_time"] >= -ahead)].sort_values("event_time")
    if near.empty:
        return ""
    places = words.places_of(evaluated, primary)
    listed = ", ".join(f"{show(row.estimate, places)} at {show(row.event_time, 0)}" for row in near.itertuples())
    return f"Differences in partly exposed periods: {listed}. "


def overlap_words(evaluated: Evaluated) -> str:
    """Whether comparison areas reach as far as the treated ones in the periods in which they must be alike."""
    primary = evaluated.protocol.primary
    frame, ahead = evaluated.cells.only(primary.id).frame, evaluated.ahead(primary)
    known = frame[frame["n_observed"] > 0]
    wide = (known["sum"] / known["weight"]).groupby([known["cluster"], known["period"]]).mean().unstack()
    started = frame.drop_duplicates("cluster").set_index("cluster")["cohort"].reindex(wide.index)
    counted = outside = 0
    for cohort in sorted(started.dropna().unique()):
        past = [period for period in wide.columns if period < cohort - ahead][-LAGS:]
        own, others = wide.loc[started == cohort, past].dropna(), wide.loc[started.isna(), past].dropna()
        if len(past) == LAGS and len(others):
            counted += len(own)
            outside += int(((own < others.min()) | (own > others.max())).any(axis=1).sum())
    said = "A regression on the past, so no propensity and no trimming."
    if not counted:
        return said
    beyond = f" and rest{'s' if outside == 1 else ''} on the regression alone" if outside else ""
    return (
        f"{said} {outside or 'None'} of {counted} treated areas {'lies' if outside == 1 else 'lie'} outside the range "
        f"of all comparison areas in one of the last {LAGS} unexposed periods{beyond}."
    )


def past_times(evaluated: Evaluated, outcome: Outcome) -> list[float]:
    """Event times of the periods in which areas must be alike, of all starts: their effects are zero by design."""
    frame, ahead = evaluated.cells.only(outcome.id).frame, evaluated.ahead(outcome)
    periods = sorted(frame["period"].unique())
    lags = LAGS if evaluated.given_past(outcome) else 1
    found = {
        float(period - cohort)
        for cohort in frame["cohort"].dropna().unique()
        for period in [each for each in periods if each < cohort - ahead][-lags:]
    }
    return sorted(found)
