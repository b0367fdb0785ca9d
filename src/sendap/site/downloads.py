"""What a reader may take away: results, cells, protocols, manifests and notebooks, each said in a line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nbformat

from sendap.catalog import Catalog
from sendap.exposure import exposure_matrix
from sendap.report.tables import safe_csv
from sendap.site.banners import SOME_MADE_UP, SYNTHETIC, head, page_title
from sendap.site.found import FoundRun
from sendap.site.markup import front_matter, heading, linked_table, paragraph, raw, size, text, warning
from sendap.site.notebook_pages import read_notebook
from sendap.site.programmes import EXPOSURE_FILE

FILES: Mapping[str, tuple[str, str]] = {
    "estimates.csv": (
        "Every estimate, as a table",
        "Opens in any spreadsheet. One row an estimate, with its interval.",
    ),
    "estimates.parquet": ("Every estimate, for analysis software", "The same rows with exact numbers and types."),
    "cells.parquet": ("The figures that went in", "One row an area and year. Enough to make every number again."),
    "protocol.json": ("The protocol", "What the evaluation promised to do, as the run used it."),
    "manifest.json": ("The manifest", "Files read, versions of software, seeds and times, with a hash for each file."),
    "summary.json": ("The Board page in short", "The sentences and verdicts of the portfolio row."),
    "coverage.csv": ("Coverage", "Which years and how many areas each outcome has."),
    "cohorts.csv": ("Start dates and periods", "The first period in which areas count as treated, for each outcome."),
    "missing.csv": ("Missing values", "How many values are missing, and why."),
    "set-aside.csv": ("Values left out", "Values that were known but not used, with the reason."),
    "overlaps.csv": ("Overlaps", "Areas that were also in other programmes."),
    "trends.json": ("Checks of the years before", "Whether areas moved alike before the start, for each outcome."),
    "probes.json": ("Sensitivity", "Every probe of every outcome: other choices, drift, placebos, single areas."),
    "power.json": ("What could be found", "The smallest change found in 8 of 10, from the years before the start."),
    "board.ipynb": ("Board page, as a notebook", "The executed notebook, with its code."),
    "impact.ipynb": ("Full report, as a notebook", "The executed notebook, with its code."),
    "data.ipynb": ("Data and coverage, as a notebook", "The executed notebook, with its code."),
    "sensitivity.ipynb": ("Whether to believe it, as a notebook", "The executed notebook, with its code."),
    "power.ipynb": ("What it could find, as a notebook", "The executed notebook, with its code."),
}


def copy_downloads(found: Sequence[FoundRun], catalog: Catalog, folder: Path, tell: Callable[[str], None]) -> None:
    """Copy the files that are on the list, and no others: a new kind of file is looked at before it's published."""
    folder.mkdir(parents=True)
    for each in found:
        target = folder / each.pilot
        target.mkdir()
        for path in sorted(each.folder.iterdir()):
            if path.name in FILES and path.suffix == ".ipynb":
                (target / path.name).write_text(nbformat.writes(read_notebook(path)), encoding="utf-8")
            elif path.name in FILES:
                shutil.copyfile(path, target / path.name)
            elif path.is_file():
                tell(f"{each.pilot}: {path.name} isn't on the list of downloads, so it isn't published")
    matrix = exposure_matrix(catalog).reset_index()
    matrix.insert(1, "la_name", [catalog.places.name_of(code) for code in matrix["la_code"]])
    (folder / EXPOSURE_FILE).write_text(safe_csv(matrix), encoding="utf-8")


def downloads_page(found: Sequence[FoundRun], folder: Path) -> str:
    """The page of downloads, from the files that were copied."""
    invented = [each for each in found if each.summary.synthetic]
    everything = len(invented) == len(found)
    mixed = warning(f"<strong>{SYNTHETIC}.</strong> {text(SOME_MADE_UP)}") if invented and not everything else ""
    parts = [
        front_matter(title=page_title("Downloads", synthetic=everything)),
        head(synthetic=everything),
        raw(
            mixed
            + paragraph(
                "Everything below may be used again. Parquet files keep exact numbers and types: R, Python and "
                "most analysis software read them. Notebooks open in JupyterLab."
            )
            + '<p><a href="../reproduce.html">How to make these results again</a> says what to do with them.</p>'
        ),
    ]
    for each in found:
        title = page_title(each.summary.name, synthetic=each.summary.synthetic)
        parts.append(heading(title, each.page_folder))
        parts.append(raw(_files(each, folder / each.pilot, title)))
    parts.append(heading("All areas and programmes", "areas"))
    path = folder / EXPOSURE_FILE
    row = _row(path, f"downloads/{path.name}", "Areas and programmes by school term", EXPOSURE_WORDS)
    parts.append(raw(linked_table("Files about all areas", COLUMNS, [row], cards=True)))
    return "\n".join(parts)


COLUMNS = ("File", "What it holds", "Format and size")
EXPOSURE_WORDS = "Which programmes each area was in, term by term. A star marks programmes whose list isn't complete."


def _row(path: Path, address: str, title: str, what: str, *, of: str = "") -> list[str]:
    whose = f'<span class="sendap-hidden"> of {text(of)}</span>' if of else ""
    kind = {".csv": "CSV", ".parquet": "Parquet", ".json": "JSON", ".ipynb": "Notebook"}[path.suffix]
    return [
        f'<a href="{text(address)}" download>{text(title)}{whose}</a>'
        f'<span class="sendap-minor">{text(path.name)}</span>',
        text(what),
        f'<span class="sendap-whole">{text(kind)}, {text(size(path.stat().st_size))}</span>',
    ]


def _files(found: FoundRun, folder: Path, title: str) -> str:
    rows = []
    for name, (words, what) in FILES.items():
        if (folder / name).is_file():
            rows.append(_row(folder / name, f"downloads/{found.pilot}/{name}", words, what, of=title))
    return linked_table(f"Files of {title}", COLUMNS, rows, cards=True)
