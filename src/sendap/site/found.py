"""The last good run of each pilot, as its folder describes itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sendap.catalog import Catalog, explain
from sendap.errors import SendapError
from sendap.files import sha256

NOTEBOOKS = {
    "impact": ("board.ipynb", "impact.ipynb", "data.ipynb"),
    "description": ("board.ipynb", "impact.ipynb"),
}

Model = TypeVar("Model", bound="Written")


class Written(BaseModel):
    """Base of what a run wrote. Keys that the site has no use for are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class GuardSaid(Written):
    name: str
    verdict: str


class Estimate(Written):
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    unit: str = ""


class Summary(Written):
    kind: Literal["impact", "description"] = "impact"
    pilot: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    name: str
    group: str = ""
    status: str = ""
    question: str
    reach: str = ""
    dates: str = ""
    headline: str
    per_hundred: str = ""
    verdict: str = ""
    confidence: str
    confidence_score: int
    guards: tuple[GuardSaid, ...] = ()
    synthetic: bool
    primary: str = ""
    datasets: tuple[str, ...]
    estimate: Estimate = Estimate()
    registered: bool = False


class Code(Written):
    commit: str | None = None
    clean: bool | None = None


class Manifest(Written):
    started: datetime
    finished: datetime
    git: Code = Code()
    versions: dict[str, str] = Field(default_factory=dict)
    protocol: str = ""
    seed: int | None = None
    synthetic: bool
    outputs: dict[str, str] = Field(default_factory=dict)


class Latest(Written):
    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


@dataclass(frozen=True)
class FoundRun:
    """One run to publish: its folder, its name, what it says of itself."""

    folder: Path
    run: str
    summary: Summary
    manifest: Manifest

    @property
    def pilot(self) -> str:
        return self.summary.pilot

    @property
    def page_folder(self) -> str:
        return self.pilot.lower()


def _read(model: type[Model], path: Path) -> Model:
    where = f"{path.parent.name}/{path.name}"
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SendapError(
            f"{path} doesn't exist, so the run can't be published. Make it again with 'sendap run'."
        ) from None
    except json.JSONDecodeError as error:
        raise SendapError(
            f"{path}, line {error.lineno}: not valid JSON. Make the run again with 'sendap run'."
        ) from None
    except ValidationError as error:
        raise SendapError("\n".join(explain(error, where))) from None


def latest_runs(runs_dir: Path) -> list[FoundRun]:
    """The last good run of every pilot in a folder of runs, in the order of the portfolio.

    Real figures before synthetic ones, then by confidence, then by name, never by effect.

    Raises SendapError where there is no run, or where a run lacks a file.
    """
    found = []
    for pointer in sorted(runs_dir.glob("*/latest.json")):
        run = _read(Latest, pointer).run
        folder = pointer.parent / run
        summary, manifest = _read(Summary, folder / "summary.json"), _read(Manifest, folder / "manifest.json")
        for name in NOTEBOOKS[summary.kind]:
            if not (folder / name).is_file():
                raise SendapError(f"{folder} lacks {name}. Make the run again with 'sendap run {summary.pilot}'.")
        if summary.synthetic != manifest.synthetic:
            raise SendapError(
                f"{folder}: summary.json and manifest.json disagree on whether the data are synthetic. "
                f"Make the run again with 'sendap run {summary.pilot}'."
            )
        found.append(FoundRun(folder, run, summary, manifest))
    if not found:
        raise SendapError(f"There is no run to publish in {runs_dir}. Make one with 'sendap run', then publish.")
    return sorted(found, key=lambda each: (each.summary.synthetic, -each.summary.confidence_score, each.summary.name))


def check_publishable(found: FoundRun, catalog: Catalog) -> None:
    """Refuse a run whose files were changed after it ended, or that holds figures nobody has released.

    Figures of published statistics are released already, and synthetic ones need no release. Anything else has to
    pass the release rules first, and this version has none, so it isn't published at all.
    """
    for name, expected in found.manifest.outputs.items():
        path = found.folder / name
        if not path.is_file() or sha256(path) != expected:
            raise SendapError(
                f"{path} isn't the file that the run wrote: it is missing or was changed since. "
                f"Make the run again with 'sendap run {found.pilot}'."
            )
    if found.summary.synthetic:
        return
    for name in found.summary.datasets:
        if catalog.dataset(name).access != "published":
            raise SendapError(
                f"{found.pilot} uses '{name}', which isn't published data, so its results can't be published "
                "before they are released."
            )
