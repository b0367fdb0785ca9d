"""The power page: what a pilot could find, in words for those who plan it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from sendap.catalog import Catalog
from sendap.numerals import decimals, show
from sendap.periods import period_label
from sendap.probe.planned import FEW_TREATED, PlannedPower
from sendap.protocol import Outcome, Protocol, series_of
from sendap.report.output import Html, bullets, notice, paragraphs
from sendap.report.probe_figures import power_figure
from sendap.report.style import SYNTHETIC_WORDS
from sendap.report.tables import NOT_AVAILABLE, table
from sendap.verdict import amount


@dataclass(frozen=True)
class Planned:
    """What could be found in each outcome, or the reason why that can't be said."""

    protocol: Protocol
    catalog: Catalog
    found: Mapping[str, PlannedPower]
    reasons: Mapping[str, str]
    synthetic: bool

    @property
    def outcomes(self) -> list[Outcome]:
        return [each for each in self.protocol.outcomes if each.id in self.found or each.id in self.reasons]

    @property
    def first(self) -> Outcome:
        """The outcome that the page begins with: the primary, where it was planned for."""
        return self.protocol.primary if self.protocol.primary in self.outcomes else self.outcomes[0]


def _size(planned: Planned, outcome: Outcome, value: float) -> str:
    unit = planned.found[outcome.id].unit
    return amount(value, unit, decimals(value / 10))


def _smallest(outcome: Outcome) -> float | None:
    return outcome.smallest_effect or (outcome.guard.margin if outcome.guard else None)


def sentence(planned: Planned, outcome: Outcome) -> str:
    """What the pilot could find in one outcome, in a sentence or two."""
    if outcome.id in planned.reasons:
        why = planned.reasons[outcome.id].replace(f"'{outcome.id}'", outcome.heading)
        return f"{outcome.heading}: it can't be said what could be found. {why}"
    found = planned.found[outcome.id]
    row = found.designs.iloc[0]
    best = found.best(int(row["treated"]), int(row["after"]))
    periods = "1 period" if row["after"] == 1 else f"{row['after']} periods"
    text = (
        f"{outcome.heading}: {row['treated']} areas followed for {periods} could find a change of "
        f"{_size(planned, outcome, best)} or more in 8 of 10 tries."
    )
    least = _smallest(outcome)
    if least is None:
        return text
    if best <= least:
        return f"{text} That is enough for the smallest change that matters, {least:g}."
    needed = found.needed(least, after=int(row["after"]))
    more = (
        f" By the formula, {needed} of {found.areas} areas would have to take part."
        if needed is not None and needed > row["treated"]
        else " Even with half of all areas in it, the formula doesn't get there."
        if needed is None
        else ""
    )
    return f"{text} The smallest change that matters is {least:g}, so a change worth having could well be missed.{more}"


def summary(planned: Planned) -> Html:
    """The plain-English answer, the primary outcome first."""
    lead = f"{SYNTHETIC_WORDS.capitalize()}: " if planned.synthetic else ""
    first = planned.first
    others = [sentence(planned, each) for each in planned.outcomes if each.id != first.id]
    return (
        notice(lead + sentence(planned, first), "finding")
        + paragraphs("No outcome from the start of the programme on was looked at to say so.")
        + (bullets(others) if others else Html(""))
    )


def _period_words(planned: Planned, outcome: Outcome) -> str:
    found = planned.found[outcome.id]
    _, series = series_of(planned.catalog, outcome)
    return (
        f"{period_label(found.periods[0], series.period_kind)} to {period_label(found.periods[-1], series.period_kind)}"
    )


def designs(planned: Planned) -> Html:
    """Every design of every outcome: by the formula and by pretending the pilot at earlier dates."""
    rows, notes = [], []
    for outcome in planned.outcomes:
        if outcome.id not in planned.found:
            continue
        found = planned.found[outcome.id]
        for row in found.designs.to_dict("records"):
            values = [row["simulated"], row["formula"], row["ancova"]]
            shown = [show(each, decimals(each / 20)) if np.isfinite(each) else NOT_AVAILABLE for each in values]
            rows.append(
                {
                    "Outcome": outcome.heading,
                    "Unit": found.unit,
                    "Areas treated": row["treated"],
                    "Areas compared": row["controls"],
                    "Periods after": row["after"],
                    "By simulation": shown[0],
                    "By formula": shown[1],
                    "By formula, given the level before": shown[2],
                    "Smallest that matters": _smallest(outcome) or NOT_AVAILABLE,
                }
            )
            if row["note"]:
                text = row["note"].replace(f"'{outcome.id}'", outcome.heading)
                notes.append(f"{outcome.heading}, {row['after']} periods after: not simulated. {text}")
    if not rows:
        return paragraphs("No outcome has periods enough before the programme.")
    few = any(row["Areas treated"] < FEW_TREATED for row in rows)
    words = paragraphs(
        "The smallest change found in 8 of 10 tries. By simulation: the pilot is pretended at earlier dates and "
        "in random areas, with the estimator of the headline. By formula: normal errors and a difference in "
        "differences with the average of all years before (McKenzie 2012).",
        f"With fewer than {FEW_TREATED} treated areas the formula is too hopeful. Read the simulation." if few else "",
    )
    file = f"{planned.protocol.id.lower()}-power.csv"
    shown_table = Html(table(pd.DataFrame(rows), "What could be found, by design", file=file))
    return words + shown_table + (bullets(notes) if notes else Html(""))


def curves(planned: Planned) -> Html:
    """The power curve of each outcome that could be simulated, the primary first."""
    first = planned.first
    made = Html("")
    for outcome in [first, *(each for each in planned.outcomes if each.id != first.id)]:
        if outcome.id not in planned.found or planned.found[outcome.id].curve.empty:
            continue
        _, series = series_of(planned.catalog, outcome)
        row = planned.found[outcome.id].designs.iloc[0]
        best = planned.found[outcome.id].best(int(row["treated"]), int(row["after"]))
        figure = power_figure(
            planned.found[outcome.id].curve,
            title=f"A change of {_size(planned, outcome, best)} would be found in 8 of 10",
            measure=series.label,
            unit=series.unit,
            source="synthetic data" if planned.synthetic else planned.catalog.dataset(outcome.dataset).publisher,
            least=_smallest(outcome),
            name=f"{planned.protocol.id.lower()}-{outcome.id}-power",
            synthetic=planned.synthetic,
        )
        made += Html(f"<h3>{escape(outcome.heading)}</h3>") + figure.html()
    return made if made.html else paragraphs("No outcome could be simulated: too few periods before the programme.")


def inputs(planned: Planned) -> Html:
    """What the figures rest on: the periods used, and how areas vary in them."""
    rows = []
    for outcome in planned.outcomes:
        if outcome.id not in planned.found:
            continue
        found = planned.found[outcome.id]
        rows.append(
            {
                "Outcome": outcome.heading,
                "Unit": found.unit,
                "Periods used": _period_words(planned, outcome),
                "Areas": found.areas,
                "Spread of areas in a period": show(found.spread, decimals(found.spread / 20)),
                "Correlation with itself": show(found.correlation, 2),
                "Spread of changes": show(found.change_spread, decimals(found.change_spread / 20)),
            }
        )
    if not rows:
        return paragraphs("No outcome has periods enough before the programme.")
    file = f"{planned.protocol.id.lower()}-power-inputs.csv"
    return paragraphs(
        "Spreads are standard deviations, after what is common to all areas (of a region, where areas are compared "
        "inside it) is taken out."
    ) + Html(table(pd.DataFrame(rows), "How areas vary before the programme", file=file))


def power_text(planned: Planned) -> str:
    """The same for a terminal: a sentence an outcome, then the designs."""
    mark = f"{SYNTHETIC_WORDS}\n\n" if planned.synthetic else ""
    lines = [f"{planned.protocol.id}  {planned.protocol.name}", ""]
    for outcome in planned.outcomes:
        lines.append(sentence(planned, outcome))
        if outcome.id not in planned.found:
            continue
        found = planned.found[outcome.id]
        lines.append(f"  from {_period_words(planned, outcome)}, {found.areas} areas, {found.unit}")
        lines.append("  treated  compared  periods after   by simulation   by formula")
        for row in found.designs.to_dict("records"):
            shown = [
                show(each, decimals(each / 20)) if np.isfinite(each) else NOT_AVAILABLE
                for each in (row["simulated"], row["formula"])
            ]
            lines.append(
                f"  {row['treated']:>7}  {row['controls']:>8}  {row['after']:>13}  {shown[0]:>14}  {shown[1]:>11}"
            )
        lines.append("")
    lines.append("Smallest change found in 8 of 10. No outcome from the start of the programme on was looked at.")
    return mark + "\n".join(lines)
