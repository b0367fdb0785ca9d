"""The words that stand at the head of every page: what it is, and whether its data are real."""

from __future__ import annotations

from sendap.site.markup import facts, raw, text, warning

SYNTHETIC = "Synthetic data, not a finding"
PUBLISHED = (
    "Research report. Not official statistics. Uses Department for Education and Ministry of Justice statistics "
    "under the Open Government Licence v3.0."
)
MADE_UP = (
    "Research report. Not official statistics. Made from synthetic records, which describe no real child, school or "
    "area. It shows how a report will look, and nothing else."
)
SOME_MADE_UP = (
    "Some rows are made from synthetic records, and say so. Those rows show how a report will look, and nothing else."
)


def status(*, synthetic: bool) -> str:
    """What kind of document this is, and whose figures it uses."""
    return f'<p class="sendap-status">{text(MADE_UP if synthetic else PUBLISHED)}</p>'


def synthetic_banner() -> str:
    return warning(f"<strong>{SYNTHETIC}.</strong> No figure on this page is real.")


def page_title(title: str, *, synthetic: bool) -> str:
    """The title of a page, which is also its heading: synthetic data are named in both."""
    return f"{title} ({SYNTHETIC[0].lower()}{SYNTHETIC[1:]})" if synthetic else title


def head(*, synthetic: bool, links: str = "") -> str:
    """The first block of a page: warning, status, and the links to its neighbours."""
    return raw((synthetic_banner() if synthetic else "") + status(synthetic=synthetic) + links)


def about(rows: dict[str, str]) -> str:
    """The last block of a page: where it comes from. The values are HTML already."""
    return raw(f'<aside class="sendap-about" aria-label="About this page">{facts(rows)}</aside>')
