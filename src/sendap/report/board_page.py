"""The Board page: one A4, in a fixed order, for a reader with three minutes and no statistics."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from sendap import __version__
from sendap.numerals import decimals, show
from sendap.protocol import Protocol, series_of
from sendap.report import group_sections
from sendap.report.context import DIFFERENCES, Evaluated
from sendap.report.figures import Figure, interval_figure
from sendap.report.output import Html, bullets, notice, paragraphs
from sendap.report.style import SYNTHETIC_WORDS
from sendap.report.tables import table
from sendap.results import ACROSS, APART, MAIN, SURE, WIDER
from sendap.verdict import amount, in_every_hundred

INTERVAL_MEANING = "If the study were repeated many times, 95% of such intervals would contain the true effect."


SHOWN = (MAIN, ACROSS, SURE, APART, WIDER)
"""The comparisons of the one chart; the full report has all."""
BESIDE = "By difference in differences"
NO_GUARD = "No harm is looked for: the protocol names none that these data could show."


def about(evaluated: Evaluated) -> Html:
    """Pilot, areas, dates, reach, stage."""
    found = facts(evaluated.protocol, synthetic=evaluated.synthetic)
    notes = []
    if not evaluated.protocol.has_primary:
        notes.append(
            "The main outcome of the protocol can't be measured with these data. What follows is about another "
            "outcome, and weaker for it."
        )
    notes += [evaluated.stands_in] if evaluated.stands_in else []
    return found + (notice(" ".join(notes)) if notes else Html(""))


def facts(protocol: Protocol, *, synthetic: bool) -> Html:
    """What a pilot is, and a warning where its figures are invented."""
    warning = (
        notice(f"{SYNTHETIC_WORDS.capitalize()}. These figures are invented.", "warning") if synthetic else Html("")
    )
    items = {
        "Question": protocol.question,
        "Where": protocol.reach,
        "Stage": protocol.status,
        "In the Plan": ", ".join(protocol.seed_references),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items.items())
    return warning + Html(f'<dl class="sendap-facts">{rows}</dl>')


def headline(evaluated: Evaluated) -> Html:
    """The finding on the primary outcome, in words, with what the interval leaves open."""
    primary = evaluated.protocol.primary
    row, finding = evaluated.headline(primary), evaluated.finding(primary)
    lead = f"{SYNTHETIC_WORDS.capitalize()}: " if evaluated.synthetic else ""
    words = [in_every_hundred(row, primary.counted)]
    if np.isfinite([row["ci_low"], row["ci_high"]]).all():
        places = decimals((row["ci_high"] - row["ci_low"]) / 4)
        words.append(
            f"The 95% confidence interval runs from {show(row['ci_low'], places)} to {show(row['ci_high'], places)} "
            f"{'percentage points' if row['unit'] == 'per cent' else row['unit']}. {INTERVAL_MEANING}"
        )
    return notice(lead + finding.sentence, "finding") + paragraphs(*words)


def conclusions(evaluated: Evaluated) -> Html:
    """What can and can't be concluded, in plain words, computed from results."""
    primary = evaluated.protocol.primary
    finding = evaluated.finding(primary)
    can, cannot = [], []
    row = evaluated.headline(primary)
    if finding.verdict in ("cannot_tell", "already_moving"):
        cannot.append(
            "These figures don't show that the programme worked. Nor do they show that it failed: they are too "
            "uncertain to say either."
        )
    if finding.verdict == "cannot_tell" and row["ci_low"] < 0 < row["ci_high"]:
        places = decimals((row["ci_high"] - row["ci_low"]) / 4)
        unit = str(row["unit"])
        can.append(
            f"A fall of more than {amount(row['ci_low'], unit, places)} in {primary.name}, or a rise of more than "
            f"{amount(row['ci_high'], unit, places)}, is unlikely."
        )
    span = evaluated.base_year_range(primary)
    if span is not None and span[0] < 0 < span[1]:
        places = decimals((row["ci_high"] - row["ci_low"]) / 4)
        cannot.append(
            "A simple before-and-after comparison can't be trusted here. Depending on the year taken as before, it "
            f"gives anything from {show(span[0], places)} to {show(span[1], places)}. {_start_gap(evaluated)}"
        )
    for outcome in evaluated.protocol.outcomes:
        found = evaluated.finding(outcome)
        if outcome.id == primary.id or outcome.family == "exploratory":
            continue
        row_of = evaluated.headline(outcome)
        excludes = row_of["ci_low"] > 0 or row_of["ci_high"] < 0
        if found.verdict in ("changed", "too_small", "little_or_none"):
            can.append(found.sentence)
        elif found.verdict == "already_moving" and excludes:
            cannot.append(found.sentence)
    if any(each.known.startswith("after") for each in evaluated.protocol.deviations):
        cannot.append(
            "The method was changed after outcomes had been seen, so take all of this as exploratory until new figures "
            "bear it out. The full report gives the result under both."
        )
    cannot.append("Nothing here says which part of the programme did what, or whether families were better served.")
    others = (
        "areas of their region with the same recent figures" if evaluated.given_past(primary) else "their neighbours"
    )
    condition = f"This holds only if programme areas would otherwise have moved like {others}."
    html = "<h3>What we can say</h3>" + (paragraphs(condition) + bullets(can)).html if can else ""
    return Html(html + "<h3>What we can't say</h3>" + bullets(cannot).html)


def _start_gap(evaluated: Evaluated) -> str:
    """How far apart the areas were to begin with, in a sentence."""
    primary = evaluated.protocol.primary
    frame = evaluated.raw_means(primary).dropna()
    cohort = evaluated.cells.only(primary.id).frame["cohort"].min()
    before = frame[frame["period"] < cohort - 1]
    if before.empty:
        return ""
    gap = before["treated"] - before["comparison"]
    widest, last = float(gap.loc[gap.abs().idxmax()]), float(gap.iloc[-1])
    side = "above" if widest > 0 else "below"
    return (
        f"Programme areas stood as much as {show(abs(widest), 0)} points {side} the others before the start, and "
        f"{show(abs(last), 0)} points in the last year before it."
    )


def confidence(evaluated: Evaluated) -> Html:
    """The confidence word, with every part of its score."""
    found = evaluated.confidence
    parts = [f"{name}: {score} of 5." for name, score in found.parts]
    # One line a level keeps the page on one sheet, whatever the number of threats.
    levels = {"high": "High threat", "moderate": "Moderate threat", "low": "Low threat", "not assessed": "Not assessed"}
    threats = [
        f"{words}: {', '.join(f'{name[0].lower()}{name[1:]}' for name in named)}."
        for level, words in levels.items()
        if (named := [name for name, its in found.threats if its == level])
    ]
    off = f", less {found.drops} for threats" if found.drops else ""
    words = f"Confidence: {found.words} (score {found.score} of 5: the lowest of the three scores below{off})."
    if not found.complete:
        words += " Not every threat could be assessed, so it could be lower."
    return notice(words) + bullets(parts + threats)


def chart(evaluated: Evaluated) -> Figure:
    """Effect and interval of the primary outcome, with the smallest effect that matters."""
    primary = evaluated.protocol.primary
    _, series = series_of(evaluated.catalog, primary)
    frame = evaluated.estimates
    lead = evaluated.lead(primary)
    beside = (frame["estimator"] == DIFFERENCES) & (frame["contrast"] == MAIN)
    rows = frame[
        (frame["outcome"] == primary.id)
        & frame["headline"]
        & (frame["term"] == "overall")
        & (((frame["estimator"] == lead) & frame["contrast"].isin(SHOWN)) | beside)
    ].reset_index(drop=True)
    labels = [
        (("Headline" if estimator == lead else BESIDE) if name == MAIN else name[0].upper() + name[1:])
        for name, estimator in zip(rows["contrast"], rows["estimator"], strict=True)
    ]
    finding = evaluated.finding(primary)
    title = {
        "cannot_tell": "The effect could be a gain or a loss",
        "already_moving": "Areas were on other paths before",
        "little_or_none": "Little or no difference",
        "too_small": "A change that may be too small to matter",
        "changed": "A change larger than chance",
        "not_estimable": "No effect could be estimated",
    }[finding.verdict]
    return interval_figure(
        rows,
        labels,
        title=title,
        measure=series.label,
        unit=series.unit,
        source=evaluated.source(primary),
        threshold=primary.smallest_effect,
        name=f"{evaluated.protocol.id.lower()}-headline",
        synthetic=evaluated.synthetic,
    )


def groups(evaluated: Evaluated) -> Html:
    """Who benefits: what this report can say of groups."""
    return group_sections.summary(evaluated)


def guards(evaluated: Evaluated) -> Html:
    """Each stated concern with its verdict in a word."""
    rows = []
    for outcome in evaluated.of_family("guard"):
        assert outcome.guard is not None
        verdict, _ = evaluated.guard(outcome)
        row = evaluated.headline(outcome)
        places = decimals((row["ci_high"] - row["ci_low"]) / 4)
        rows.append(
            {
                "Concern": f"{outcome.guard.concern} ({outcome.guard.paragraph})",
                "Measure": outcome.heading,
                "Best estimate": show(row["estimate"], places),
                "Likely between": f"{show(row['ci_low'], places)} and {show(row['ci_high'], places)}",
                "Verdict": verdict,
            }
        )
    unmeasured = [*(outcome.heading for outcome in evaluated.awaiting), *evaluated.protocol.not_yet_measured]
    file = f"{evaluated.protocol.id.lower()}-harms.csv"
    looked = Html(table(pd.DataFrame(rows), "Harms looked for", file=file)) if rows else paragraphs(NO_GUARD)
    return looked + (paragraphs("Not measured yet: " + "; ".join(unmeasured) + ".") if unmeasured else Html(""))


def cost(evaluated: Evaluated) -> Html:
    return paragraphs(evaluated.protocol.cost)


def unknowns(evaluated: Evaluated) -> Html:
    """What isn't known: the protocol's list, overlaps, and breaks in the headline measure (the report has them all)."""
    shared = evaluated.overlaps[evaluated.overlaps["treated_areas"] > 0]
    also = [
        f"{row.treated_areas} of the areas were also in {row.name}{'' if row.complete else ' (list incomplete)'}."
        for row in shared.itertuples()
        if not evaluated.synthetic or evaluated.adopters.path is None
    ]
    _, series = series_of(evaluated.catalog, evaluated.protocol.primary)
    breaks = [f"Data break in the headline measure: {evaluated.catalog.breaks[name].what}" for name in series.breaks]
    return bullets([*evaluated.protocol.unknowns, *also, *breaks])


def next_steps(evaluated: Evaluated) -> Html:
    return paragraphs(evaluated.protocol.next_steps)


def imprint(evaluated: Evaluated) -> Html:
    """Where everything is, and who stands for it."""
    return imprint_words(evaluated.protocol, data_page=True)


def imprint_words(protocol: Protocol, *, data_page: bool) -> Html:
    data = '<a href="data.html">data and coverage</a>, ' if data_page else ""
    return Html(
        f'<p><a href="report.html">Full report</a>, {data}'
        f'<a href="../downloads.html#{escape(protocol.id.lower())}">downloads and protocol</a>.</p>'
    ) + paragraphs(
        f"Protocol {protocol.digest[:12]}, {'registered' if protocol.registered else 'not registered'}. "
        f"Workbench version {__version__}. Analyst and assurer: not named yet, so this page isn't assured."
    )


def summary(evaluated: Evaluated) -> dict[str, object]:
    """What the portfolio shows of a pilot."""
    protocol, primary = evaluated.protocol, evaluated.protocol.primary
    row, finding = evaluated.headline(primary), evaluated.finding(primary)
    return {
        "kind": "impact",
        "pilot": protocol.id,
        "name": protocol.name,
        "group": protocol.group,
        "status": protocol.status,
        "question": protocol.question,
        "reach": protocol.reach,
        "headline": finding.sentence,
        "per_hundred": in_every_hundred(row, primary.counted),
        "verdict": finding.verdict,
        "confidence": evaluated.confidence.words,
        "confidence_score": evaluated.confidence.score,
        "guards": [
            {"name": outcome.guard.concern, "verdict": evaluated.guard(outcome)[0]}
            for outcome in evaluated.of_family("guard")
            if outcome.guard is not None
        ],
        "worst_guard": evaluated.worst_guard,
        "synthetic": evaluated.synthetic,
        "registered": protocol.registered,
        "primary": primary.heading,
        "datasets": sorted({outcome.dataset for outcome in protocol.outcomes}),
        "estimate": {key: None if pd.isna(row[key]) else row[key] for key in ("estimate", "ci_low", "ci_high", "unit")},
    }
