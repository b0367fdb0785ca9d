"""Stage: from the last good runs and the catalogue to pages, the one source of both renderers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sendap.site.catalogue import catalogue_page
from sendap.site.downloads import copy_downloads, downloads_page
from sendap.site.folders import whole_folder
from sendap.site.found import FoundRun, check_publishable, latest_runs
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
    with whole_folder(workspace.root / PAGES_FOLDER) as pages:
        downloads = pages / "downloads"
        copy_downloads(found, workspace.catalog, downloads, tell)
        texts = {
            "_portfolio.md": portfolio(found),
            "catalogue.qmd": catalogue_page(workspace.catalog),
            "programmes.qmd": programmes_page(workspace.catalog),
            "downloads.qmd": downloads_page(found, downloads),
        }
        for name, content in texts.items():
            (pages / name).write_text(content, encoding="utf-8")
        for each in found:
            write_notebook_pages(each, pages)
    return found
