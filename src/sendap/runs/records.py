"""Pupil records of a pilot: synthetic ones with its areas and starts, and cells from either kind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sendap.cells import Cells
from sendap.cells.compress import compress
from sendap.errors import UsageError
from sendap.exposure import cohorts
from sendap.protocol import Protocol, read_protocol
from sendap.runs.cells_of import prepare
from sendap.runs.data import data_folder
from sendap.sources.records import DEFAULT_YEARS, synthesise
from sendap.workspace import Workspace


def first_school_years(protocol: Protocol, workspace: Workspace) -> dict[str, int]:
    """The first treated school year of each area of a pilot, by months of exposure."""
    from sendap.catalog import Series

    school_year = Series.model_validate(
        {
            "id": "absence",
            "file": "records",
            "label": "Absence, September to July",
            "unit": "per cent",
            "period_kind": "academic year",
            "value": "absence",
            "measured": (9, 7),
        }
    )
    areas = workspace.catalog.rollout(protocol.programme).areas
    found = cohorts(areas, school_year, DEFAULT_YEARS, protocol.exposure).first_treated
    return {code: year for code, year in found.items() if year in DEFAULT_YEARS}


def synthesise_for(
    pilot: str,
    workspace: Workspace,
    path: Path,
    *,
    rows: int,
    effect: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, object]:
    """Synthetic records in which the pilot's areas are treated from its own start dates."""
    protocol = read_protocol(workspace.analysis, pilot)
    rollout = first_school_years(protocol, workspace)
    return synthesise(path, rows, seed=seed, effect=effect, rollout=rollout, progress=progress)


def cells_for(
    pilot: str,
    workspace: Workspace,
    records: str | None,
    *,
    outcomes: Sequence[str],
    strata: Sequence[str],
    unit: str | None,
    weights: str | None,
    engine: str,
    tell: Callable[[str], None] = lambda words: None,
) -> Cells:
    """Cells of pupil records, or of the pilot's published tables where no records are named.

    ``tell`` is called before each step with what it does.

    Raises UsageError where columns are named without records, DataError for records that can't be used.
    """
    protocol = read_protocol(workspace.analysis, pilot)
    if records is None:
        if outcomes or strata or unit or weights:
            raise UsageError("--outcome, --by, --unit and --weights are for pupil records: name them with --records.")
        tell("reading the published tables")
        with tempfile.TemporaryDirectory(prefix="sendap-") as beside:
            return prepare(protocol, workspace.catalog, data_folder(workspace, Path(beside), protocol)).cells
    return compress(
        records,
        unit=unit,
        outcomes=list(outcomes) or ["absence"],
        strata=list(strata),
        weights=weights,
        engine=engine,
        metadata={"pilot": protocol.id, "protocol": protocol.digest},
        tell=tell,
    )
