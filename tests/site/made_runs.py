"""A workspace and a set of small runs in the shape that `sendap run` leaves, made without running anything."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from sendap.report.figures import interval_figure
from sendap.report.output import bullets, notice, paragraphs
from sendap.report.tables import table
from sendap.workspace import Workspace, find_root

ROOT = find_root(Path(__file__).parent)
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3"},
    "papermill": {"output_path": "/secret/path"},
}
PAGES_OF_THE_ROOT = ("_quarto.yml", *(path.name for path in sorted(Path(__file__).resolve().parents[2].glob("*.qmd"))))


def make_workspace(folder: Path) -> Workspace:
    """The pages of the root, the real catalogue and the assets, in a folder that tests may write to."""
    for name in PAGES_OF_THE_ROOT:
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "data-catalog", folder / "data-catalog")
    shutil.copytree(ROOT / "src/sendap/site/assets", folder / "src/sendap/site/assets")
    return Workspace(folder)


def shown(html: object) -> object:
    return new_output("execute_result", data={"text/html": str(html), "text/plain": "text"}, execution_count=1)


def make_notebook(title: str, body: list[object]) -> object:
    """An executed notebook: raw YAML, parameters, an import that warned, then headings and outputs."""
    cells = [
        new_raw_cell(f"---\ntitle: {title}\n---"),
        new_code_cell('pilot = "CP"\nrun = ""', metadata={"tags": ["parameters"]}),
        new_code_cell('pilot = "CP"\nrun = "/secret/path"', metadata={"tags": ["injected-parameters"]}),
        new_code_cell(
            "import sendap  # secret code",
            outputs=[new_output("stream", name="stderr", text="UserWarning: secret warning")],
        ),
    ]
    for part in body:
        cells.append(new_markdown_cell(part) if isinstance(part, str) else new_code_cell("page.show()", outputs=[part]))
    return new_notebook(cells=cells, metadata=METADATA)


def figure(*, synthetic: bool) -> str:
    rows = pd.DataFrame(
        {
            "estimate": [2.4, 0.5],
            "ci_low": [-7.9, -10.0],
            "ci_high": [12.8, 11.0],
            "treated_clusters": 32,
            "clusters": 151,
        }
    )
    drawn = interval_figure(
        rows,
        ["Headline", "All comparison areas"],
        title="The effect could be a gain or a loss",
        measure="Plans in time",
        unit="per cent",
        source="Department for Education",
        threshold=5.0,
        name="made-headline",
        synthetic=synthetic,
    )
    return drawn.html().html


def board(*, synthetic: bool) -> object:
    warning = [shown(notice("Synthetic data, not a finding.", "warning").html)] if synthetic else []
    harms = pd.DataFrame({"Concern": ["Refusals rise"], "Best estimate": ["2"], "Verdict": ["cannot tell"]})
    parts: list[object] = [
        *warning,
        "## Finding",
        shown(notice("We can't tell whether plans came sooner.", "finding").html + paragraphs("Best guess: 2.").html),
        shown("<h3>What we can say</h3>" + bullets(["Not much."]).html),
        "## The effect and its uncertainty",
        shown(figure(synthetic=synthetic)),
        "## Harms looked for",
        shown(table(harms, "Harms looked for", file="harms.csv")),
        "## Where to find more",
        shown('<p><a href="report.html">Full report</a>, <a href="data.ipynb">data and coverage</a>.</p>'),
    ]
    return make_notebook("Board page", parts)


def summary(pilot: str, **changes: object) -> dict[str, object]:
    return {
        "pilot": pilot,
        "name": f"Pilot {pilot}",
        "group": "Made",
        "status": "Tested",
        "question": "Did plans come sooner?",
        "reach": "32 areas",
        "headline": "We can't tell whether plans came sooner.",
        "per_hundred": "Our best estimate is about 2 more in every 100 plans.",
        "verdict": "cannot_tell",
        "confidence": "Low at most",
        "confidence_score": 2,
        "guards": [
            {"name": "Refusals rise", "verdict": "possible harm"},
            {"name": "Fewer children in mainstream", "verdict": "cannot tell"},
        ],
        "synthetic": False,
        "primary": "Plans in time",
        "datasets": ["lait"],
        "estimate": {"estimate": 2.4, "ci_low": -7.9, "ci_high": 12.8, "unit": "per cent"},
        "registered": False,
        **changes,
    }


def make_run(
    runs_dir: Path, said: Mapping[str, object], *, run: str = "a1b2c3", dataset: str = "lait", notebook: object = None
) -> Path:
    """One whole run. ``notebook`` takes the place of the Board page."""
    pilot, synthetic = str(said["pilot"]), bool(said["synthetic"])
    folder = runs_dir / pilot / run
    folder.mkdir(parents=True)
    report = ["What happened.", "## Design", shown(bullets(["Areas were compared."]).html), "## Years before and after"]
    coverage = pd.DataFrame({"Outcome": ["Plans in time"], "Areas": [151]})
    for name, content in {
        "board": notebook or board(synthetic=synthetic),
        "impact": make_notebook("Full report", [*report, shown(figure(synthetic=synthetic))]),
        "data": make_notebook("Data", ["What was read.", "## Coverage", shown(table(coverage, "Coverage"))]),
    }.items():
        (folder / f"{name}.ipynb").write_text(nbformat.writes(content), encoding="utf-8")
    estimates = pd.DataFrame({"outcome": ["plans"], "estimate": [2.4]})
    estimates.to_csv(folder / "estimates.csv", index=False)
    estimates.to_parquet(folder / "estimates.parquet")
    estimates.to_parquet(folder / "cells.parquet")
    coverage.to_csv(folder / "coverage.csv", index=False)
    write(folder / "protocol.json", {"id": pilot, "outcomes": [{"dataset": dataset}]})
    write(folder / "summary.json", said)
    seal(folder, synthetic=synthetic)
    write(runs_dir / pilot / "latest.json", {"run": run})
    return folder


def seal(folder: Path, *, synthetic: bool) -> None:
    """Write the manifest with the hashes of the files as they are."""
    files = [path for path in sorted(folder.iterdir()) if path.name != "manifest.json"]
    manifest = {
        "pilot": folder.parent.name,
        "run": folder.name,
        "synthetic": synthetic,
        "started": "2025-11-03T09:00:00+00:00",
        "finished": "2025-11-03T09:01:00+00:00",
        "git": {"commit": "0123456789abcdef", "clean": True},
        "versions": {"sendap": "0.1.0"},
        "protocol": "abc",
        "seed": 1,
        "outputs": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
    write(folder / "manifest.json", manifest)


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
