"""From an executed notebook to a page: its title, its banners and its neighbours, once for both renderers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_raw_cell

from sendap.errors import SendapError
from sendap.site.banners import about, head, page_title
from sendap.site.cleaned import cleaned, is_parameters
from sendap.site.found import FoundRun
from sendap.site.markup import front_matter, link, text

PAGES: Mapping[str, tuple[str, str, str]] = {
    "board": ("board.ipynb", "Board page", "sendap-board"),
    "report": ("impact.ipynb", "Full report", "sendap-report"),
    "sensitivity": ("sensitivity.ipynb", "Whether to believe it", "sendap-report"),
    "data": ("data.ipynb", "Data and coverage", "sendap-data"),
    "power": ("power.ipynb", "What it could find", "sendap-report"),
}
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*\Z", re.DOTALL)


class _Active(HTMLParser):
    """Finds what could act on its own in a page: scripts, handlers, frames, forms, addresses that run code."""

    TAGS = frozenset({"script", "iframe", "object", "embed", "form", "base", "meta", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.found: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.TAGS:
            self.found = self.found or f"<{tag}>"
        for name, value in attrs:
            runs_code = name in ("href", "src", "action") and (value or "").strip().lower().startswith("javascript:")
            if name.startswith("on") or runs_code:
                self.found = self.found or f"{name} on <{tag}>"


def active_content(html: str) -> str | None:
    """What in a piece of HTML could act on its own, or None."""
    parser = _Active()
    parser.feed(html)
    parser.close()
    return parser.found


def _check_outputs(notebook: NotebookNode, where: str) -> None:
    """Refuse a notebook that failed, or whose outputs hold more than text, tables, pictures and links."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                raise SendapError(f"{where}, cell {number}: ended with an error, so it can't be published.")
            for kind in ("text/html", "text/markdown"):
                active = active_content(output.get("data", {}).get(kind, ""))
                if active:
                    raise SendapError(
                        f"{where}, cell {number}: the output holds {active}. Pages hold text, tables, pictures and "
                        "links only. Show the result through sendap.report."
                    )


def front_of(notebook: NotebookNode) -> dict[str, object]:
    """The YAML of the raw cell at the head, or nothing."""
    if notebook.cells and notebook.cells[0].cell_type == "raw":
        match = _FRONT.match(notebook.cells[0].source.strip())
        content = yaml.safe_load(match[1]) if match else None
        return content if isinstance(content, dict) else {}
    return {}


def pages_of(found: FoundRun) -> list[str]:
    """The pages that a run has: a descriptive one has fewer."""
    return [page for page, (file, _, _) in PAGES.items() if (found.folder / file).is_file()]


def neighbours(found: FoundRun, page: str) -> str:
    """Links between the pages of one pilot."""
    entries = []
    for name in pages_of(found):
        words = PAGES[name][1]
        current = ' aria-current="page"' if name == page else ""
        entries.append(f'<li><a href="{name}.html"{current}>{text(words)}</a></li>')
    entries.append(f'<li><a href="../downloads.html#{found.page_folder}">Downloads</a></li>')
    label = text(f"Pages of {found.summary.name}")
    return f'<nav class="sendap-pages" aria-label="{label}"><ul>{"".join(entries)}</ul></nav>'


def source_of(found: FoundRun) -> str:
    """Which run a page comes from, and where its files are."""
    finished = found.manifest.finished
    rows = {
        "Run": text(f"{found.run}, finished {finished.day} {finished:%B %Y}"),
        "Data": text(_data(found)),
        "Protocol": link("the protocol as it was used (JSON)", f"../downloads/{found.pilot}/protocol.json"),
        "Code": text(_code(found)) + f", {link('how to run it again', '../../reproduce.html')}",
    }
    return about(rows)


def _data(found: FoundRun) -> str:
    if found.summary.synthetic:
        return "synthetic records"
    return "published statistics" if found.summary.datasets else "none yet"


def _code(found: FoundRun) -> str:
    version = found.manifest.versions.get("sendap")
    commit = found.manifest.git.commit
    words = [f"sendap {version}"] if version else []
    if commit and commit != "unknown":
        changed = "" if found.manifest.git.clean else " with changes that are not in it"
        words.append(f"commit {commit[:10]}{changed}")
    return ", ".join(words) or "version not recorded"


def read_notebook(path: Path) -> NotebookNode:
    """An executed notebook, cleaned of what belongs to the machine that ran it.

    Raises SendapError where it can't be read.
    """
    try:
        return cleaned(nbformat.read(path, as_version=4))
    except Exception as error:
        raise SendapError(f"{path} can't be read as a notebook: {type(error).__name__}. Make the run again.") from None


def notebook_page(found: FoundRun, page: str) -> str:
    """One executed notebook as a page, in the notebook format.

    Raises SendapError where the notebook can't be read, failed, or holds active content.
    """
    file, words, body_class = PAGES[page]
    notebook = read_notebook(found.folder / file)
    where = f"{found.pilot}/{found.run}/{file}"
    _check_outputs(notebook, where)
    front = front_of(notebook)
    synthetic = found.summary.synthetic
    title = page_title(f"{found.summary.name}: {words}", synthetic=synthetic)
    front["body-classes"] = f"{body_class} sendap-is-synthetic" if synthetic else body_class
    content = [cell for cell in notebook.cells if cell.cell_type in ("markdown", "code") and not is_parameters(cell)]
    notebook.cells = [
        new_raw_cell(front_matter(**{**front, "title": title})),
        new_markdown_cell(head(synthetic=synthetic, links=neighbours(found, page))),
        *content,
        new_markdown_cell(source_of(found)),
    ]
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{page}-{number}"  # the same run gives the same bytes
    return nbformat.writes(notebook)


def write_notebook_pages(found: FoundRun, pages: Path) -> None:
    folder = pages / found.page_folder
    folder.mkdir(parents=True)
    for page in pages_of(found):
        (folder / f"{page}.ipynb").write_text(notebook_page(found, page), encoding="utf-8")
