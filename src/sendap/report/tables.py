"""Accessible HTML tables and the figures' companions: caption, scope, units in headings, no blank cells."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from sendap.inference.selector import WORDS
from sendap.numerals import decimals, show
from sendap.periods import period_label

NOT_AVAILABLE = "[x]"


def table(frame: pd.DataFrame, caption: str, *, row_heading: str | None = None, file: str | None = None) -> str:
    """An HTML table: one row of headings with scope, numbers to the right, missing values as ``[x]``.

    ``row_heading`` names the column whose cells head their rows (the first by default). ``file`` names the
    CSV offered for download beside the table. Every text is escaped.
    """
    heading = row_heading or str(frame.columns[0])
    numeric = {name: pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns}
    parts = [f'<div class="sendap-table" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}">']
    parts.append(f"<table><caption>{escape(caption)}</caption><thead><tr>")
    for name in frame.columns:
        parts.append(f'<th scope="col"{_align(numeric[name])}>{escape(str(name))}</th>')
    parts.append("</tr></thead><tbody>")
    for values in frame.itertuples(index=False):
        parts.append("<tr>")
        for name, value in zip(frame.columns, values, strict=True):
            text = escape(_cell(value))
            if name == heading:
                parts.append(f'<th scope="row">{text}</th>')
            else:
                parts.append(f"<td{_align(numeric[name] or _looks_numeric(text))}>{text}</td>")
        parts.append("</tr>")
    parts.append("</tbody></table></div>")
    if file:
        parts.append(download(frame, file))
    return "".join(parts)


def _align(right: bool) -> str:
    return ' class="number"' if right else ""


def _looks_numeric(text: str) -> bool:
    return bool(text) and text.lstrip("−£").replace(",", "").replace(".", "", 1).isdigit()


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, str) and not value.strip()):
        return NOT_AVAILABLE
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            return NOT_AVAILABLE
        # Three significant figures, but all figures before the point, and never an exponent.
        places = 0 if float(value).is_integer() else max(2 - int(np.floor(np.log10(abs(value)))), 0)
        return show(float(value), places)
    if isinstance(value, (int, np.integer)):
        return show(int(value), 0)
    return str(value)


def safe_csv(frame: pd.DataFrame) -> str:
    """CSV whose text, headings too, can't run as a formula in a spreadsheet: a leading = + - @ gets an apostrophe."""

    def neutral(value: object) -> object:
        if not isinstance(value, str):
            return value
        value = value.replace("\r\n", "\n").replace("\r", "\n")  # a bare \r isn't quoted, and would begin a row
        if not value.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\n")):
            return value
        signed = value[:1] in ("+", "-") and _looks_numeric(value[1:])
        return value if signed else f"'{value}"

    safe = frame.map(neutral)
    return safe.set_axis([neutral(name) for name in frame.columns], axis=1).to_csv(index=False, lineterminator="\n")


def download(frame: pd.DataFrame, file: str) -> str:
    """A link that holds the CSV itself, so that it works wherever the page lies."""
    encoded = base64.b64encode(safe_csv(frame).encode("utf-8")).decode()
    return (
        f'<p class="sendap-download"><a download="{escape(file, quote=True)}" '
        f'href="data:text/csv;charset=utf-8;base64,{encoded}">Download these figures (CSV): {escape(file)}</a></p>'
    )


METHOD_WORDS: Mapping[str, str] = {
    **WORDS,
    "band": "band over all periods at once",
    "placebo_rank": "rank among placebo areas",
    "placebo_variance": "variance of placebo areas",
    "placebo_ratio": "rank of fit before and after",
    "none": "none valid",
}
ESTIMATOR_WORDS: Mapping[str, str] = {
    "group_time": "group-time",
    "group_time_lagged": "group-time, given the past",
    "two_way": "two-way fixed effects",
    "event_study": "event study",
    "two_by_two": "2x2",
    "imputation": "imputation",
    "two_stage": "two-stage",
    "sun_abraham": "cohort by period (Sun and Abraham)",
    "extended_two_way": "extended two-way",
    "stacked": "stacked",
    "local_projections": "local projections",
    "synthetic_did": "synthetic difference in differences",
}


def interval(low: float, high: float, places: int) -> str:
    if not np.isfinite([low, high]).all():
        return NOT_AVAILABLE
    return f"{show(low, places)} to {show(high, places)}"


def estimate_columns(frame: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Result rows as a reader's table: outcome, estimate, interval, method and clusters."""
    rows = []
    for row in frame.to_dict("records"):
        spread = (row["ci_high"] - row["ci_low"]) / 4
        places = min(decimals(spread) + 1, 3)
        rows.append(
            {
                "Outcome": (names or {}).get(row["outcome"], row["outcome"]),
                "Unit": row["unit"],
                "Estimate": show(row["estimate"], places) if np.isfinite(row["estimate"]) else NOT_AVAILABLE,
                "95% interval": interval(row["ci_low"], row["ci_high"], places),
                "Method": METHOD_WORDS.get(row["inference"], row["inference"]),
                "Areas treated": count(row["treated_clusters"]),
                "Areas in all": count(row["clusters"]),
                "Years before": row["periods_before"],
                "Years after": row["periods_after"],
            }
        )
    return pd.DataFrame(rows)


def count(value: float) -> int | str:
    """A number of areas; a row that couldn't be estimated has none."""
    return int(value) if np.isfinite(value) else NOT_AVAILABLE


def estimates_table(frame: pd.DataFrame) -> str:
    """What a notebook shows for results."""
    rows = []
    for row in frame.to_dict("records"):
        when = []
        if np.isfinite(row["cohort"]):
            when.append(f"start {_year(row['cohort'], row['period_kind'])}")
        if np.isfinite(row["period"]):
            when.append(_year(row["period"], row["period_kind"]))
        if np.isfinite(row["event_time"]):
            when.append(f"{show(row['event_time'], 0)} years from the start")
        rows.append({"Term": ", ".join([row["term"], *when])})
    described = pd.concat([pd.DataFrame(rows), estimate_columns(frame)], axis=1)
    return table(described, "Estimates by term", row_heading="Term")


def _year(value: float, kind: str) -> str:
    return period_label(int(value), kind) if kind else f"{value:g}"
