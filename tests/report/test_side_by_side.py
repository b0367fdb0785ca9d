"""Every estimator and comparison of the primary outcome in one table: the rows of the results, and reasons."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sendap.report.side_by_side import MEAN_OF_YEARS, side_by_side
from sendap.report.tables import ESTIMATOR_WORDS
from sendap.results import MAIN, SINGLE


def bodies(html: str) -> list[list[str]]:
    """The cells of the last table, without its heading."""
    last = re.sub(r"base64,[^\"]*", "", html).rsplit("<table", 1)[1]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in last.split("<tr")[1:]]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in rows if row][1:]


def overall(evaluated) -> pd.DataFrame:
    rows = evaluated.rows(evaluated.protocol.primary, term="overall")
    return rows[rows["contrast"] != SINGLE]


def test_each_way_has_one_row_and_the_headline_is_first(evaluated):
    html = side_by_side(evaluated).html
    found, rows = bodies(html), overall(evaluated)
    assert [row[:2] for row in found] == [
        [ESTIMATOR_WORDS[name], contrast] for name, contrast in zip(rows["estimator"], rows["contrast"], strict=True)
    ]
    assert found[0][:2] == ["group-time, given the past", MAIN]
    assert found[1][:2] == ["group-time", MAIN]
    held = rows[np.isfinite(rows["ci_low"])]
    assert f"by {int(np.isfinite(rows['estimate']).sum())} ways of estimating" in html
    apart = int(((held["ci_low"] > 0) | (held["ci_high"] < 0)).sum())
    said = f"{apart} of {len(held)} intervals exclude no change." if apart else f"All {len(held)} intervals include it."
    assert said in html
    assert html.count("<img ") == 1


def with_rows(evaluated, *added: dict):
    first = overall(evaluated).iloc[[0]]
    rows = [first.assign(**each) for each in added]
    return replace(evaluated, estimates=pd.concat([evaluated.estimates, *rows], ignore_index=True))


def test_the_mean_of_the_event_study_stands_among_the_estimators_without_an_interval(evaluated):
    events = [
        {"estimator": "event_study", "term": "event", "event_time": float(time), "estimate": value}
        for time, value in ((-2, 50.0), (0, 1.0), (1, 4.0))
    ]
    rows = bodies(side_by_side(with_rows(evaluated, *events)).html)
    (row,) = (row for row in rows if row[0] == "event study")
    # The years from the start on only: (1 + 4) / 2.
    assert row[3].startswith("2.5")
    assert row[-1] == MEAN_OF_YEARS.replace("'", "&#x27;")
    assert rows.index(row) == 3


def test_a_way_that_cant_be_used_says_why(evaluated):
    broken = {"estimator": "synthetic_did", "status": "not_estimable", "note": "Gaps <b>& more</b>."}
    blank = dict.fromkeys(("estimate", "ci_low", "ci_high", "treated_clusters", "clusters"), np.nan)
    html = side_by_side(with_rows(evaluated, broken | blank)).html
    assert "Gaps &lt;b&gt;&amp; more&lt;/b&gt;." in html
    assert bodies(html)[-1][0] == "synthetic difference in differences"


@pytest.mark.parametrize(
    ("values", "title"),
    [((1.0, 2.0), "Every way gives the same sign"), ((-1.0, 2.0), "The choice of method decides the sign")],
)
def test_the_title_says_what_the_estimates_say(evaluated, values, title):
    rows = evaluated.estimates[evaluated.estimates["estimator"].isin(["group_time", "two_way"])]
    kept = rows[(rows["term"] == "overall") & (rows["contrast"] == MAIN) & rows["headline"]]
    kept = kept[kept["outcome"] == evaluated.protocol.primary.id]
    moved = kept.assign(
        estimate=list(values), ci_low=[each - 1 for each in values], ci_high=[each + 1 for each in values]
    )
    html = side_by_side(replace(evaluated, estimates=moved)).html
    assert title in html
