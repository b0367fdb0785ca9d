"""The primary outcome's effect by every estimator and every comparison, side by side: one figure, one table."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import pandas as pd

from sendap.numerals import decimals, show
from sendap.protocol import series_of
from sendap.report.context import DIFFERENCES, Evaluated
from sendap.report.figures import interval_figure
from sendap.report.output import Html, paragraphs
from sendap.report.tables import ESTIMATOR_WORDS, estimate_columns, table
from sendap.results import MAIN, SINGLE

LABEL_WIDTH = 34
MEAN_OF_YEARS = (
    "The mean of the event study's years from the start on. Each year has an interval of its own, in the section on "
    "years; the mean has none."
)


def side_by_side(evaluated: Evaluated) -> Html:
    """A sentence, a forest plot and a table, the headline first. Ways that couldn't be used say why."""
    outcome = evaluated.protocol.primary
    rows = _rows(evaluated)
    known = rows[np.isfinite(rows["estimate"])]
    if known.empty:
        return paragraphs("No effect on the primary outcome could be estimated, by any way.")
    names = [ESTIMATOR_WORDS[each] for each in rows["estimator"]]
    file = f"{evaluated.protocol.id.lower()}-side-by-side"
    shown = estimate_columns(rows, {outcome.id: outcome.heading}).drop(
        columns=["Outcome", "Years before", "Years after"]
    )
    shown.insert(0, "Estimator", names)
    shown.insert(1, "Comparison", rows["contrast"].to_numpy())
    shown["Why not, or what to know"] = [_about(row) for row in rows.to_dict("records")]
    caption = f"{outcome.heading}: every estimator and comparison, side by side"
    found = paragraphs(_words(known, outcome.heading)) + Html(table(shown, caption, file=f"{file}.csv"))
    return _figure(evaluated, known) + found if np.isfinite(known["ci_low"]).any() else found


def _figure(evaluated: Evaluated, known: pd.DataFrame) -> Html:
    """Every way that has an interval, one below the other."""
    outcome, rows = evaluated.protocol.primary, known[np.isfinite(known["ci_low"])]
    names = [
        ESTIMATOR_WORDS[row.estimator] + ("" if row.contrast == MAIN else f", {row.contrast}")
        for row in rows.itertuples()
    ]
    either = bool(known["estimate"].min() < 0 < known["estimate"].max())
    return interval_figure(
        rows,
        [fill(name, LABEL_WIDTH) for name in names],
        title="The choice of method decides the sign" if either else "Every way gives the same sign",
        measure=series_of(evaluated.catalog, outcome)[1].label,
        unit=str(rows["unit"].iloc[0]),
        source=evaluated.source(outcome),
        threshold=outcome.smallest_effect,
        name=f"{evaluated.protocol.id.lower()}-side-by-side-figure",
        synthetic=evaluated.synthetic,
    ).html()


def _rows(evaluated: Evaluated) -> pd.DataFrame:
    """Headline rows of the overall effect, and the mean of the event study in its place among the estimators."""
    outcome = evaluated.protocol.primary
    rows = evaluated.rows(outcome, term="overall")
    rows = rows[rows["contrast"] != SINGLE]
    events = evaluated.rows(outcome, estimator="event_study", term="event")
    after = events[events["event_time"] >= 0]
    if "event_study" in set(rows["estimator"]) or after.empty:
        return rows.reset_index(drop=True)
    mean = after.iloc[[0]].assign(
        estimate=after["estimate"].mean(),
        ci_low=np.nan,
        ci_high=np.nan,
        inference="none for the mean",
        note=MEAN_OF_YEARS,
    )
    first = rows["estimator"].isin([evaluated.protocol.headline, DIFFERENCES, "two_way"])
    place = int((first & (rows["contrast"] == MAIN)).sum())
    return pd.concat([rows.iloc[:place], mean, rows.iloc[place:]], ignore_index=True)


def _about(row: dict[str, object]) -> str:
    """Why there is no estimate, or what the mean of years is. Notes on comparison groups stand in their own section."""
    return str(row["note"]) if row["status"] == "not_estimable" or row["estimator"] == "event_study" else "none"


def _words(known: pd.DataFrame, heading: str) -> str:
    held = known[np.isfinite(known["ci_low"])]
    low, high = known["estimate"].min(), known["estimate"].max()
    places = decimals((held["ci_high"] - held["ci_low"]).median() / 4) if len(held) else 1
    apart = int(((held["ci_low"] > 0) | (held["ci_high"] < 0)).sum())
    said = f"{apart} of {len(held)} intervals exclude no change." if apart else f"All {len(held)} intervals include it."
    return (
        f"{heading[:1].upper()}{heading[1:]}, by {len(known)} ways of estimating: from {show(low, places)} to "
        f"{show(high, places)}. No change would be 0. {said} The headline stands first; the others "
        "show how much hangs on the choice, and none replaces it."
    )
