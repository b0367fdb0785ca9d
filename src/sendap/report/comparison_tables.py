"""Who the treated areas are compared with: balance, overlap, effective controls, who was chosen and left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sendap.comparison import Balance, ComparisonGroup, Overlap
from sendap.comparison.balance import FAIL, GOOD
from sendap.comparison.group import GIVEN
from sendap.numerals import show
from sendap.report.output import Html, bullets, paragraphs
from sendap.report.tables import NOT_AVAILABLE, table

SHOWN = 15
JUDGEMENTS: Mapping[str, str] = {"good": "good", "fair": "fair", "fail": "not balanced"}
SCALES: Mapping[str, str] = {
    "pooled": "the standard deviation of both sides before weighting",
    "treated": "the standard deviation of the treated areas",
}


def _number(value: float, places: int = 2) -> str:
    return show(value, places) if np.isfinite(value) else NOT_AVAILABLE


def balance_table(found: Balance, *, pilot: str, outcome: str) -> Html:
    """The two sides before and after weighting: means, standardised differences, variance ratios, judgement."""
    rows = [
        {
            "Known before the start": row["measure"][0].upper() + row["measure"][1:],
            "Treated areas": _number(row["treated"]),
            "Other areas": _number(row["before"]),
            "Other areas, weighted": _number(row["after"]),
            "Difference before": _number(row["difference_before"]),
            "Difference after": _number(row["difference_after"]),
            "Ratio of variances after": _number(row["ratio_after"]),
            "Balance": JUDGEMENTS[row["judgement"]],
        }
        for row in found.table.to_dict("records")
    ]
    note = (
        f"Differences are in units of {SCALES[found.scale]}. Under {GOOD:g} is good, over {FAIL:g} isn't balanced. "
        f"{_controls(found)}"
    )
    caption = f"Areas before the start: {outcome}"
    return Html(table(pd.DataFrame(rows), caption, file=f"{pilot.lower()}-balance.csv")) + paragraphs(note)


def _controls(found: Balance) -> str:
    return (
        f"{found.controls} comparison areas stand for {found.treated} treated ones, and are worth "
        f"{show(found.effective_controls, 0)} areas that count alike. The heaviest makes up "
        f"{show(100 * found.largest_share, 0)}% of the comparison."
    )


def effective_controls(found: Balance) -> Html:
    """How many comparison areas there are, what they are worth, and the share of the heaviest."""
    return paragraphs(_controls(found))


def overlap_words(found: Overlap, titles: Mapping[str, str] | None = None) -> Html:
    """Whether treated areas have counterparts: ranges of the propensity, and which treated areas lie outside."""
    if found.separated:
        return paragraphs(
            "What areas were like before the start tells treated and other areas apart completely. No treated area has "
            "a counterpart, so a comparison rests on the model and not on areas."
        )
    low, high = (f"{show(100 * each, 0)}%" for each in found.treated_range)
    other_low, other_high = (f"{show(100 * each, 0)}%" for each in found.control_range)
    words = (
        f"Given what they were like before, treated areas were between {low} and {high} likely to be treated, and "
        f"other areas between {other_low} and {other_high}."
    )
    if not found.outside:
        return paragraphs(f"{words} Every treated area lies inside the range of the others.")
    names = ", ".join((titles or {}).get(each, each) for each in found.outside)
    return paragraphs(
        f"{words} {len(found.outside)} treated area{'s lie' if len(found.outside) > 1 else ' lies'} outside the range "
        f"of the others ({show(100 * found.share_outside, 0)}% of the treated): {names}."
    )


def chosen_table(group: ComparisonGroup, *, pilot: str, shown: int = SHOWN) -> Html:
    """The comparison areas by name, the heaviest first, for whom each stands where the rule pairs areas."""
    titles = group.profiles.titles
    shares = group.shares
    stands = group.chosen.groupby("comparison")["treated"].apply(list) if len(group.chosen) else {}
    rows = []
    for cluster, share in shares.items():
        row = {"Comparison area": titles.get(cluster, cluster), "Share of the comparison (%)": show(100 * share, 1)}
        if len(group.chosen):
            row["Stands for"] = ", ".join(titles.get(each, each) for each in stands[cluster])
        rows.append(row)
    caption = "Comparison areas" if len(rows) <= shown else f"The {shown} comparison areas that count most"
    rest = len(rows) - shown
    note = f"{rest} more make up the other {show(100 * shares.iloc[shown:].sum(), 0)}%." if rest > 0 else ""
    head = pd.DataFrame(rows[:shown])
    return Html(table(head, caption, file=f"{pilot.lower()}-comparison-areas.csv")) + paragraphs(note)


def left_out_table(group: ComparisonGroup, *, pilot: str) -> Html:
    """Areas that were left out, by name, with the reason; a sentence where none was."""
    if group.left_out.empty:
        return paragraphs("No area was left out.")
    titles = group.profiles.titles
    frame = group.left_out.assign(area=[titles.get(each, each) for each in group.left_out["cluster"]])
    rows = [
        {
            "Reason": reason[0].upper() + reason[1:],
            "Side": role,
            "Number of areas": len(part),
            "Areas": ", ".join(sorted(part["area"])),
        }
        for (role, reason), part in frame.groupby(["role", "reason"], sort=True)
    ]
    return Html(table(pd.DataFrame(rows), "Areas left out", file=f"{pilot.lower()}-left-out.csv"))


def comparison_section(
    group: ComparisonGroup, found: Balance, seen: Overlap, *, pilot: str, outcome: str, before: str
) -> Html:
    """All of the above in order, with what the weights mean for the uncertainty. ``before``: the periods, in words."""
    lost = [each for each in group.left_out.itertuples() if each.role == "treated"]
    said = [
        group.how,
        f"Areas were chosen on figures of {before} only: nothing after the start was looked at.",
        GIVEN,
        "Choosing areas for their levels can mislead where those levels were unusual: they tend to fall back whatever "
        "is done. So the result without this choice stands beside it.",
    ]
    if lost:
        kept = f"{len(group.treated)} of {len(group.treated) + len(lost)}"
        said.append(f"The effect is that on the {kept} treated areas that could be compared.")
    return (
        bullets(said)
        + balance_table(found, pilot=pilot, outcome=outcome)
        + overlap_words(seen, group.profiles.titles)
        + chosen_table(group, pilot=pilot)
        + left_out_table(group, pilot=pilot)
    )
