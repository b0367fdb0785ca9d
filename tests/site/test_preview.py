"""The built-in renderer: the navigation and pages of `_quarto.yml`, and nothing that isn't on a page."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from sendap.errors import SendapError, UsageError
from sendap.site.markdown import Headings, read_page, to_html
from sendap.site.project import read_project
from sendap.site.publish import publish
from sendap.site.stage import stage
from tests.site.checks import outline
from tests.site.made_runs import ROOT, make_run, summary


@pytest.fixture
def site(workspace, runs_dir, tmp_path):
    publish(workspace, runs_dir, tmp_path / "out", renderer="preview")
    return tmp_path / "out"


def html_pages(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def test_navigation_is_that_of_the_project(site):
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    wanted = [
        (entry["text"], re.sub(r"\.(qmd|ipynb)$", ".html", entry["href"]))
        for entry in config["website"]["navbar"]["left"]
    ]
    for page in html_pages(site):
        html = (site / page).read_text(encoding="utf-8")
        navigation = html.partition('aria-label="Main"')[2].partition("</nav>")[0]
        found = re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', navigation)
        here = os.path.dirname(page) or "."
        assert [(text, os.path.normpath(os.path.join(here, href))) for href, text in found] == wanted
        assert config["website"]["title"] in html


def test_both_renderers_are_given_the_same_pages(workspace, runs_dir, site):
    """Every staged page is on the render list of `_quarto.yml`, and every page of the list is rendered."""
    listed = read_project(workspace.root).pages()
    pages = workspace.root / "pages"
    found = {
        path.relative_to(workspace.root)
        for path in [*workspace.root.glob("*.qmd"), *pages.rglob("*.qmd"), *pages.rglob("*.ipynb")]
        if pages / "downloads" not in path.parents
    }
    assert set(listed) == found
    assert sorted(path.with_suffix(".html").as_posix() for path in listed) == html_pages(site)


def test_downloads_and_styles_are_where_quarto_puts_them(workspace, site):
    assert (site / "pages/downloads/CP/estimates.csv").is_file()
    assert (site / "pages/downloads/SV/board.ipynb").is_file()
    for css in read_project(workspace.root).css:
        assert (site / css).is_file()


def test_pages_show_prose_and_outputs_but_no_code(site):
    html = (site / "pages/cp/board.html").read_text(encoding="utf-8")
    assert "tell whether plans came sooner." in html
    assert '<h2 id="finding">Finding</h2>' in html
    for hidden in ("secret code", "secret warning", "page.show()", 'pilot = "CP"', "UserWarning"):
        assert hidden not in html


def test_links_to_sources_lead_to_pages(site):
    links = outline((site / "pages/cp/board.html").read_text(encoding="utf-8")).links
    assert {"report.html", "data.html"} < set(links)
    assert not [link for link in links if link.endswith((".qmd", ".md")) or link == "data.ipynb"]
    links = outline((site / "reproduce.html").read_text(encoding="utf-8")).links
    assert {"pages/catalogue.html", "pages/downloads.html"} < set(links)


def test_hostile_words_are_shown_as_words(workspace, tmp_path):
    hostile = '<img src=x onerror="alert(1)"><script>alert(1)</script></title> {{< include a >}} ```'
    make_run(tmp_path / "runs", summary("CP", name=hostile, headline=hostile, question=hostile))
    index = publish(workspace, tmp_path / "runs", tmp_path / "out", renderer="preview")
    for page in html_pages(index.parent):
        html = (index.parent / page).read_text(encoding="utf-8")
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert outline(html).tags.count("title") == 1
    assert "</script>" not in (index.parent / "preview/search-index.js").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in index.read_text(encoding="utf-8")


def test_interrupted_publishing_leaves_the_old_site(workspace, runs_dir, site, monkeypatch):
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}

    def stop(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("sendap.site.preview._copy_files", stop)
    with pytest.raises(KeyboardInterrupt):
        publish(workspace, runs_dir, site, renderer="preview")
    assert before == {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert not list(site.parent.glob(".out*"))


def test_a_new_site_replaces_the_old_one_whole(workspace, runs_dir, site):
    (site / "left-over.html").write_text("old", encoding="utf-8")
    publish(workspace, runs_dir, site, renderer="preview")
    assert not (site / "left-over.html").exists()
    assert (site / "index.html").is_file()


def fake_quarto(folder: Path, script: str) -> None:
    folder.mkdir()
    path = folder / "quarto"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_quarto_is_used_where_it_is_installed(workspace, runs_dir, tmp_path, monkeypatch):
    fake_quarto(
        tmp_path / "bin",
        'test "$1" = render && cd "$2" && test -f pages/cp/board.ipynb '
        '&& mkdir "$4" && echo rendered > "$4/index.html"',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    index = publish(workspace, runs_dir, tmp_path / "out")
    assert index.read_text(encoding="utf-8") == "rendered\n"
    assert not list(workspace.root.glob("_site-building*"))
    index = publish(workspace, runs_dir, tmp_path / "out", renderer="preview")
    assert "<main" in index.read_text(encoding="utf-8")


def test_failure_of_quarto_is_told_and_leaves_the_old_site(workspace, runs_dir, site, tmp_path, monkeypatch):
    fake_quarto(tmp_path / "bin", "echo 'ERROR: no such theme' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SendapError, match="no such theme"):
        publish(workspace, runs_dir, site, renderer="quarto")
    assert (site / "index.html").is_file()


def test_quarto_that_is_not_there_is_said(workspace, runs_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="Quarto isn't installed"):
        publish(workspace, runs_dir, tmp_path / "out", renderer="quarto")


def test_navigation_that_leads_nowhere_is_refused(workspace, runs_dir, tmp_path):
    path = workspace.root / "_quarto.yml"
    path.write_text(path.read_text(encoding="utf-8").replace("    - methods.qmd\n", ""), encoding="utf-8")
    with pytest.raises(SendapError, match=r"the navigation leads to methods.qmd"):
        publish(workspace, runs_dir, tmp_path / "out", renderer="preview")


def test_listed_page_that_is_missing_is_refused(workspace, runs_dir, tmp_path):
    (workspace.root / "methods.qmd").unlink()
    with pytest.raises(SendapError, match=r"lists the page methods.qmd"):
        publish(workspace, runs_dir, tmp_path / "out", renderer="preview")


def test_page_without_title_is_refused(workspace, runs_dir, tmp_path):
    (workspace.root / "methods.qmd").write_text("Words.\n", encoding="utf-8")
    with pytest.raises(SendapError, match=r"methods.qmd has no title"):
        publish(workspace, runs_dir, tmp_path / "out", renderer="preview")


def test_assets_name_no_address_elsewhere():
    for path in (ROOT / "src/sendap/site/assets").iterdir():
        assert b"http" not in path.read_bytes(), path.name


def test_staging_twice_and_publishing_shows_the_latest_run(workspace, runs_dir, tmp_path):
    stage(workspace, runs_dir=runs_dir)
    make_run(runs_dir, summary("CP", headline="A newer sentence."), run="b2c3d4")
    index = publish(workspace, runs_dir, tmp_path / "out", renderer="preview")
    assert "A newer sentence." in index.read_text(encoding="utf-8")


class TestMarkdown:
    def test_headings_have_identifiers_that_are_unique(self):
        headings = Headings()
        html = to_html("## One `two` {#given}\n\n## Same\n\n## Same\n\n## 2 & 3", headings)
        assert [each.anchor for each in headings.found] == ["given", "same", "same-2", "2-3"]
        assert '<h2 id="given">One <code>two</code></h2>' in html
        assert headings.found[0].text == "One two"

    def test_raw_blocks_pass_through_and_other_fences_are_code(self):
        html = to_html("```{=html}\n<b>*x*</b>\n```\n\n```\n<b>\n```", Headings())
        assert html.startswith("<b>*x*</b>\n")
        assert "<pre><code>&lt;b&gt;" in html

    def test_divs_have_classes_and_hold_markdown(self):
        html = to_html("::: {.a .b}\nSome **words**\n:::\n\n```\n::: {.c}\n```", Headings())
        assert '<div class="a b">' in html
        assert "<strong>words</strong>" in html
        assert 'class="c"' not in html

    @pytest.mark.parametrize(("text", "problem"), [("::: {.a}\nx", "never closed"), (":::\n", "never opened")])
    def test_divs_must_fit(self, text, problem):
        with pytest.raises(SendapError, match=problem):
            to_html(text, Headings())

    def test_includes_are_relative_to_the_page(self, tmp_path):
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts/_a.md").write_text("A\n\n{{< include /parts/_b.md >}}\n", encoding="utf-8")
        (tmp_path / "parts/_b.md").write_text("B\n", encoding="utf-8")
        (tmp_path / "page.qmd").write_text("---\ntitle: T\n---\n\n{{< include parts/_a.md >}}\n", encoding="utf-8")
        front, body = read_page(tmp_path / "page.qmd", tmp_path)
        assert front == {"title": "T"}
        assert body.split() == ["A", "B"]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{{< include gone.md >}}\n", "doesn't exist"),
            ("{{< include page.qmd >}}\n", "circle"),
            ("{{< video a >}}\n", "knows the include shortcode only"),
        ],
    )
    def test_what_only_quarto_knows_is_refused(self, tmp_path, text, problem):
        (tmp_path / "page.qmd").write_text(text, encoding="utf-8")
        with pytest.raises(SendapError, match=problem):
            read_page(tmp_path / "page.qmd", tmp_path)
