"""The disparity report of one published table by group: what it is, what it found, gaps by group and over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap import groups
from sendap.disparity.adjust import QUESTIONS
from sendap.disparity.findings import Findings
from sendap.disparity.gaps import FLAG_RULE
from sendap.disparity.words import side
from sendap.numerals import show
from sendap.report import disparity_figures as figures
from sendap.report.disparity_tables import (
    HEADINGS,
    SYMBOLS,
    capital,
    captioned,
    everyone,
    flagged,
    flags_said,
    gaps_table,
    in_title,
    in_words,
    ladder_table,
    process_table,
    said_of,
    subheading,
    surely_moved,
)
from sendap.report.output import Html, bullets, notice, paragraphs

INTERVALS_OF_AREAS = "drawing whole areas with replacement, since children of one area are alike"
INTERVALS_OF_CHILDREN = "counting each child as independent, since groups are published for England only"


def about(found: Findings) -> Html:
    """What the table is, and how its figures were made."""
    described = found.table
    years = ", ".join(found.label(period) for period in described.periods)
    groups_of = (
        "England by group, and each area by group" if found.by_area else "England by group, and each area as a whole"
    )
    return bullets(
        [
            f"Question: {described.question}",
            f"Measure: the share of {described.main.means.rstrip(',')}. {described.main.note}".rstrip(),
            f"Source: {'synthetic data' if found.synthetic else described.source}.",
            f"Years: {years}. Places: {groups_of}.",
            f"Rounding: {described.rounding}",
            *described.notes,
        ]
    )


def summary(found: Findings) -> dict[str, object]:
    """The report in short, for the overview: sentences from the findings and nothing else."""
    return {
        "report": found.table.id,
        "title": found.table.title,
        "question": found.table.question,
        "measure": found.table.main.label,
        "period": found.label(found.last_period(found.main)),
        "source": found.table.source,
        "access": found.table.access,
        "synthetic": found.synthetic,
        "findings": _headlines(found),
        "flagged": {by: list(found.compared(by)["group"][flagged(found.compared(by))]) for by in found.table.by},
        "cannot": len(found.unanswerable),
    }


def _headlines(found: Findings) -> list[str]:
    who, first = found.table.who, found.table.by[0]
    rate = everyone(found)
    said = [
        f"{capital(found.table.main.means.rstrip(','))}: {show(rate, 1)} in every 100 in "
        f"{found.label(found.last_period(found.main))}."
    ]
    rows = found.compared(first)
    enough = rows[rows["status"].isin(["ok", "reference"]) & (rows["group"] != groups.UNKNOWN)]
    low, high = enough.loc[enough["rate"].idxmin()], enough.loc[enough["rate"].idxmax()]
    said.append(
        f"From {show(low['rate'], 1)} per cent for {groups.pupils_in(low['group'], of=first, who=who)} to "
        f"{show(high['rate'], 1)} per cent for {groups.pupils_in(high['group'], of=first, who=who)}."
    )
    widest = found.widest(first)
    if len(found.parts) and widest is not None:
        part = found.parts[(found.parts["by"] == first) & (found.parts["group"] == widest)].iloc[0]
        said.append(str(part["sentence"]).removesuffix(" This says where the gap lies, not what caused it."))
    if len(found.spread) and np.isfinite(found.spread["spread"].iloc[-1]):
        row = found.spread.iloc[-1]
        said.append(
            f"Areas differ by {show(row['spread'], 1)} percentage points (one standard deviation, with chance taken "
            f"out; 95% interval {show(row['low'], 1)} to {show(row['high'], 1)})."
        )
    if found.programme:
        said.append(_verdicts(found))
    return said[:6]


def _verdicts(found: Findings) -> str:
    frames = [each.frame for each in found.programme.values()]
    words = pd.concat(frames)
    words = words[words["status"] == "ok"]["verdict"].value_counts()
    parts = [f"{count} {name}" for name, count in words.items()]
    return f"Whether the programme moved the {int(words.sum())} gaps that could be tested: {', '.join(parts)}."


def headline(found: Findings) -> Html:
    """What the report found, in six sentences at most."""
    first, *rest = _headlines(found)
    return notice(first, "finding") + bullets(rest)


def group_gaps(found: Findings) -> Html:
    """Every stratum: the figure, the flags and the table with absolute and relative measures."""
    made = paragraphs(
        FLAG_RULE.replace("the ratio", "the ratio of the outcome or of its opposite", 1),
        "The absolute gap and the ratios can move opposite ways, so all are shown. A ratio of the worse outcome "
        "compares the shares of those who fare worse.",
    )
    for by in found.table.by:
        made += subheading(HEADINGS.get(by, capital(by))) + _one_stratum(found, by)
    return made


def _one_stratum(found: Findings, by: str) -> Html:
    rows, reference = found.compared(by), found.reference(by)
    shown = rows[rows["group"] != reference].assign(flagged=flagged(rows))
    shown = shown.rename(columns={"difference_low": "low", "difference_high": "high"})
    how = INTERVALS_OF_CHILDREN
    if found.by_area:
        how = INTERVALS_OF_AREAS
        crude = found.ladder[(found.ladder["by"] == by) & (found.ladder["model"] == "M0")].set_index("group")
        for end in ("low", "high"):
            shown[end] = crude[f"difference_{end}"].reindex(shown["group"]).to_numpy()
    known = shown[(shown["group"] != groups.UNKNOWN) & shown["difference"].notna()]
    apart = int(((known["low"] > 0) | (known["high"] < 0)).sum())
    title = f"{apart} of {len(known)} groups differ from {reference}"
    if len(known) == 1:
        only = known.iloc[0]
        size = f"{show(abs(only['difference']), 1)} points {side(only['difference'])}"
        title = f"{in_title(found, only['group'], by)}: {size if apart else 'can’t be told apart'}"
    order = shown.assign(last=shown["group"] == groups.UNKNOWN, gap=shown["difference"].fillna(-np.inf))
    order = order.sort_values(["last", "gap"], ascending=[True, False], kind="stable")
    drawn = figures.gap_figure(
        order[["group", "difference", "low", "high", "flagged"]].reset_index(drop=True),
        said_of(found, f"gaps-{by}"), title=title, reference=in_words(found, reference, by), how=how,
    )  # fmt: skip
    notes = [flags_said(found, by)]
    if by == "ethnicity" and reference == groups.REFERENCE_ETHNICITY:
        notes.append(groups.REFERENCE_CAVEAT)
    if by == "ethnicity" and max(found.table.periods) >= 2024:
        notes.append(groups.CODES_NOTE)
    if by == "sex":
        notes.append(groups.SEX_NOTE)
    caption = (
        f"{found.table.main.label} by {groups.stratum_words(by)}, {said_of(found, '').period}: rates, gaps and ratios"
    )
    made = drawn.html() + paragraphs(*notes) + captioned(found, gaps_table(found, by), caption, f"table-{by}")
    return made + paragraphs(f"Intervals in the table count each child as independent. {SYMBOLS}")


def alike(found: Findings) -> Html:
    """The ladder: gaps among children who are alike in what the table holds."""
    if found.ladder.empty:
        return paragraphs(
            "Groups are published for England only and not crossed with anything that children could be alike in but "
            "sex, so gaps among children who are alike can't be worked out. That needs records."
        )
    made = paragraphs(
        "Each column compares children who are alike in more ways. The gaps mean the same in each column (marginal "
        "standardisation), so they can be compared with one another.",
    )
    for by in found.table.by:
        rungs = [name for name in dict.fromkeys(found.ladder.loc[found.ladder["by"] == by, "model"]) if name != "M3"]
        whom = f"among children who are alike, by {groups.stratum_words(by)}"
        caption = f"Gap to {found.reference(by)}, percentage points, {whom}"
        made += captioned(found, ladder_table(found, by, rungs=rungs), caption, f"alike-{by}")
        if found.prior_results:
            made += paragraphs(QUESTIONS["M3"])
            made += captioned(
                found, ladder_table(found, by, rungs=["M3"]), f"{caption}, and in earlier results", f"m3-{by}"
            )
    lacking = (
        ""
        if found.prior_results
        else "Nothing here compares children with similar earlier results: no table holds them."
    )
    return made + paragraphs(f"Intervals draw whole areas with replacement. {SYMBOLS}", lacking)


def over_time(found: Findings) -> Html:
    """The widest gap of each stratum year by year, and how many children have no group recorded."""
    if found.series.empty:
        return paragraphs("The table holds one year, so nothing can be said about change.") + _unknown(found)
    made = Html("")
    programme = found.table.programme
    for by in found.table.by:
        group = found.widest(by)
        if group is None:
            continue
        rows = found.series[(found.series["by"] == by) & (found.series["group"] == group)]
        made += figures.series_figure(
            rows,
            said_of(found, f"years-{by}"),
            title=_moved(rows, in_title(found, group, by), found),
            axis="Gap, percentage points",
            kind=found.table.period_kind,
            what=f"Gap of {in_words(found, group, by)} to {in_words(found, found.reference(by), by)}",
            starting=None
            if programme is None or not programme.after
            else (max(programme.before), min(programme.after)),
        ).html()
    if programme is not None and found.by_area:
        told = "What matters is whether the gap moved alike in both kinds of area before the start."
        made += paragraphs(f"{programme.note} {told}".strip())
    return made + _unknown(found)


def _moved(rows: pd.DataFrame, group: str, found: Findings) -> str:
    """A title that says how a gap moved where all areas count, or in the programme's."""
    arm = next(each for each in ("all", "England", "treated") if (rows["arm"] == each).any())
    part = rows[(rows["arm"] == arm) & rows["gap"].notna()].sort_values("period")
    first, last = part.iloc[0], part.iloc[-1]
    if not surely_moved(first, last, "gap"):
        return f"{group}: can't tell whether the gap moved"
    wider = abs(last["gap"]) > abs(first["gap"])
    return f"{group}: gap {'wider' if wider else 'narrower'} than in {found.label(int(first['period']))}"


def _unknown(found: Findings) -> Html:
    if found.unknown.empty:
        return paragraphs("The table has no row for children whose group isn't recorded.")
    words = {"treated": "programme areas", "comparison": "other areas", "all": "all areas"}
    rows = found.unknown.sort_values(["by", "period", "arm"])
    shown = pd.DataFrame(
        {
            "Stratum": [capital(groups.stratum_words(by)) for by in rows["by"]],
            "Year": [found.label(int(period)) for period in rows["period"]],
            "Where": [words[arm] for arm in rows["arm"]],
            "Children": rows["n"].astype(int).to_numpy(),
            "Not recorded": rows["unknown"].astype(int).to_numpy(),
            "Per cent": (100 * rows["share"]).round(1).to_numpy(),
        }
    )
    said = (
        "Children whose group isn't recorded have a row of their own and are never dropped. Where their share moves, a "
        "gap can seem to move."
    )
    return paragraphs(said) + captioned(found, shown, "Children whose group isn't recorded", "not-recorded")


def process(found: Findings) -> Html:
    """Steps of the process by group: refusals, waits and take-up, since equal outcomes can hide unequal entry."""
    steps = [measure for measure in found.table.measures if measure.role != "outcome"]
    more = [measure for measure in found.table.measures[1:] if measure.role == "outcome"]
    if not steps and not more:
        return paragraphs("The table holds no step of the process by group.")
    made = (
        paragraphs("Equal outcomes among those who got in can hide unequal entry, so steps on the way are shown too.")
        if steps
        else Html("")
    )
    for measure in [*steps, *more]:
        made += subheading(measure.label) + paragraphs(measure.note)
        for by in found.table.by:
            made += paragraphs(flags_said(found, by, measure=measure.id))
            caption = f"{measure.label} by {groups.stratum_words(by)}, {found.label(found.last_period(measure.id))}"
            made += captioned(found, process_table(found, by, measure.id), caption, f"{measure.id}-{by}")
    return made + paragraphs(SYMBOLS)


def cannot(found: Findings) -> Html:
    """What the table can't answer."""
    return bullets(found.unanswerable)


def checks(found: Findings) -> Html:
    """Sums over areas against the publisher's own figures for England, and how many figures are too small."""
    small = ""
    if found.by_area and len(found.area_gaps):
        few = (found.area_gaps["status"] != "ok").mean()
        small = (
            f"{show(100 * few, 0)} per cent of the gaps inside single areas rest on fewer than ten children in a "
            "group. They are marked as too few to say in the download of gaps by area, and never left out."
        )
    if found.checks.empty:
        return paragraphs(
            small, "The publisher gives no figures for England by group beside the areas' to check sums against."
        )
    names = {measure.id: measure.label for measure in found.table.measures}
    shown = pd.DataFrame(
        {
            "Measure": [names[name] for name in found.checks["measure"]],
            "Year": [found.label(int(period)) for period in found.checks["period"]],
            "Figures compared": found.checks["compared"],
            "Largest difference, children": found.checks["largest_difference"],
        }
    )
    said = "Areas add up to published England. A difference is children of areas whose own figures weren't published."
    return paragraphs(small, said) + captioned(found, shown, "Sums over areas against published England", "checks")
