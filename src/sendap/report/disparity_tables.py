"""Tables and sentences of a disparity report: the same words for every table by group."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from sendap import groups
from sendap.disparity.findings import Findings
from sendap.disparity.gaps import ALL_PUPILS
from sendap.disparity.words import places
from sendap.numerals import show
from sendap.report.disparity_figures import Said
from sendap.report.output import Html
from sendap.report.tables import NOT_AVAILABLE, table

UNSURE = "[u]"
SYMBOLS = f"{UNSURE}: fewer than ten children, too few to say. {NOT_AVAILABLE}: can't be worked out."
HEADINGS = {
    "ethnicity": "By ethnic group",
    "sex": "By sex",
    "fsm": "By free school meals",
    "sen": "By special educational needs",
}


def said_of(found: Findings, name: str) -> Said:
    """What the figures of a report say of themselves; ``name`` is that of the figure."""
    source = "synthetic data" if found.synthetic else found.table.source
    period = found.label(found.last_period(found.main))
    return Said(found.table.main.label, source, period, f"{found.table.id.lower()}-{name}", found.synthetic)


def subheading(words: str) -> Html:
    return Html(f"<h3>{escape(words)}</h3>")


def captioned(found: Findings, frame: pd.DataFrame, caption: str, name: str) -> Html:
    """A table of a report with its CSV, named after the report."""
    return Html(table(frame, caption, file=f"{found.table.id.lower()}-{name}.csv"))


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def in_words(found: Findings, group: str, by: str) -> str:
    """A group in few words that are clear without its stratum."""
    if by in ("sex", "fsm", "sen"):
        return groups.pupils_in(group, of=by, who=found.table.who if by == "sex" else "pupils")
    return group


def in_title(found: Findings, group: str, by: str) -> str:
    return capital(in_words(found, group, by))


def listed(names: Sequence[str], *, joint: str = "and") -> str:
    names = list(names)
    return "".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} {joint} {names[-1]}"


def surely_moved(first: pd.Series, last: pd.Series, value: str) -> bool:
    """Whether two years' figures differ beyond their intervals together, taken as independent."""
    half = np.hypot(first["high"] - first["low"], last["high"] - last["low"]) / 2
    return bool(abs(last[value] - first[value]) > half)


def with_limits(row: pd.Series, name: str, at: int) -> str:
    """An estimate with its interval, ``[u]`` for too few, ``[x]`` where it can't be worked out."""
    if row["status"] not in ("ok", "reference"):
        return UNSURE
    if not np.isfinite(row[name]):
        return NOT_AVAILABLE
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if not np.isfinite([low, high]).all():
        return show(row[name], at)
    return f"{show(row[name], at)} ({show(low, at)} to {show(high, at)})"


def flagged(rows: pd.DataFrame) -> pd.Series:
    """Groups whose ratio, or ratio of the adverse outcome, is outside the four-fifths range and surely not 1."""
    return (rows["flag"] | rows["adverse_flag"]) & (rows["status"] == "ok")


def gaps_table(found: Findings, by: str, *, measure: str | None = None) -> pd.DataFrame:
    """One row a group: rate, absolute gap, both ratios and the odds ratio with intervals, against reference and all."""
    rows, every = found.compared(by, measure=measure), found.compared(by, measure=measure, against_all=True)
    flags = flagged(rows)
    made = []
    for (_, row), (_, whole), flag in zip(rows.iterrows(), every.iterrows(), flags, strict=True):
        own = row["status"] == "reference"
        at = 1 if own else places(row["difference_low"], row["difference_high"])
        ratios = {"Ratio": "ratio", "Ratio of the worse outcome": "adverse_ratio", "Odds ratio": "odds_ratio"}
        against = f"Gap to {row['against']}, percentage points"
        made.append(
            {
                "Group": row["group"],
                "Children": int(row["n"]),
                **({"Areas": int(row["clusters"])} if found.by_area else {}),
                "Per cent (95% interval)": with_limits(row, "rate", at),
                against: "reference" if own else with_limits(row, "difference", at),
                **{words: "reference" if own else with_limits(row, name, 2) for words, name in ratios.items()},
                "Gap to all": with_limits(whole, "difference", at),
                "Flagged": "yes" if flag else "no",
            }
        )
    return pd.DataFrame(made)


def flags_said(found: Findings, by: str, *, measure: str | None = None) -> str:
    """Which groups are flagged, and which way."""
    rows = found.compared(by, measure=measure)
    hit = rows[flagged(rows)]
    if hit.empty:
        return f"No {groups.stratum_words(by)} is flagged."
    label = next(each for each in found.table.measures if each.id == (measure or found.main))
    parts = []
    for more, words in ((True, "more often"), (False, "less often")):
        names = list(hit.loc[(hit["difference"] > 0) == more, "group"])
        if names:
            parts.append(f"{words} than the reference: {listed(names)}")
    return f"Flagged as a prompt to look, for {_lower(label.label)}: {'; '.join(parts)}."


def _lower(text: str) -> str:
    return text if text[:3] in ("EHC", "SEN") else text[0].lower() + text[1:]


def alike_words(factors: str) -> str:
    """What a rung of the ladder compares, in words, from what it adjusts for."""
    if not factors:
        return "All, as they are"
    names = [groups.stratum_words(name) for name in factors.split(", ")]
    inside = [name for name in names if name != "area"]
    where = "in the same area" if "area" in names else ""
    alike = f"alike in {listed(inside)}" if inside else ""
    return f"Children {', '.join(part for part in (alike, where) if part)}"


def ladder_table(found: Findings, by: str, *, rungs: Sequence[str] | None = None) -> pd.DataFrame:
    """Each group's gap on each rung, one column a rung."""
    rows = found.ladder[found.ladder["by"] == by]
    names = [name for name in dict.fromkeys(rows["model"]) if rungs is None or name in rungs]
    made: dict[str, list[str]] = {}
    order = groups.in_order(rows["group"])
    for name in names:
        one = rows[rows["model"] == name].set_index("group")
        heading = f"{name}. {alike_words(str(one['adjusted_for'].iloc[0]))}"
        made[heading] = [
            with_limits(one.loc[group], "difference", _at(one.loc[group], "difference")) for group in order
        ]
    return pd.DataFrame({"Group": order, **made})


def _at(row: pd.Series, name: str) -> int:
    return places(row[f"{name}_low"], row[f"{name}_high"])


def programme_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of a programme on each gap: effect on the group, on the gap, as a ratio, and the word."""
    made = []
    for _, row in frame.iterrows():
        at = _at(row, "gap_effect")
        made.append(
            {
                "Group": row["group"],
                "Children": int(row["n"]),
                "Areas": int(row["areas"]),
                "Gap before": show(row["gap_before"], 1) if np.isfinite(row["gap_before"]) else UNSURE,
                "Effect on the group": with_limits(row, "effect", at),
                "Effect on the gap": with_limits(row, "gap_effect", at),
                "Ratio of ratios": with_limits(row, "ratio", 2),
                "Adjusted p": show(row["p_adjusted"], 2) if np.isfinite(row["p_adjusted"]) else NOT_AVAILABLE,
                "Verdict": row["verdict"],
            }
        )
    return pd.DataFrame(made)


def parts_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Between and inside areas for each change of a gap and arm."""
    words = {"treated": "programme areas", "comparison": "other areas", "difference": "difference", "all": "all areas"}
    made = []
    for _, row in rows.iterrows():
        at = _at(row, "total")

        def part(name: str, row: pd.Series = row, at: int = at) -> str:
            return f"{show(row[name], at)} ({show(row[f'{name}_low'], at)} to {show(row[f'{name}_high'], at)})"

        made.append(
            {
                "Group": row["group"],
                "Where": words[row["arm"]],
                "Change of the gap": part("total"),
                "Between areas": part("between"),
                "Inside areas": part("within"),
            }
        )
    return pd.DataFrame(made)


def process_table(found: Findings, by: str, measure: str) -> pd.DataFrame:
    """A step of the process by group: rate, gap and ratio."""
    table = gaps_table(found, by, measure=measure)
    return table[
        [name for name in table.columns if name not in ("Odds ratio", "Gap to all", "Ratio of the worse outcome")]
    ]


SHORT = {
    "fsm": {"Eligible": "FSM", "Not eligible": "no FSM"},
    "sen": {"Special educational needs": "SEN", "No special educational needs": "no SEN"},
}
KEYS = {"fsm": "FSM: eligible for free school meals.", "sen": "SEN: special educational needs."}


def named_strata(rows: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """One label for each crossed group, with the short names of ``KEYS``."""
    return rows[list(by)].astype(str).replace(SHORT).agg(", ".join, axis=1)


def everyone(found: Findings) -> float:
    """The rate of all children together, in the last year."""
    rows = found.compared(found.table.by[0], against_all=True)
    assert (rows["against"] == ALL_PUPILS).all()
    return float(rows["rate_against"].iloc[0])
