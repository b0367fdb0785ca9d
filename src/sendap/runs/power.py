"""What a pilot could find, before its outcomes are opened: only periods before the programme are looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sendap.adopters import Adopters
from sendap.cells import Cells
from sendap.errors import DataError, DesignError, UsageError, did_you_mean
from sendap.exposure import cohorts, status
from sendap.files import write_json
from sendap.periods import Period
from sendap.probe.planned import PlannedPower, plan_power
from sendap.protocol import Outcome, Protocol, read_protocol, series_of
from sendap.report.power_page import Planned, power_text
from sendap.runs.cells_of import prepare
from sendap.runs.data import data_folder
from sendap.runs.leading import LEADS
from sendap.runs.probing import plain, records
from sendap.workspace import Workspace

AFTER = (1, 2, 3)
POWER_FILE = "power.json"
FAMILIES = ("primary", "secondary", "guard")


@dataclass(frozen=True)
class Clean:
    """Where an outcome's periods before the programme end, and how many periods lie between them and the start."""

    before: int
    anticipation: int


def clean_periods(
    protocol: Protocol, outcome: Outcome, adopters: Adopters, cells: Cells, workspace: Workspace
) -> Clean:
    """The first period that the programme could have touched, from months alone: no figure is looked at."""
    assert protocol.exposure is not None
    _, series = series_of(workspace.catalog, outcome)
    years = cells.only(outcome.id).frame["period"]
    last = max(each.start.year for each in adopters.members) + 3
    span = range(int(years.min()), last)
    first = min(each.start for each in adopters.members)
    touched = [
        year
        for year in span
        if status(first, Period(series.period_kind, year).window(series.measured), protocol.exposure) != "before"
    ]
    assigned = cohorts(adopters.members, series, span, protocol.exposure)
    return Clean(touched[0], assigned.anticipation)


def plan_pilot(
    pilot: str,
    workspace: Workspace,
    data_dir: Path,
    *,
    treated: Sequence[int] = (),
    after: Sequence[int] = (),
    outcomes: Sequence[str] = (),
    draws: int = 999,
) -> Planned:
    """What a pilot could find in each outcome, from its periods before the programme.

    ``treated`` are numbers of treated areas, by default those that took part; ``after`` numbers of periods from the
    start on, by default 1, 2 and 3; ``outcomes`` some of the protocol's, by default all but the exploratory ones.

    Raises UsageError for an unknown pilot or outcome, and for a descriptive protocol; what ``prepare`` raises.
    """
    protocol = read_protocol(workspace.analysis, pilot)
    if protocol.comparison is None:
        raise UsageError(f"{protocol.id} is described and compares nobody, so it has no effect to find.")
    for name in outcomes:
        known = [each.id for each in protocol.outcomes]
        if name not in known:
            raise UsageError(f"{protocol.id} has no outcome '{name}'.{did_you_mean(name, known)}")
    cells = prepare(protocol, workspace.catalog, data_dir).cells
    about = cells.metadata["adopters"]
    assert isinstance(about, dict)
    adopters = Adopters.of_content(protocol.programme, about)
    lead = LEADS[protocol.headline]
    found: dict[str, PlannedPower] = {}
    reasons: dict[str, str] = {}
    measured = [each for each in protocol.outcomes if each.id in cells.outcomes]
    # Where only exploratory outcomes can be read, they are all that there is to plan for.
    planned = [each for each in measured if each.family in FAMILIES] or measured
    for outcome in [each for each in measured if each.id in outcomes] if outcomes else planned:
        clean = clean_periods(protocol, outcome, adopters, cells, workspace)
        own = cells.only(outcome.id)
        # From here on, nothing that the programme could have touched is there to be seen.
        early = replace(own, frame=own.frame[own.frame["period"] < clean.before].reset_index(drop=True))
        counts = tuple(treated) or (own.frame.loc[own.frame["cluster"].isin(_codes(adopters)), "cluster"].nunique(),)
        try:
            if early.frame.empty:
                raise DesignError(f"'{outcome.id}' has no period before the programme.")
            found[outcome.id] = plan_power(
                early.panel(weights=protocol.weights, within=protocol.comparison.within),
                before=clean.before,
                treated=counts,
                after=tuple(after) or AFTER,
                anticipation=clean.anticipation,
                draws=draws,
                seed=protocol.seed,
                fitter=lead.fitter,
                past=lead.past,
            )
        except DesignError as error:
            reasons[outcome.id] = str(error)
    return Planned(protocol, workspace.catalog, found, reasons, cells.synthetic)


def _codes(adopters: Adopters) -> list[str]:
    return [each.cluster for each in adopters.members]


def content(planned: Planned) -> dict[str, object]:
    """What is kept of it in a run: plain numbers."""
    made: dict[str, object] = {}
    for name, each in planned.found.items():
        kept = {key: value for key, value in asdict(each).items() if key not in ("designs", "curve")}
        made[name] = {
            **{key: list(value) if isinstance(value, tuple) else plain(value) for key, value in kept.items()},
            "designs": records(each.designs),
        }
    return {**made, **{name: {"reason": reason} for name, reason in planned.reasons.items()}}


def open_power(pilot: str, run: str = "") -> Planned:
    """What a notebook shows: planned now, and kept in the folder of the run where there is one.

    Raises UsageError for an unknown pilot, DataError for a folder that doesn't exist.
    """
    workspace = Workspace.find()
    protocol = read_protocol(workspace.analysis, pilot)
    if run and not Path(run).is_dir():
        raise DataError(f"The run folder {run} doesn't exist. Leave run empty to keep nothing.")
    with tempfile.TemporaryDirectory(prefix=f"sendap-{pilot.lower()}-") as temporary:
        beside = Path(run).parent if run else Path(temporary)
        planned = plan_pilot(pilot, workspace, data_folder(workspace, beside, protocol))
    if run:
        write_json(Path(run) / POWER_FILE, content(planned))
    return planned


def power_words(
    pilot: str,
    workspace: Workspace,
    runs_dir: Path,
    *,
    treated: Sequence[int],
    after: Sequence[int],
    outcomes: Sequence[str],
) -> str:
    """The command's answer, for a terminal."""
    protocol = read_protocol(workspace.analysis, pilot)
    data_dir = data_folder(workspace, runs_dir, protocol)
    return power_text(plan_pilot(pilot, workspace, data_dir, treated=treated, after=after, outcomes=outcomes))
