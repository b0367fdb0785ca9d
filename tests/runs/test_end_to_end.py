"""The whole way, as an evaluator would go it: run, run again, publish, read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.protocol import read_protocol
from sendap.results import COLUMNS, MAIN, Estimates
from tests.site import checks

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "manifest.json", "cells.parquet", "estimates.parquet", "estimates.csv", "data.ipynb", "impact.ipynb",
    "board.ipynb", "summary.json", "protocol.json", "coverage.csv", "cohorts.csv", "set-aside.csv", "missing.csv",
    "trends.json", "probes.json", "sensitivity.ipynb", "power.ipynb", "power.json", "groups.json",
}  # fmt: skip


def sendap(*arguments: str, data: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "SENDAP_DATA"}
    environment["SENDAP_HOME"] = str(ROOT)
    if data is not None:
        environment["SENDAP_DATA"] = str(data)
    return subprocess.run(
        [sys.executable, "-m", "sendap.cli", *arguments],
        capture_output=True, text=True, env=environment, cwd=cwd, timeout=900, check=False,
    )  # fmt: skip


def last_run(runs: Path, pilot: str) -> Path:
    return runs / pilot / json.loads((runs / pilot / "latest.json").read_text())["run"]


# A pilot on records that nobody here has, clustered by office, and one that is only described.
SMALL, DESCRIBED = "JCPA", "TRAIN"


@pytest.fixture(scope="module")
def synthetic_runs(tmp_path_factory) -> Path:
    """Two pilots on a machine without data."""
    runs = tmp_path_factory.mktemp("synthetic") / "runs"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = sendap("run", SMALL, DESCRIBED, "--runs-dir", str(runs), "--jobs", "2", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert f"{SMALL}: " in done.stdout
    assert "synthetic data, not a finding" in done.stdout
    return runs


@pytest.fixture(scope="module")
def real_runs(tmp_path_factory, real_data) -> Path:
    """Both programmes on the published tables."""
    runs = tmp_path_factory.mktemp("real") / "runs"
    done = sendap("run", "CP", "SV", "--runs-dir", str(runs), "--jobs", "2", data=real_data)
    assert done.returncode == 0, done.stderr
    return runs


def test_a_run_is_whole(synthetic_runs):
    folder = last_run(synthetic_runs, SMALL)
    files = FILES | {"group-cells.parquet"}  # of records, which hold groups
    assert {path.name for path in folder.iterdir()} == files
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert set(manifest["outputs"]) == files - {"manifest.json"}
    assert manifest["run"] == folder.name
    assert {"SYNTHETIC-DATA.json", f"rollouts/{SMALL.lower()}.csv"} <= set(manifest["inputs"])
    assert not list(synthetic_runs.rglob("*.tmp"))


def test_everything_made_from_synthetic_data_says_so(synthetic_runs):
    folder = last_run(synthetic_runs, SMALL)
    assert Cells.read(folder / "cells.parquet").synthetic
    assert Estimates.read(folder / "estimates.parquet").frame["synthetic"].all()
    assert json.loads((folder / "summary.json").read_text())["synthetic"] is True
    for name in ("data", "board"):
        text = json.dumps(nbformat.read(folder / f"{name}.ipynb", 4))
        assert "ynthetic data, not a finding" in text


def test_what_was_planted_is_found_and_nothing_else(synthetic_runs):
    folder = last_run(synthetic_runs, SMALL)
    planted = Cells.read(folder / "cells.parquet").metadata["planted"]
    assert len(planted) == 1
    frame = Estimates.read(folder / "estimates.parquet").frame
    chosen = frame[
        frame["headline"]
        & (frame["estimator"] == "group_time")
        & (frame["term"] == "overall")
        & (frame["contrast"] == MAIN)
    ].set_index("outcome")
    assert len(chosen) == 3
    for outcome, row in chosen.iterrows():
        assert row["ci_low"] <= planted.get(outcome, 0.0) <= row["ci_high"], outcome
    assert "The effect that is in them" in json.dumps(nbformat.read(folder / "data.ipynb", 4))


def test_a_described_pilot_claims_no_effect(synthetic_runs):
    folder = last_run(synthetic_runs, DESCRIBED)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["kind"] == "description"
    assert summary["confidence"] == "Not an impact estimate"
    assert summary["synthetic"] is False  # nothing was measured, so nothing was invented
    assert not (folder / "estimates.parquet").exists()
    assert "Not an impact estimate" in json.dumps(nbformat.read(folder / "board.ipynb", 4))


def test_unchanged_work_is_not_done_again(synthetic_runs):
    folder = last_run(synthetic_runs, SMALL)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    done = sendap("run", SMALL, "--runs-dir", str(synthetic_runs))
    assert done.returncode == 0, done.stderr
    assert "nothing has changed" in done.stdout
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_same_inputs_give_the_same_bytes(synthetic_runs, tmp_path):
    done = sendap("run", SMALL, "--runs-dir", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    first, second = last_run(synthetic_runs, SMALL), last_run(tmp_path / "again", SMALL)
    assert first.name == second.name
    for name in ("cells.parquet", "estimates.parquet", "estimates.csv", "summary.json", "trends.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    for name in ("data", "impact", "board"):
        outputs = [
            [cell.get("outputs") and [output.get("data") for output in cell["outputs"]] for cell in book.cells]
            for book in (nbformat.read(folder / f"{name}.ipynb", 4) for folder in (first, second))
        ]
        assert outputs[0] == outputs[1], name


def test_a_stopped_run_leaves_the_last_good_one_and_no_half(synthetic_runs, tmp_path):
    """Interrupted while its notebooks execute; nothing but earlier runs is left, and it can be run again."""
    runs = tmp_path / "runs"
    environment = {**os.environ, "SENDAP_HOME": str(ROOT)}
    environment.pop("SENDAP_DATA", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "sendap.cli", "run", SMALL, "--runs-dir", str(runs)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(runs.glob(f"{SMALL}/.*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(runs.glob(f"{SMALL}/.*.tmp")), "the run never began"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert list((runs / SMALL).iterdir()) == []


def test_a_notebook_opened_by_hand_works_with_its_defaults(tmp_path):
    """As in JupyterLab: executed where it lies, with the parameters that stand in it."""
    source = ROOT / "notebooks" / "data.ipynb"
    environment = {key: value for key, value in os.environ.items() if key != "SENDAP_DATA"}
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(tmp_path), source],
        capture_output=True, text=True, env=environment, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    book = nbformat.read(tmp_path / "data.ipynb", 4)
    assert "SEND and AP Change Programme" in json.dumps(book)


def test_pilots_lists_the_last_run(synthetic_runs):
    done = sendap("pilots", "--runs-dir", str(synthetic_runs))
    assert done.returncode == 0
    assert "synthetic data, not a finding:" in done.stdout
    assert "SV  Safety Valve agreements" in done.stdout
    assert "not run yet: sendap run SV" in done.stdout


def test_fetch_says_where_data_come_from_and_what_is_missing(tmp_path):
    done = sendap("fetch", "--list", "--data-dir", str(tmp_path))
    assert done.returncode == 0
    assert "missing  " in done.stdout
    assert "https://www.gov.uk/government/publications/local-authority-interactive-tool-lait" in done.stdout


@pytest.mark.real_data
@pytest.mark.parametrize("pilot", ["CP", "SV"])
def test_real_results_hold_every_outcome_with_its_uncertainty(real_runs, workspace, pilot):
    protocol = read_protocol(workspace.analysis, pilot)
    folder = last_run(real_runs, pilot)
    assert {path.name for path in folder.iterdir()} == FILES
    frame = pd.read_parquet(folder / "estimates.parquet")
    assert list(frame.columns) == list(COLUMNS)
    assert not frame["synthetic"].any()
    treated = len(workspace.catalog.rollout(pilot).areas)
    for outcome in protocol.outcomes:
        rows = frame[
            (frame["outcome"] == outcome.id)
            & frame["headline"]
            & (frame["estimator"] == "group_time")
            & (frame["term"] == "overall")
            & (frame["contrast"] == MAIN)
        ]
        assert len(rows) == 1, outcome.id
        row = rows.iloc[0]
        assert np.isfinite(row[["estimate", "ci_low", "ci_high", "p_value", "clusters"]].astype(float)).all(), (
            outcome.id
        )
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
        assert row["inference"] == "crv3"
        assert row["family"] == outcome.family
        assert row["periods_before"]
        assert row["periods_after"]
        assert row["treated_clusters"] <= treated
        assert row["clusters"] > 100
        before = frame[
            (frame["outcome"] == outcome.id) & (frame["estimator"] == "event_study") & (frame["event_time"] < 0)
        ]
        assert len(before), f"{outcome.id} hides the years before the start"
    csv = pd.read_csv(folder / "estimates.csv")
    assert len(csv) == len(frame)


@pytest.mark.real_data
def test_change_programme_areas_start_higher_and_the_base_year_decides_the_sign(real_runs, workspace):
    """Published figures: 12 points higher in 2019; -3.4 with base 2019, +0.3 with base 2022.

    The two estimates differ a little from those of plain means (-3.6 and +0.4 here) because areas must have
    both years and keep their boundary; a tenth of a point either way shows that nothing else differs.
    """
    frame = pd.read_parquet(last_run(real_runs, "CP") / "estimates.parquet")
    rows = frame[
        (frame["outcome"] == "plans_within_20_weeks_all") & (frame["estimator"] == "two_by_two") & frame["headline"]
    ].set_index("period")["estimate"]
    assert rows[2019] == pytest.approx(-3.58, abs=0.05)
    assert rows[2022] == pytest.approx(0.36, abs=0.05)
    summary = json.loads((last_run(real_runs, "CP") / "summary.json").read_text())
    assert summary["verdict"] == "cannot_tell"


@pytest.mark.real_data
def test_the_board_page_says_what_cannot_be_concluded(real_runs):
    text = json.dumps(nbformat.read(last_run(real_runs, "CP") / "board.ipynb", 4), ensure_ascii=False)
    for words in (
        "We can't tell whether the share of new EHC plans issued within 20 weeks changed",
        "These figures don't show that the programme worked. Nor do they show that it failed",
        "A simple before-and-after comparison can't be trusted here",
        "points above the others before the start",
        "otherwise have moved like areas of their region with the same recent figures",
        "We can't tell who benefits",
        "registered",
    ):
        assert words in text, words
    for forbidden in ("significant", "proven", "no effect", "BAME", "league table"):
        assert forbidden not in text


@pytest.mark.real_data
def test_areas_of_low_confidence_are_left_out_in_a_sensitivity_run(real_runs):
    frame = pd.read_parquet(last_run(real_runs, "SV") / "estimates.parquet")
    rows = frame[(frame["outcome"] == "new_plans_in_mainstream") & frame["headline"] & (frame["term"] == "overall")]
    counts = rows.set_index(["estimator", "contrast"])["treated_clusters"]
    # North East Lincolnshire doesn't know where most of its new plans of 2024 are placed.
    assert counts["group_time", "all comparison areas"] == 37
    # The figures begin in 2019, so the five areas that started first have one year before, not two.
    assert counts["group_time_lagged", "all comparison areas"] == 32
    assert counts["group_time_lagged", "without areas of low or medium confidence"] == 28


@pytest.fixture(scope="module")
def real_site(real_runs, tmp_path_factory) -> Path:
    """The site of both programmes, published from a copy of the workspace with the command of the README."""
    home = tmp_path_factory.mktemp("workspace")
    for folder in ("analysis", "notebooks", "data-catalog", "src/sendap/site/assets"):
        shutil.copytree(ROOT / folder, home / folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for path in [*ROOT.glob("*.qmd"), ROOT / "_quarto.yml"]:
        shutil.copy(path, home)
    environment = {**os.environ, "SENDAP_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "sendap.cli", "publish", "--runs-dir", str(real_runs), "--out", str(home / "_site"),
         "--renderer", "preview"],
        capture_output=True, text=True, env=environment, cwd=home, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The site is ready. Open " in done.stdout
    return home / "_site"


@pytest.mark.real_data
def test_the_site_of_the_real_runs_is_whole(real_site, real_runs):
    pages = {path.relative_to(real_site).as_posix() for path in real_site.rglob("*.html")}
    wanted = {f"pages/{pilot}/{page}.html" for pilot in ("cp", "sv") for page in ("board", "report", "data")}
    assert pages >= wanted | {"index.html", "methods.html", "reproduce.html", "pages/catalogue.html"}
    downloads = {path.relative_to(real_site).as_posix() for path in (real_site / "pages" / "downloads").rglob("*.*")}
    for pilot in ("CP", "SV"):
        for name in ("estimates.csv", "estimates.parquet", "cells.parquet", "protocol.json", "manifest.json"):
            assert f"pages/downloads/{pilot}/{name}" in downloads
    assert checks.check_no_text(real_site, [str(real_runs), str(ROOT), str(Path.home() / ".")]) == []


@pytest.mark.real_data
@pytest.mark.browser
@pytest.mark.skipif(checks.chromium() is None, reason="Chromium isn't installed")
def test_the_site_of_the_real_runs_in_a_browser(real_site, axe):
    pages = sorted(path.relative_to(real_site).as_posix() for path in real_site.rglob("*.html"))
    with checks.serve(real_site) as base, checks.browser() as opened:
        assert checks.check_structure(base, pages) == []
        assert checks.check_links(base, pages) == []
        assert checks.check_browsing(opened, base, pages) == []
        assert checks.check_axe(opened, base, pages, axe) == []
        for pilot in ("cp", "sv"):
            assert checks.print_pages(opened, base, f"pages/{pilot}/board.html") == 1
