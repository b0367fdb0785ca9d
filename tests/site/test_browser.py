"""The site in a real browser: every page, link, download and heading, by mouse, by keyboard and without scripts."""

from __future__ import annotations

import pytest

from sendap.site.publish import publish
from tests.site import checks
from tests.site.made_runs import make_run, make_workspace, summary

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(checks.chromium() is None, reason="Chromium isn't installed"),
]
SYNTHETIC_PAGES = tuple(f"pages/sv/{name}.html" for name in ("board", "report", "data"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of one pilot on published data and one on synthetic data: its folder and its pages."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "workspace").mkdir()
    workspace = make_workspace(folder / "workspace")
    make_run(folder / "runs", summary("CP"))
    make_run(folder / "runs", summary("SV", synthetic=True, guards=[]))
    index = publish(workspace, folder / "runs", folder / "out", renderer="preview")
    pages = sorted(path.relative_to(index.parent).as_posix() for path in index.parent.rglob("*.html"))
    assert len(pages) == 19
    return index.parent, pages


@pytest.fixture(scope="module")
def base(site):
    with checks.serve(site[0]) as address:
        yield address


@pytest.fixture(scope="module")
def pages(site):
    return site[1]


@pytest.fixture(scope="module")
def opened():
    with checks.browser() as found:
        yield found


def test_pages_are_sound(base, pages):
    assert checks.check_structure(base, pages) == []


def test_every_link_and_download_resolves(base, pages):
    assert checks.check_links(base, pages) == []


def test_no_serious_violation_of_accessibility(opened, base, pages, axe):
    assert checks.check_axe(opened, base, pages, axe) == []


def test_no_errors_and_no_sideways_scrolling(opened, base, pages):
    assert checks.check_browsing(opened, base, pages) == []


def test_pages_read_without_scripts(opened, base, pages):
    assert checks.check_without_scripts(opened, base, pages) == []


def test_skip_link_by_keyboard(opened, base, pages):
    assert checks.check_skip_link(opened, base, pages) == []


@pytest.mark.parametrize("page", ["index.html", "pages/cp/report.html"])
def test_search_finds_a_page(opened, base, page):
    assert checks.check_search(opened, base, page, words="tribunal appeals", expected="pages/catalogue.html") == []


def test_search_says_when_it_finds_nothing(opened, base):
    view = opened.new_page()
    view.goto(base + "methods.html")
    view.get_by_label("Search", exact=True).fill("xylophone")
    view.keyboard.press("Enter")
    view.get_by_text("No pages found").wait_for(timeout=5_000)
    view.keyboard.press("Escape")
    assert not view.locator("#preview-results").is_visible()
    view.close()


def test_synthetic_pages_say_so_everywhere(base):
    assert checks.check_synthetic(base, SYNTHETIC_PAGES) == []
    assert "Synthetic data, not a finding" in checks.fetch(base)
    assert len(checks.check_synthetic(base, ["pages/cp/board.html"])) == 3


def test_the_synthetic_banner_stays_in_sight(opened, base):
    view = opened.new_page(viewport={"width": 800, "height": 500})
    view.goto(base + SYNTHETIC_PAGES[0])
    view.evaluate("window.scrollTo(0, 900)")
    top = view.locator(".sendap-synthetic").bounding_box()["y"]
    assert view.evaluate("window.scrollY") > 500
    assert 0 <= top < 40
    view.close()


def test_board_page_prints_on_one_sheet(opened, base):
    assert checks.print_pages(opened, base, "pages/cp/board.html") == 1
    assert checks.print_pages(opened, base, "methods.html") > 1


@pytest.mark.parametrize(
    ("page", "check", "problem"),
    [
        ('<html lang="en-GB"><title>A</title><h1>A</h1><h3>B</h3>', checks.check_structure, "jumps from level 1 to 3"),
        ('<html lang="en-GB"><title>A</title><h1>A</h1><img src="a.png">', checks.check_structure, "alternative text"),
        ('<html lang="en-GB"><title>A</title><a href="gone.html">B</a>', checks.check_links, "leads nowhere"),
        ('<html lang="en-GB"><title>A</title><a href="#gone">B</a>', checks.check_links, "anchor that isn't there"),
        ("<html><title>A</title><h1>A</h1>", checks.check_structure, "language is ''"),
        ("<html><title>A</title><h1>A</h1>", checks.check_synthetic, "the banner doesn't say"),
    ],
)
def test_the_checks_find_what_is_wrong(tmp_path, page, check, problem):
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    with checks.serve(tmp_path) as address:
        assert any(problem in found for found in check(address, ["index.html"]))


def test_the_accessibility_check_finds_what_is_wrong(tmp_path, opened, axe):
    (tmp_path / "index.html").write_text(
        '<html lang="en"><title>A</title><p style="color:#aaa;background:#fff">Too faint</p><button></button>',
        encoding="utf-8",
    )
    with checks.serve(tmp_path) as address:
        problems = checks.check_axe(opened, address, ["index.html"], axe)
    assert any("color-contrast" in each for each in problems)
    assert any("button-name" in each for each in problems)
