"""What each area was like before the start: levels and trends of the outcome, and named covariates.

Nothing after the start is read: a comparison group that was chosen on later outcomes would build the finding into
the choice.

Choosing on levels of the outcome before the start isn't always better. Where treated areas were picked for an unusual
year, areas matched to that level tend to fall back to their own means, and the comparison then moves by itself (Daw and
Hatfield 2018, doi:10.1111/1475-6773.12993; Ham and Miratrix 2024, Annals of Applied Statistics). So results with a
chosen group are shown beside those without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from sendap.cells import Cells, OutcomeInfo, Panel
from sendap.cells.core import Weights
from sendap.cells.panel import COMPARISON_WEIGHT
from sendap.errors import DataError, DesignError, UsageError
from sendap.periods import period_label

Levels = Literal["mean", "each", "none"]
TREATED, COMPARISON = "treated", "comparison"


@dataclass(frozen=True)
class Profiles:
    """N areas by P measures known before the start.

    ``values`` is N by P in the order of ``names``; ``treated`` (N) marks areas treated inside the data; ``base`` (N)
    is how much an area counts without a comparison group (1, or its children). ``regions`` (N) is None where the
    cells hold none. ``before`` are the periods read. ``later`` are areas that start after the last period: neither
    treated nor candidates. ``left_out`` has ``cluster, role, reason``. ``titles`` are names for readers, by cluster.
    """

    outcome: str
    info: OutcomeInfo
    clusters: np.ndarray
    treated: np.ndarray
    regions: np.ndarray | None
    names: tuple[str, ...]
    values: np.ndarray
    base: np.ndarray
    before: tuple[int, ...]
    later: tuple[str, ...]
    left_out: pd.DataFrame
    titles: Mapping[str, str]

    def only(self, keep: np.ndarray, reason: str) -> Profiles:
        """The areas in ``keep`` (N, true or false); the others are left out for ``reason``."""
        if keep.all():
            return self
        return replace(
            self,
            clusters=self.clusters[keep],
            treated=self.treated[keep],
            regions=None if self.regions is None else self.regions[keep],
            values=self.values[keep],
            base=self.base[keep],
            left_out=pd.concat(
                [
                    self.left_out,
                    leaving(dict.fromkeys(self.clusters[~keep], reason), self.clusters, self.treated),
                ],
                ignore_index=True,
            ),
        ).checked()

    def checked(self) -> Profiles:
        """Raises DesignError where a side is empty."""
        for side, mark in ((TREATED, self.treated), (COMPARISON, ~self.treated)):
            if not mark.any():
                said = "; ".join(sorted(set(self.left_out.loc[self.left_out["role"] == side, "reason"])))
                raise DesignError(
                    f"'{self.outcome}': no {side} area is left to choose a comparison group with"
                    f"{f' ({said})' if said else ''}. Use fewer periods or covariates, or a wider rule."
                )
        return self

    @property
    def covariance(self) -> np.ndarray:
        """P by P covariance inside the two sides, pooled: (n1 - 1) S1 + (n0 - 1) S0 over n1 + n0 - 2."""
        parts = [self.values[mark] - self.values[mark].mean(axis=0) for mark in (self.treated, ~self.treated)]
        free = len(self.values) - 2
        if free < 1:
            raise DesignError(f"'{self.outcome}' has too few areas ({len(self.values)}) to say how much they vary.")
        return sum(part.T @ part for part in parts) / free

    def shared_regions(self) -> Profiles:
        """Only the areas whose region has both treated and untreated areas.

        Raises UsageError where regions aren't known.
        """
        if self.regions is None:
            raise UsageError("These cells hold no region for their clusters, so areas can't be chosen within it.")
        both = np.intersect1d(self.regions[self.treated], self.regions[~self.treated])
        inside = np.isin(self.regions, both)
        return self.only(inside | ~self.treated, "no untreated area in its region").only(
            inside[inside | ~self.treated], "no treated area in its region"
        )


def leaving(reasons: Mapping[str, str], clusters: np.ndarray, treated: np.ndarray) -> pd.DataFrame:
    """Rows ``cluster, role, reason`` for areas that are left out."""
    role = dict(zip(clusters, np.where(treated, TREATED, COMPARISON), strict=True))
    rows = [{"cluster": each, "role": role[each], "reason": reason} for each, reason in reasons.items()]
    return pd.DataFrame(rows, columns=["cluster", "role", "reason"])


def profiles(
    cells: Cells,
    outcome: str | None = None,
    *,
    levels: Levels = "mean",
    slope: bool | None = None,
    covariates: pd.DataFrame | None = None,
    before: Sequence[int] | None = None,
    anticipation: int = 0,
    weights: Weights = "areas",
    exclude: Mapping[str, str] | None = None,
) -> Profiles:
    """What areas were like in the periods before anyone was treated or could have moved in anticipation.

    ``levels``: the mean of the outcome over those periods, "each" of them, or "none". ``slope`` adds the least-squares
    slope by period (by default with the mean, where there are two periods). ``covariates``: one row a cluster, with
    ``cluster`` and columns of numbers; with a column ``period`` too, its rows in the periods before are averaged and
    later rows are never read. ``before`` names the periods; all by default. ``exclude``: areas that may not stand
    among the comparison areas, with the reason (for example an overlapping programme).

    An area with an unknown figure in one of these periods is left out, with the reason, and not filled in.

    Raises UsageError for a period that isn't before the start, DataError for an unknown covariate value type,
    DesignError where there is no period before, or no area on one side.
    """
    if cells.clusters is not None and COMPARISON_WEIGHT in cells.clusters.columns:
        raise UsageError("These cells hold a comparison group already. Choose from the cells before it was applied.")
    if cells.strata:
        cells = cells.margin(keep=[])
    panel = cells.panel(outcome, weights=weights)
    inside = panel.cohort[panel.cohort <= panel.periods.max()]
    if inside.size == 0:
        raise DesignError(f"No area is treated by {panel.periods.max()}, the last period of '{panel.outcome}'.")
    chosen = _periods_before(panel, inside.min() - anticipation, before)
    early = panel.select(chosen)
    columns = _outcome_columns(early, levels, slope)
    clusters = panel.units["cluster"].to_numpy(dtype=object)
    if covariates is not None:
        columns |= _covariate_columns(covariates, clusters, chosen)
    if not columns:
        raise UsageError("There is nothing to choose by: give levels, slope or covariates.")
    values = np.column_stack(list(columns.values()))
    treated = panel.cohort <= panel.periods.max()
    later = np.isfinite(panel.cohort) & ~treated
    reasons = _reasons(early, clusters, treated, values, list(columns), exclude or {})
    keep = ~later & ~np.isin(clusters, list(reasons))
    known = cells.clusters if cells.clusters is not None else pd.DataFrame({"cluster": clusters})
    known = known.set_index("cluster").reindex(clusters)
    gone = {each: reason for each, reason in reasons.items() if each not in set(clusters[later])}
    return Profiles(
        outcome=panel.outcome,
        info=panel.info,
        clusters=clusters[keep],
        treated=treated[keep],
        regions=known["region"].to_numpy(dtype=object)[keep] if "region" in known.columns else None,
        names=tuple(columns),
        values=values[keep],
        base=(early.weight.sum(axis=1) / np.maximum((early.weight > 0).sum(axis=1), 1))[keep],
        before=tuple(int(period) for period in chosen),
        later=tuple(clusters[later]),
        left_out=leaving(gone, clusters, treated),
        titles=known["name"].dropna().astype(str).to_dict() if "name" in known.columns else {},
    ).checked()


def _periods_before(panel: Panel, limit: float, before: Sequence[int] | None) -> np.ndarray:
    held = panel.periods[panel.periods < limit]
    if before is not None:
        late = [each for each in before if each >= limit]
        if late:
            raise UsageError(
                f"Period {late[0]} isn't before the first start and its anticipation ({limit:g}). A comparison group "
                "is chosen on what was known before."
            )
        unknown = sorted(set(before) - set(held.tolist()))
        if unknown:
            raise UsageError(f"'{panel.outcome}' has no period {unknown[0]}. Before the start it has {held.tolist()}.")
        held = np.array(sorted(set(before)))
    if held.size == 0:
        raise DesignError(
            f"'{panel.outcome}' has no period before {limit:g}, so nothing is known of its areas before the start."
        )
    return held


def _outcome_columns(early: Panel, levels: Levels, slope: bool | None) -> dict[str, np.ndarray]:
    """Named columns of the outcome before the start; missing where any of its periods is."""
    if levels not in ("mean", "each", "none"):
        raise UsageError(f"levels must be 'mean', 'each' or 'none', not '{levels}'.")
    kind, periods = early.info.period_kind, early.periods
    named = [period_label(int(each), kind) if kind else str(each) for each in periods]
    span = named[0] if len(named) == 1 else f"{named[0]} to {named[-1]}"
    if slope is None:
        slope = levels == "mean" and len(periods) > 1
    found: dict[str, np.ndarray] = {}
    if levels == "mean":
        found[f"mean {span}"] = early.mean.mean(axis=1)
    elif levels == "each":
        found |= {name: early.mean[:, at] for at, name in enumerate(named)}
    if slope:
        if levels == "each":
            raise UsageError("Each period's level holds the slope already: give slope=False with levels='each'.")
        if len(periods) < 2:
            raise DesignError(f"'{early.outcome}' has one period before the start, so it has no slope before it.")
        centred = periods - periods.mean()
        found[f"change a year {span}"] = early.mean @ (centred / (centred**2).sum())
    return found


def _covariate_columns(frame: pd.DataFrame, clusters: np.ndarray, before: np.ndarray) -> dict[str, np.ndarray]:
    if "cluster" not in frame.columns:
        raise DataError("Covariates need a column 'cluster', the code of the area.")
    names = [name for name in frame.columns if name not in ("cluster", "period")]
    text = [name for name in names if not pd.api.types.is_numeric_dtype(frame[name])]
    if text:
        raise DataError(f"Covariate '{text[0]}' holds text. Give numbers: a share, or 0 and 1 for a category.")
    if "period" in frame.columns:
        frame = frame[frame["period"].isin(before)].groupby("cluster", as_index=False)[names].mean()
    repeated = frame["cluster"].duplicated()
    if repeated.any():
        raise DataError(
            f"Covariates hold cluster '{frame['cluster'][repeated].iloc[0]}' twice. Give one row a cluster, or a "
            "column 'period'."
        )
    aligned = frame.set_index("cluster").reindex(clusters)
    return {name: aligned[name].to_numpy(dtype=float) for name in names}


def _reasons(
    early: Panel,
    clusters: np.ndarray,
    treated: np.ndarray,
    values: np.ndarray,
    names: list[str],
    exclude: Mapping[str, str],
) -> dict[str, str]:
    """Why each area that can't be used is left out."""
    known = set(clusters)
    barred = [each for each in exclude if each in known and treated[list(clusters).index(each)]]
    if barred:
        raise UsageError(f"'{barred[0]}' is a treated area: only comparison areas can be excluded.")
    reasons = {each: reason for each, reason in exclude.items() if each in known}
    for at, cluster in enumerate(clusters):
        if cluster in reasons or np.isfinite(values[at]).all():
            continue
        gaps = early.periods[~np.isfinite(early.mean[at])]
        lacking = [name for name, value in zip(names, values[at], strict=True) if not np.isfinite(value)]
        reasons[cluster] = (
            f"no figure for {', '.join(str(period) for period in gaps)}" if gaps.size else f"no figure for {lacking[0]}"
        )
    return reasons
