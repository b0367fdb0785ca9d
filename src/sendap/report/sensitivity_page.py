"""The sensitivity page: whether to believe the finding, from the summary down to each probe."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from sendap.numerals import show
from sendap.protocol import Outcome, series_of
from sendap.report import probe_words as words
from sendap.report.context import DIFFERENCES, Evaluated
from sendap.report.impact_page import placebo_starts, trend_sentence
from sendap.report.output import Html, bullets, paragraphs
from sendap.report.probe_figures import curve_figure, drift_figure, fake_figure, rows_figure
from sendap.report.tables import ESTIMATOR_WORDS, table
from sendap.results import MAIN


def _common(evaluated: Evaluated, outcome: Outcome, name: str) -> dict[str, Any]:
    """What every figure of an outcome says of itself."""
    _, series = series_of(evaluated.catalog, outcome)
    return {
        "measure": series.label,
        "unit": series.unit,
        "source": evaluated.source(outcome),
        "places": words.places_of(evaluated, outcome),
        "name": f"{evaluated.protocol.id.lower()}-{outcome.id}-{name}",
        "synthetic": evaluated.synthetic,
    }


def every_outcome(evaluated: Evaluated) -> Html:
    """Each change told with the years before it."""
    rows, sentences = [], []
    for outcome in evaluated.outcomes:
        line = words.part(evaluated, outcome, "drift")
        curve = words.part(evaluated, outcome, "curve")
        row, places = evaluated.headline(outcome), words.places_of(evaluated, outcome)
        plain = evaluated.differences(outcome)
        by_differences = {
            "By difference in differences": words.number(plain["estimate"], places),
            "And its 95% interval": words.span(plain["ci_low"], plain["ci_high"], places),
        }
        rows.append(
            {
                "Outcome": outcome.heading,
                "Unit": row["unit"],
                "Change since the start": words.number(row["estimate"], places),
                "95% interval": words.span(row["ci_low"], row["ci_high"], places),
                **(by_differences if evaluated.protocol.headline != DIFFERENCES else {}),
                "Largest difference before": words.number(line.get("largest"), places),
                "Drift a year before": words.number(line.get("slope"), places),
                "Left after that drift": words.number(line.get("rest"), places),
                "Its 95% interval": words.span(line.get("rest_low"), line.get("rest_high"), places),
                "Other choices with the same sign": words.share(curve["same_sign"]) if "rows" in curve else "[x]",
            }
        )
        if outcome.family != "exploratory":
            sentences.append(f"{evaluated.finding(outcome).sentence} {words.drift_words(evaluated, outcome)}")
    file = f"{evaluated.protocol.id.lower()}-changes-and-trends.csv"
    return (
        paragraphs(
            "A change means little without what went before it. If areas were already moving apart by as much, it "
            "can't be put down to the programme."
        )
        + bullets(sentences)
        + Html(table(pd.DataFrame(rows), "Each change, and what went before it", file=file))
    )


def drift(evaluated: Evaluated) -> Html:
    """The years before and the line through them."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "drift")
    text = [trend_sentence(evaluated, outcome), words.drift_words(evaluated, outcome), _power_words(evaluated, outcome)]
    if "slope" not in found:
        return paragraphs(*text)
    rows = evaluated.rows(outcome, estimator=DIFFERENCES, term="event", contrast=MAIN)
    ahead = evaluated.ahead(outcome)
    open_ended = found["rest_low"] <= 0 <= found["rest_high"]
    title = "Allowing for earlier drift, it could go either way" if open_ended else "It is more than the earlier drift"
    base = float(-1 - ahead)
    figure = drift_figure(rows, found, base=base, title=title, **_common(evaluated, outcome, "drift"))
    return paragraphs(*text) + figure.html()


def _power_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = words.part(evaluated, outcome, "power")
    if "slope_50" not in found:
        return words.reason(found, outcome)
    size = words.size
    return (
        f"The test of those years finds a drift of {size(evaluated, outcome, found['slope_50'])} a year half of the "
        f"time, and one of {size(evaluated, outcome, found['slope_80'])} four times in five. A smaller drift would "
        "probably have passed unseen."
    )


def robust(evaluated: Evaluated) -> Html:
    """Intervals that allow for a drift after the base, by how large it may be."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "robust")
    text = paragraphs(
        words.robust_words(evaluated, outcome),
        "A drift of 1 lets areas part, in any step after the base, by as much as in the largest step seen before it "
        "(Rambachan and Roth 2023). The bend is how much the yearly drift may change from one year to the next.",
    )
    if "sets" not in found:
        return text
    common = _common(evaluated, outcome, "robust")
    places = common["places"]
    row = evaluated.differences(outcome)
    shown = [{"estimate": row["estimate"], "low": row["ci_low"], "high": row["ci_high"]}, *found["sets"]]
    main = "Difference in differences" if evaluated.given_past(outcome) else "Headline"
    labels = [main, *(_bound_words(each, places) for each in found["sets"])]
    clear = [not each["includes_zero"] for each in found["sets"]]
    title = "The finding bears some drift" if any(clear) else "With any drift, it could be a rise or a fall"
    return text + rows_figure(shown, labels, title=title, heading="Drift allowed", **common).html()


def _bound_words(row: words.Part, places: int) -> str:
    if row["restriction"] == "relative":
        return f"Drift of {row['bound']:g} times the largest"
    return f"Straight drift, bend up to {show(row['bound'], places)}"


def curve(evaluated: Evaluated) -> Html:
    """The specification curve of the primary outcome, and what each choice does."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "curve")
    text = paragraphs(
        words.curve_words(evaluated, outcome),
        "The headline was set by the protocol and isn't chosen from these. They show how much rests on our choices.",
    )
    if "rows" not in found:
        return text
    frame, common = words.curve_frame(found), _common(evaluated, outcome, "curve")
    alike = found["same_sign"]
    title = "Most choices give the same sign" if alike >= 0.75 else "The choice of method decides the sign"
    choices = pd.DataFrame(
        [
            {
                "Choice": words.CHOICE_WORDS[row["choice"]],
                "Option": words.option_words(row["choice"], row["option"]),
                "Estimates": row["count"],
                "Middle estimate": show(row["median"], common["places"]),
                "With the headline's sign": words.share(row["same_sign"]),
            }
            for row in found["choices"]
        ]
    )
    refused = [f"{row['count']} could not be estimated: {row['reason']}" for row in found["refused"]]
    told = bullets([each.replace(f"'{outcome.id}'", outcome.heading) for each in refused]) if refused else Html("")
    file = f"{evaluated.protocol.id.lower()}-choices.csv"
    shown = Html(table(choices, "What each choice does", file=file))
    return text + curve_figure(frame, title=title, **common).html() + shown + told


def _rows(
    evaluated: Evaluated, name: str, said: str, labels: Callable[[words.Part], str], title: str, heading: str
) -> Html:
    """A sentence and a figure with one estimate a row, for a probe that holds rows."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, name)
    if "rows" not in found:
        return paragraphs(said)
    shown = found["rows"]
    main = next((at for at, row in enumerate(shown) if row.get("headline")), 0)
    names = [labels(row) for row in shown]
    figure = rows_figure(shown, names, title=title, heading=heading, main=main, **_common(evaluated, outcome, name))
    return paragraphs(said) + figure.html()


def forms(evaluated: Evaluated) -> Html:
    """Levels, logarithms and proportions."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "forms")
    title = "The form decides the sign" if found.get("sign_depends") else "Every form gives the same sign"
    names = {
        "levels": "Levels" if evaluated.given_past(outcome) else "Levels (headline)",
        "logs": "Logarithms of each area",
        "proportions": "Proportions (Poisson)",
    }
    why = paragraphs(
        "A difference in differences takes it that areas would have moved by the same number of points. They could "
        "instead have moved by the same proportion, and where areas began at different levels both can't be true."
    )
    said = words.forms_words(evaluated, outcome)
    return why + _rows(evaluated, "forms", said, lambda row: names[row["form"]], title, "Form")


def anticipation(evaluated: Evaluated) -> Html:
    """The effect with fewer and more periods counted as partly exposed."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "anticipation")
    signs = {np.sign(row["estimate"]) for row in found.get("rows", []) if row["estimate"] is not None}
    title = "The base year decides the sign" if len(signs) > 1 else "The sign doesn't hang on the base year"

    def label(row: words.Part) -> str:
        count = row["anticipation"]
        return f"{count} period{'' if count == 1 else 's'}{' (headline)' if row['headline'] else ''}"

    said = words.anticipation_words(evaluated, outcome)
    return _rows(evaluated, "anticipation", said, label, title, "Partly exposed before the start")


def spillover(evaluated: Evaluated) -> Html:
    """Other comparison areas: not of the same region, not in other programmes."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "donut")
    signs = {np.sign(row["estimate"]) for row in found.get("rows", []) if row["estimate"] is not None}
    title = "Other comparison areas, other sign" if len(signs) > 1 else "The sign holds with other comparison areas"
    why = paragraphs(
        "If neighbours learned from the programme, or other programmes worked on them, the comparison hides a part of "
        "the effect. The catalogue doesn't hold which areas border each other, so a region is the nearest we have."
    )
    said = words.donut_words(evaluated, outcome)

    def label(row: words.Part) -> str:
        return str(row["comparison"][0].upper() + row["comparison"][1:])

    return why + _rows(evaluated, "donut", said, label, title, "Comparison areas")


def placebo_dates(evaluated: Evaluated) -> Html:
    """The effect at starts that never were, as table and figure."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "placebo")
    shown = placebo_starts(evaluated)
    if "rows" not in found:
        return shown
    row = evaluated.headline(outcome)
    real = {"estimate": row["estimate"], "ci_low": row["ci_low"], "ci_high": row["ci_high"]}
    labels = ["The real start", *(f"{show(-each['event_time'], 0)} years earlier" for each in found["rows"])]
    moved = [
        each for each in found["rows"] if each["ci_low"] is not None and (each["ci_low"] > 0 or each["ci_high"] < 0)
    ]
    title = "Areas moved apart before the start too" if moved else "Nothing stands out at earlier starts"
    figure = rows_figure(
        [real, *found["rows"]], labels, title=title, heading="Start", low="ci_low", high="ci_high",
        **_common(evaluated, outcome, "placebo-starts"),
    )  # fmt: skip
    return shown + figure.html()


def fake_programmes(evaluated: Evaluated) -> Html:
    """What the same method finds in areas that had no programme."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "groups")
    said = paragraphs(words.groups_words(evaluated, outcome))
    if "draws" not in found:
        return said
    title = "The real programme stands out" if found["as_large"] < 0.05 else "Fake programmes give as much"
    return said + fake_figure(found, title=title, **_common(evaluated, outcome, "fake-programmes")).html()


def placebo_outcomes(evaluated: Evaluated) -> Html:
    """Effects on outcomes that the programme can't move."""
    outcome = evaluated.protocol.primary
    found = words.part(evaluated, outcome, "outcomes")
    said = paragraphs(words.outcomes_words(evaluated, outcome))
    if "rows" not in found:
        return said
    names = {each.id: each.heading for each in evaluated.protocol.outcomes}
    shown = pd.DataFrame(
        [
            {
                "Outcome": names[row["outcome"]],
                "Unit": row["unit"],
                "Estimate": words.number(row["estimate"], 2),
                "95% interval": words.span(row["low"], row["high"], 2),
                "Note": row["note"] or "none",
            }
            for row in found["rows"]
        ]
    )
    file = f"{evaluated.protocol.id.lower()}-placebo-outcomes.csv"
    return said + Html(table(shown, "Outcomes that the programme can't move", file=file))


def single_areas(evaluated: Evaluated) -> Html:
    """The effect without each area, and without each region."""
    outcome = evaluated.protocol.primary
    found, regions = (words.part(evaluated, outcome, name) for name in ("influence", "regions"))
    text = paragraphs(words.influence_words(evaluated, outcome), words.regions_words(evaluated, outcome))
    if "areas" not in found:
        return text
    row = evaluated.headline(outcome)
    real = {"estimate": row["estimate"], "low": row["ci_low"], "high": row["ci_high"]}
    shown = [real, *found["areas"][:8], *(regions.get("rows") or [])]
    labels = [
        "Headline",
        *(f"Without {each['name']}" for each in found["areas"][:8]),
        *(f"Without {each['region']} (region)" for each in regions.get("rows") or []),
    ]
    title = "Some areas decide the sign" if found["changes_sign"] else "No single area decides the sign"
    figure = rows_figure(shown, labels, title=title, heading="Left out", **_common(evaluated, outcome, "left-out"))
    return text + figure.html()


def mixture(evaluated: Evaluated) -> Html:
    """What the two-way estimate is made of, which is shown beside the headline and never as it."""
    outcome = evaluated.protocol.primary
    found, weights = (words.part(evaluated, outcome, name) for name in ("mixture", "weights"))
    said = paragraphs(
        found.get("sentence") or words.reason(found, outcome), weights.get("sentence") or words.reason(weights, outcome)
    )
    if "rows" not in found:
        return said
    places = words.places_of(evaluated, outcome)
    shown = pd.DataFrame(
        [
            {
                "Comparison": row["kind"],
                "Weight": words.share(row["weight"]),
                "Estimate": show(row["estimate"], places),
            }
            for row in found["rows"]
        ]
    )
    file = f"{evaluated.protocol.id.lower()}-mixture.csv"
    total = [{"estimate": found["two_way"]}, *found["rows"]]
    labels = [ESTIMATOR_WORDS["two_way"], *(f"{row['kind']} ({words.share(row['weight'])})" for row in found["rows"])]
    little = found["already_treated"] < 0.1
    title = "Little of it compares with treated areas" if little else "Part of it compares with treated areas"
    figure = rows_figure(total, labels, title=title, heading="Comparison", **_common(evaluated, outcome, "mixture"))
    return said + figure.html() + Html(table(shown, "What the two-way estimate is made of", file=file))


def composition(evaluated: Evaluated) -> Html:
    """Whether the same children and areas are counted, for every outcome."""
    rows = []
    for outcome in evaluated.outcomes:
        found = words.part(evaluated, outcome, "composition")
        if "missing" not in found:
            continue
        counted = found.get("counted")
        before, after, other_before, other_after = (words.share(each) for each in found["missing"])
        rows.append(
            {
                "Outcome": outcome.heading,
                "Change in how many are counted": "no counts published"
                if counted is None
                else f"{show(counted[0], 0)}%",
                "95% interval": "[x]" if counted is None else f"{words.span(counted[1], counted[2], 0)}%",
                "Programme areas missing, before and since": f"{before}, {after}",
                "Other areas missing, before and since": f"{other_before}, {other_after}",
            }
        )
    said = paragraphs(words.composition_words(evaluated, evaluated.protocol.primary))
    if not rows:
        return said
    file = f"{evaluated.protocol.id.lower()}-composition.csv"
    return said + Html(table(pd.DataFrame(rows), "Who is counted, before and since", file=file))


def detectable(evaluated: Evaluated) -> Html:
    """What this design could have found."""
    outcome = evaluated.protocol.primary
    row, places = evaluated.headline(outcome), words.places_of(evaluated, outcome)
    ruled = ""
    if np.isfinite([row["ci_low"], row["ci_high"]]).all():
        ruled = (
            f"The interval rules out a fall of more than {words.size(evaluated, outcome, row['ci_low'])} and a rise of "
            f"more than {words.size(evaluated, outcome, row['ci_high'])}."
            if row["ci_low"] < 0 < row["ci_high"]
            else f"The interval rules out anything outside {words.span(row['ci_low'], row['ci_high'], places)}."
        )
    return paragraphs(words.detectable_words(evaluated, outcome), ruled)


def confidence_parts(evaluated: Evaluated) -> Html:
    """The confidence word, with each part of its score and each threat."""
    found = evaluated.confidence
    rows = [
        *({"Part": name, "Score or threat": f"{score} of 5"} for name, score in found.parts),
        *(
            {"Part": name, "Score or threat": level if level == "not assessed" else f"{level} threat"}
            for name, level in found.threats
        ),
    ]
    off = f" less {found.drops} for threats" if found.drops else ""
    text = (
        f"{found.words}: score {found.score} of 5, the lowest of the scores{off}. It is computed by a rule and not "
        "chosen."
    )
    if not found.complete and found.score:
        text += " Some threats couldn't be assessed, so it could be lower."
    file = f"{evaluated.protocol.id.lower()}-confidence.csv"
    return paragraphs(text) + Html(table(pd.DataFrame(rows), "Parts of the confidence word", file=file))


def headings(evaluated: Evaluated) -> Html:
    """Which outcome the probes below are about."""
    name = escape(evaluated.protocol.primary.heading)
    return Html(f"<p>All that follows is about the primary outcome: <strong>{name}</strong>.</p>")
