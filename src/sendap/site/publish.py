"""Publish: stage the pages, render them, and put the site in place when it is whole."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sendap.errors import SendapError, UsageError
from sendap.site.folders import whole_folder
from sendap.site.preview import render_site
from sendap.site.project import read_project
from sendap.site.stage import stage
from sendap.workspace import Workspace

Renderer = Literal["auto", "quarto", "preview"]
BUILDING = "_site-building.tmp"


def publish(
    workspace: Workspace,
    runs_dir: Path,
    out: Path,
    *,
    renderer: Renderer = "auto",
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Build the site of the last good runs and the catalogue in ``out``. Returns its first page.

    ``renderer``: "quarto", "preview", or "auto" for Quarto where it is installed. ``progress`` is told what is
    being done. An interrupted or failed build leaves the last site as it was.

    Raises SendapError where the runs can't be published or a page can't be rendered.
    """
    tell = progress or (lambda words: None)
    quarto = shutil.which("quarto")
    if renderer == "quarto" and quarto is None:
        raise UsageError(
            "Quarto isn't installed here. Install it with environment.yml, or use the preview: --renderer preview."
        )
    tell("staging pages")
    stage(workspace, runs_dir=runs_dir, tell=tell)
    with whole_folder(out) as folder:
        if quarto is not None and renderer != "preview":
            tell("rendering with Quarto")
            _render_with_quarto(quarto, workspace.root, folder)
        else:
            tell("rendering with the built-in preview")
            render_site(read_project(workspace.root), folder, tell)
    return out / "index.html"


def _render_with_quarto(quarto: str, root: Path, folder: Path) -> None:
    """Render into a folder of the project, which is where Quarto writes, then move what it made."""
    building = root / BUILDING
    shutil.rmtree(building, ignore_errors=True)
    try:
        done = subprocess.run(
            [quarto, "render", str(root), "--output-dir", BUILDING],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or not (building / "index.html").is_file():
            last = "\n".join(done.stderr.strip().splitlines()[-15:])
            raise SendapError(f"Quarto couldn't render the site (exit code {done.returncode}):\n{last}")
        for path in building.iterdir():
            path.rename(folder / path.name) if path.stat().st_dev == folder.stat().st_dev else shutil.move(path, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
