"""The part of Quarto's Markdown that the pages use, for the built-in preview.

Front matter, the include shortcode, raw HTML blocks, divs with classes and headings with identifiers. Anything
else of Quarto's own is refused, so that a page can't look right in one renderer and wrong in the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape, unescape
from itertools import pairwise
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sendap.errors import SendapError

_FRONT = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_INCLUDE = re.compile(r"^\{\{<\s*include\s+(\S+)\s*>\}\}[ \t]*$", re.MULTILINE)
_SHORTCODE = re.compile(r"\{\{<[^>]*>\}\}")
_IDENTIFIER = re.compile(r"\s*\{#([a-z][a-z0-9-]*)\}\s*$")
_DIV = re.compile(r"^:{3,}[ \t]*(?:\{((?:\s*\.[\w-]+)+)\s*\}|([\w-]+)|)[ \t]*$")
_RAW_HTML = "{=html}"


@dataclass(frozen=True)
class Heading:
    level: int
    anchor: str
    text: str


@dataclass
class Headings:
    """The headings of one page in order, each with an identifier of its own."""

    found: list[Heading] = field(default_factory=list)

    def add(self, level: int, text: str, anchor: str | None) -> str:
        stem = anchor or re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"
        taken, number, name = {each.anchor for each in self.found}, 1, stem
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        self.found.append(Heading(level, name, text))
        return name


def read_page(path: Path, root: Path) -> tuple[dict[str, object], str]:
    """The front matter and the Markdown of a page, with its includes in place.

    Raises SendapError for a file that isn't there, and for a shortcode that only Quarto knows.
    """
    source = path.read_text(encoding="utf-8")
    match = _FRONT.match(source)
    front = yaml.safe_load(match[1]) if match else {}
    body = _with_includes(source[match.end() :] if match else source, path, root, depth=0)
    unknown = _SHORTCODE.search(body)
    if unknown:
        raise SendapError(f"{path.name}: the preview knows the include shortcode only, not {unknown[0]}.")
    return front if isinstance(front, dict) else {}, body


def _with_includes(body: str, path: Path, root: Path, *, depth: int) -> str:
    if depth > 5:
        raise SendapError(f"{path.name}: files include each other in a circle.")

    def content(match: re.Match[str]) -> str:
        # As in Quarto, a path is relative to the page, not to the file that is included.
        target = root / match[1].lstrip("/") if match[1].startswith("/") else path.parent / match[1]
        if not target.is_file():
            raise SendapError(f"{path.name} includes {match[1]}, which doesn't exist. Stage the pages first.")
        return _with_includes(target.read_text(encoding="utf-8"), path, root, depth=depth + 1)

    return _INCLUDE.sub(content, body)


def _with_divs(body: str) -> str:
    """Turn ``::: {.name}`` into HTML. Lines inside fenced blocks stay as they are."""
    lines, fence, depth = [], "", 0
    for line in body.splitlines():
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
        div = None if fence else _DIV.match(line)
        if div is None:
            lines.append(line)
        elif div[1] or div[2]:
            classes = " ".join(name.lstrip(".") for name in (div[1] or div[2]).split())
            lines.extend(["", f'<div class="{escape(classes, quote=True)}">', ""])
            depth += 1
        else:
            if not depth:
                raise SendapError("A div is closed with ':::' that was never opened.")
            lines.extend(["", "</div>", ""])
            depth -= 1
    if depth:
        raise SendapError("A div is opened with ':::' and never closed.")
    return "\n".join(lines)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    plain = parser.renderer.rules["fence"]

    def fence(tokens: list[Token], index: int, options: object, env: object) -> str:
        if tokens[index].info.strip() == _RAW_HTML:
            return tokens[index].content
        return plain(tokens, index, options, env)  # type: ignore[operator]

    parser.renderer.rules["fence"] = fence
    return parser


_PARSER = _parser()


def to_html(body: str, headings: Headings) -> str:
    """Markdown as HTML. Headings are given identifiers and added to ``headings``."""
    tokens = _PARSER.parse(_with_divs(body))
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        anchor = None
        last = inline.children[-1] if inline.children else None
        match = _IDENTIFIER.search(last.content) if last is not None and last.type == "text" else None
        if last is not None and match:
            last.content, anchor = last.content[: match.start()], match[1]
        text = "".join(
            child.content for child in inline.children or () if child.type in ("text", "code_inline", "text_special")
        )
        opening.attrSet("id", headings.add(int(opening.tag[1]), text, anchor))
    return _PARSER.renderer.render(tokens, _PARSER.options, {})


def to_text(line: str) -> str:
    """What a line of Markdown says, without its marks: a title, as it stands in the head of a page."""
    return unescape(re.sub(r"<[^>]+>", "", _PARSER.renderInline(line))).strip()
