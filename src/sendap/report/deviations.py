"""What was changed in a protocol since it was written, with the result under both: the table of the standard (5.5)."""

from __future__ import annotations

import pandas as pd

from sendap.protocol import Deviation
from sendap.report.context import Evaluated
from sendap.report.output import Html, paragraphs
from sendap.report.probe_words import number, places_of, span
from sendap.report.tables import ESTIMATOR_WORDS, count, table
from sendap.results import MAIN

NONE = "No change of the protocol is recorded."


def deviations(evaluated: Evaluated) -> Html:
    """Each recorded change: what the protocol said, what was done, why, what was known, who agreed, both results."""
    found = evaluated.protocol.deviations
    if not found:
        return paragraphs(NONE)
    late = any(each.known.startswith("after") for each in found)
    said = paragraphs(
        "A change that was made after outcomes were seen makes a result exploratory: what follows from it should be "
        "tried on figures that are still to come."
    )
    shown = said if late else Html("")
    for at, each in enumerate(found, 1):
        told = {
            "The protocol said": each.said,
            "What was done": each.done,
            "Why": each.why,
            "When": each.known,
            "Agreed by": each.agreed,
            "Result under both": _both(evaluated, each),
        }
        rows = pd.DataFrame({"About": list(told), "Words": list(told.values())})
        caption = f"Change {at} of the protocol, decided on {each.decided.day} {each.decided:%B %Y}"
        shown += Html(table(rows, caption, file=f"{evaluated.protocol.id.lower()}-deviation-{at}.csv"))
    return shown


def _both(evaluated: Evaluated, deviation: Deviation) -> str:
    """The primary outcome as done and as it was, where the change was one of the headline estimator."""
    primary = evaluated.protocol.primary
    if deviation.was is None:
        return "not one of the estimator"
    lead = evaluated.lead(primary)
    if lead == deviation.was:
        return f"the same for {primary.name}, which has too short a past for the change"
    places, told = places_of(evaluated, primary), []
    for words, estimator in (("As done", lead), ("as it was", deviation.was)):
        rows = evaluated.rows(primary, estimator=estimator, term="overall", contrast=MAIN)
        said = "not estimated"
        if len(rows):
            row = rows.iloc[0]
            interval = span(row["ci_low"], row["ci_high"], places)
            said = f"{number(row['estimate'], places)} ({interval}; {count(row['treated_clusters'])} treated areas)"
        told.append(f"{words} ({ESTIMATOR_WORDS[estimator]}): {said}")
    return "; ".join(told) + f", {primary.name}"
