"""Who benefits, for a pilot on records: the effect on each group, on each gap, and whether any group lost."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from sendap.numerals import show
from sendap.report.context import Evaluated
from sendap.report.output import Html, bullets, paragraphs
from sendap.report.tables import NOT_AVAILABLE, table

STRATA = {
    "sex": "Sex",
    "ethnicity": "Ethnic group",
    "fsm": "Free school meals",
    "sen_baseline": "SEN before the programme",
    "language": "First language",
}
PUBLISHED_ONLY = (
    "We can't tell who benefits. These published figures hold no differences by sex or ethnic group for enough years, "
    "so the test that no group is disadvantaged (Plan, chapter 2, paragraph 75) isn't met by this report."
)


def _number(value: Any, places: int) -> str:
    return NOT_AVAILABLE if value is None or value == "infinite" else show(float(value), places)


def _span(row: Mapping[str, Any], name: str, places: int) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if not isinstance(row[name], float | int) or not isinstance(low, float | int) or not isinstance(high, float | int):
        return "too few to say"
    return f"{show(row[name], places)} ({show(low, places)} to {show(high, places)})"


def summary(evaluated: Evaluated) -> Html:
    """For the Board page: a verdict a stratum, and the groups too small to say."""
    told = {by: found for by, found in evaluated.groups.items() if "rows" in found}
    if not told:
        reasons = [found["reason"] for found in evaluated.groups.values()]
        return paragraphs(*(reasons or [PUBLISHED_ONLY]), evaluated.protocol.disparity.question)
    lines = []
    for by, found in told.items():
        rows = [row for row in found["rows"] if row["status"] == "ok"]
        clear = [row for row in rows if row["verdict"] != "cannot tell"]
        words = (
            f"{STRATA.get(by, by)}: for {len(rows) - len(clear)} of {len(rows)} gaps we can't tell whether they moved."
        )
        guard = found["guard"]
        lines.append(
            " ".join(
                [
                    words,
                    *(row["sentence"] for row in clear),
                    *([f"No group worse off? {guard['sentence']}"] if guard else []),
                ]
            )
        )
    return bullets(lines)


def section(evaluated: Evaluated) -> Html:
    """For the full report: every group with its effect, the effect on its gap, and the verdict."""
    if not evaluated.groups:
        return paragraphs(PUBLISHED_ONLY)
    made = paragraphs(
        evaluated.protocol.disparity.question,
        "A gap that narrows because the group ahead lost isn't a success. p-values are adjusted for the number of "
        "groups.",
    )
    for by, found in evaluated.groups.items():
        made += Html(f"<h3>{escape(STRATA.get(by, by))}</h3>")
        if "reason" in found:
            made += paragraphs(found["reason"])
            continue
        rows = [
            {
                "Group": row["group"],
                "Records": int(row["n"]),
                "Gap before": _number(row["gap_before"], 1),
                "Effect on the group": _span(row, "effect", 1),
                "Effect on the gap": _span(row, "gap_effect", 1),
                "Adjusted p": _number(row["p_adjusted"], 2),
                "Verdict": row["verdict"],
            }
            for row in found["rows"]
        ]
        caption = f"{evaluated.protocol.primary.heading}: gaps to {found['reference']}, with 95% intervals"
        file = f"{evaluated.protocol.id.lower()}-groups-{by}.csv"
        made += Html(table(pd.DataFrame(rows), caption, file=file))
        if found["guard"] is not None:
            made += paragraphs(f"Is any group worse off? {found['guard']['sentence']}")
    return made
