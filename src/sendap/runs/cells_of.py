"""From a protocol and the data folder to cells, with what was read, assigned and set aside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sendap.adopters import starts_outside
from sendap.catalog import Catalog
from sendap.cells import Cells, OutcomeInfo
from sendap.cells.moments import ALL
from sendap.errors import Problems, SendapError
from sendap.exposure import Cohorts, cohorts
from sendap.places import BOUNDARY_RULE
from sendap.protocol import Outcome, Protocol, problems_with, series_of, undeclared_breaks
from sendap.runs.measured import Measurable, measurable
from sendap.runs.record_cells import MeasuredRecords, measured_records
from sendap.sources.locate import is_synthetic, planted
from sendap.sources.read import MeasuredSeries, read_series

Measured = MeasuredSeries | MeasuredRecords


@dataclass(frozen=True)
class Prepared:
    """Everything that estimation needs, and everything that the data page shows.

    ``cells`` holds all outcomes; ``groups`` the cells of records by each stratum, or None for published tables;
    ``anticipation`` by outcome; ``coverage, cohorts, set_aside, missing`` are tables for the reader.
    """

    cells: Cells
    groups: Cells | None
    anticipation: dict[str, int]
    coverage: pd.DataFrame
    cohorts: pd.DataFrame
    set_aside: pd.DataFrame
    missing: pd.DataFrame


def read_all(protocol: Protocol, catalog: Catalog, data_dir: Path) -> tuple[Measurable, dict[str, Measured]]:
    """What can be measured, and each outcome's series, checked; all problems at once.

    Raises Problems.
    """
    problems = problems_with(protocol, catalog)
    if problems:
        raise Problems(f"{protocol.id} can't be evaluated:", problems)
    part = measurable(protocol, catalog, data_dir)
    found: dict[str, Measured] = {}
    broken: dict[str, list[str]] = {}
    by_records: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in part.protocol.outcomes:
        dataset, series = series_of(catalog, outcome)
        if dataset.records is not None:
            by_records.setdefault((dataset.id, series.file), []).append(outcome)
            continue
        try:
            found[outcome.id] = read_series(catalog, outcome.dataset, outcome.series, data_dir)
        except SendapError as error:
            broken.setdefault(str(error), []).append(outcome.id)
    for (dataset_id, _), outcomes in by_records.items():
        try:
            found |= measured_records(catalog.dataset(dataset_id), outcomes, protocol, data_dir, catalog)
        except SendapError as error:
            broken.setdefault(str(error), []).extend(outcome.id for outcome in outcomes)
    # One broken file may serve many outcomes: say it once.
    problems += [f"{text} (Needed for {', '.join(names)}.)" for text, names in broken.items()]
    periods = {name: _known_periods(each, protocol.outcome(name)) for name, each in found.items()}
    problems += undeclared_breaks(protocol, catalog, periods)
    if not problems and part.adopters is not None:
        problems += starts_outside(protocol, catalog, part.adopters.members, periods)
    if problems:
        raise Problems(f"{protocol.id} can't be evaluated:", problems)
    return part, {outcome.id: found[outcome.id] for outcome in part.protocol.outcomes}


def _known_periods(measured: Measured, outcome: Outcome) -> list[int]:
    known = measured.frame.dropna(subset=["value"])["period"]
    return sorted(int(year) for year in known.unique() if year >= (outcome.first_period or -9999))


def prepare(protocol: Protocol, catalog: Catalog, data_dir: Path) -> Prepared:
    """Read, assign cohorts by months of exposure, and make cells.

    Raises Problems with everything that is wrong.
    """
    part, series = read_all(protocol, catalog, data_dir)
    assert part.adopters is not None
    assert protocol.comparison is not None
    assert protocol.exposure is not None
    excluded = {each.la_code for each in protocol.comparison.exclude}
    parts, groups, anticipation, coverage, tables, aside, missing = [], [], {}, [], [], [], []
    for outcome in part.protocol.outcomes:
        measured = series[outcome.id]
        frame = measured.frame[~measured.frame["la_code"].isin(excluded)]
        frame = frame[frame["period"] >= (outcome.first_period or -9999)]
        assigned = cohorts(part.adopters.members, measured.series, _known_periods(measured, outcome), protocol.exposure)
        anticipation[outcome.id] = assigned.anticipation
        if isinstance(measured, MeasuredRecords):
            parts.append(_with_cohorts(measured.cells, assigned, excluded, outcome))
            groups.append(_with_cohorts(measured.groups, assigned, excluded, outcome))
        else:
            parts.append(_cells(frame, outcome, measured, assigned, catalog))
        coverage.append(_coverage(frame, outcome, measured, assigned))
        tables.append(assigned.table.assign(outcome=outcome.name))
        aside.append(measured.set_aside.assign(outcome=outcome.name))
        missing.append(_missing(frame, outcome))
    metadata = {
        "pilot": protocol.id,
        "synthetic": is_synthetic(data_dir),
        "planted": planted(data_dir),
        "protocol": protocol.digest,
        "boundary_rule": BOUNDARY_RULE,
        "inputs": {each.path.name: each.digest for each in series.values()},
        "anticipation": anticipation,
        "awaiting": [outcome.id for outcome in part.awaiting],
        "adopters": part.adopters.content(data_dir),
    }
    return Prepared(
        cells=replace(Cells.stack(parts), metadata=metadata),
        groups=replace(Cells.stack(_alike(groups)), metadata=metadata) if groups else None,
        anticipation=anticipation,
        coverage=pd.DataFrame(coverage),
        cohorts=pd.concat(tables, ignore_index=True),
        set_aside=pd.concat(aside, ignore_index=True),
        missing=pd.concat(missing, ignore_index=True),
    )


def _alike(groups: list[Cells]) -> list[Cells]:
    """The cells of several files of records under the same strata: one that a file lacks has only its total there."""
    strata = tuple(dict.fromkeys(name for each in groups for name in each.strata))
    return [
        replace(
            each, frame=each.frame.assign(**{name: ALL for name in strata if name not in each.strata}), strata=strata
        )
        for each in groups
    ]


def _with_cohorts(cells: Cells, assigned: Cohorts, excluded: set[str], outcome: Outcome) -> Cells:
    frame = cells.frame[~cells.frame["cluster"].isin(excluded) & (cells.frame["period"] >= (outcome.first_period or 0))]
    cohort = frame["cluster"].map(assigned.first_treated).astype(float)
    return replace(cells, frame=frame.assign(cohort=cohort).reset_index(drop=True))


def _cells(
    frame: pd.DataFrame, outcome: Outcome, measured: MeasuredSeries, assigned: Cohorts, catalog: Catalog
) -> Cells:
    series = measured.series
    rows = frame.assign(cohort=frame["la_code"].map(assigned.first_treated)).set_index("row")
    codes = sorted(rows["la_code"].unique())
    clusters = pd.DataFrame({"cluster": codes})
    clusters["name"] = clusters["cluster"].map(catalog.places.name_of)
    clusters["region"] = clusters["cluster"].map(catalog.places.region_of)
    given = (
        {"rate": "value"}
        if series.value is not None
        else {
            "numerator": "numerator",
            "denominator": "denominator",
            "scale": 100.0 if series.unit == "per cent" else 1.0,
        }
    )
    return Cells.from_rates(
        rows,
        cluster="la_code",
        period="period",
        cohort="cohort",
        outcome=outcome.id,
        info=OutcomeInfo(series.unit, outcome.name, series.period_kind.value),
        clusters=clusters,
        **given,  # type: ignore[arg-type]
    )


def _coverage(frame: pd.DataFrame, outcome: Outcome, measured: Measured, assigned: Cohorts) -> dict[str, object]:
    known = frame.dropna(subset=["value"])
    treated = known["la_code"].isin(assigned.first_treated)
    per_period = known.groupby("period")["la_code"].nunique()
    complete = known.groupby("la_code")["period"].nunique() == len(per_period)
    return {
        "outcome": outcome.name,
        "dataset": measured.dataset.title,
        "kind": measured.series.period_kind.value,
        "unit": measured.series.unit,
        "first": int(per_period.index.min()),
        "last": int(per_period.index.max()),
        "periods": len(per_period),
        "treated_areas": int(known.loc[treated, "la_code"].nunique()),
        "comparison_areas": int(known.loc[~treated, "la_code"].nunique()),
        "complete_areas": int(complete.sum()),
        "known": len(known),
        "missing": int(frame["value"].isna().sum()),
    }


def _missing(frame: pd.DataFrame, outcome: Outcome) -> pd.DataFrame:
    gone = frame[frame["value"].isna()]
    table = gone.groupby("reason", as_index=False).agg(values=("la_code", "size"), areas=("la_code", "nunique"))
    return table.assign(outcome=outcome.name)[["outcome", "reason", "values", "areas"]]
