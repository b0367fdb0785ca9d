"""The tables of the page on planted effects, from the small file that the known-effect runs write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from itertools import groupby
from math import sqrt
from pathlib import Path
from typing import Any

from scipy import stats

from sendap.errors import DataError
from sendap.inference.selector import WORDS
from sendap.numerals import show
from sendap.site.markup import anchor, heading, linked_table, paragraph, raw, text

RESULTS = Path("benchmarks") / "known_effects.json"
COLUMNS = (
    "Measure", "Method", "True effect", "Off by", "Interval holds the truth", "Typical width", "Effect found",
    "False alarms",
)  # fmt: skip
CHANCE = 0.05
"""A share is marked where chance alone would put it so far off in fewer than 5% of such tests."""
Row = Mapping[str, Any]


def known_effects_part(root: Path) -> str:
    """What was planted and what was found, one table a design, as Markdown to be included in the page.

    Raises DataError for a file of results that isn't what the runs write.
    """
    path = root / RESULTS
    if not path.is_file():
        return "\n".join([heading("Results", "results"), raw(paragraph("There are no results in this copy."))])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = [_in_short(content)]
        for pilot, designs in groupby(content["designs"], key=lambda each: each["pilot"]):
            parts += [_design(pilot, each) for each in designs]
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise DataError(
            f"{RESULTS.as_posix()} isn't a file of known-effect results ({type(error).__name__}: {error}). Make it "
            "again with `make known-effects`."
        ) from None
    return "\n".join(parts)


def _off(count: int, of: int, share: float) -> bool:
    """Whether a count is farther from what it should be than chance explains (exact binomial test, two-sided)."""
    return bool(stats.binomtest(count, of, share).pvalue < CHANCE)


def _checked(content: Row) -> list[Row]:
    """The results that the designs promise: those of the comparison that the register asks for."""
    return [each for design in content["designs"] for each in design["results"] if each["comparison"] != "all others"]


def _in_short(content: Row) -> str:
    level, day = content["level"], date.fromisoformat(content["made"])
    rows = _checked(content)
    few = [row for row in rows if row["held"] < level * row["seeds"] and _off(row["held"], row["seeds"], level)]
    many = [row for row in rows if row["held"] > level * row["seeds"] and _off(row["held"], row["seeds"], level)]
    alarms = [
        row
        for row in rows
        if row["alarms"] > (1 - level) * row["null_seeds"] and _off(row["alarms"], row["null_seeds"], 1 - level)
    ]
    repeats = sorted({row["seeds"] for row in rows} | {row["null_seeds"] for row in rows})
    times = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    held, seeds = sum(row["held"] for row in rows), sum(row["seeds"] for row in rows)
    raised, null = sum(row["alarms"] for row in rows), sum(row["null_seeds"] for row in rows)
    said = paragraph(
        f"Done on {day.day} {day:%B %Y}, {times} times with the effect and as often without.",
        f"In {len(rows)} tests of the designs intervals held the truth in {100 * held / seeds:.1f}% of repetitions, "
        f"and gave false alarms in {100 * raised / null:.1f}%. That should be {100 * level:g}% and "
        f"{100 * (1 - level):g}%.",
        f"By more than chance explains well, intervals held the truth too seldom in {len(few)} tests, more often than "
        f"promised in {len(many)}, and gave too many false alarms in {len(alarms)}. Of {len(rows)} tests, chance alone "
        f"marks about {max(1, round(len(rows) * CHANCE))}.",
    )
    return heading("In short", "short") + "\n" + raw(said)


def _design(pilot: str, design: Row) -> str:
    words = paragraph(design["planted"], f"About {_rounded(design['records']):,} records each time.")
    rows = [_row(each) for each in design["results"]]
    table = linked_table(f"{pilot}: {design['name']}", COLUMNS, rows)
    return heading(f"{pilot}: {design['name']}", anchor("design", design["key"])) + "\n" + raw(words + table)


def _rounded(records: int) -> int:
    return round(records, -3)


def _row(row: Row) -> list[str]:
    places = 2 if row["spread"] < 10 else 1
    measure = row["measure"] + (f" ({row['comparison']})" if row["comparison"] else "")
    method = "; ".join(WORDS.get(each, each) for each in row["inference"].split("/"))
    return [
        text(measure[:1].upper() + measure[1:]),
        text(method[:1].upper() + method[1:]),
        show(row["truth"], places),
        text(_bias(row, places)),
        text(_share(row["held"], row["seeds"], 0.95, ("too few", "more than promised"))),
        show(row["width"], places),
        f"{100 * row['found'] / row['seeds']:.0f}%",
        text(_share(row["alarms"], row["null_seeds"], 0.05, ("fewer than promised", "too many"))),
    ]


def _bias(row: Row, places: int) -> str:
    """The mean error with twice its Monte Carlo error, marked where it's larger."""
    beyond = abs(row["bias"]) > 2 * row["bias_error"]
    mark = " more than chance" if beyond else ""
    sign = "+" if row["bias"] > 0 else ""
    return f"{sign}{show(row['bias'], places)} (±{show(2 * row['bias_error'], places)}){mark}"


def _share(count: int, of: int, wanted: float, marks: tuple[str, str]) -> str:
    """A share with twice the Monte Carlo error that it has if it's as it should be, and a mark where it isn't."""
    reach = 200 * sqrt(wanted * (1 - wanted) / of)
    mark = f" {marks[int(count > wanted * of)]}" if _off(count, of, wanted) else ""
    return f"{100 * count / of:.1f}% (±{reach:.1f}){mark}"
