"""The full report on effects: design, results by family, guards, trends before the start, sensitivity."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from sendap.comparison import balance, overlap
from sendap.inference import choose
from sendap.inference.selector import Choice
from sendap.numerals import decimals, show
from sendap.periods import period_label
from sendap.protocol import Outcome, series_of
from sendap.report import given_past, group_sections
from sendap.report.comparison_tables import comparison_section
from sendap.report.context import DIFFERENCES, Evaluated
from sendap.report.deviations import deviations
from sendap.report.figures import Figure, event_figure, interval_figure
from sendap.report.output import Html, bullets, paragraphs
from sendap.report.probe_words import number, places_of, span
from sendap.report.side_by_side import side_by_side
from sendap.report.tables import ESTIMATOR_WORDS, METHOD_WORDS, NOT_AVAILABLE, estimate_columns, table
from sendap.results import MAIN
from sendap.verdict import in_every_hundred

FAMILY_WORDS = {
    "primary": "The primary outcome decides the headline.",
    "secondary": "Secondary outcomes add to the picture. Their p-values, adjusted for their number, are in the annex.",
    "guard": "Guards look for harm. They aren't adjusted, because missing a harm is the costly error.",
    "exploratory": "Exploratory outcomes make no claims. Those on pupils who have SEN now compare different children "
    "before and after, if the programme changes who is identified.",
}


INSTEAD = "Its past is too short for the headline of the protocol, so this is by difference in differences."


def design(evaluated: Evaluated) -> Html:
    """Who is compared with whom, and what must be true for it."""
    protocol = evaluated.protocol
    row = evaluated.headline(protocol.primary)
    treated = int(row["treated_clusters"])
    chosen = choose(treated, int(row["clusters"]) - treated, float(row["effective_clusters"]))
    weights = {"areas": "Every area counts once, large or small.", "children": "Areas count by their children."}
    others = (
        "comparison areas of their region that had the same figures in the last two unexposed years"
        if evaluated.given_past(protocol.primary)
        else "the comparison areas"
    )
    return bullets(
        [
            f"Question: {protocol.question}",
            f"Design: {protocol.design}",
            f"How areas were chosen: {protocol.assignment}",
            f"Compared with: {protocol.comparison.rule}",
            f"Whose effect: the average over treated areas and years since the start. {weights[protocol.weights]}",
            f"What must be true: without the programme, its areas would have moved like {others}. The years before the "
            "start are shown below so that readers can judge.",
            f"Uncertainty: {chosen.sentence(_shown(evaluated, chosen))}",
            "Software: the estimators of this workbench, held in tests against independent software.",
            "The protocol was registered before outcomes were seen."
            if protocol.registered
            else "The protocol wasn't registered before outcomes were published, so it can't prove that nothing was "
            "chosen after the fact.",
        ]
    )


def _shown(evaluated: Evaluated, chosen: Choice) -> tuple[str, ...]:
    """The second methods that there are results of, in the selector's order."""
    frame, primary = evaluated.estimates, evaluated.protocol.primary
    own = (frame["outcome"] == primary.id) & (frame["estimator"] == evaluated.lead(primary))
    computed = set(frame.loc[own & (frame["term"] == "overall") & (frame["contrast"] == MAIN), "inference"])
    return tuple(name for name in chosen.second if name in computed)


def groups(evaluated: Evaluated) -> Html:
    """Effects on groups and on the gaps between them."""
    return group_sections.section(evaluated)


def compared(evaluated: Evaluated) -> Html:
    """Comparison areas of the primary outcome that were alike before the start, by each rule, with their balance."""
    primary = evaluated.protocol.primary
    found = Html("")
    for words, group in evaluated.compared().items():
        found += Html(f"<h3>{escape(words[0].upper() + words[1:])}</h3>")
        if isinstance(group, str):
            found += paragraphs(group)
            continue
        kind = series_of(evaluated.catalog, primary)[1].period_kind
        before = " and ".join(dict.fromkeys(period_label(year, kind) for year in _ends(group.profiles.before)))
        found += comparison_section(
            group,
            balance(group),
            overlap(group.profiles),
            pilot=f"{evaluated.protocol.id}-{group.rule}",
            outcome=primary.heading,
            before=before if len(group.profiles.before) < 3 else before.replace(" and ", " to "),
        )
    return found


def _ends(periods: tuple[int, ...]) -> tuple[int, ...]:
    return periods[:1] + periods[-1:]


def changes(evaluated: Evaluated) -> Html:
    """What was changed in the protocol, with the result under both."""
    return deviations(evaluated)


def breaks(evaluated: Evaluated) -> Html:
    """Breaks in the data that the years compared cross, and which outcomes they touch."""
    crossed: dict[str, list[str]] = {}
    for outcome in evaluated.outcomes:
        for name in evaluated.breaks(outcome):
            crossed.setdefault(name, []).append(outcome.heading)
    known = evaluated.catalog.breaks
    rows = [
        {"Break": known[name].what, "From": known[name].month.words, "Outcomes": "; ".join(touched)}
        for name, touched in sorted(crossed.items(), key=lambda each: known[each[0]].month)
    ]
    if not rows:
        return paragraphs("No known break in the data lies in these years.")
    return Html(table(pd.DataFrame(rows), "Breaks in the data", file=f"{evaluated.protocol.id.lower()}-breaks.csv"))


def family(evaluated: Evaluated, name: str) -> Html:
    """The results of one family: a sentence for each outcome, then the table."""
    outcomes = evaluated.of_family(name)
    if not outcomes:
        return paragraphs("The protocol names none.")
    rows = pd.DataFrame([evaluated.headline(outcome) for outcome in outcomes])
    shown = estimate_columns(rows, {outcome.id: outcome.heading for outcome in outcomes})
    sentences = []
    for outcome in outcomes:
        found = evaluated.finding(outcome)
        number = in_every_hundred(evaluated.headline(outcome), outcome.counted)
        other = "" if evaluated.lead(outcome) == evaluated.protocol.headline else INSTEAD
        sentences.append(f"{found.sentence} {number} {found.because} {other}".strip())
    caption = f"{name.capitalize()} outcomes: difference between programme and comparison areas"
    file = f"{evaluated.protocol.id.lower()}-{name}.csv"
    return paragraphs(FAMILY_WORDS[name]) + bullets(sentences) + Html(table(shown, caption, file=file))


def guards(evaluated: Evaluated) -> Html:
    """Each stated concern with its margin and verdict."""
    rows = []
    for outcome in evaluated.of_family("guard"):
        assert outcome.guard is not None
        verdict, because = evaluated.guard(outcome)
        rows.append(
            {
                "Concern": outcome.guard.concern,
                "Raised": f"{'in the Plan' if outcome.guard.basis == 'stated' else 'by the evaluators'}, "
                f"{outcome.guard.paragraph}",
                "Measure": outcome.heading,
                "Harm if it": outcome.guard.harm_if,
                "Margin": f"{outcome.guard.margin:g}",
                "Verdict": verdict,
                "Why": because,
            }
        )
    if not rows:
        return paragraphs("The protocol names no guard.")
    return Html(table(pd.DataFrame(rows), "Harms looked for", file=f"{evaluated.protocol.id.lower()}-guards.csv"))


def event(evaluated: Evaluated, outcome: Outcome | None = None) -> Figure:
    """Effects by years from the start, with the years before."""
    outcome = outcome or evaluated.protocol.primary
    _, series = series_of(evaluated.catalog, outcome)
    rows = evaluated.rows(outcome, estimator=evaluated.lead(outcome), term="event", contrast=MAIN)
    anticipation = evaluated.ahead(outcome)
    trend = evaluated.trends.get(outcome.id)
    title = "Areas moved apart before the start" if trend and trend.differs else "No clear break at the start"
    after = rows[rows["event_time"] >= 0]
    if len(after) and not (trend and trend.differs) and ((after["ci_low"] > 0) | (after["ci_high"] < 0)).any():
        title = "Areas differ after the start"
    return event_figure(
        rows,
        title=title,
        measure=series.label,
        unit=series.unit,
        source=evaluated.source(outcome),
        anticipation=anticipation,
        name=f"{evaluated.protocol.id.lower()}-{outcome.id}-years",
        synthetic=evaluated.synthetic,
        band=_band(evaluated, outcome),
        zeros=given_past.past_times(evaluated, outcome),
    )


def _band(evaluated: Evaluated, outcome: Outcome) -> pd.DataFrame:
    """The event times again, with intervals that hold for all of them at once."""
    frame = evaluated.estimates
    return frame[
        (frame["outcome"] == outcome.id)
        & (frame["estimator"] == evaluated.lead(outcome))
        & (frame["contrast"] == MAIN)
        & (frame["inference"] == "band")
    ]


def all_events(evaluated: Evaluated) -> Html:
    """Years before and after for every outcome that could be estimated."""
    found = Html("")
    for outcome in evaluated.outcomes:
        found += Html(f"<h3>{escape(outcome.heading)}</h3>")
        if evaluated.rows(outcome, estimator=evaluated.lead(outcome), term="event", contrast=MAIN).empty:
            found += paragraphs(f"Not estimated: {evaluated.headline(outcome)['note']}")
        else:
            found += event(evaluated, outcome).html() + paragraphs(trend_sentence(evaluated, outcome))
    return found


def trend_sentence(evaluated: Evaluated, outcome: Outcome) -> str:
    """What the years before the start say, and how little a pass proves."""
    trend = evaluated.trends.get(outcome.id)
    if trend is None or trend.periods == 0:
        return "There are too few years, or too few areas, before the start to test whether areas moved alike."
    unit = evaluated.headline(outcome)["unit"]
    size = f"{show(trend.largest, 2 if trend.largest < 1 else 1)} {'percentage points' if unit == 'per cent' else unit}"
    if trend.lags:
        return given_past.trend_sentence(trend, size)
    if trend.differs:
        return (
            f"Before the start areas didn't move alike (joint test of {trend.periods} years, p = {trend.p_value:.3f}; "
            f"difference of up to {size}). No effect can be claimed."
        )
    return (
        f"The joint test of {trend.periods} years before the start doesn't show that areas moved differently "
        f"(p = {trend.p_value:.2f}), though the difference was up to {size}. With so few areas only large differences "
        "would have been found."
    )


def trust(evaluated: Evaluated) -> Html:
    """How far each result can be trusted: drift it would bear, what the trend test could find, single areas."""
    rows = []
    for outcome in evaluated.outcomes:
        found = evaluated.probes.get(outcome.id, {})
        robust, power, influence = (found.get(name, {}) for name in ("robust", "power", "influence"))
        places = places_of(evaluated, outcome)
        alike = next(
            (row for row in robust.get("sets", []) if (row["restriction"], row["bound"]) == ("relative", 1.0)), {}
        )
        rows.append(
            {
                "Outcome": outcome.heading,
                "Drift it would bear": number(robust.get("breakdown_relative"), 2),
                "Interval if areas may drift as before": span(alike.get("low"), alike.get("high"), places),
                "Drift a year found half the time": number(power.get("slope_50"), places),
                "Found four times in five": number(power.get("slope_80"), places),
                "Without any one area": span(influence.get("low"), influence.get("high"), places),
            }
        )
    primary = evaluated.probes.get(evaluated.protocol.primary.id, {})
    told = [primary.get(name, {}).get("sentence", "") for name in ("robust", "power", "influence")]
    reasons = [
        reason.replace(f"'{outcome.id}'", outcome.heading)
        for outcome in evaluated.outcomes
        for reason in sorted(
            {part["reason"] for part in evaluated.probes.get(outcome.id, {}).values() if "reason" in part}
        )
    ]
    beside = " Drift is that of the difference in differences." if evaluated.protocol.headline != DIFFERENCES else ""
    words = paragraphs(
        "A drift of 1 means that, in any step after the base year, areas may part as much as in the largest step seen "
        "before it (Rambachan and Roth 2023). 0 means that the interval includes no change even without any drift."
        f"{beside}",
        *(f"Primary outcome: {text}" for text in told if text),
    )
    file = f"{evaluated.protocol.id.lower()}-trust.csv"
    shown = Html(table(pd.DataFrame(rows), "How far each result can be trusted", file=file))
    return words + shown + (bullets(reasons) if reasons else Html(""))


def placebo_starts(evaluated: Evaluated) -> Html:
    """The headline effect had the programme begun earlier, from years before it really did."""
    outcome = evaluated.protocol.primary
    found = evaluated.probes.get(outcome.id, {}).get("placebo", {})
    if "rows" not in found:
        return paragraphs(found.get("reason", "No earlier start could be tried."))
    places = places_of(evaluated, outcome)
    rows = [
        {
            "Pretended start": f"{show(-row['event_time'], 0)} years earlier",
            "Estimate": number(row["estimate"], places),
            "95% interval": span(row["ci_low"], row["ci_high"], places),
            "Excludes no change": NOT_AVAILABLE
            if row["ci_low"] is None
            else "yes"
            if row["ci_low"] > 0 or row["ci_high"] < 0
            else "no",
        }
        for row in found["rows"]
    ]
    file = f"{evaluated.protocol.id.lower()}-placebo-starts.csv"
    return paragraphs(
        "Nothing can change because of a programme before it began. An interval that excludes no change here would "
        "show that areas moved apart for another reason."
    ) + Html(table(pd.DataFrame(rows), "The headline effect at starts that never were", file=file))


def base_years(evaluated: Evaluated) -> Html:
    """The naive comparison with every possible base year, for the primary outcome."""
    outcome = evaluated.protocol.primary
    rows = evaluated.rows(outcome, estimator="two_by_two")
    if rows.empty:
        return paragraphs(
            "Starts differ between areas, so there is no single year before and after, and no such comparison."
        )
    labels = [f"Base {text.split(',')[0]}" for text in rows["periods_before"]]
    low, high = rows["estimate"].min(), rows["estimate"].max()
    places = decimals((rows["ci_high"] - rows["ci_low"]).median() / 4)
    figure = interval_figure(
        rows,
        labels,
        title="The base year decides the sign" if low < 0 < high else "The sign doesn't depend on the base year",
        measure=f"{outcome.heading}, one base year against the last year",
        unit=str(rows["unit"].iloc[0]),
        source=evaluated.source(outcome),
        threshold=outcome.smallest_effect,
        name=f"{evaluated.protocol.id.lower()}-base-years",
        synthetic=evaluated.synthetic,
    )
    words = (
        f"A plain before-and-after comparison with other areas gives anything from {show(low, places)} to "
        f"{show(high, places)}, depending on which year counts as before."
    )
    if low < 0 < high:
        words += " Whoever picks the year picks the sign, so such a comparison can't be trusted here."
    return paragraphs(words) + figure.html()


def sensitivity(evaluated: Evaluated) -> Html:
    """The overall effect under other choices: the primary outcome side by side, then every outcome."""
    frame = evaluated.estimates
    chosen = frame[frame["headline"] & (frame["term"] == "overall") & (frame["estimator"] != "two_by_two")]
    names = {outcome.id: outcome.heading for outcome in evaluated.protocol.outcomes}
    shown = estimate_columns(chosen, names)
    shown.insert(1, "Estimator", [ESTIMATOR_WORDS[name] for name in chosen["estimator"]])
    shown.insert(2, "Comparison", chosen["contrast"].to_numpy())
    words = paragraphs(
        "The headline comparison stands first for each outcome. If the others differ much from it, the result depends "
        "on a choice."
    )
    return (
        side_by_side(evaluated)
        + words
        + Html(
            table(
                shown.drop(columns=["Years before", "Years after"]),
                "Overall effects under other choices",
                file=f"{evaluated.protocol.id.lower()}-sensitivity.csv",
            )
        )
    )


def second_methods(evaluated: Evaluated) -> Html:
    """Headline effects by every valid method of inference."""
    frame = evaluated.estimates
    chosen = frame[
        frame["estimator"].isin([evaluated.protocol.headline, DIFFERENCES, "two_way"])
        & (frame["term"] == "overall")
        & (frame["contrast"] == MAIN)
    ].reset_index(drop=True)
    names = {outcome.id: outcome.heading for outcome in evaluated.protocol.outcomes}
    shown = estimate_columns(chosen, names)[["Outcome", "Unit", "Estimate", "95% interval", "Method"]]
    shown.insert(1, "Estimator", [ESTIMATOR_WORDS[name] for name in chosen["estimator"]])
    for heading, column in (("p-value", "p_value"), ("Adjusted p-value", "p_adjusted")):
        shown[heading] = [f"{value:.3f}" if np.isfinite(value) else NOT_AVAILABLE for value in chosen[column]]
    shown["Effective areas"] = [
        f"{value:.0f}" if np.isfinite(value) else NOT_AVAILABLE for value in chosen["effective_clusters"]
    ]
    shown["Method"] = [METHOD_WORDS[name] for name in chosen["inference"]]
    return paragraphs(
        "Permutation asks how unusual the result would be if the programme had been placed in other areas of the same "
        "regions. Areas weren't chosen by lot, so it is a check and not proof."
    ) + Html(table(shown, "The same effects by other methods", file=f"{evaluated.protocol.id.lower()}-methods.csv"))
