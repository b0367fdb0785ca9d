"""Words on a headline that compares areas with the same figures in the last periods before the start."""

from __future__ import annotations

from sendap.numerals import show
from sendap.probe import TrendCheck
from sendap.protocol import Outcome
from sendap.report import probe_words as words
from sendap.report.context import Evaluated


def assumption_words(where: str, shared: str, plain: str) -> str:
    """What is assumed in place of parallel trends. ``shared`` and ``plain`` are what is known of the areas."""
    return (
        f"Not assumed. Assumed instead, {where}: areas with the same figures in the last two periods before would have "
        "had the same since, whatever they were chosen for. That allows for figures that drift back after an unusual "
        f"year, which parallel trends don't. {shared} which makes it plausible. It fails if something else decided who "
        f"was chosen and moved the figures later: {plain} The difference in differences beside it assumes parallel "
        "trends."
    )


def earlier_words(evaluated: Evaluated, outcome: Outcome, trend: TrendCheck) -> str:
    """The test of the years before those that are alike by design, for the checklist."""
    return (
        f"Joint test of {trend.periods} earlier period{'' if trend.periods == 1 else 's'}, for areas with the same "
        f"figures in the last two: p = {trend.p_value:.2f}, largest difference "
        f"{words.size(evaluated, outcome, trend.largest)}. No area was dropped to make it pass."
    )


def trend_sentence(evaluated: Evaluated, outcome: Outcome, trend: TrendCheck) -> str:
    """Whether areas with the same recent figures were alike in the years before those."""
    unit = evaluated.headline(outcome)["unit"]
    size = f"{show(trend.largest, 2 if trend.largest < 1 else 1)} {'percentage points' if unit == 'per cent' else unit}"
    tested = f"{trend.periods} earlier year{'' if trend.periods == 1 else 's'}"
    if trend.differs:
        return (
            f"Areas with the same figures in the last two years before the start weren't alike in earlier ones (joint "
            f"test of {tested}, p = {trend.p_value:.3f}; difference of up to {size}). No effect can be claimed."
        )
    return (
        f"Areas are compared that had the same figures in the last two years before the start. The joint test of "
        f"{tested} doesn't show that they differed then (p = {trend.p_value:.2f}), though the difference was up to "
        f"{size}. With so few areas only large differences would have been found."
    )


def overlap_words(evaluated: Evaluated) -> str:
    """Whether comparison areas reach as far as the treated ones in the figures before the start."""
    primary = evaluated.protocol.primary.id
    frame = evaluated.cells.only(primary).frame
    ahead = int(evaluated.cells.metadata["anticipation"][primary])  # type: ignore[index]
    first = frame["cohort"].min() - ahead
    known = frame[(frame["n_observed"] > 0) & (frame["period"] < first)]
    last = known.sort_values("period").groupby("cluster").tail(2)
    mean = (last["sum"] / last["weight"]).groupby(last["cluster"]).mean()
    started = frame.drop_duplicates("cluster").set_index("cluster")["cohort"].reindex(mean.index)
    others = mean[started.isna()]
    if others.empty:
        return "A regression on the past, so no propensity and no trimming."
    outside = int(((mean[started.notna()] < others.min()) | (mean[started.notna()] > others.max())).sum())
    return (
        f"A regression on the past, so no propensity and no trimming. {outside or 'None'} of "
        f"{int(started.notna().sum())} treated areas {'lies' if outside == 1 else 'lie'} outside the range of the "
        "comparison areas in the last two periods before, and would rest on the regression alone."
    )
