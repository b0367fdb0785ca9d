"""What every published page must satisfy, for any site served at an address. Each check returns its problems."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.request import urlopen

AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
WIDTHS = (1280, 320)
CHROMIUM_OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SYNTHETIC = "synthetic data, not a finding"
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


def chromium() -> str | None:
    """Where Chromium is installed, or None."""
    return next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine only. Gives the address, which ends in a slash."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *values: object) -> None:
            pass

    class Patient(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A browser that leaves a page hangs up while it is being sent: nothing to report."""

    server = Patient(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def browser() -> Iterator[object]:
    """A headless Chromium with a profile of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_OPTIONS))
        try:
            yield opened
        finally:
            opened.close()


class Outline(HTMLParser):
    """What a page is made of: headings, links, identifiers, pictures, tables, title, language."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[tuple[int, str]] = []
        self.links: list[str] = []
        self.resources: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.problems: list[str] = []
        self.language = self.title = ""
        self._inside: list[str] = []
        self._captions: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self._inside.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "html":
            self.language = values.get("lang", "")
        elif tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("link", "script", "img"):
            self.resources.append(values.get("href") or values.get("src", ""))
            if tag == "img" and "alt" not in values:
                self.problems.append("a picture has no alternative text")
        elif tag == "table":
            self._captions.append(False)
        elif tag == "caption":
            self._captions[-1] = True
        elif tag == "th" and "scope" not in values:
            self.problems.append("a heading of a table has no scope")
        elif len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        if tag == "table" and not self._captions.pop():
            self.problems.append("a table has no caption")

    def handle_data(self, data: str) -> None:
        if "title" in self._inside[-1:]:
            self.title += data
        if self.headings and f"h{self.headings[-1][0]}" in self._inside:
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)


def fetch(address: str) -> str:
    with urlopen(address) as answer:
        return answer.read().decode("utf-8")


def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    found.close()
    return found


def check_structure(base: str, pages: Sequence[str]) -> list[str]:
    """Language, title, one main heading, headings in order, landmarks, unique identifiers, captions, scopes."""
    problems = []
    for page in pages:
        found = outline(fetch(base + page))
        levels = [level for level, _ in found.headings]
        own = list(found.problems)
        own += [] if found.language == "en-GB" else [f"language is '{found.language}'"]
        own += [] if found.title.strip() else ["no title"]
        own += [] if levels.count(1) == 1 else [f"{levels.count(1)} headings of level 1"]
        own += [
            f"heading '{text.strip()}' jumps from level {before} to {level}"
            for (before, _), (level, text) in zip(found.headings, found.headings[1:], strict=False)
            if level > before + 1
        ]
        own += [f"empty heading of level {level}" for level, text in found.headings if not text.strip()]
        own += [f"no <{name}>" for name in ("header", "nav", "main", "footer") if name not in found.tags]
        own += [
            f"identifier '{name}' is there twice" for name in {each for each in found.ids if found.ids.count(each) > 1}
        ]
        problems += [f"{page}: {text}" for text in own]
    return problems


def check_links(base: str, pages: Sequence[str]) -> list[str]:
    """Every link, anchor, picture and style of the site leads somewhere. Others are only well formed."""
    problems, outlines, answers = [], {page: outline(fetch(base + page)) for page in pages}, {}
    for page, found in outlines.items():
        for link in [*found.links, *found.resources]:
            if link.startswith("data:"):
                continue
            address, anchor = urldefrag(urljoin(base + page, link))
            parts = urlsplit(address)
            if not address.startswith(base):
                if parts.scheme not in ("http", "https") or "." not in parts.netloc or " " in address:
                    problems.append(f"{page}: '{link}' isn't a well-formed address")
                continue
            if address not in answers:
                answers[address] = answer(address)
            if answers[address] != 200:
                problems.append(f"{page}: '{link}' leads nowhere ({answers[address]})")
            elif anchor:
                target = unquote(address.removeprefix(base)) or "index.html"
                known = outlines[target] if target in outlines else outline(fetch(address))
                if anchor not in known.ids:
                    problems.append(f"{page}: '{link}' names an anchor that isn't there")
    return problems


def answer(address: str) -> int:
    try:
        with urlopen(address) as reply:
            return reply.status if reply.read() else 204
    except HTTPError as error:
        return error.code


def check_axe(opened: object, base: str, pages: Sequence[str], axe: Path) -> list[str]:
    """Serious and critical violations of WCAG 2.2 AA, wide and narrow, with everything unfolded."""
    problems, source = [], axe.read_text(encoding="utf-8")
    for width in WIDTHS:
        view = opened.new_page(viewport={"width": width, "height": 900})
        for page in pages:
            view.goto(base + page)
            view.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            view.evaluate(source)
            found = view.evaluate(
                "(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})"
                ".then((result) => result.violations)",
                list(AXE_TAGS),
            )
            problems += [
                f"{page} at {width}: {each['impact']}: {each['id']}: {each['nodes'][0]['html'][:160]}"
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
        view.close()
    return problems


def check_browsing(opened: object, base: str, pages: Sequence[str]) -> list[str]:
    """No error in the console, nothing fetched from elsewhere, no sideways scrolling of a page at 320 pixels."""
    problems: list[str] = []
    view = opened.new_page(viewport={"width": 320, "height": 640})
    view.on("console", lambda said: problems.append(f"{view.url}: {said.text}") if said.type == "error" else None)
    view.on("pageerror", lambda error: problems.append(f"{view.url}: {error}"))
    view.on(
        "request",
        lambda sent: (
            None if sent.url.startswith((base, "data:")) else problems.append(f"{view.url}: asks for {sent.url}")
        ),
    )
    for page in pages:
        view.goto(base + page)
        for opening in ("false", "true"):
            view.evaluate(f"document.querySelectorAll('details').forEach((each) => {{ each.open = {opening}; }})")
            over = view.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if over > 0:
                problems.append(f"{page}: {over} pixels wider than a screen of 320 (details open: {opening})")
    view.close()
    return problems


def check_without_scripts(opened: object, base: str, pages: Sequence[str]) -> list[str]:
    """A page without scripts says the same as with them."""
    problems, said = [], {}
    for scripts in (True, False):
        context = opened.new_context(java_script_enabled=scripts)
        view = context.new_page()
        for page in pages:
            view.goto(base + page)
            text = view.locator("main").inner_text()
            if not scripts and (not text or text != said[page]):
                problems.append(f"{page}: reads differently without scripts")
            said[page] = text
        context.close()
    return problems


def check_skip_link(opened: object, base: str, pages: Sequence[str]) -> list[str]:
    """The first stop of the Tab key is a visible skip link, and from there the next stop lies in the main part."""
    problems = []
    view = opened.new_page()
    for page in pages:
        view.goto(base + page)
        view.keyboard.press("Tab")
        box = view.evaluate("document.activeElement.getBoundingClientRect().toJSON()")
        words = view.evaluate("document.activeElement.textContent")
        if "Skip to main content" not in words or box["left"] < 0 or box["width"] < 20:
            problems.append(f"{page}: the first stop of the Tab key is '{words}', or it can't be seen")
            continue
        view.keyboard.press("Enter")
        view.keyboard.press("Tab")
        if not view.evaluate("document.querySelector('main').contains(document.activeElement)"):
            problems.append(f"{page}: the skip link doesn't lead into the main part")
    view.close()
    return problems


def check_search(opened: object, base: str, page: str, *, words: str, expected: str) -> list[str]:
    """Searching by keyboard finds a page, and the link found leads there."""
    view = opened.new_page()
    view.goto(base + page)
    view.get_by_label("Search", exact=True).fill(words)
    view.keyboard.press("Enter")
    view.locator("#preview-results li a").first.wait_for(timeout=5_000)
    links = view.locator("#preview-results li a").evaluate_all("(all) => all.map((each) => each.href)")
    problems = [] if any(expected in each for each in links) else [f"searching '{words}' from {page} finds {links}"]
    for each in links:
        reached = view.goto(each)
        if reached is not None and reached.status != 200:
            problems.append(f"the search leads to {each}, which isn't there")
    view.close()
    return problems


def check_synthetic(base: str, pages: Sequence[str]) -> list[str]:
    """Pages of synthetic data say so in the title, in the heading and in the banner."""
    problems = []
    for page in pages:
        html = fetch(base + page)
        found = outline(html)
        heading = next(text for level, text in found.headings if level == 1)
        for place, text in {"title": found.title, "heading": heading, "banner": banner(html)}.items():
            if SYNTHETIC not in text.lower():
                problems.append(f"{page}: the {place} doesn't say that the data are synthetic")
    return problems


def banner(html: str) -> str:
    return html.partition('class="sendap-synthetic"')[2][:200]


def check_no_text(folder: Path, words: Sequence[str]) -> list[str]:
    """Files of a site that hold words which must not leave the machine, such as the paths of its folders."""
    return [
        f"{path.relative_to(folder)}: holds '{word}'"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for word in words
        if word.encode() in path.read_bytes()
    ]


def print_pages(opened: object, base: str, page: str) -> int:
    """How many sheets of paper a page prints on."""
    view = opened.new_page()
    view.goto(base + page)
    document = view.pdf(prefer_css_page_size=True)
    view.close()
    return document.count(b"/Type /Page\n") or document.count(b"/Type /Page ")
