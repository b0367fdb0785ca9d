"""The tables of the page on false alarms, from the small file that the calibration writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sendap.errors import DataError
from sendap.inference.selector import WORDS
from sendap.report.tables import ESTIMATOR_WORDS
from sendap.site.markup import heading, linked_table, paragraph, raw, text

RESULTS = Path("benchmarks") / "calibration.json"
SCHEMES = {
    "random": "At random",
    "leading": "Did well, and their neighbours",
    "struggling": "Did badly in the last two years",
    "falling": "Got worse by most",
    "always_low": "Always did badly",
}
LEADS = ("group_time_lagged", "group_time", "two_way")
"""The estimators on which methods were tried, the headline of pilots on published figures first."""
NOMINAL = 0.05
NORMAL = "estimate plus or minus 1.96 standard errors"
POWER = ("0.25", "0.5", "1", "1.5", "2")
Row = Mapping[str, Any]


def calibration_part(root: Path) -> str:
    """What was tried, then the tables, as Markdown to be included in the page.

    Raises DataError for a file of results that isn't what the calibration writes.
    """
    path = root / RESULTS
    if not path.is_file():
        return "\n".join([heading("Results", "results"), raw(paragraph("There are no results in this copy."))])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        counts = sorted({row["treated"] for row in content["methods"]})
        parts = [
            _tried(content),
            _chosen(content["selector"], counts),
            _methods(content["methods"], counts),
            _power(content["selector"], counts),
            _estimators(content["estimators"], counts),
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{RESULTS.as_posix()} isn't a file of calibration results ({type(error).__name__}: {error}). Make it "
            "again with `make calibration`."
        ) from None
    return "\n".join(parts)


def _tried(content: Mapping[str, Any]) -> str:
    day = date.fromisoformat(content["made"])
    series = "; ".join(
        f"{each['series'].replace('_', ' ')}, {each['areas']} areas, {each['first']} to {each['last']}"
        for each in content["series"]
    )
    said = paragraph(
        f"{content['trials']:,} programmes that never happened were placed on real figures, on {day.day} {day:%B %Y}. "
        "Each had a start year and areas of its own. None of them can have done anything, so every “effect” is a false "
        "alarm.",
        f"Figures: {series}. Years from the start of the Change Programme on were left out.",
    )
    return heading("What was tried", "tried") + "\n" + raw(said)


def _table(caption: str, first: str, counts: Sequence[int], rows: Sequence[tuple[str, list[str]]]) -> str:
    columns = (first, *(f"{count} treated" for count in counts))
    return linked_table(caption, columns, [[text(name), *cells] for name, cells in rows])


def _cell(rows: Sequence[Row], key: str, shown: Callable[[Row], str]) -> str:
    found = [row for row in rows if row.get(key) is not None]
    return shown(found[0]) if found else "[x]"


def _alarm(row: Row) -> str:
    """A share with its Monte Carlo error, and a mark where it's above 5% by more than chance."""
    high = row["rejects"] - 2 * max(row["error"], 0.001) > NOMINAL
    return f"{100 * row['rejects']:.1f}% (±{200 * row['error']:.1f}){' too high' if high else ''}"


def _of(rows: Sequence[Row], estimator: str, scheme: str, count: int) -> list[Row]:
    return [row for row in rows if (row["estimator"], row["scheme"], row["treated"]) == (estimator, scheme, count)]


def _by_scheme(
    rows: Sequence[Row], counts: Sequence[int], title: str, key: str, shown: Callable[[Row], str]
) -> list[str]:
    """A table for each estimator, a row for each way of choosing areas."""
    tables = []
    for estimator in LEADS:
        if not any(row["estimator"] == estimator for row in rows):
            continue
        table = [
            (words, [_cell(_of(rows, estimator, scheme, count), key, shown) for count in counts])
            for scheme, words in SCHEMES.items()
        ]
        tables.append(_table(f"{title}, {ESTIMATOR_WORDS[estimator]}", "Areas chosen", counts, table))
    return tables


def _chosen(rows: Sequence[Row], counts: Sequence[int]) -> str:
    """False alarms of what the selector chooses, by way of choosing areas, and how far off it is on average."""
    said = paragraph(
        "One in 20 would be right. In brackets: what chance in the number of trials can do. “Too high” means above 5% "
        "by more than that. [x]: the method isn’t used with so few areas."
    )
    alarms = "".join(_by_scheme(rows, counts, "False alarms", "rejects", _alarm))
    off = paragraph(
        "Why: how far the estimate is off on average, where the truth is zero. In units of how far one area’s yearly "
        "figure lies from its own mean, once the year’s movement of all areas is taken off. Above zero means that "
        "the areas seem to get better."
    )
    biases = "".join(_by_scheme(rows, counts, "Off on average", "bias", lambda row: _signed(row["bias"])))
    return heading("What the workbench chooses", "chosen") + "\n" + raw(said + alarms + off + biases)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _methods(rows: Sequence[Row], counts: Sequence[int]) -> str:
    """False alarms of every method, areas at random, the ones it refuses too."""
    table = []
    for estimator in LEADS:
        for method in ("normal", *WORDS):
            own = [
                row for row in rows if (row["estimator"], row["method"], row["scheme"]) == (estimator, method, "random")
            ]
            if not own:
                continue
            cells = []
            for count in counts:
                here = [row for row in own if row["treated"] == count]
                cell = _cell(here, "rejects", _alarm)
                cells.append(f"{cell} refused" if here and here[0]["refused"] >= 0.5 and cell != "[x]" else cell)
            words = NORMAL if method == "normal" else WORDS[method]
            table.append((f"{words[0].upper()}{words[1:]}, {ESTIMATOR_WORDS[estimator]}", cells))
    said = paragraph(
        "Areas at random. “Refused” marks what the workbench won't use with so few areas, so that nobody has to take "
        "its word for it. [x]: no interval."
    )
    return (
        heading("Every method", "methods")
        + "\n"
        + raw(said + _table("False alarms by method", "Method", counts, table))
    )


def _power(rows: Sequence[Row], counts: Sequence[int]) -> str:
    table = [
        (
            f"Effect of {size}, {ESTIMATOR_WORDS[estimator]}",
            [
                _cell(
                    _of(rows, estimator, "random", count),
                    f"power_{size}",
                    lambda row, at=size: f"{100 * row[f'power_{at}']:.0f}%",  # type: ignore[misc]
                )
                for count in counts
            ],
        )
        for size in POWER
        for estimator in LEADS[:2]
    ]
    said = paragraph(
        "How often an effect of this size would be found, with areas at random. Sizes are in the same units."
    )
    return heading("What would be found", "power") + "\n" + raw(said + _table("Effects found", "Size", counts, table))


def _estimators(rows: Sequence[Row], counts: Sequence[int]) -> str:
    """Bias and coverage of every estimator, for areas at random and for all other ways of choosing together."""
    said = paragraph(
        "A growing effect was planted in areas with two start years: 1 unit in the first year, half as much again each "
        "year after. First: how far the estimate is off on average. Second: how often the 95% interval holds the mean "
        "effect."
    )
    caption = "Bias, and how often the interval holds the truth"
    tables = ""
    for words, schemes in (
        ("areas at random", ("random",)),
        ("areas chosen for how they did", tuple(SCHEMES)[1:]),
    ):
        table = [
            (
                ESTIMATOR_WORDS[name][0].upper() + ESTIMATOR_WORDS[name][1:],
                [_pooled([row for scheme in schemes for row in _of(rows, name, scheme, count)]) for count in counts],
            )
            for name in dict.fromkeys(row["estimator"] for row in rows)
        ]
        tables += _table(f"{caption}, {words}", "Estimator", counts, table)
    return heading("Estimators", "estimators") + "\n" + raw(said + tables)


def _pooled(rows: Sequence[Row]) -> str:
    """Bias and coverage over some ways of choosing areas, by their trials."""
    if not rows:
        return "[x]"
    trials = sum(row["trials"] for row in rows)
    bias = _signed(sum(row["bias"] * row["trials"] for row in rows) / trials)
    known = [row for row in rows if row["covers"] is not None]
    if not known:
        return bias
    share = sum(row["covers"] * row["trials"] for row in known) / sum(row["trials"] for row in known)
    return f"{bias}; {100 * share:.0f}%"
