"""The disparity report: figures with words, table and CSV; a map in which every area has a tile; runs and pages."""

from __future__ import annotations

import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from disparity.made_tables import made_counts, made_table
from disparity.test_findings import CATALOG, reversal

from sendap.disparity.findings import Findings
from sendap.report import disparity_page as page
from sendap.report import disparity_sections as sections
from sendap.report.disparity_figures import Said, gap_figure, parts_figure, series_figure
from sendap.report.disparity_tables import UNSURE, gaps_table, listed, surely_moved, with_limits
from sendap.report.disparity_tiles import BLOCKS, SHADES, placed, short_names, tile_figure
from sendap.report.figures import ALT_LIMIT
from sendap.runs.disparity import FOLDER, run_reports
from sendap.site.disparity import latest_reports
from sendap.site.stage import stage
from sendap.workspace import Workspace
from tests.site.made_runs import make_run, make_workspace, summary

SAID = Said("Plans placed", "Nobody", "2024", "made", False)


@pytest.fixture(scope="module")
def found():
    return Findings.of(made_counts(made_table(), reversal()), CATALOG, synthetic=True)


def test_figures_state_a_finding_and_carry_their_table(found):
    html = "".join(
        part(found).html for part in (page.group_gaps, page.over_time, sections.place, sections.place_against_group)
    )
    titles = re.findall(r'figure-title"><strong>(.*?)</strong>', html)
    assert len(titles) >= 6
    for title in titles:
        assert title.endswith("(synthetic data, not a finding)")
        assert len(title.removesuffix("(synthetic data, not a finding)").split()) <= 10
    alts = re.findall(r'<img alt="([^"]+)"', html)
    assert len(alts) == len(titles)
    assert all(20 < len(alt) <= ALT_LIMIT and alt.endswith("Figures in the table below.") for alt in alts)
    assert html.count("data:text/csv") >= len(titles)
    assert html.count("Source: synthetic data.") == len(titles)


def test_a_group_too_small_has_words_in_the_figure_and_the_table(found):
    rows = pd.DataFrame(
        {"group": ["A", "B"], "difference": [5.0, np.nan], "low": [2.0, np.nan], "high": [8.0, np.nan],
         "flagged": [True, False]}
    )  # fmt: skip
    drawn = gap_figure(rows, SAID, title="A differs", reference="C", how="by hand")
    words = [text.get_text() for axes in drawn.canvas.axes for text in axes.texts]
    assert words == ["too few to say"]
    assert drawn.data["Flagged"].tolist() == ["yes", "too few to say"]
    table = gaps_table(found, "ethnicity").set_index("Group")
    assert (table.loc["Irish Traveller"].drop(["Children", "Areas", "Flagged"]) == UNSURE).all()
    assert table.loc["White British", "Ratio"] == "reference"


def test_parts_of_one_sign_stand_end_to_end():
    rows = pd.DataFrame(
        {"group": ["A", "B"], "total": [5.0, 1.0], "total_low": [3.0, -1.0], "total_high": [7.0, 3.0],
         "between": [2.0, -3.0], "between_low": [1.0, -4.0], "between_high": [3.0, -2.0],
         "within": [3.0, 4.0], "within_low": [2.0, 3.0], "within_high": [4.0, 5.0]}
    )  # fmt: skip
    drawn = parts_figure(rows, SAID, title="Most lies inside", reference="C")
    bars = drawn.canvas.axes[0].patches
    starts = sorted((round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in bars)
    assert starts == [(0.0, -3.0), (0.0, 2.0), (0.0, 4.0), (2.0, 3.0)]
    assert "2.0 between and 3.0 inside" in drawn.alt


def test_a_series_is_shaded_while_a_programme_begins():
    rows = pd.DataFrame(
        {"arm": ["treated"] * 3 + ["comparison"] * 3, "period": [2022, 2023, 2024] * 2, "gap": [1.0, 2, 3, 1, 1, 1],
         "low": [0.0] * 6, "high": [4.0] * 6}
    )  # fmt: skip
    drawn = series_figure(rows, SAID, title="Wider", axis="Gap", kind="calendar year", what="Gap of A to B",
                          starting=(2022, 2024))  # fmt: skip
    assert [text.get_text() for text in drawn.canvas.axes[0].texts] == ["programme\nbegins"]
    assert "programme areas from 1.0 to 3.0; other areas from 1.0 to 1.0" in drawn.alt
    assert drawn.data["Areas"].unique().tolist() == ["programme areas", "other areas"]


def test_every_area_has_a_tile_of_its_own(catalog):
    areas = pd.DataFrame([{"name": area.name, "region": area.region} for area in catalog.places.current])
    tiles = placed(areas)
    assert len(tiles) == len(areas) == 153
    assert not tiles.duplicated(["column", "row"]).any()
    assert set(tiles["region"]) == set(BLOCKS)
    for _, block in tiles.groupby("region"):
        order = block.sort_values(["row", "column"])["name"].tolist()
        assert order == sorted(order)
    assert short_names(pd.Series(["Kingston upon Hull, City of", "Kent", "Bath and North East Somerset"])).tolist() == [
        "KiHu", "Kent", "BaNo",
    ]  # fmt: skip


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_on_tiles_can_be_read(catalog):
    for shade, ink in SHADES:
        light, dark = sorted((luminance(shade), 1.0 if ink == "white" else 0.0), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    names = [area.name for area in catalog.places.current if area.region == "London"]
    frame = pd.DataFrame(
        {"cluster": names, "name": names, "region": "London", "n": 100.0, "rate": 50.0, "position": "inside the limits",
         "status": "ok", "shrunk": np.linspace(40, 60, len(names))}
    ).assign(shrunk_low=30.0, shrunk_high=70.0)  # fmt: skip
    frame.loc[0, ["shrunk", "rate"]] = np.nan
    drawn = tile_figure(frame, SAID, title="Most lie between")
    words = [text.get_text() for text in drawn.canvas.axes[0].texts]
    assert words.count(UNSURE) == 1
    assert drawn.data["Area"].tolist() == sorted(names)


def test_small_words():
    assert listed(["a", "b", "c"]) == "a, b and c"
    row = pd.Series({"status": "ok", "x": 1.234, "x_low": 1.0, "x_high": 2.0})
    assert with_limits(row, "x", 1) == "1.2 (1.0 to 2.0)"
    assert with_limits(row.replace("ok", "too few to say"), "x", 1) == UNSURE
    first, last = ({"gap": value, "low": value - 1, "high": value + 1} for value in (0.0, 1.3))
    assert not surely_moved(pd.Series(first), pd.Series(last), "gap")
    assert surely_moved(pd.Series(first), pd.Series({"gap": 1.5, "low": 0.5, "high": 2.5}), "gap")


@pytest.fixture(scope="module")
def run(tmp_path_factory, checkout):
    """One report on synthetic tables, made by its notebook, and the same asked for again."""
    runs = tmp_path_factory.mktemp("runs")
    home = Workspace(checkout, data_dir=None)
    done, absent = run_reports(["REVIEWS"], home, runs)
    again, _ = run_reports(["REVIEWS"], home, runs)
    assert not absent
    return runs, done[0], again[0]


def test_a_report_runs_once_and_leaves_all_it_says(run):
    _, done, again = run
    assert done.fresh
    assert done.synthetic
    assert not again.fresh
    assert again.folder == done.folder
    manifest = json.loads((done.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"] == {"report": "REVIEWS"}
    assert {"cells.parquet", "gaps.csv", "disparity.ipynb", "summary.json", "table.json"} <= set(manifest["outputs"])
    notebook = nbformat.read(done.folder / "disparity.ipynb", as_version=4)
    injected = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert 'report = "REVIEWS"' in injected[0].source
    assert "pilot" not in injected[0].source


def test_the_site_shows_reports_and_says_what_is_synthetic(run, tmp_path):
    runs, done, _ = run
    (tmp_path / "workspace").mkdir()
    workspace = make_workspace(tmp_path / "workspace")
    make_run(runs, summary("CP"))
    reports = latest_reports(runs)
    assert [each.said.report for each in reports] == ["REVIEWS"]
    stage(workspace, runs_dir=runs)
    overview = (workspace.root / "pages/disparity.qmd").read_text(encoding="utf-8")
    assert "synthetic data, not a finding" in overview
    assert "disparity/reviews.html" in overview
    shown = nbformat.read(workspace.root / "pages/disparity/reviews.ipynb", as_version=4)
    assert "synthetic data, not a finding" in shown.cells[0].source
    assert (workspace.root / "pages/downloads" / FOLDER / "REVIEWS" / "gaps-by-area.csv").is_file()
    assert "{#disparity-reviews}" in (workspace.root / "pages/downloads.qmd").read_text(encoding="utf-8")
    path = done.folder / "gaps.csv"
    whole = path.read_bytes()
    path.write_bytes(whole + b"1\n")
    with pytest.raises(Exception, match="changed since"):
        latest_reports(runs)
    path.write_bytes(whole)


def test_without_a_report_the_overview_says_so(workspace, tmp_path):
    (tmp_path / "workspace").mkdir()
    home = make_workspace(tmp_path / "workspace")
    make_run(tmp_path / "runs", summary("CP"))
    stage(home, runs_dir=tmp_path / "runs")
    assert "No disparity report has been made yet" in (home.root / "pages/disparity.qmd").read_text(encoding="utf-8")


def test_earlier_results_stand_in_a_table_of_their_own():
    """Rung M3 is never beside the others, nor called the real gap."""
    draw = np.random.default_rng(6)
    table = made_table(
        blocks=[{"strata": {"sex": "a", "eyfsp": "b"}}], labels={"eyfsp": {"good": "Good", "not": "Not yet"}},
        adjust_for=["eyfsp"],
    )  # fmt: skip
    rows = [
        {"area": f"L{at:02d}", "period": period, "sex": sex, "eyfsp": early, "n": 200, "yes": draw.binomial(200, p)}
        for at in range(12)
        for period in (2022, 2024)
        for sex in ("Female", "Male")
        for early, p in (("Good", 0.7), ("Not yet", 0.4))
    ]
    made = Findings.of(made_counts(table, rows), CATALOG, synthetic=False)
    html = page.alike(made).html
    tables = html.split("<table>")[1:]
    assert "M3" not in tables[0]
    assert "M3. Children" in tables[1]
    assert "A different question" in html
    assert "no table holds them" not in html


def test_crossed_strata_are_decomposed_crossed_and_named_in_words():
    """Poverty goes with special needs and raises absence; nothing else does."""
    draw = np.random.default_rng(9)
    table = made_table(
        blocks=[{"strata": {"fsm": "a", "sen": "b", "sex": "c"}}],
        labels={
            "fsm": {"yes": "Eligible", "no": "Not eligible"},
            "sen": {"sen": "Special educational needs", "none": "No special educational needs"},
        },
        references={"fsm": "Not eligible", "sen": "No special educational needs"},
        measures=[
            {"id": "absent", "label": "Pupils absent", "means": "pupils absent", "numerator": ["a"],
             "denominator": ["n"], "better": "lower"},
        ],
    )  # fmt: skip
    rows = [
        {"area": f"L{at:02d}", "period": period, "fsm": fsm, "sen": sen, "sex": sex, "n": n,
         "yes": draw.binomial(n, 0.1 + 0.2 * (fsm == "Eligible"))}
        for at in range(14)
        for period in (2022, 2024)
        for fsm, shares in (("Eligible", (120, 80)), ("Not eligible", (400, 60)))
        for sen, n in zip(("No special educational needs", "Special educational needs"), shares, strict=True)
        for sex in ("Female", "Male")
    ]  # fmt: skip
    made = Findings.of(made_counts(table, rows, measure="absent"), CATALOG, synthetic=False)
    straight, curved = next(pair for pair in made.decomposed if pair[0].by == "sen")
    for each in (straight, curved):
        parts = each.frame.set_index("part")
        assert parts.loc["explained", "low"] > 0
        assert (
            parts.loc["not explained by the measured factors", "low"]
            < 0
            < parts.loc["not explained by the measured factors", "high"]
        )
    text = str(sections.explained(made))
    assert "explained by free school meals and sex" in text
    assert "pupils with special educational needs than for pupils without special educational needs" in text
    assert "{" not in text
    shown = str(sections.crossed(made))
    assert "Adding up free school meals and special educational needs and sex explains" in shown
    assert "no FSM, no SEN, Male" in shown
    assert "of 100 pairs" in shown
    assert "don't hold" not in str(page.cannot(made))
    assert made.unanswerable[0].startswith("A social gradient")
