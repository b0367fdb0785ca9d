"""Every gap of a stratum under a programme: level effects, effect on the gap, verdicts, pooling and the guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from sendap import groups
from sendap.cells import Cells
from sendap.cells.core import Weights
from sendap.disparity.narrowed import Effect, WorstGroup, narrowed, worst_group
from sendap.disparity.rates import THRESHOLD, TOO_FEW, margin_of, share_scale
from sendap.disparity.relative import relative_triple
from sendap.disparity.shrinkage import normal
from sendap.errors import DesignError, SendapError, UsageError, did_you_mean
from sendap.estimators.triple import Method, fit_triple
from sendap.inference import infer
from sendap.inference.multiplicity import adjust_family
from sendap.results import Estimates


@dataclass(frozen=True)
class ProgrammeGaps:
    """What a programme did to the gaps of a stratum.

    ``frame``: one row a group (but the reference): ``group, reference, n, areas, gap_before``, then for ``effect`` (on
    the group), ``reference_effect`` and ``gap_effect`` the estimate, ``_low`` and ``_high`` in the outcome's unit;
    ``p_value, p_adjusted, adjustment`` (over the groups, by step-down where draws can be made together) and
    ``inference`` of the effect on the gap; ``pooled, pooled_low, pooled_high`` (drawn towards the mean of the groups,
    where there are three or more); ``ratio, ratio_low, ratio_high`` (of risk ratios, for a share); ``verdict,
    relative_verdict, differ, status, note, sentence``. ``guard`` is the worst-group guard over all groups, with the
    reference among them, or None without a margin.
    """

    frame: pd.DataFrame
    guard: WorstGroup | None


def programme_gaps(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    reference: str,
    better: Literal["higher", "lower"],
    smallest: float | None = None,
    margin: float | None = None,
    smallest_relative: float | None = None,
    method: Method = "group_time",
    weights: Weights = "children",
    within: str | None = None,
    anticipation: int = 0,
    threshold: int = THRESHOLD,
    **options: Any,
) -> ProgrammeGaps:
    """The triple difference of each group of a stratum against a reference, with the effect on each.

    ``within`` names the column of the areas' table inside which they are compared (``region``), as in ``Cells.panel``.
    Areas are the clusters, and inference is that of ``sendap.inference.infer`` (``options``: ``draws, seed, level``).
    A group with fewer than ``threshold`` children in treated areas before or after, or whose effect can't be estimated,
    is too few to say. Groups share the reference, so their errors go together: pooled intervals, which count them as
    independent, are somewhat too narrow. Unknown is a row like any other. Before and after go by the area's start.

    Raises UsageError for an unknown stratum or reference, DesignError where margins can't answer.
    """
    one = margin_of(cells if outcome is None else cells.only(outcome), [by])
    panel = one.panel(outcome, weights=weights, within=within)
    known = groups.in_order(panel.units[by])
    if reference not in known:
        raise UsageError(f"The stratum '{by}' has no group '{reference}'.{did_you_mean(reference, known)}")
    regions = _regions(one)
    sizes = _sizes(one, panel.outcome, by)
    rows, levels, on_gap = [], {}, {}
    for name in [each for each in known if each != reference]:
        row: dict[str, Any] = {"group": name, "reference": reference, **sizes.get(name, {"n": 0.0, "areas": 0})}
        try:
            if row.get("smallest_arm", 0.0) < threshold:
                raise DesignError(f"Fewer than {threshold} children in treated areas before or after.")
            triple = fit_triple(
                panel, stratum=by, group=name, reference=reference, method=method, anticipation=anticipation
            )
            results = [_inferred(fit, regions, options) for fit in (triple.gap, triple.group, triple.reference)]
            found = [_headline(each) for each in results]
        except SendapError as error:
            rows.append({**row, "status": TOO_FEW, "note": str(error)})
            levels.setdefault(name, None)
            continue
        levels[name], levels[reference], on_gap[name] = found[1], found[2], results[0]
        before = sizes[name]["rate_before"] - sizes[reference]["rate_before"]
        rows.append({**row, **_measured(one, by, name, reference, found), "gap_before": before})
    frame = _judged(pd.DataFrame(rows), panel.info.unit, by, better, smallest, smallest_relative)
    guard = None
    if margin is not None:
        guard = worst_group(_levels(levels, known), better=better, margin=margin, by=by)
    return ProgrammeGaps(_adjusted(frame, on_gap, regions, options), guard)


def _regions(cells: Cells) -> pd.Series | None:
    if cells.clusters is None or "region" not in cells.clusters.columns:
        return None
    return cells.clusters.set_index("cluster")["region"].astype(str)


def _inferred(fit: Any, regions: pd.Series | None, options: dict[str, Any]) -> Estimates:
    inside = None
    if regions is not None:
        inside = np.unique(regions.reindex(fit.panel.clusters).astype(str), return_inverse=True)[1]
    return infer(fit, only=("overall",), regions=inside, permute=False, **options)


def _headline(results: Estimates) -> pd.Series:
    found = results.headline()
    row = found[found["term"] == "overall"].iloc[0]
    if row["status"] != "ok" or not np.isfinite(row["estimate"]):
        raise DesignError(str(row["note"]) or "The effect couldn't be estimated.")
    return row


def _sizes(cells: Cells, outcome: str, by: str) -> dict[str, dict[str, float]]:
    """For each group: records, areas, and in treated areas the rate before and the fewer of before and after."""
    frame = cells.only(outcome).frame
    made: dict[str, dict[str, float]] = {}
    for name, rows in frame[frame["weight"] > 0].groupby(frame[by].astype(str)):
        treated = rows[rows["cohort"].notna()]
        after = treated["period"] >= treated["cohort"]
        sums = treated.groupby(after)[["n_observed", "sum", "weight"]].sum().reindex([False, True]).fillna(0.0)
        made[str(name)] = {
            "n": float(rows["n_observed"].sum()),
            "areas": int(rows["cluster"].nunique()),
            "rate_before": float(sums.loc[False, "sum"] / sums.loc[False, "weight"])
            if sums.loc[False, "weight"]
            else np.nan,
            "smallest_arm": float(sums["n_observed"].min()),
        }
    return made


def _measured(cells: Cells, by: str, name: str, reference: str, found: list[pd.Series]) -> dict[str, Any]:
    made: dict[str, Any] = {"status": "ok", "note": str(found[0]["note"]), "inference": found[0]["inference"]}
    for prefix, row in zip(("gap_effect", "effect", "reference_effect"), found, strict=True):
        made |= {prefix: row["estimate"], f"{prefix}_low": row["ci_low"], f"{prefix}_high": row["ci_high"]}
    made["p_value"], made["std_error"] = found[0]["p_value"], found[0]["std_error"]
    if share_scale(cells.frame[cells.frame["weight"] > 0]) is not None:
        ratio = relative_triple(cells, by=by, group=name, reference=reference)
        made |= {"ratio": ratio.estimate, "ratio_low": ratio.low, "ratio_high": ratio.high}
    return made


def _judged(
    frame: pd.DataFrame,
    unit: str,
    by: str,
    better: Literal["higher", "lower"],
    smallest: float | None,
    smallest_relative: float | None,
) -> pd.DataFrame:
    numbers = [
        f"{name}{end}"
        for name in ("effect", "reference_effect", "gap_effect", "ratio")
        for end in ("", "_low", "_high")
    ]
    frame = frame.reindex(
        columns=[
            *frame.columns,
            *(c for c in (*numbers, "gap_before", "std_error", "p_value", "inference") if c not in frame),
        ]
    )
    said = []
    for row in frame.to_dict("records"):
        if row["status"] != "ok":
            said.append({"verdict": TOO_FEW, "relative_verdict": "", "differ": False,
                         "sentence": f"There are too few {groups.pupils_in(row['group'], of=by)} to say."})  # fmt: skip
            continue
        effects = {
            name: Effect(row[name], row[f"{name}_low"], row[f"{name}_high"])
            for name in ("effect", "reference_effect", "gap_effect", "ratio")
        }
        found = narrowed(
            group=row["group"],
            reference=row["reference"],
            on_group=effects["effect"],
            on_reference=effects["reference_effect"],
            on_gap=effects["gap_effect"],
            gap_before=row["gap_before"],
            better=better,
            smallest=smallest,
            relative=effects["ratio"] if np.isfinite(row["ratio"]) else None,
            smallest_relative=smallest_relative,
            unit=unit,
            by=by,
        )
        said.append({"verdict": found.absolute, "relative_verdict": found.relative, "differ": found.differ,
                     "sentence": found.sentence})  # fmt: skip
    return pd.concat([frame.drop(columns=["smallest_arm", "rate_before"], errors="ignore"), pd.DataFrame(said)], axis=1)


def _adjusted(
    frame: pd.DataFrame, on_gap: dict[str, Estimates], regions: pd.Series | None, options: dict[str, Any]
) -> pd.DataFrame:
    """p-values over the groups, and effects on the gap drawn towards their mean, where groups have one."""
    inside = None if regions is None else regions.to_dict()
    seed = {name: options[name] for name in ("seed", "draws") if name in options}
    family = adjust_family("disparity", on_gap, regions=inside, **seed)
    frame = frame.merge(
        family.rename(columns={"member": "group"})[["group", "p_adjusted", "adjustment"]], on="group", how="left"
    )
    frame[["pooled", "pooled_low", "pooled_high"]] = np.nan
    # Where the method gives no standard error its interval tells how sure the estimate is.
    error = frame["std_error"].fillna(
        (frame["gap_effect_high"] - frame["gap_effect_low"]) / (2 * stats.norm.ppf(0.975))
    )
    sure = frame["gap_effect"].notna() & np.isfinite(error) & (error > 0)
    if sure.sum() >= 3:
        pooled = normal(frame.loc[sure, "gap_effect"].to_numpy(), error[sure].to_numpy() ** 2)
        for name, values in (("pooled", pooled.estimate), ("pooled_low", pooled.low), ("pooled_high", pooled.high)):
            frame.loc[sure, name] = values
    return frame


def _levels(levels: dict[str, pd.Series | None], known: Sequence[str]) -> pd.DataFrame:
    columns = ("estimate", "one_sided_low", "one_sided_high")
    return pd.DataFrame(
        [
            {"group": name, **{c: np.nan if (row := levels.get(name)) is None else float(row[c]) for c in columns}}
            for name in known
        ]
    )
