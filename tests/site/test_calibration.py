"""The page on false alarms shows what the file of results holds; programmes that never were lie where they should."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from benchmarks.calibration.panels import Figures
from benchmarks.calibration.placing import SCHEMES, place
from benchmarks.calibration.trial import _scaled
from sendap.errors import DataError
from sendap.site.calibration import RESULTS, calibration_part
from sendap.site.calibration import SCHEMES as SHOWN


def method(**changes: object) -> dict:
    powers = {f"power_{size}": 0.5 for size in ("0.25", "0.5", "1", "1.5", "2")}
    return {
        "estimator": "group_time", "method": "crv3", "treated": 9, "scheme": "random", "trials": 400, "refused": 0.0,
        "rejects": 0.05, "error": 0.011, "bias": 0.02,
    } | powers | changes  # fmt: skip


def page(folder, methods: list[dict], estimators: list[dict] = (), content: object = None) -> str:
    path = folder / RESULTS
    path.parent.mkdir(exist_ok=True)
    made = {
        "made": "2026-11-02",
        "trials": 400,
        "series": [{"series": "appeal_rate", "areas": 147, "first": 2014, "last": 2022}],
        "methods": methods,
        "selector": methods,
        "estimators": list(estimators),
    }
    path.write_text(json.dumps(made if content is None else content), encoding="utf-8")
    return calibration_part(folder)


def rows(html: str) -> dict[str, list[list[str]]]:
    """By caption, the cells of each row."""
    tables = re.findall(r"<caption[^>]*>(.*?)</caption>(.*?)</table>", html, flags=re.DOTALL)
    return {
        caption: [
            [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL)]
            for row in re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)[1:]
        ]
        for caption, body in tables
    }


def test_alarms_are_shown_with_what_chance_can_do_and_marked_where_it_can_not(tmp_path):
    html = page(
        tmp_path,
        [method(), method(scheme="struggling", rejects=0.3, error=0.023, bias=0.41)],
    )
    found = rows(html)["False alarms, group-time"]
    assert found[0] == ["At random", "5.0% (±2.2)"]
    assert found[2] == ["Did badly in the last two years", "30.0% (±4.6) too high"]
    assert found[1][1] == "[x]"
    assert rows(html)["Off on average, group-time"][2][1] == "+0.41"
    assert "appeal rate, 147 areas, 2014 to 2022" in html


def test_what_is_refused_is_marked(tmp_path):
    found = rows(page(tmp_path, [method(method="crv1", refused=1.0, rejects=0.2, error=0.02)]))[
        "False alarms by method"
    ]
    assert found == [["Cluster-robust (CRV1), group-time", "20.0% (±4.0) too high refused"]]


def test_estimators_pool_all_other_ways_of_choosing_by_their_trials(tmp_path):
    one = {
        "estimator": "two_way", "treated": 9, "scheme": "struggling", "trials": 100, "bias": 0.4, "covers": 0.8,
    }  # fmt: skip
    html = page(tmp_path, [method()], [one, one | {"scheme": "leading", "trials": 300, "bias": 0.0, "covers": 0.96}])
    caption = "Bias, and how often the interval holds the truth, areas chosen for how they did"
    # (0.4 x 100 + 0 x 300) / 400 and (0.8 x 100 + 0.96 x 300) / 400.
    assert rows(html)[caption] == [["Two-way fixed effects", "+0.10; 92%"]]


def test_a_file_that_is_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"benchmarks/calibration.json isn't a file of calibration results"):
        page(tmp_path, [], content={"made": "2026-11-02"})


def test_a_copy_without_results_says_so(tmp_path):
    assert "There are no results in this copy." in calibration_part(tmp_path)


def test_the_page_of_the_repository_can_be_made_and_names_every_way(checkout):
    html = calibration_part(checkout)
    assert set(SHOWN) == set(SCHEMES)
    assert all(words in html for words in SHOWN.values())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("count", [1, 9, 32])
def test_programmes_are_placed_in_as_many_areas_as_asked_for_as_they_did(scheme, count):
    generator = np.random.default_rng(3)
    values = generator.normal(size=(120, 7)).cumsum(axis=1)
    region = np.arange(120) % 9
    chosen = place(scheme, count, values, 4, region, generator)
    assert len(set(chosen.tolist())) == count
    score = {
        "struggling": values[:, 2:4].mean(axis=1),
        "falling": values[:, 3] - values[:, 0],
        "always_low": values[:, :4].mean(axis=1),
    }
    if scheme in score:
        # The worst third, or twice as many as are wanted where that is more.
        assert set(chosen) <= set(np.argsort(score[scheme])[: max(40, 2 * count)])
    if scheme == "random" or (scheme == "leading" and count <= 9):
        assert np.bincount(region[chosen], minlength=9).max() == -(-count // 9)


def test_figures_are_turned_so_that_more_is_better():
    figures = Figures("x", -1, np.zeros((1, 1)), np.zeros(1), np.zeros(1), np.zeros(1), 2.0)
    found = _scaled({"estimate": 4.0, "low": 1.0, "high": 7.0, "method": "crv3"}, figures)
    assert found == {"estimate": -2.0, "low": -3.5, "high": -0.5, "method": "crv3"}
