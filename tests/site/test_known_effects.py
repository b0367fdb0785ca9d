"""The page on planted effects shows what the file of results holds, and marks what chance doesn't explain."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from benchmarks.known_effects.designs import DESIGNS
from sendap.errors import DataError
from sendap.site.known_effects import RESULTS, known_effects_part


def result(held: int = 190, alarms: int = 10, **changes: object) -> dict:
    """One result of 200 repetitions; 190 of 200 is the 95% that is promised."""
    return {
        "measure": "absence <b>",
        "comparison": "matched",
        "inference": "crv3",
        "seeds": 200,
        "truth": -3.14,
        "bias": 0.012,
        "bias_error": 0.01,
        "spread": 0.2,
        "width": 0.9,
        "no_interval": 0,
        "held": held,
        "found": 120,
        "null_seeds": 200,
        "alarms": alarms,
    } | changes


def page(folder, *results: dict, content: object = None) -> str:
    design = {
        "key": "tl-2", "pilot": "TL", "name": "Lists", "treated": 2, "controls": 117, "planted": "A <i>fall</i>.",
        "records": 81_234, "results": list(results),
    }  # fmt: skip
    path = folder / RESULTS
    path.parent.mkdir(exist_ok=True)
    made = {"made": "2026-11-02", "level": 0.95, "designs": [design]} if content is None else content
    path.write_text(made if isinstance(made, str) else json.dumps(made), encoding="utf-8")
    return known_effects_part(folder)


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html)[1:]
    return [re.findall(r"<t[hd][^>]*>(?:<div>)?(.*?)(?:</div>)?</t[hd]>", row) for row in rows]


def test_the_table_holds_the_figures_of_the_file(tmp_path):
    html = page(tmp_path, result())
    # Two Monte Carlo errors: 2 sqrt(.95 .05 / 200) is 3.1 points.
    assert cells(html) == [
        [
            "Absence &lt;b&gt; (matched)",
            "Cluster jackknife (CRV3)",
            "−3.14",
            "+0.01 (±0.02)",
            "95.0% (±3.1)",
            "0.90",
            "60%",
            "5.0% (±3.1)",
        ]
    ]
    assert "A &lt;i&gt;fall&lt;/i&gt;." in html
    assert "About 81,000 records each time." in html
    assert "Done on 2 November 2026, 200 times with the effect and as often without." in html


# Exact two-sided binomial tests at 200 repetitions of 95%: 183 and below, or 197 and above, have p below 5%.
@pytest.mark.parametrize(
    ("held", "mark"), [(183, "too few"), (184, None), (196, None), (197, "more than promised"), (200, "more than")]
)
def test_a_share_is_marked_where_chance_doesnt_explain_it(tmp_path, held, mark):
    html = page(tmp_path, result(held=held))
    shown = cells(html)[0][4]
    assert shown.startswith(f"{held / 2:.1f}% (±3.1)")
    assert (mark in shown) if mark else shown.endswith(")")
    assert f"held the truth too seldom in {int(mark == 'too few')} tests" in html


def test_false_alarms_and_bias_are_marked(tmp_path):
    html = page(tmp_path, result(alarms=18, bias=-0.5, comparison=""))
    (row,) = cells(html)
    assert row[3] == "−0.50 (±0.02) more than chance"
    assert row[7] == "9.0% (±3.1) too many"
    assert "too many false alarms in 1." in html


def test_what_no_design_promises_is_shown_but_not_counted(tmp_path):
    html = page(tmp_path, result(), result(held=100, comparison="all others"))
    assert len(cells(html)) == 2
    assert "In 1 tests of the designs intervals held the truth in 95.0% of repetitions" in html


def test_without_results_the_page_says_so(tmp_path):
    assert "There are no results in this copy." in known_effects_part(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"made": "2026-11-02"}', '{"made": 1, "level": 0.95, "designs": []}'])
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    with pytest.raises(DataError, match=r"benchmarks/known_effects.json isn't a file of known-effect results"):
        page(tmp_path, content=content)


def test_the_file_in_this_copy_holds_every_design_of_the_register(checkout):
    path = checkout / RESULTS
    if not path.is_file():
        pytest.skip("no effects were planted in this copy")
    designs = json.loads(path.read_text(encoding="utf-8"))["designs"]
    assert [each["key"] for each in designs] == [each.key for each in DESIGNS]
    for each in designs:
        assert each["name"] in known_effects_part(checkout)


@pytest.mark.parametrize("key", ["elsec", "elsec-triple", "tl-2"])
def test_a_seed_gives_the_same_rows_and_no_effect_is_planted_where_none_is(key):
    (design,) = (each for each in DESIGNS if each.key == key)
    first, again, null = design.seed(3, False), design.seed(3, False), design.seed(3, True)
    pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(again))
    assert all(row["truth"] < 0 for row in first)
    assert all(row["truth"] == 0 for row in null)
    for row in (*first, *null):
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
        assert row["treated_clusters"] == design.treated


def test_designs_belong_to_pilots_that_have_a_protocol(checkout):
    for pilot in {design.pilot for design in DESIGNS}:
        assert (checkout / "analysis" / pilot.lower() / "protocol.yaml").is_file()
