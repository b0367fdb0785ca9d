"""Published tables by group as cells: margins (ethnicity, or sex, never both), and tables that cross them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells, OutcomeInfo
from sendap.cells.moments import ALL
from sendap.errors import DataError, did_you_mean
from sendap.sources.groups_tables import GroupCounts


def margin_cells(
    frame: pd.DataFrame,
    *,
    cluster: str,
    period: str,
    topic: str,
    label: str,
    numerator: str,
    denominator: str,
    strata: Mapping[str, str],
    outcome: str,
    level: groups.Level = "minor",
    scale: float = 100.0,
    info: OutcomeInfo | None = None,
    cohorts: Mapping[str, float] | None = None,
    clusters: pd.DataFrame | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Cells:
    """Cells that hold each topic as a margin of its own, with harmonised names of ethnic groups and sexes.

    ``frame``: one row an area, period, topic and label, with a numerator and a denominator as numbers (missing where
    the publisher gives none; such rows are left out). ``strata`` maps each wanted topic to the stratum it becomes
    ({"Ethnicity": "ethnicity", "Sex": "sex"}); rows of other topics are passed over. ``cohorts`` gives the first
    treated period of areas that have one. Labels that mean the same are added up; totals and overlapping groups in a
    topic are left out, so nobody counts twice inside a margin. A question about two topics at once is refused later,
    by ``rates``, since margins can't answer it.

    Raises DataError for a topic that the table lacks, an unknown label, or counts that can't be right.
    """
    parts = []
    held = set(frame[topic])
    for name, stratum in strata.items():
        if name not in held:
            raise DataError(f"Column '{topic}' has no topic '{name}'.{did_you_mean(name, held)}")
        rows = frame[frame[topic] == name]
        named = _harmonised(rows[label], stratum, level, name)
        known = rows[numerator].notna() & rows[denominator].notna() & named.notna()
        rows = rows.assign(**{stratum: named})[known]
        sums = rows.groupby([cluster, period, stratum], as_index=False)[[numerator, denominator]].sum()
        parts.append(sums.assign(**{other: ALL for other in strata.values() if other != stratum}))
    table = pd.concat(parts, ignore_index=True)
    table["_cohort"] = table[cluster].map(dict(cohorts or {})).astype(float) if cohorts else np.nan
    return Cells.from_rates(
        table,
        cluster=cluster,
        period=period,
        cohort="_cohort",
        outcome=outcome,
        numerator=numerator,
        denominator=denominator,
        strata=list(strata.values()),
        scale=scale,
        info=info or OutcomeInfo("per cent" if scale == 100 else ""),
        clusters=clusters,
        metadata=metadata,
    )


def _harmonised(labels: pd.Series, stratum: str, level: groups.Level, topic: str) -> pd.Series:
    if stratum == "ethnicity":
        return groups.ethnicity(labels, level=level, where=f"topic '{topic}'")
    return groups.sex(labels, where=f"topic '{topic}'") if stratum == "sex" else labels


def group_cells(
    counts: GroupCounts,
    *,
    cohorts: Mapping[str, float] | None = None,
    measures: Collection[str] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Cells:
    """A published table by group as cells, one outcome a measure, in per cent; rows without a count are left out.

    ``cohorts`` gives the first treated period of areas that have one. ``measures`` are the ids wanted, or all.
    Raises DataError where no row of a measure has a count.
    """
    table, parts = counts.table, []
    for measure in table.measures:
        if measures is not None and measure.id not in measures:
            continue
        rows = counts.frame[counts.frame["measure"] == measure.id]
        if rows["numerator"].notna().sum() == 0:
            raise DataError(f"{table.file} has no count of {measure.id}. Take the measure out of data-catalog/groups.")
        info = OutcomeInfo("per cent", measure.label, table.period_kind.value)
        parts.append(_rates(rows, counts, list(table.strata), measure.id, info, cohorts, metadata))
    return Cells.stack(parts)


def area_cells(counts: GroupCounts, *, cohorts: Mapping[str, float] | None = None) -> Cells | None:
    """The first measure by area, of all children together, or None where no area is published.

    Raises as ``group_cells``.
    """
    main = counts.table.main
    info = OutcomeInfo("per cent", main.label, counts.table.period_kind.value)
    if counts.areas is not None:
        return _rates(counts.areas, counts, [], main.id, info, cohorts, None)
    if counts.table.level == "National":
        return None
    return group_cells(counts, cohorts=cohorts, measures=[main.id]).margin(keep=[])


def _rates(
    rows: pd.DataFrame,
    counts: GroupCounts,
    strata: list[str],
    outcome: str,
    info: OutcomeInfo,
    cohorts: Mapping[str, float] | None,
    metadata: Mapping[str, object] | None,
) -> Cells:
    rows = rows.reset_index(drop=True)
    rows["_cohort"] = rows["area"].map(dict(cohorts)).astype(float) if cohorts else np.nan
    return Cells.from_rates(
        rows,
        cluster="area",
        period="period",
        cohort="_cohort",
        outcome=outcome,
        numerator="numerator",
        denominator="denominator",
        strata=strata,
        scale=100.0,
        info=info,
        clusters=counts.names.rename(columns={"area": "cluster"}),
        metadata=metadata,
    )
