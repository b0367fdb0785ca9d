"""One output for JupyterLab, Quarto and the preview: HTML with figure, caption, alt text, table and CSV."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape, unescape


@dataclass(frozen=True)
class Html:
    """A piece of a page. In a notebook it shows itself; in text it is what a screen reader would say."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.html))).strip()

    __repr__ = __str__

    def __add__(self, other: Html) -> Html:
        return Html(self.html + other.html)


def paragraphs(*texts: str) -> Html:
    """Sentences as paragraphs; empty ones are left out."""
    return Html("".join(f"<p>{escape(text)}</p>" for text in texts if text))


def bullets(texts: list[str]) -> Html:
    return Html("<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>")


def notice(text: str, kind: str = "note") -> Html:
    """A framed message. ``kind``: "note", "warning" (synthetic data) or "finding" (the headline)."""
    return Html(f'<div class="sendap-notice sendap-{kind}" role="note"><p>{escape(text)}</p></div>')
