"""Executed notebooks as HTML for the built-in preview: prose and outputs, never code."""

from __future__ import annotations

import re
from html import escape, unescape
from pathlib import Path

from nbformat import NotebookNode

from sendap.site.cleaned import is_parameters
from sendap.site.markdown import Headings, to_html
from sendap.site.notebook_pages import front_of, read_notebook

_STYLED_HEADING = re.compile(r"<h([23])>(.*?)</h\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")


def notebook_to_html(path: Path, headings: Headings) -> tuple[dict[str, object], str]:
    """The front matter and the body of a staged notebook.

    Raises SendapError where the notebook can't be read.
    """
    notebook = read_notebook(path)
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(to_html(cell.source, headings))
        elif cell.cell_type == "code" and not is_parameters(cell):
            parts.extend(_output(output, headings) for output in cell.get("outputs", ()))
    return front_of(notebook), "\n".join(part for part in parts if part)


def _output(output: NotebookNode, headings: Headings) -> str:
    """The richest form of one output."""
    if output.output_type == "stream":
        return f"<pre>{escape(output.text)}</pre>"
    if output.output_type not in ("display_data", "execute_result"):
        return ""
    data = output.data
    if "text/html" in data:
        return _with_anchors(data["text/html"], headings)
    if "text/markdown" in data:
        return to_html(data["text/markdown"], headings)
    if "text/plain" in data:
        return f"<pre>{escape(data['text/plain'])}</pre>"
    return ""


def _with_anchors(html: str, headings: Headings) -> str:
    """Give headings inside an output an identifier each, so that the table of contents can lead to them."""

    def named(match: re.Match[str]) -> str:
        text = unescape(_TAG.sub("", match[2])).strip()
        return f'<h{match[1]} id="{headings.add(int(match[1]), text, None)}">{match[2]}</h{match[1]}>'

    return _STYLED_HEADING.sub(named, html)
