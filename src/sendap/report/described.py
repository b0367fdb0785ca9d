"""What a descriptive page is made from, and its sections: what was asked, why no effect is claimed, what is known.

A descriptive pilot has no comparison that could show an effect. Its figures say how things stood and moved, and every
sentence says that this isn't the programme's doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from sendap.catalog import Catalog
from sendap.numerals import decimals, show
from sendap.periods import period_label
from sendap.protocol import Outcome, Protocol, series_of
from sendap.report.board_page import facts, imprint_words
from sendap.report.described_figure import spread_figure
from sendap.report.figures import Figure
from sendap.report.output import Html, bullets, notice, paragraphs
from sendap.report.style import SYNTHETIC_WORDS
from sendap.report.tables import table

NOT_AN_ESTIMATE = "Not an impact estimate"


@dataclass(frozen=True)
class Described:
    """A descriptive protocol and its figures.

    ``series`` has one row an outcome and period: ``outcome, period, areas, mean, low, middle, high, spread``: over
    areas the mean, the 10th, 50th and 90th percentile and the standard deviation. ``measured`` are the outcomes in
    it, ``awaiting`` those whose data aren't there.
    """

    protocol: Protocol
    measured: Protocol
    awaiting: tuple[Outcome, ...]
    catalog: Catalog
    series: pd.DataFrame
    synthetic: bool

    def of(self, outcome: Outcome) -> pd.DataFrame:
        return self.series[self.series["outcome"] == outcome.id].reset_index(drop=True)

    def source(self, outcome: Outcome) -> str:
        if self.synthetic:
            return "synthetic data"
        dataset, _ = series_of(self.catalog, outcome)
        return f"{dataset.publisher}, {dataset.title}"


def about(described: Described) -> Html:
    """Pilot, question, reach, stage."""
    return facts(described.protocol, synthetic=described.synthetic)


def why(described: Described) -> Html:
    """Why no effect is claimed."""
    return notice(f"{NOT_AN_ESTIMATE}. {described.protocol.why_no_effect}")


def change(described: Described, outcome: Outcome) -> str:
    """How an outcome moved from the first to the last period, in one sentence that claims nothing."""
    frame = described.of(outcome)
    _, series = series_of(described.catalog, outcome)
    first, last = frame.iloc[0], frame.iloc[-1]
    places = decimals(max(abs(float(last["mean"]) - float(first["mean"])) / 4, 0.01))
    label = [period_label(int(row["period"]), series.period_kind) for row in (first, last)]
    unit = "%" if series.unit == "per cent" else f" {series.unit}"
    values = [f"{show(float(row['mean']), places)}{unit}" for row in (first, last)]
    if len(frame) == 1:
        return f"On average over {int(last['areas'])} areas, {outcome.name} was {values[1]} in {label[1]}."
    return (
        f"On average over areas, {outcome.name} was {values[0]} in {label[0]} and {values[1]} in {label[1]}. "
        "This doesn't show that the programme caused it."
    )


def spread(described: Described, outcome: Outcome) -> str:
    """How far areas lie apart, first and last."""
    frame = described.of(outcome)
    first, last = frame.iloc[0], frame.iloc[-1]
    if not np.isfinite([first["low"], last["low"]]).all():
        return ""
    places = decimals(max(float(last["high"] - last["low"]) / 10, 0.01))
    said = [f"{show(float(row['low']), places)} and {show(float(row['high']), places)}" for row in (first, last)]
    words = f"Eight in ten areas lay between {said[1]} in the last year"
    return f"{words}." if len(frame) == 1 else f"{words}, and between {said[0]} in the first."


def finding(described: Described) -> Html:
    """What the figures show, or what they'd need, in words."""
    if not described.measured.outcomes:
        return notice("No public figures describe this part of the Plan yet.", "finding")
    lead = f"{SYNTHETIC_WORDS.capitalize()}: " if described.synthetic else ""
    first = described.measured.primary
    return notice(lead + change(described, first), "finding") + paragraphs(spread(described, first))


def outcome_figure(described: Described, outcome: Outcome) -> Figure:
    """Mean and spread of areas over time."""
    _, series = series_of(described.catalog, outcome)
    return spread_figure(
        described.of(outcome),
        measure=series.label,
        unit=series.unit,
        kind=series.period_kind.value,
        source=described.source(outcome),
        name=f"{described.protocol.id.lower()}-{outcome.id}-described",
        synthetic=described.synthetic,
    )


def chart(described: Described) -> Html:
    if not described.measured.outcomes:
        return Html("")
    return outcome_figure(described, described.measured.primary).html()


def everything(described: Described) -> Html:
    """Every outcome that can be described: why it was chosen, a sentence, a figure with its table."""
    found = Html("")
    for outcome in described.measured.outcomes:
        words = [f"{outcome.why} Population: {outcome.population}.", change(described, outcome)]
        found += Html(f"<h3>{escape(outcome.heading)}</h3>") + paragraphs(*words, spread(described, outcome))
        found += outcome_figure(described, outcome).html()
    return found or paragraphs("Nothing can be described with public figures.")


def waiting(described: Described) -> Html:
    """What can't be measured yet, and what that needs."""
    return awaiting_table(described.protocol, described.awaiting, described.catalog) + bullets(
        list(described.protocol.not_yet_measured)
    )


def awaiting_table(protocol: Protocol, awaiting: tuple[Outcome, ...], catalog: Catalog) -> Html:
    """Outcomes whose data aren't there: which data, how to get them, how long it takes."""
    if not awaiting:
        return Html("")
    rows = []
    for outcome in awaiting:
        dataset, _ = series_of(catalog, outcome)
        rows.append(
            {
                "Outcome": outcome.heading,
                "Data it needs": dataset.title,
                "How to get them": dataset.route,
                "Typical wait": dataset.wait,
            }
        )
    caption = "Outcomes that these data can't measure"
    return Html(table(pd.DataFrame(rows), caption, file=f"{protocol.id.lower()}-awaiting.csv"))


def unknowns(described: Described) -> Html:
    return bullets(list(described.protocol.unknowns))


def cost(described: Described) -> Html:
    return paragraphs(described.protocol.cost)


def next_steps(described: Described) -> Html:
    return paragraphs(described.protocol.next_steps)


def disparity(described: Described) -> Html:
    return paragraphs(described.protocol.disparity.question)


def theory(described: Described) -> Html:
    return bullets(list(described.protocol.theory_of_change))


def imprint(described: Described) -> Html:
    return imprint_words(described.protocol, data_page=False)


def summary(described: Described) -> dict[str, object]:
    """What the portfolio shows of a descriptive pilot."""
    protocol = described.protocol
    measured = described.measured.outcomes
    return {
        "kind": "description",
        "pilot": protocol.id,
        "name": protocol.name,
        "group": protocol.group,
        "status": protocol.status,
        "question": protocol.question,
        "reach": protocol.reach,
        "headline": change(described, measured[0]) if measured else "No public figures describe it yet.",
        "per_hundred": "",
        "verdict": "described",
        "confidence": NOT_AN_ESTIMATE,
        "confidence_score": -1,
        "guards": [],
        "worst_guard": "",
        "synthetic": described.synthetic,
        "registered": protocol.registered,
        "primary": measured[0].heading if measured else "",
        "datasets": sorted({outcome.dataset for outcome in measured}),
        "estimate": {"estimate": None, "ci_low": None, "ci_high": None, "unit": ""},
    }
