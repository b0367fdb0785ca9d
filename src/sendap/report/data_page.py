"""The data page: what was read, who was treated when, what is missing and what was set aside."""

from __future__ import annotations

import pandas as pd

from sendap.numerals import show
from sendap.periods import period_label
from sendap.places import BOUNDARY_RULE
from sendap.protocol import Outcome, series_of
from sendap.report.context import Evaluated
from sendap.report.figures import Figure, series_figure
from sendap.report.output import Html, bullets, notice, paragraphs
from sendap.report.style import SYNTHETIC_WORDS
from sendap.report.tables import table


def provenance(evaluated: Evaluated) -> Html:
    """Which pilot, which data, and whether they are real."""
    protocol = evaluated.protocol
    lines = paragraphs(f"{protocol.name}: {protocol.reach}.", protocol.question)
    if evaluated.synthetic:
        words = SYNTHETIC_WORDS[0].upper() + SYNTHETIC_WORDS[1:]
        said = f"{words}. The figures on this page are invented, so that the whole way can be tried without data."
        return notice(f"{said} {_planted(evaluated)}", "warning") + lines
    used = {series_of(evaluated.catalog, outcome)[0].id for outcome in protocol.outcomes}
    sources = [evaluated.catalog.datasets[name] for name in sorted(used)]
    return lines + bullets([f"{each.publisher}: {each.title}, {each.release}. {each.licence}." for each in sources])


def _planted(evaluated: Evaluated) -> str:
    """What is true of invented figures, so that what is found can be held against it."""
    planted = evaluated.cells.metadata.get("planted")
    if not isinstance(planted, dict) or not planted:
        return "No effect is in them."
    known = {outcome.id: outcome.name for outcome in evaluated.protocol.outcomes}
    parts = [f"{value:+g} on {known[name]}" for name, value in planted.items() if name in known]
    return f"The effect that is in them: {', '.join(parts)}, and none on other outcomes.".replace("-", "−", 1)


def coverage(evaluated: Evaluated) -> Html:
    """Years and areas by outcome."""
    frame = evaluated.coverage
    shown = pd.DataFrame(
        {
            "Outcome": [_heading(evaluated, name) for name in frame["outcome"]],
            "Kind of year": frame["kind"],
            "Unit": frame["unit"],
            "First": [period_label(year, kind) for year, kind in zip(frame["first"], frame["kind"], strict=True)],
            "Last": [period_label(year, kind) for year, kind in zip(frame["last"], frame["kind"], strict=True)],
            "Years": frame["periods"],
            "Treated areas": frame["treated_areas"],
            "Comparison areas": frame["comparison_areas"],
            "Areas with every year": frame["complete_areas"],
            "Values missing": frame["missing"],
        }
    )
    return Html(table(shown, "Outcomes, years and areas in the data", file="coverage.csv"))


def _heading(evaluated: Evaluated, name: str) -> str:
    return next((outcome.heading for outcome in evaluated.protocol.outcomes if outcome.name == name), name)


def exposure(evaluated: Evaluated) -> Html:
    """How starts were aligned to the periods of each outcome, in months."""
    rule = evaluated.protocol.exposure
    frame = evaluated.cohorts
    shown = pd.DataFrame(
        {
            "Outcome": [_heading(evaluated, name) for name in frame["outcome"]],
            "Start": frame["started"],
            "Areas": frame["areas"],
            "First treated period": frame["first_treated"],
            "Months run by its end": frame["months_running"],
            "Partly exposed": frame["partly"],
        }
    )
    words = (
        "Outcomes count different years: calendar years, school years, financial years, or a day in January. A period "
        "counts as treated when at least half its months lie after the start and the programme has run for "
        f"{rule.minimum_months} months by its end."
    )
    if rule.anticipation_months:
        words += f" The {rule.anticipation_months} months before the start count as partly exposed too."
    return paragraphs(words, rule.reason) + Html(
        table(shown, "From start dates to treated periods", file="exposure.csv")
    )


def rollout(evaluated: Evaluated) -> Html:
    """Who took part, with start, confidence and source."""
    protocol, adopters = evaluated.protocol, evaluated.adopters
    members = sorted(adopters.members, key=lambda each: (each.start.index, each.name))
    known = evaluated.catalog.rollouts.get(protocol.programme) if adopters.path is None else None
    regions = evaluated.regions
    rows = [
        {
            "Area": each.name,
            "Region": regions.get(each.cluster, "not known"),
            "Start": each.start.words,
            "Confidence": each.confidence,
            "Source": each.source if known is None else known.sources[each.source],
        }
        for each in members
    ]
    if known is not None:
        notes = {area.la_code: area.note for area in known.areas}
        for each, row in zip(members, rows, strict=True):
            row["Note"] = notes[each.cluster] or "none"
    caption = f"Who took part: {protocol.name if known is None else known.name}"
    return paragraphs(*(text for text in (adopters.description, evaluated.stands_in) if text)) + Html(
        table(pd.DataFrame(rows), caption, file="areas.csv")
    )


def overlaps(evaluated: Evaluated) -> Html:
    """Other programmes in the same areas, and in the comparison areas."""
    frame = evaluated.overlaps
    if frame.empty:
        return paragraphs("Other programmes are known by local authority only, so overlaps can't be told here.")
    shown = pd.DataFrame(
        {
            "Other programme": frame["name"],
            "Areas in both": frame["treated_areas"],
            "Its areas among the others": frame["other_areas"],
            "Which are in both": [text or "none" for text in frame["areas"]],
            "List complete": ["yes" if complete else "no" for complete in frame["complete"]],
        }
    )
    return Html(table(shown, "Other programmes in the same areas", file="overlaps.csv"))


def missing(evaluated: Evaluated) -> Html:
    """Missing values by reason."""
    frame = evaluated.missing
    if frame.empty:
        return paragraphs("No value is missing.")
    shown = pd.DataFrame(
        {
            "Outcome": [_heading(evaluated, name) for name in frame["outcome"]],
            "Reason": frame["reason"],
            "Values": frame["values"],
            "Areas": frame["areas"],
        }
    )
    return Html(table(shown, "Missing values, by the reason that the publisher gives", file="missing.csv"))


def doubtful(evaluated: Evaluated) -> Html:
    """Published figures that can't be right, and what was done about them."""
    rows = []
    for outcome in evaluated.outcomes:
        dataset, series = series_of(evaluated.catalog, outcome)
        for found in dataset.doubtful:
            if series.id in found.series:
                names = sorted(evaluated.catalog.places.name_of(code) for code in found.areas)
                rows.append(
                    {
                        "Outcome": outcome.heading,
                        "Year": period_label(found.period, series.period_kind),
                        "Areas": ", ".join(names),
                        "What is wrong": found.reason,
                        "What was done": "The denominator was added up from its parts"
                        if found.denominator
                        else "Left out",
                    }
                )
    if not rows:
        return paragraphs("No published figure of these outcomes is known to be wrong.")
    return paragraphs(
        "These figures can't be right as they are published. What was done about each is shown, so that readers can "
        "disagree."
    ) + Html(table(pd.DataFrame(rows), "Doubtful figures", file="doubtful.csv"))


def set_aside(evaluated: Evaluated) -> Html:
    """What the boundary rule and the protocol took out."""
    excluded = evaluated.protocol.comparison.exclude
    words = paragraphs(
        f"Boundary rule: {BOUNDARY_RULE}. Areas are followed under the boundaries they have today. Years of an area "
        "that was abolished, and of a new area before it took its shape, are left out. Nothing is split or joined, "
        "because published rates carry no counts to split."
    )
    left_out = bullets(
        [f"{evaluated.catalog.places.name_of(each.la_code)} is left out: {each.reason}." for each in excluded]
    )
    frame = evaluated.set_aside
    if frame.empty:
        return words + paragraphs("No year of any area fell under the rule.") + left_out
    shown = (
        frame.groupby(["name", "reason"], as_index=False)
        .agg(outcomes=("outcome", "nunique"), years=("periods", "sum"))
        .rename(columns={"name": "Area", "reason": "Why", "outcomes": "Outcomes", "years": "Values left out"})
    )
    return words + left_out + Html(table(shown, "Left out by the boundary rule", file="set-aside.csv"))


def raw_series(evaluated: Evaluated, outcome: Outcome | None = None) -> Figure:
    """Unadjusted means of programme and comparison areas, before any model."""
    outcome = outcome or evaluated.protocol.primary
    _, series = series_of(evaluated.catalog, outcome)
    frame = evaluated.raw_means(outcome)
    cohort = evaluated.cells.only(outcome.id).frame["cohort"].min()
    inside = frame["period"].max() >= cohort
    first, last = frame.dropna().iloc[0], frame.dropna().iloc[-1]
    apart = [row["treated"] - row["comparison"] for row in (first, last)]
    places = 1 if max(abs(value) for value in apart) >= 1 else 2
    starts = sorted({each.start for each in evaluated.adopters.members})
    when = starts[0].words if len(starts) == 1 else f"first start, {starts[0].words}"
    return series_figure(
        frame,
        title=f"Programme areas: {show(apart[0], places)} against others at first, {show(apart[1], places)} at last",
        measure=series.label,
        unit=series.unit,
        kind=series.period_kind.value,
        source=evaluated.source(outcome),
        start=when,
        first_treated=float(cohort) if inside else None,
        name=f"{evaluated.protocol.id.lower()}-{outcome.id}-means",
        synthetic=evaluated.synthetic,
    )


def all_raw_series(evaluated: Evaluated) -> Html:
    """The raw series of every outcome, one after the other."""
    found = Html("")
    for outcome in evaluated.outcomes:
        found += Html(f"<h3>{outcome.heading}</h3>") + raw_series(evaluated, outcome).html()
    return found
