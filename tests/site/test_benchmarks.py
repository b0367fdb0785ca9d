"""The page on speed shows what the file of results holds, and nothing else."""

from __future__ import annotations

import json
import re

import pytest

from sendap.errors import DataError
from sendap.site.benchmarks import RESULTS, benchmarks_part

MACHINE = {"date": "2026-11-02", "cores": 4, "memory_gb": 25, "python": "3.11.7", "versions": {"duckdb": "2.0.0"}}
LIMITS = {"limit_gb": 12.0}


def result(ours: float, *, goal: float | None = 3.0) -> dict:
    floor = {
        "case": "DuckDB (floor)",
        "note": "",
        "seconds": 0.5,
        "ratio": 1.0,
        "peak_mb": 200,
        "numbers": "",
        "runs": 3,
    }
    mine = {**floor, "case": "sendap", "seconds": ours, "ratio": ours / 0.5, "peak_mb": 345, "numbers": "equal"}
    lost = {"case": "other", "note": "<b>a & b</b>", "failed": "did not finish in 120 seconds"}
    size = {"records": 1_000_000, "load": 1.0, "cases": [floor, mine, lost]}
    return {"machine": MACHINE, "limits": LIMITS, "tasks": [{"task": "Cells", "goal": goal, "sizes": [size]}]}


def page(folder, content: object) -> str:
    path = folder / RESULTS
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return benchmarks_part(folder)


def rows(html: str) -> list[list[str]]:
    found = [
        re.findall(r"<t[hd][^>]*>(?:<div>)?(.*?)(?:</div>)?</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", html)
    ]
    return found[1:]


def test_the_table_holds_the_figures_of_the_file(tmp_path):
    html = page(tmp_path, result(1.25))
    assert rows(html) == [
        ["DuckDB (floor)", "1,000,000", "0.50", "1.0", "0.20 GB", ""],
        ["sendap", "1,000,000", "1.25", "2.5", "0.34 GB", "Yes"],
        [
            'other<span class="sendap-minor">&lt;b&gt;a &amp; b&lt;/b&gt;</span>',
            "1,000,000",
            "Did not finish in 120 seconds",
            "",
            "",
            "",
        ],
    ]
    assert "Measured on 2 November 2026, on a machine with 4 cores and 25 GB of memory." in html
    assert "Measured: 2 rows 3 times." in html
    assert "Our goal is at most 3 times the floor. It is met." in html


def test_a_goal_that_is_missed_is_said(tmp_path):
    assert "It is not met: 3.4 times with 1,000,000 records." in page(tmp_path, result(1.7))
    assert "Our goal" not in page(tmp_path, result(1.7, goal=None))


def test_without_measurements_the_page_says_so(tmp_path):
    assert "There are no measurements in this copy." in benchmarks_part(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"machine": {}}'])
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    with pytest.raises(DataError, match=r"benchmarks/results.json isn't a file of benchmark results"):
        page(tmp_path, content)


def test_the_file_in_this_copy_is_whole_and_names_no_machine(checkout):
    path = checkout / RESULTS
    if not path.is_file():
        pytest.skip("nothing was measured in this copy")
    assert set(json.loads(path.read_text(encoding="utf-8"))["machine"]) == set(MACHINE)
    assert "Where and when" in benchmarks_part(checkout)
