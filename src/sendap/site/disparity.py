"""Disparity reports on the site: an overview, one page a report, and their downloads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell, new_raw_cell

from sendap.errors import SendapError
from sendap.files import sha256
from sendap.groups import stratum_words
from sendap.site.banners import SOME_MADE_UP, SYNTHETIC, about, head, page_title, warning
from sendap.site.cleaned import is_parameters
from sendap.site.found import Latest, Manifest, Written, _read
from sendap.site.markup import anchor, front_matter, heading, items, link, linked_table, paragraph, raw, size, text
from sendap.site.notebook_pages import _check_outputs, front_of, read_notebook

FOLDER = "DISPARITY"
NOTEBOOK, PAGE_FOLDER, OVERVIEW = "disparity.ipynb", "disparity", "disparity.qmd"

FILES: Mapping[str, tuple[str, str]] = {
    "gaps.csv": ("Gaps by group", "Every measure: rates, absolute gaps, ratios and odds ratios, with intervals."),
    "gaps-alike.csv": ("Gaps among children who are alike", "Each rung of the ladder, intervals by whole areas."),
    "gaps-by-area.csv": ("Gaps inside each area", "Each group in each area, too few to say marked, and shrunken gaps."),
    "gaps-by-year.csv": ("Gaps by year", "Each group's gap year by year, in programme areas and in others."),
    "gaps-programme.csv": ("Gaps and the programme", "Effects on each group and gap, verdicts and adjusted p-values."),
    "between-and-within-areas.csv": ("Between and inside areas", "Where each gap lies."),
    "between-and-within-areas-change.csv": ("Change between and inside areas", "Where the change of each gap lies."),
    "areas.csv": ("Areas", "Each area's rate, the same drawn towards the mean, and its place in the funnel."),
    "spread-by-year.csv": ("Spread between areas", "How far apart areas are, year by year."),
    "spread-change.csv": ("Change of the spread", "In programme areas and in others."),
    "spread-over-groups.csv": ("Spread over groups", "Between-group variance, index of disparity, Theil's index."),
    "gradient.csv": ("Social gradient", "Slope and relative index of inequality."),
    "intersections.csv": ("Crossed groups", "Each crossed group's share, and what its parts don't explain."),
    "not-recorded.csv": ("Not recorded", "Children whose group isn't recorded, by year."),
    "checks.csv": ("Checks", "Sums over areas against the publisher's England."),
    "cells.parquet": (
        "The figures that went in",
        "One row an area, year and group. Enough to make every number again.",
    ),
    "table.json": ("The table", "Which published table it is and how it was read."),
    "summary.json": ("The report in short", "The sentences of the overview."),
    "manifest.json": ("The manifest", "Files read, versions of software and times, with a hash for each file."),
    "disparity.ipynb": ("The report, as a notebook", "The executed notebook, with its code."),
}
INTRODUCTION = (
    "The Plan asks that no group is disadvantaged by place, gender or race. These reports say how far apart groups and "
    "areas are in published figures, and where the gaps lie. They describe: a gap shows neither its cause nor what any "
    "pilot did, and a flag is a prompt to look."
)
METHODS = ("How to read these pages", "../methods.html")


class Said(Written):
    """What a report says of itself."""

    report: str
    title: str
    question: str
    measure: str
    period: str
    source: str
    access: str
    synthetic: bool
    findings: tuple[str, ...]
    flagged: dict[str, tuple[str, ...]]
    cannot: int


@dataclass(frozen=True)
class FoundReport:
    """One disparity report to publish."""

    folder: Path
    run: str
    said: Said
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.said.report.lower()

    @property
    def anchor(self) -> str:
        return anchor("disparity", self.name)


def latest_reports(runs_dir: Path) -> list[FoundReport]:
    """The last good run of every disparity report, by title; none where none was made.

    Raises SendapError where a run lacks a file, was changed since it was made, or holds figures nobody has released.
    """
    found = []
    for pointer in sorted((runs_dir / FOLDER).glob("*/latest.json")):
        run = _read(Latest, pointer).run
        folder = pointer.parent / run
        said, manifest = _read(Said, folder / "summary.json"), _read(Manifest, folder / "manifest.json")
        again = f"Make it again with 'sendap disparity {said.report}'."
        for name, expected in manifest.outputs.items():
            path = folder / name
            if not path.is_file() or sha256(path) != expected:
                raise SendapError(
                    f"{path} isn't the file that the run wrote: it is missing or was changed since. {again}"
                )
        if said.synthetic != manifest.synthetic:
            raise SendapError(f"{folder}: summary and manifest disagree on whether the data are synthetic. {again}")
        if said.access != "published" and not said.synthetic:
            raise SendapError(
                f"{said.report} uses data that aren't published, so it can't be published before release."
            )
        found.append(FoundReport(folder, run, said, manifest))
    return sorted(found, key=lambda each: each.said.title)


def overview(found: Sequence[FoundReport]) -> str:
    """The page of all disparity reports: what each found, what it flagged, what it can't say."""
    invented = [each for each in found if each.said.synthetic]
    everything = bool(found) and len(invented) == len(found)
    parts = [
        front_matter(title=page_title("Disparity: place, sex and ethnic group", synthetic=everything)),
        head(synthetic=everything),
    ]
    if invented and not everything:
        parts.append(raw(warning(f"<strong>{SYNTHETIC}.</strong> {text(SOME_MADE_UP)}")))
    parts.append(raw(f'<p class="sendap-lead">{text(INTRODUCTION)}</p><p>{link(*METHODS)} explains the words.</p>'))
    if not found:
        parts.append(raw(paragraph("No disparity report has been made yet. Make them with: sendap disparity")))
        return "\n".join(parts)
    columns = ("Report", "Question", "Flagged as a prompt to look", "Figures of", "Questions it can't answer")
    table = linked_table("Disparity reports", columns, (_row(each) for each in found), cards=True)
    parts += [heading("The reports", "reports"), raw(table), heading("What they found", "found")]
    for each in found:
        parts.append(heading(page_title(each.said.title, synthetic=each.said.synthetic), each.anchor, level=3))
        address = f"{PAGE_FOLDER}/{each.name}.html"
        parts.append(raw(items(each.said.findings) + f"<p>{link(f'The report: {each.said.title}', address)}</p>"))
    parts.append(heading("How to read them", "read"))
    parts.append(
        raw(
            items(
                (
                    "Each gap is shown as percentage points and as ratios. The two can move opposite ways.",
                    "A group is flagged where a ratio lies outside 0.80 to 1.25 and its interval excludes 1.",
                    "Groups too small to say have a row that says so. Children whose group isn't recorded have a row "
                    "too.",
                    "Areas are never ranked. A funnel says which lie further out than chance and ordinary variation "
                    "do.",
                    "Some questions need two characteristics together. Margins can't answer them, and each report "
                    "lists them.",
                )
            )
        )
    )
    return "\n".join(parts)


def _row(found: FoundReport) -> list[str]:
    said = found.said
    mark = f'<strong class="sendap-tag">{SYNTHETIC}</strong> ' if said.synthetic else ""
    flags = {by: names for by, names in said.flagged.items() if names}
    words = "; ".join(f"{len(names)} by {stratum_words(by)}" for by, names in flags.items()) or "none"
    return [
        f'{mark}<a href="{PAGE_FOLDER}/{found.name}.html">{text(said.title)}</a>',
        text(said.question),
        text(words),
        text(said.period),
        text(said.cannot),
    ]


def report_page(found: FoundReport) -> str:
    """One executed report as a page, in the notebook format.

    Raises SendapError where the notebook can't be read, failed, or holds active content.
    """
    notebook = read_notebook(found.folder / NOTEBOOK)
    _check_outputs(notebook, f"{FOLDER}/{found.said.report}/{found.run}/{NOTEBOOK}")
    front, synthetic = front_of(notebook), found.said.synthetic
    front["body-classes"] = "sendap-report sendap-is-synthetic" if synthetic else "sendap-report"
    links = (
        '<nav class="sendap-pages" aria-label="Disparity reports"><ul><li><a href="../disparity.html">All disparity '
        f'reports</a></li><li><a href="../downloads.html#{found.anchor}">Downloads</a></li></ul></nav>'
    )
    finished = found.manifest.finished
    rows = {
        "Run": text(f"{found.run}, finished {finished.day} {finished:%B %Y}"),
        "Data": text("synthetic records" if synthetic else found.said.source),
        "Code": link("how to run it again", "../../reproduce.html"),
    }
    title = page_title(found.said.title, synthetic=synthetic)
    content = [cell for cell in notebook.cells if cell.cell_type in ("markdown", "code") and not is_parameters(cell)]
    notebook.cells = [
        new_raw_cell(front_matter(**{**front, "title": title})),
        new_markdown_cell(head(synthetic=synthetic, links=links)),
        *content,
        new_markdown_cell(about(rows)),
    ]
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{found.name}-{number}"  # the same run gives the same bytes
    return nbformat.writes(notebook)


def write_report_pages(found: Sequence[FoundReport], pages: Path) -> None:
    """The overview, and a page for each report."""
    (pages / OVERVIEW).write_text(overview(found), encoding="utf-8")
    for each in found:
        (pages / PAGE_FOLDER).mkdir(exist_ok=True)
        (pages / PAGE_FOLDER / f"{each.name}.ipynb").write_text(report_page(each), encoding="utf-8")


def copy_report_downloads(found: Sequence[FoundReport], folder: Path) -> None:
    """Copy the files that are on the list, and no others."""
    for each in found:
        target = folder / FOLDER / each.said.report
        target.mkdir(parents=True)
        for name in FILES:
            path = each.folder / name
            if path.is_file() and path.suffix == ".ipynb":
                (target / name).write_text(nbformat.writes(read_notebook(path)), encoding="utf-8")
            elif path.is_file():
                shutil.copyfile(path, target / name)


def downloads_part(found: Sequence[FoundReport], folder: Path) -> str:
    """The part of the page of downloads that holds the disparity reports; empty without any."""
    parts = []
    kinds = {".csv": "CSV", ".parquet": "Parquet", ".json": "JSON", ".ipynb": "Notebook"}
    for each in found:
        title = page_title(f"Disparity: {each.said.title}", synthetic=each.said.synthetic)
        rows = []
        for name, (words, what) in FILES.items():
            path = folder / FOLDER / each.said.report / name
            if not path.is_file():
                continue
            address, whose = f"downloads/{FOLDER}/{each.said.report}/{name}", f" of {title}"
            rows.append(
                [
                    f'<a href="{text(address)}" download>{text(words)}'
                    f'<span class="sendap-hidden">{text(whose)}</span></a>'
                    f'<span class="sendap-minor">{text(name)}</span>',
                    text(what),
                    f'<span class="sendap-whole">{kinds[path.suffix]}, {text(size(path.stat().st_size))}</span>',
                ]
            )
        columns = ("File", "What it holds", "Format and size")
        parts.append(heading(title, each.anchor))
        parts.append(raw(linked_table(f"Files of {title}", columns, rows, cards=True)))
    return "\n".join(parts)
