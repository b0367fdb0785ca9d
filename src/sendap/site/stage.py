"""Stage: from the last good runs and the catalogue to pages, the one source of both renderers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sendap.site.benchmarks import benchmarks_part
from sendap.site.calibration import calibration_part
from sendap.site.catalogue import catalogue_page
from sendap.site.data_used import board_pages, data_used_page, read_protocols
from sendap.site.disparity import copy_report_downloads, downloads_part, latest_reports, write_report_pages
from sendap.site.downloads import copy_downloads, downloads_page
from sendap.site.exposure_page import exposure_page
from sendap.site.folders import whole_folder
from sendap.site.found import FoundRun, check_publishable, latest_runs
from sendap.site.known_effects import known_effects_part
from sendap.site.notebook_pages import write_notebook_pages
from sendap.site.portfolio import portfolio
from sendap.site.programmes import programmes_page
from sendap.workspace import Workspace

PAGES_FOLDER = "pages"


def stage(workspace: Workspace, *, runs_dir: Path, tell: Callable[[str], None] = lambda words: None) -> list[FoundRun]:
    """Write ``pages/`` at the top of the workspace, whole or not at all. Returns the runs it shows.

    Raises SendapError where a run is missing, broken, changed since it was made, or may not be published.
    """
    found = latest_runs(runs_dir)
    for each in found:
        check_publishable(each, workspace.catalog)
    reports = latest_reports(runs_dir)
    protocols = read_protocols(workspace)
    with whole_folder(workspace.root / PAGES_FOLDER) as pages:
        downloads = pages / "downloads"
        copy_downloads(found, workspace.catalog, downloads, tell)
        copy_report_downloads(reports, downloads)
        texts = {
            "_portfolio.md": portfolio(found),
            "_benchmarks.md": benchmarks_part(workspace.root),
            "_calibration.md": calibration_part(workspace.root),
            "_known_effects.md": known_effects_part(workspace.root),
            "catalogue.qmd": catalogue_page(workspace.catalog, protocols, board_pages(found)),
            "programmes.qmd": programmes_page(workspace.catalog),
            "exposure.qmd": exposure_page(workspace.catalog),
            "data-used.qmd": data_used_page(found, workspace.catalog, protocols),
            "downloads.qmd": f"{downloads_page(found, downloads)}\n{downloads_part(reports, downloads)}",
        }
        for name, content in texts.items():
            (pages / name).write_text(content, encoding="utf-8")
        for each in found:
            write_notebook_pages(each, pages)
        write_report_pages(reports, pages)
    return found
