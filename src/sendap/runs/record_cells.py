"""Restricted and local records as outcomes of a protocol: compressed in one pass, by cluster, period and stratum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sendap.catalog import Catalog, Dataset, Series
from sendap.cells import Cells, OutcomeInfo
from sendap.cells.moments import ALL, SQUARED_DEVIATIONS
from sendap.errors import DataError
from sendap.files import sha256
from sendap.protocol import Outcome, Protocol
from sendap.sources.locate import locate


@dataclass(frozen=True)
class MeasuredRecords:
    """One outcome measured on records.

    ``cells`` are summed over all strata, ``groups`` keep one margin for each stratum; neither has cohorts yet.
    ``frame`` has ``la_code`` (the cluster, whatever it is), ``period``, ``value``, ``reason`` as a published series.
    """

    dataset: Dataset
    series: Series
    cells: Cells
    groups: Cells
    frame: pd.DataFrame
    set_aside: pd.DataFrame
    path: Path
    digest: str


def measured_records(
    dataset: Dataset, outcomes: Sequence[Outcome], protocol: Protocol, data_dir: Path, catalog: Catalog
) -> dict[str, MeasuredRecords]:
    """Several outcomes of one file of records, in one scan.

    Raises DataError for a file that can't be used, or a cluster in two regions.
    """
    # What compresses takes half a second to load, and a check of published tables doesn't need it.
    from sendap.cells.compress import compress

    roles = dataset.records
    assert roles is not None
    chosen = {outcome.id: dataset.find_series(outcome.series) for outcome in outcomes}
    path = locate(dataset, next(iter(chosen.values())).file, data_dir)
    digest = sha256(path)
    strata = tuple(name for name in roles.strata if name != protocol.cluster_column)
    region = () if roles.region is None or protocol.cluster_column == "la_code" else (roles.region,)
    margins: list[Sequence[str]] = [(), *((name,) for name in (*strata, *region))]
    found = compress(
        str(path),
        unit=roles.unit,
        cluster=protocol.cluster_column,
        period=roles.period,
        cohort=None,
        outcomes=sorted({str(series.value) for series in chosen.values()}),
        strata=[*strata, *region],
        margins=margins,
    )
    clusters = _clusters(found, roles.region if region else None, protocol, catalog, path)
    measured = {}
    for outcome in outcomes:
        series = chosen[outcome.id]
        scale = 100.0 if dataset.file(series.file).by_name[str(series.value)].yes_or_no else 1.0
        whole = _as_outcome(found, outcome, series, clusters, scale)
        totals = whole.frame[(whole.frame[list(whole.strata)] == ALL).all(axis=1)] if whole.strata else whole.frame
        groups = whole.frame.drop(columns=list(region))
        if region:
            groups = groups[whole.frame[list(region)].eq(ALL).all(axis=1)]
        cells = replace(whole, frame=totals.drop(columns=list(whole.strata)).reset_index(drop=True), strata=())
        measured[outcome.id] = MeasuredRecords(
            dataset=dataset,
            series=series,
            cells=cells,
            groups=replace(whole, frame=groups.reset_index(drop=True), strata=strata),
            frame=_frame(cells),
            set_aside=pd.DataFrame(columns=["la_code", "name", "reason", "periods"]),
            path=path,
            digest=digest,
        )
    return measured


def _as_outcome(found: Cells, outcome: Outcome, series: Series, clusters: pd.DataFrame, scale: float) -> Cells:
    """The cells of one column under the outcome's name; ``scale`` turns a share of records into per cent."""
    frame = found.frame[found.frame["outcome"] == series.value].copy()
    frame["outcome"] = outcome.id
    frame["sum"] *= scale
    for name in ("sum_squares", SQUARED_DEVIATIONS):
        if name in frame.columns:
            frame[name] *= scale**2
    info = OutcomeInfo(series.unit, outcome.name, series.period_kind.value)
    return replace(found, frame=frame.reset_index(drop=True), outcomes={outcome.id: info}, clusters=clusters)


def _clusters(found: Cells, region: str | None, protocol: Protocol, catalog: Catalog, path: Path) -> pd.DataFrame:
    """Each cluster with its name, and its region where the records or the code list give one.

    Raises DataError for a cluster in two regions, or an unknown area.
    """
    codes = pd.Series(sorted(found.frame["cluster"].unique()), name="cluster")
    if protocol.cluster_column == "la_code":
        today = catalog.places.canonical(codes, where=path.name)
        return pd.DataFrame(
            {
                "cluster": codes,
                "name": today.map(catalog.places.name_of),
                "region": today.map(catalog.places.region_of),
            }
        )
    table = pd.DataFrame({"cluster": codes, "name": codes})
    if region is None:
        return table
    known = found.frame[found.frame[region] != ALL].groupby("cluster")[region].agg(["nunique", "first"])
    several = known.index[known["nunique"] > 1]
    if len(several):
        raise DataError(
            f"{path.name}, column '{region}': {len(several)} cluster(s) lie in more than one region, first "
            f"'{several[0]}'. Correct the records, so that each cluster has one."
        )
    return table.assign(region=table["cluster"].map(known["first"]))


def _frame(cells: Cells) -> pd.DataFrame:
    frame = cells.frame
    return pd.DataFrame(
        {
            "la_code": frame["cluster"],
            "period": frame["period"].astype(int),
            "value": (frame["sum"] / frame["weight"]).where(frame["weight"] > 0),
            "reason": None,
        }
    )
