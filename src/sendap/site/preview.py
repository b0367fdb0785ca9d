"""The built-in renderer: the same pages, navigation and downloads as Quarto makes, from one template."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape, unescape
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sendap import __version__
from sendap.errors import SendapError
from sendap.site.markdown import Headings, read_page, to_html, to_text
from sendap.site.notebooks import notebook_to_html
from sendap.site.project import Project

ASSETS = Path(__file__).resolve().parent / "assets"
OWN_FOLDER = "preview"
OWN_FILES = ("preview.css", "search.js")
INDEX_FILE = "search-index.js"
INDEXED_CHARACTERS = 200_000
_LINK = re.compile(r'(<a\b[^>]*?\bhref=")([^"]*)(")')
_HIDDEN = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")


@dataclass(frozen=True)
class Page:
    """One rendered page: where it comes from, where it goes, what is on it."""

    source: Path
    target: str
    title: str
    body_class: str
    body: str
    headings: Headings
    with_contents: bool


def render_site(project: Project, out: Path, tell: Callable[[str], None] = lambda words: None) -> list[str]:
    """Render every page of a project into an empty folder. Returns their paths in it."""
    sources = project.pages()
    targets = {source.as_posix(): source.with_suffix(".html").as_posix() for source in sources}
    pages = [_read(source, targets, project) for source in sources]
    template = _environment().get_template("page.html.jinja")
    for number, page in enumerate(pages, 1):
        tell(f"page {number} of {len(pages)}: {page.title}")
        path = out / page.target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template.render(_context(page, pages, targets, project)), encoding="utf-8")
    _copy_files(project, out)
    index = json.dumps([_entry(page) for page in pages], ensure_ascii=False).replace("</", "<\\/")
    (out / OWN_FOLDER / INDEX_FILE).write_text(f"window.sendapSearchIndex = {index};\n", encoding="utf-8")
    return [page.target for page in pages]


def _environment() -> Environment:
    # Everything is escaped, except what was rendered from pages, which the template marks as safe.
    return Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)


def _read(source: Path, targets: Mapping[str, str], project: Project) -> Page:
    headings = Headings()
    path = project.root / source
    if source.suffix == ".ipynb":
        front, body = notebook_to_html(path, headings)
    else:
        front, markdown = read_page(path, project.root)
        body = to_html(markdown, headings)
    if not front.get("title"):
        raise SendapError(f"{source.as_posix()} has no title in its front matter.")
    return Page(
        source=source,
        target=targets[source.as_posix()],
        title=to_text(str(front["title"])),
        body_class=str(front.get("body-classes", "")),
        body=_with_page_links(body, source, targets),
        headings=headings,
        with_contents=bool(front.get("toc", True)),
    )


def _with_page_links(html: str, source: Path, targets: Mapping[str, str]) -> str:
    """Links to the sources of pages become links to the pages, as Quarto does."""

    def rewritten(match: re.Match[str]) -> str:
        address = urlsplit(unescape(match[2]))
        if address.scheme or address.netloc or not address.path:
            return match[0]
        wanted = posixpath.normpath(posixpath.join(source.parent.as_posix(), address.path))
        if wanted not in targets:
            return match[0]
        page = posixpath.relpath(targets[wanted], source.parent.as_posix() or ".")
        return f"{match[1]}{escape(page + (f'#{address.fragment}' if address.fragment else ''))}{match[3]}"

    return _LINK.sub(rewritten, html)


def _context(page: Page, pages: list[Page], targets: Mapping[str, str], project: Project) -> dict[str, object]:
    here = posixpath.dirname(page.target) or "."

    def to(target: str) -> str:
        return posixpath.relpath(target, here)

    navigation = [
        {"text": text, "href": to(target), "current": target == page.target}
        for text, target in ((text, _target(source, targets)) for text, source in project.navigation)
    ]
    contents = [each for each in page.headings.found if 2 <= each.level <= project.contents_depth]
    home = pages[0].target
    return {
        "language": project.language,
        "site_title": project.title,
        "page": page,
        "body": page.body,
        "contents": contents,
        "has_contents": page.with_contents and len(contents) > 1,
        "contents_title": project.contents_title,
        "navigation": navigation,
        "home": to(home),
        "trail": _trail(page, pages, project, to),
        "stylesheets": [to(css) for css in (f"{OWN_FOLDER}/{OWN_FILES[0]}", *project.css)],
        "script": to(f"{OWN_FOLDER}/{OWN_FILES[1]}"),
        "index": to(f"{OWN_FOLDER}/{INDEX_FILE}"),
        "root": to("."),
        "before_body": "".join((project.root / name).read_text(encoding="utf-8") for name in project.before_body),
        "footer": to_html(project.footer, Headings()),
        "all_pages": [{"text": each.title, "href": to(each.target)} for each in sorted(pages, key=_family)],
        "version": __version__,
        "today": f"{datetime.now(UTC):%d %B %Y}".lstrip("0"),
    }


def _target(source: str, targets: Mapping[str, str]) -> str:
    if source not in targets:
        raise SendapError(f"_quarto.yml: the navigation leads to {source}, which isn't a page of its render list.")
    return targets[source]


def _trail(page: Page, pages: list[Page], project: Project, to: Callable[[str], str]) -> list[dict[str, str]]:
    """The way from the home page to this page. Pages of a pilot lie below its Board page."""
    if page.target == pages[0].target:
        return []
    words = {source: text for text, source in project.navigation}
    trail = [{"text": words.get(pages[0].source.as_posix(), pages[0].title), "href": to(pages[0].target)}]
    board = page.source.with_name("board.ipynb")
    if page.source.suffix == ".ipynb" and page.source != board:
        above = next((each for each in pages if each.source == board), None)
        if above is not None:
            trail.append({"text": above.title, "href": to(above.target)})
    return trail


def _family(page: Page) -> tuple[bool, str]:
    """For the list of all pages: pages of one pilot stand together, after all others."""
    pilot = page.source.suffix == ".ipynb"
    return pilot, page.source.parent.as_posix() if pilot else ""


def _copy_files(project: Project, out: Path) -> None:
    for relative in [*map(Path, project.css), *project.resource_files()]:
        target = out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project.root / relative, target)
    own = out / OWN_FOLDER
    own.mkdir(exist_ok=True)
    for name in OWN_FILES:
        shutil.copyfile(ASSETS / name, own / name)


def _entry(page: Page) -> dict[str, object]:
    """What the search looks through: title, headings, and the words of a page."""
    words = " ".join(unescape(_TAG.sub(" ", _HIDDEN.sub(" ", page.body))).split())
    return {
        "title": page.title,
        "href": page.target,
        "headings": [[each.text, each.anchor] for each in page.headings.found],
        "text": words[:INDEXED_CHARACTERS],
    }
