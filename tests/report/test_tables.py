"""Tables that a screen reader can follow, and files that a spreadsheet can't be attacked with."""

from __future__ import annotations

import base64
import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendap.report.tables import NOT_AVAILABLE, download, estimate_columns, interval, safe_csv, table

HOSTILE = '<script>alert("x")</script> & \'<img src=x onerror=y>"'


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each cell."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.cells, self.caption, self._into = [], [], "", None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")
        self._into = tag if tag in ("td", "th", "caption") else self._into

    def handle_endtag(self, tag):
        self._into = None if tag in ("td", "th", "caption") else self._into

    def handle_data(self, data):
        if self._into == "caption":
            self.caption += data
        elif self._into in ("td", "th"):
            self.cells[-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


FRAME = pd.DataFrame({"Area": ["Leeds", "York"], "Share (per cent)": [61.25, -3.0], "Note": ["", None]})


def test_a_table_has_a_caption_scopes_and_no_blank_cell():
    parsed = Parsed(table(FRAME, "Shares of plans"))
    assert parsed.caption == "Shares of plans"
    assert [attrs.get("scope") for attrs in parsed.all("th")] == ["col", "col", "col", "row", "row"]
    assert parsed.cells == ["Area", "Share (per cent)", "Note", "Leeds", "61.2", "[x]", "York", "−3", "[x]"]
    region = parsed.all("div")[0]
    assert (region["role"], region["tabindex"], region["aria-label"]) == ("region", "0", "Shares of plans")


def test_a_table_has_one_row_of_headings_and_no_merged_cell():
    html = table(FRAME, "Shares of plans")
    assert html.count("<thead>") == 1
    assert html.count("<tr>") == 3
    assert "colspan" not in html
    assert "rowspan" not in html


def test_two_tables_on_a_page_share_no_id():
    html = table(FRAME, "First") + table(FRAME, "Second", file="second.csv")
    assert Parsed(html).caption == "FirstSecond"
    assert not [attrs for _, attrs in Parsed(html).tags if "id" in attrs]


def test_another_column_may_head_the_rows():
    parsed = Parsed(table(FRAME[["Share (per cent)", "Area"]], "c", row_heading="Area"))
    assert [attrs.get("scope") for attrs in parsed.all("th")] == ["col", "col", "row", "row"]


def test_numbers_stand_to_the_right_text_to_the_left():
    parsed = Parsed(
        table(pd.DataFrame({"a": ["x"], "b": [1.5], "c": ["−1,234.5"], "d": ["£12"], "e": ["1 to 2"]}), "c")
    )
    assert [attrs.get("class") for attrs in parsed.all("td")] == ["number", "number", "number", None]


def test_hostile_text_stays_text_wherever_it_stands():
    frame = pd.DataFrame({HOSTILE: [HOSTILE], "b": [HOSTILE]})
    html = table(frame, HOSTILE, file=HOSTILE + ".csv")
    parsed = Parsed(html)
    assert {tag for tag, _ in parsed.tags} == {
        "div", "table", "caption", "thead", "tr", "th", "tbody", "td", "p", "a"
    }  # fmt: skip
    assert parsed.caption == HOSTILE
    assert parsed.cells == [HOSTILE, "b", HOSTILE, HOSTILE]
    assert parsed.all("div")[0]["aria-label"] == HOSTILE
    assert parsed.all("a")[0]["download"] == HOSTILE + ".csv"
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_reads_back_as_it_was(caption, cell):
    parsed = Parsed(table(pd.DataFrame({"a": [cell]}), caption))
    # Control characters and ends of lines are normalised by the parser of HTML, not by us.
    clean = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
    if not clean.search(caption + cell):
        assert parsed.caption == caption
        assert parsed.cells[1] == (cell if cell.strip() else NOT_AVAILABLE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "[x]"), (float("nan"), "[x]"), (float("inf"), "[x]"), (pd.NA, "[x]"), (pd.NaT, "[x]"), ("", "[x]"),
        ("  ", "[x]"),
        (0, "0"), (0.0, "0"), (-0.0, "0"), (-5, "−5"), (-5.0, "−5"), (1234567, "1,234,567"), (1234.6, "1,235"),
        (123456.7, "123,457"), (61.27, "61.3"), (0.0123, "0.0123"), (0.00001234, "0.0000123"), (-0.125, "−0.125"),
        (np.float64(2.5), "2.50"), (np.int64(-7), "−7"), (True, "yes"), (np.False_, "no"), ("text", "text"),
    ],
)  # fmt: skip
def test_cells_show_three_figures_a_true_minus_and_never_an_exponent(value, text):
    assert Parsed(table(pd.DataFrame({"a": pd.Series([value], dtype=object)}), "c")).cells[1] == text


@pytest.mark.parametrize(
    "text", ["=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\n=1", " =1+1", "=5", "-", "--1"]
)
def test_text_that_a_spreadsheet_would_run_is_made_harmless(text):
    written = next(csv.reader(io.StringIO(safe_csv(pd.DataFrame({"a": [text]})).partition("\n")[2], newline="")))
    assert written == ["'" + text]


@pytest.mark.parametrize("text", ["\r=1", "a\r=1", "a\r\n=1"])
def test_a_carriage_return_cannot_begin_a_row_of_its_own(text):
    written = safe_csv(pd.DataFrame({"a": [text], "b": ["z"]}))
    assert "\r" not in written
    assert len(pd.read_csv(io.StringIO(written))) == 1


@pytest.mark.parametrize("heading", ["=1+1", "@x"])
def test_headings_are_made_harmless_too(heading):
    assert safe_csv(pd.DataFrame({heading: ["b"]})).splitlines()[0] == f"'{heading}"


@pytest.mark.parametrize("text", ["-5", "+5", "-1,234.5", "Leeds", "", "−4 to 2", "a=b", "1=1"])
def test_numbers_and_plain_text_are_left_alone(text):
    assert pd.read_csv(
        io.StringIO(safe_csv(pd.DataFrame({"a": [text], "b": ["z"]}))), dtype=str, keep_default_na=False
    )["a"].tolist() == [text]


def test_numbers_in_a_file_keep_all_their_digits():
    assert safe_csv(pd.DataFrame({"a": [-1.23456789, 2.0], "b": [3, -4]})) == "a,b\n-1.23456789,3\n2.0,-4\n"


@given(st.text(min_size=1, max_size=20))
def test_no_text_ever_begins_a_cell_with_the_sign_of_a_formula(text):
    written = next(csv.reader(io.StringIO(safe_csv(pd.DataFrame({"a": [text]})).partition("\n")[2], newline="")), [""])
    cell = written[0] if written else ""
    if cell[:1] in "=+-@" and cell:
        # All that may remain is a signed number.
        assert cell[0] in "+-"
        assert cell[1:].replace(",", "").replace(".", "").lstrip("−£").isdigit()


def test_a_download_holds_its_own_file():
    attrs = Parsed(download(FRAME, "shares.csv")).all("a")[0]
    assert attrs["download"] == "shares.csv"
    kind, _, encoded = attrs["href"].partition(";base64,")
    assert kind == "data:text/csv;charset=utf-8"
    assert base64.b64decode(encoded).decode("utf-8") == safe_csv(FRAME)


def test_an_interval_without_an_end_is_not_available():
    assert interval(-1.25, 3.0, 1) == "−1.2 to 3.0"
    assert interval(float("nan"), 3.0, 1) == NOT_AVAILABLE
    assert interval(float("-inf"), 3.0, 1) == NOT_AVAILABLE


def test_results_are_shown_with_their_method_clusters_and_years():
    row = {
        "outcome": "timely", "unit": "per cent", "estimate": -3.42, "ci_low": -7.8, "ci_high": 1.0, "inference": "crv3",
        "treated_clusters": 32.0, "clusters": 151.0, "periods_before": "2019 to 2022", "periods_after": "2024",
    }  # fmt: skip
    nothing = row | {"estimate": float("nan"), "ci_low": float("nan"), "ci_high": float("nan"), "inference": "none"}
    shown = estimate_columns(pd.DataFrame([row, nothing]), {"timely": "Plans in time"}).to_dict("records")
    assert shown[0] == {
        "Outcome": "Plans in time", "Unit": "per cent", "Estimate": "−3.4", "95% interval": "−7.8 to 1.0",
        "Method": "cluster jackknife (CRV3)", "Areas treated": 32, "Areas in all": 151, "Years before": "2019 to 2022",
        "Years after": "2024",
    }  # fmt: skip
    assert (shown[1]["Estimate"], shown[1]["95% interval"], shown[1]["Method"]) == ("[x]", "[x]", "none valid")
