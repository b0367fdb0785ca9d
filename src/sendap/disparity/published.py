"""Published margins as cells: a table with one topic at a time (ethnicity, or sex), never two crossed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells, OutcomeInfo
from sendap.cells.moments import ALL
from sendap.errors import DataError, did_you_mean


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
