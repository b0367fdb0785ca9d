"""Staging: what becomes a page, in which words and order, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_output

from sendap.catalog import Catalog
from sendap.errors import SendapError
from sendap.site.catalogue import catalogue_page
from sendap.site.found import GuardSaid, latest_runs
from sendap.site.notebook_pages import active_content, front_of
from sendap.site.portfolio import guard_words
from sendap.site.stage import stage
from tests.site.made_runs import ROOT, board, make_notebook, make_run, seal, shown, summary

HOSTILE = "<script>alert(1)</script> {{< include /etc/passwd >}} ``` *bold* [a](javascript:alert(1)) `python x` $x$"


def staged(workspace, runs_dir):
    stage(workspace, runs_dir=runs_dir)
    pages = workspace.root / "pages"
    return {path.relative_to(pages).as_posix(): path for path in pages.rglob("*") if path.is_file()}


def title(path: Path) -> str:
    return str(front_of(nbformat.read(path, as_version=4))["title"])


def test_each_pilot_has_its_pages_and_downloads(workspace, runs_dir):
    files = staged(workspace, runs_dir)
    for pilot in ("CP", "SV"):
        for name, words in {"board": "Board page", "report": "Full report", "data": "Data and coverage"}.items():
            assert title(files[f"{pilot.lower()}/{name}.ipynb"]) == f"Pilot {pilot}: {words}"
        for name in ("estimates.csv", "estimates.parquet", "cells.parquet", "protocol.json", "manifest.json"):
            assert files[f"downloads/{pilot}/{name}"].stat().st_size > 0
    assert {"_portfolio.md", "catalogue.qmd", "programmes.qmd", "downloads.qmd"} < set(files)


def test_same_runs_give_the_same_pages(workspace, runs_dir):
    first = {name: path.read_bytes() for name, path in staged(workspace, runs_dir).items()}
    assert first == {name: path.read_bytes() for name, path in staged(workspace, runs_dir).items()}


def test_portfolio_is_sorted_by_confidence_then_name_never_by_effect(workspace, tmp_path):
    runs = tmp_path / "mixed"
    effect = {"estimate": 99.0, "ci_low": 98.0, "ci_high": 100.0, "unit": "per cent"}
    make_run(runs, summary("AA", name="Beta", estimate=effect, confidence_score=1))
    make_run(runs, summary("BB", name="Gamma", confidence_score=3))
    make_run(runs, summary("CC", name="Alpha", confidence_score=1))
    assert [found.summary.name for found in latest_runs(runs)] == ["Gamma", "Alpha", "Beta"]
    text = staged(workspace, runs)["_portfolio.md"].read_text(encoding="utf-8")
    assert "3 pilots have been tested" in text
    assert text.index("Gamma") < text.index("Alpha") < text.index("Beta")
    assert "99" not in text


def test_portfolio_counts_guards_and_names_the_worst():
    guards = [
        GuardSaid(name="Refusals rise", verdict="possible harm"),
        GuardSaid(name="Appeals rise", verdict="no harm beyond the margin"),
        GuardSaid(name="Absence rises", verdict="serious harm"),
        GuardSaid(name="Exits rise", verdict="possible harm"),
    ]
    assert guard_words(guards) == (
        "4 looked for: 1 serious harm, 2 possible harm, 1 no harm beyond the margin. "
        "Worst: serious harm (Absence rises)"
    )
    assert guard_words(guards[1:2]) == "1 looked for: 1 no harm beyond the margin"
    assert guard_words([]) == "None looked for"


def test_synthetic_runs_say_so_on_every_page_and_row(workspace, tmp_path):
    runs = tmp_path / "made"
    make_run(runs, summary("CP"))
    make_run(runs, summary("SV", synthetic=True))
    files = staged(workspace, runs)
    for name in ("board", "report", "data"):
        page = nbformat.read(files[f"sv/{name}.ipynb"], as_version=4)
        assert str(front_of(page)["title"]).endswith("(synthetic data, not a finding)")
        assert "sendap-synthetic" in page.cells[1].source
        assert "Department for Education" not in page.cells[1].source
        real = nbformat.read(files[f"cp/{name}.ipynb"], as_version=4)
        assert "synthetic" not in (str(front_of(real)["title"]) + real.cells[1].source).lower()
    text = files["_portfolio.md"].read_text(encoding="utf-8")
    assert "1 pilot has been tested so far. 1 is shown with synthetic data, which test nothing." in text
    rows = re.findall(r"<tr.*?</tr>", text)
    assert ["Synthetic data, not a finding" in row for row in rows] == [False, False, True]
    assert "## Pilot SV (synthetic data, not a finding)" in files["downloads.qmd"].read_text(encoding="utf-8")


def test_published_pages_name_their_sources(workspace, runs_dir):
    page = nbformat.read(staged(workspace, runs_dir)["cp/board.ipynb"], as_version=4)
    assert (
        "Research report. Not official statistics. Uses Department for Education and Ministry of Justice statistics "
        "under the Open Government Licence v3.0."
    ) in page.cells[1].source
    assert "commit 0123456789" in page.cells[-1].source


def test_hostile_words_of_a_run_stay_words(workspace, tmp_path):
    runs = tmp_path / "hostile"
    said = dict.fromkeys(("name", "question", "reach", "dates", "headline", "per_hundred", "confidence"), HOSTILE)
    make_run(runs, summary("CP", **said, guards=[{"name": HOSTILE, "verdict": HOSTILE}]))
    files = staged(workspace, runs)
    for name in ("_portfolio.md", "downloads.qmd"):
        text = files[name].read_text(encoding="utf-8")
        assert not re.search(r"(?<!\\)<script", text)
        assert "{{<" not in text
        assert text.count("```{=html}") * 2 == text.count("```")
        assert "&lt;script&gt;" in text
    page = nbformat.read(files["cp/board.ipynb"], as_version=4)
    assert all("<script" not in cell.source for cell in page.cells if cell.cell_type == "markdown")
    assert title(files["cp/board.ipynb"]).startswith(r"\<script\>alert(1)\</script\> \{\{\< include")


def test_hostile_words_of_the_catalogue_stay_words(workspace):
    path = workspace.root / "data-catalog/datasets/lait.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.update(title=HOSTILE, what=HOSTILE, address="javascript:alert(1)", quirks=[HOSTILE])
    content["files"][0]["columns"][0]["label"] = HOSTILE
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    text = catalogue_page(Catalog(workspace.root / "data-catalog"))
    assert not re.search(r"(?<!\\)<script", text)
    assert "{{<" not in text
    assert 'href="javascript' not in text
    assert text.count("```{=html}") * 2 == text.count("```")


@pytest.mark.parametrize(
    "html",
    [
        "<p>a<script>x</script></p>",
        '<img src="a" onerror="x">',
        '<a href=" JavaScript:x">a</a>',
        "<iframe></iframe>",
        "<SCRIPT>",
    ],
)
def test_active_content_is_found(html):
    assert active_content(html)


def test_text_about_scripts_is_no_active_content():
    assert (
        active_content("<p>&lt;script&gt; onclick=1</p><figure><img alt='on=1' src='data:image/png;base64,A'></figure>")
        is None
    )


def test_outputs_that_could_act_are_refused(workspace, tmp_path):
    notebook = make_notebook("Board page", ["## A", shown("<p>fine</p>"), shown("<script>x</script>")])
    make_run(tmp_path / "runs", summary("CP"), notebook=notebook)
    with pytest.raises(SendapError, match=r"board.ipynb, cell 7: the output holds <script>"):
        stage(workspace, runs_dir=tmp_path / "runs")


def test_failed_notebooks_are_refused(workspace, tmp_path):
    failed = new_output("error", ename="ValueError", evalue="no", traceback=[])
    make_run(tmp_path / "runs", summary("CP"), notebook=make_notebook("Board page", [failed]))
    with pytest.raises(SendapError, match="ended with an error"):
        stage(workspace, runs_dir=tmp_path / "runs")


def test_no_run_is_said(workspace, tmp_path):
    with pytest.raises(SendapError, match="There is no run to publish"):
        stage(workspace, runs_dir=tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "manifest.json", "board.ipynb"])
def test_missing_file_of_a_run_is_named(workspace, runs_dir, name):
    (runs_dir / "CP/a1b2c3" / name).unlink()
    with pytest.raises(SendapError, match=name):
        stage(workspace, runs_dir=runs_dir)


def test_broken_summary_is_explained(workspace, runs_dir):
    (runs_dir / "CP/a1b2c3/summary.json").write_text('{"pilot": "../up", "synthetic": "perhaps"}', encoding="utf-8")
    with pytest.raises(SendapError, match=r"summary.json: pilot.*(.|\n)*summary.json: name"):
        stage(workspace, runs_dir=runs_dir)


def test_latest_run_outside_the_folder_is_refused(workspace, runs_dir):
    (runs_dir / "CP/latest.json").write_text('{"run": "../SV/a1b2c3"}', encoding="utf-8")
    with pytest.raises(SendapError, match=r"latest.json: run"):
        stage(workspace, runs_dir=runs_dir)


def test_files_changed_after_the_run_are_refused(workspace, runs_dir):
    path = runs_dir / "CP/a1b2c3/estimates.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("2.4", "9.9"), encoding="utf-8")
    with pytest.raises(SendapError, match=r"estimates.csv isn't the file that the run wrote"):
        stage(workspace, runs_dir=runs_dir)


def test_disagreement_about_synthetic_data_is_refused(workspace, runs_dir):
    seal(runs_dir / "CP/a1b2c3", synthetic=True)
    with pytest.raises(SendapError, match="disagree on whether the data are synthetic"):
        stage(workspace, runs_dir=runs_dir)


RESTRICTED = "access: restricted\nroute: Ask.\nwait: 1 month"


def test_restricted_data_are_not_published_without_release(workspace, runs_dir):
    path = workspace.root / "data-catalog/datasets/lait.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("access: published", RESTRICTED), encoding="utf-8")
    with pytest.raises(SendapError, match="'lait', which isn't published data"):
        stage(workspace, runs_dir=runs_dir)


def test_synthetic_records_of_restricted_data_are_published(workspace, tmp_path):
    path = workspace.root / "data-catalog/datasets/lait.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("access: published", RESTRICTED), encoding="utf-8")
    make_run(tmp_path / "runs", summary("CP", synthetic=True))
    assert "cp/board.ipynb" in staged(workspace, tmp_path / "runs")


def test_nothing_of_the_machine_leaves_with_a_notebook(workspace, runs_dir):
    files = staged(workspace, runs_dir)
    notebooks = {name: path for name, path in files.items() if name.endswith(".ipynb")}
    assert len(notebooks) == 12
    for path in notebooks.values():
        text = path.read_text(encoding="utf-8")
        assert "/secret/path" not in text
        assert "secret warning" not in text
    assert 'run = \\"\\"' in notebooks["downloads/CP/board.ipynb"].read_text(encoding="utf-8")
    assert "secret code" in notebooks["downloads/CP/board.ipynb"].read_text(encoding="utf-8")


def test_files_that_are_not_on_the_list_stay_behind(workspace, runs_dir):
    (runs_dir / "CP/a1b2c3/pupils.parquet").write_bytes(b"secret")
    said: list[str] = []
    stage(workspace, runs_dir=runs_dir, tell=said.append)
    assert not list((workspace.root / "pages").rglob("pupils.parquet"))
    assert any("pupils.parquet" in each for each in said)


def test_interrupted_staging_leaves_the_old_pages(workspace, runs_dir, monkeypatch):
    before = {name: path.read_bytes() for name, path in staged(workspace, runs_dir).items()}

    def stop(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("sendap.site.stage.write_notebook_pages", stop)
    with pytest.raises(KeyboardInterrupt):
        stage(workspace, runs_dir=runs_dir)
    pages = workspace.root / "pages"
    assert before == {
        path.relative_to(pages).as_posix(): path.read_bytes() for path in pages.rglob("*") if path.is_file()
    }
    assert not list(workspace.root.glob(".pages*"))


def test_catalogue_describes_every_dataset_column_and_programme(workspace, runs_dir):
    files = staged(workspace, runs_dir)
    catalogue, programmes = (files[name].read_text(encoding="utf-8") for name in ("catalogue.qmd", "programmes.qmd"))
    for dataset in workspace.catalog.datasets.values():
        assert f"{{#dataset-{dataset.id}}}" in catalogue
        for file in dataset.files:
            assert f"Columns of {file.name}" in catalogue
        for series in dataset.series:
            assert f">{series.id}<" in catalogue
    for each in workspace.catalog.breaks.values():
        assert each.month.words in catalogue
    for rollout in workspace.catalog.rollouts.values():
        assert f"{{#programme-{rollout.programme.lower()}}}" in programmes
        assert f"All {len(rollout.areas)} areas" in programmes
    assert "2022, month not known" in programmes


def test_board_fixture_is_like_a_run():
    """The made notebooks have the shape that the templates of the repository have."""
    template = nbformat.read(ROOT / "notebooks/board.ipynb", as_version=4)
    made = board(synthetic=False)
    for notebook in (template, made):
        assert notebook.cells[0].cell_type == "raw"
        assert notebook.cells[1].metadata["tags"] == ["parameters"]
