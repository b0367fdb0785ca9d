"""Small pieces of pages that two renderers must read alike, with every text from data escaped.

Quarto reads Markdown inside HTML, so anything that comes from data goes into raw blocks, which neither renderer
looks into, or has its marks escaped. Headings stay Markdown, since Quarto's table of contents is made
from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import urlsplit

import yaml

_MARKS = re.compile(r"([\\`*_<>\[\]{}$@^~#|&])")


def text(value: object) -> str:
    """Text for HTML, on one line."""
    return escape(" ".join(str(value).split()), quote=True)


def markdown(value: object) -> str:
    """Text for a heading or a title, with every mark of Markdown escaped, so that it can only be read as text."""
    return _MARKS.sub(r"\\\1", " ".join(str(value).split()))


def front_matter(*, title: str, **entries: object) -> str:
    """The YAML block at the head of a page. Quarto reads a title as Markdown, so it is escaped."""
    body = yaml.safe_dump({"title": markdown(title), **entries}, allow_unicode=True, sort_keys=False, width=10_000)
    return f"---\n{body}---\n"


def heading(value: object, anchor: str, *, level: int = 2) -> str:
    return f"{'#' * level} {markdown(value)} {{#{anchor}}}\n"


def anchor(*parts: object) -> str:
    """An identifier of lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(str(part) for part in parts).lower()).strip("-")


def raw(html: str) -> str:
    """HTML that both renderers pass through as it is. Backticks are written as entities: they would end the block."""
    return f"```{{=html}}\n{html.replace('`', '&#96;')}\n```\n"


def link(words: object, address: str) -> str:
    """A link, or the bare words where the address isn't one that a page may lead to."""
    if urlsplit(address).scheme not in ("", "http", "https"):
        return text(words)
    return f'<a href="{text(address)}">{text(words)}</a>'


def paragraph(*values: object) -> str:
    return "".join(f"<p>{text(value)}</p>" for value in values if value)


def items(values: Iterable[object]) -> str:
    return "<ul>" + "".join(f"<li>{text(value)}</li>" for value in values) + "</ul>"


def facts(pairs: Mapping[str, str]) -> str:
    """Names with their values, which are HTML already, as a description list."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{html}</dd>" for name, html in pairs.items())
    return f'<dl class="sendap-facts">{rows}</dl>'


def details(summary: object, html: str) -> str:
    return f"<details><summary>{text(summary)}</summary>{html}</details>"


def warning(html: str) -> str:
    """The banner of synthetic data, which stays in sight while the page is scrolled."""
    return f'<div class="sendap-synthetic" role="note"><p>{html}</p></div>'


def linked_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, cards: bool = False) -> str:
    """A table whose cells are HTML already, the first of each row its heading.

    ``cards``: on a narrow screen each row becomes a card. The roles are then written out, because a browser that
    lays a table out as blocks no longer tells anyone that it is a table.
    """
    roles = cards

    def role(name: str) -> str:
        return f' role="{name}"' if roles else ""

    def named(column: str) -> str:
        return f'<span class="sendap-cell-name" aria-hidden="true">{text(column)}</span>' if cards else ""

    heads = "".join(f'<th scope="col"{role("columnheader")}>{text(column)}</th>' for column in columns)
    body = []
    for first, *rest in rows:
        cells = "".join(
            f"<td{role('cell')}>{named(column)}<div>{cell}</div></td>"
            for column, cell in zip(columns[1:], rest, strict=True)
        )
        body.append(f'<tr{role("row")}><th scope="row"{role("rowheader")}>{first}</th>{cells}</tr>')
    kind = "sendap-cards" if cards else "sendap-table"
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{text(caption)}"><table{role("table")}>'
        f"<caption>{text(caption)}</caption><thead{role('rowgroup')}><tr{role('row')}>{heads}</tr></thead>"
        f"<tbody{role('rowgroup')}>{''.join(body)}</tbody></table></div>"
    )


def size(count: int) -> str:
    """A file size in words."""
    if count < 1_000:
        return f"{count} bytes"
    for unit, step in (("MB", 1_000_000), ("KB", 1_000)):
        if count >= step:
            return f"{count / step:.1f} {unit}" if count < 10 * step else f"{count / step:.0f} {unit}"
    raise AssertionError("every size has a unit")
