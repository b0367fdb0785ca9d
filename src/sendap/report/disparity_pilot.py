"""What a pilot's own report says of disparity: gaps by group, and how far apart areas are, treated against others.

Published figures by group cover fewer years than the pilot's outcomes, so each part says what it can't tell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.findings import Findings
from sendap.disparity.gaps import gaps
from sendap.disparity.narrowed import WorstGroup
from sendap.disparity.programme import ProgrammeGaps
from sendap.disparity.rates import share_scale
from sendap.disparity.spread import SpreadChange, spread_change
from sendap.disparity.words import places
from sendap.errors import DesignError
from sendap.numerals import show
from sendap.periods import period_label
from sendap.protocol import Outcome
from sendap.report.context import Evaluated
from sendap.report.disparity_tables import (
    HEADINGS,
    SYMBOLS,
    capital,
    listed,
    programme_table,
    subheading,
    with_limits,
)
from sendap.report.output import Html, bullets, paragraphs
from sendap.report.tables import NOT_AVAILABLE, table

NO_BEFORE = (
    "Figures by group begin too late to compare gaps before and after the start, so nobody can say from them whether "
    "the programme moved a gap."
)


def pilot_gaps(evaluated: Evaluated, found: Findings, outcome: str) -> Html:
    """Gaps of one of the pilot's outcomes before and after it, each group's effect, and the worst-group guard.

    ``found`` are the findings of a table by group that measures the outcome of the protocol named ``outcome``.
    """
    planned = _outcome(evaluated, outcome)
    results = _narrowed(evaluated, found, planned)
    if not results:
        return paragraphs(NO_BEFORE)
    assert found.table.programme is not None
    before, after = (
        listed([found.label(year) for year in years])
        for years in (found.table.programme.before, found.table.programme.after)
    )
    made = paragraphs(
        f"{planned.heading}, by group, before ({before}) and after ({after}). {found.table.programme.note}",
        "A gap that narrows because the group ahead lost isn't a success.",
    )
    for by, result in results.items():
        caption = f"{planned.heading}: effect on the gap to {found.reference(by)}, percentage points, 95% intervals"
        file = f"{evaluated.protocol.id.lower()}-{outcome}-{by}.csv"
        made += subheading(HEADINGS.get(by, capital(by)))
        made += Html(table(programme_table(result.frame), caption, file=file))
        made += paragraphs(*said(result))
        if result.guard is not None:
            made += paragraphs(guard_words(result.guard, _margin(planned)))
    return made + paragraphs(f"p-values are adjusted for the number of groups. {SYMBOLS}")


def said(result: ProgrammeGaps) -> list[str]:
    """A sentence for each gap that surely moved, and one that counts those we can't tell of."""
    tested = result.frame[result.frame["status"] == "ok"]
    clear = list(tested.loc[tested["verdict"] != "cannot tell", "sentence"])
    left = len(tested) - len(clear)
    return [*clear, f"For {left} of {len(tested)} gaps we can't tell whether they changed."] if left else clear


def guard_words(found: WorstGroup, margin: float | None) -> str:
    """The test that no group is disadvantaged (Plan, chapter 2, paragraph 75), in words."""
    size = "" if margin is None else f" The margin is {show(margin, 0)} percentage points."
    return f"No group is disadvantaged? {found.sentence}{size}"


def worst_group_row(evaluated: Evaluated, found: Findings, outcome: str) -> dict[str, str]:
    """A row for the Board page's table of harms: concern, verdict and the groups too small to test."""
    results = _narrowed(evaluated, found, _outcome(evaluated, outcome))
    guards = [result.guard for result in results.values() if result.guard is not None]
    order = ("serious harm", "harm", "possible harm", "cannot tell", "no harm beyond the margin")
    verdict = min((each.verdict for each in guards), key=order.index) if guards else "cannot tell"
    small = [name for each in guards for name in each.too_small]
    return {
        "Concern": "A group is disadvantaged (2.75)",
        "Verdict": verdict,
        "Too small to test": listed(small) or ("none" if guards else "all"),
    }


def pilot_levels(evaluated: Evaluated, found: Findings) -> Html:
    """How far apart groups are now in the pilot's areas and in others: levels, which show nothing that it did."""
    treated = {str(code) for code in evaluated.cells.frame.loc[evaluated.cells.frame["cohort"].notna(), "cluster"]}
    cells = found.current(found.main)
    here = cells.without_clusters(set(cells.frame["cluster"]) - treated)
    there = cells.without_clusters(treated)
    made = Html("")
    for by in found.table.by:
        rows = _levels(found, by, {"In the programme's areas": here, "In other areas": there})
        year = found.label(found.last_period(found.main))
        caption = f"{found.table.main.label} by {groups.stratum_words(by)}, {year}: gap to {found.reference(by)}"
        file = f"{evaluated.protocol.id.lower()}-{found.table.id.lower()}-levels-{by}.csv"
        made += Html(table(rows, caption, file=file))
    return made + paragraphs(
        "Percentage points, with 95% intervals that count each child as independent. A difference between the two "
        f"columns may have been there before the programme. {SYMBOLS}"
    )


def _levels(found: Findings, by: str, arms: dict[str, Cells]) -> pd.DataFrame:
    columns: dict[str, dict[str, str]] = {}
    for words, cells in arms.items():
        rows = gaps(cells, by=by, reference=found.reference(by), better=found.table.main.better)
        rows = rows[rows["against"] == found.reference(by)]
        columns[words] = {
            row["group"]: "reference"
            if row["status"] == "reference"
            else with_limits(row, "difference", places(row["difference_low"], row["difference_high"]))
            for _, row in rows.iterrows()
        }
    order = list(dict.fromkeys(name for each in columns.values() for name in each))
    shown = {words: [each.get(name, NOT_AVAILABLE) for name in order] for words, each in columns.items()}
    return pd.DataFrame({"Group": order, **shown})


def pilot_spread(evaluated: Evaluated) -> Html:
    """Whether areas drew closer (the "postcode lottery"): for each outcome that counts children, treated against "
    "others."""
    rows, without = [], []
    for outcome in evaluated.outcomes:
        found = _spread(evaluated, outcome)
        if found is None:
            without.append(outcome.heading)
            continue
        at = found.frame.set_index("arm")
        before, after = (
            ", ".join(f"{at.loc[arm, when]:.1f}" for arm in ("treated", "comparison")) for when in ("before", "after")
        )
        change = at.loc["difference"]
        limits = (
            f" ({show(change['change_low'], 1)} to {show(change['change_high'], 1)})"
            if np.isfinite(change["change_low"])
            else ""
        )
        rows.append(
            {
                "Outcome": outcome.heading,
                "Spread before: programme, others": before,
                "Spread after: programme, others": after,
                "Difference of the changes": f"{show(change['change'], 1)}{limits}",
                "p": show(found.p_value, 2),
            }
        )
    missing = f"Not for {listed(without)}: published as bare rates, or with too few years." if without else ""
    if not rows:
        return paragraphs(
            "How far apart areas are can't be told: no outcome counts children before and after.", missing
        )
    caption = "How far apart areas are, standard deviation with chance taken out, percentage points"
    file = f"{evaluated.protocol.id.lower()}-spread.csv"
    words = (
        "A fall in the programme's areas beyond that of others would mean less of a postcode lottery there. p-values "
        "deal the areas out anew."
    )
    return Html(table(pd.DataFrame(rows), caption, file=file)) + paragraphs(words, missing)


def _spread(evaluated: Evaluated, outcome: Outcome) -> SpreadChange | None:
    cells = evaluated.cells.only(outcome.id)
    if share_scale(cells.frame[cells.frame["weight"] > 0]) is None:
        return None
    starts = cells.frame["cohort"].dropna()
    periods = sorted(int(each) for each in cells.frame["period"].unique())
    ahead = int(dict(cells.metadata.get("anticipation", {})).get(outcome.id, 0))  # type: ignore[call-overload]
    before = [each for each in periods if each < starts.min() - ahead]
    after = [each for each in periods if each >= starts.max()]
    try:
        return spread_change(cells, before=before, after=after) if before and after else None
    except DesignError:
        return None


def pilot_summary(evaluated: Evaluated, found: Findings, outcome: str) -> Html:
    """For the Board page, who benefits: a few lines."""
    planned = _outcome(evaluated, outcome)
    results = _narrowed(evaluated, found, planned)
    if not results:
        return paragraphs(NO_BEFORE)
    lines = [line for result in results.values() for line in said(result)]
    lines += [guard_words(each.guard, _margin(planned)) for each in results.values() if each.guard is not None]
    years = sorted(int(each) for each in found.cells.only(found.main).frame["period"].unique())
    span = f"{period_label(years[0], found.table.period_kind)} to {period_label(years[-1], found.table.period_kind)}"
    return bullets([f"{planned.heading}, by group, {span}.", *lines])


def _outcome(evaluated: Evaluated, name: str) -> Outcome:
    found = next((each for each in evaluated.protocol.outcomes if each.id == name), None)
    if found is None:
        raise DesignError(f"The protocol of {evaluated.protocol.id} has no outcome '{name}'.")
    return found


def _margin(outcome: Outcome) -> float | None:
    return outcome.guard.margin if outcome.guard is not None else outcome.smallest_effect


def _narrowed(evaluated: Evaluated, found: Findings, outcome: Outcome) -> dict[str, ProgrammeGaps]:
    """The gaps by the design of the protocol: its comparison and seed, and the outcome's margin.

    Areas count by their children whatever the protocol's weights, since many have only a few of a group.
    """
    comparison = evaluated.protocol.comparison
    return found.narrowed(
        smallest=_margin(outcome),
        margin=_margin(outcome),
        within=None if comparison is None else comparison.within,
        seed=evaluated.protocol.seed,
    )
