"""Statistical neighbours: the published list of the areas whose children and families are most alike."""

from __future__ import annotations

import pandas as pd

from sendap.comparison.group import ComparisonGroup, grouped
from sendap.comparison.profiles import TREATED, Profiles
from sendap.errors import DataError, UsageError

COLUMNS = ("cluster", "rank", "neighbour")


def statistical_neighbours(
    profiles: Profiles, table: pd.DataFrame, *, count: int = 10, within_region: bool = False
) -> ComparisonGroup:
    """Each treated area with those of its ``count`` nearest statistical neighbours that may stand for it.

    ``table`` has ``cluster, rank`` (1 the nearest) and ``neighbour``, as ``sendap.sources.neighbours`` reads it.
    Neighbours that are treated themselves, excluded or without figures before the start are passed over and not
    replaced by farther ones. Those that remain share the weight of their area equally. A treated area without any is
    left out, with the reason.

    The list doesn't use the outcome, but it was published after the start of older programmes, from figures that a
    programme may have moved.

    Raises UsageError for a count below 1, DataError for a table without its columns or without any treated area.
    """
    if count < 1:
        raise UsageError("count must be 1 or more neighbours.")
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"The table of neighbours lacks '{missing[0]}'. Expected {', '.join(COLUMNS)}.")
    treated, controls = profiles.clusters[profiles.treated], profiles.clusters[~profiles.treated]
    near = table[(table["rank"] <= count) & table["cluster"].isin(treated)]
    if near.empty:
        raise DataError("The table of neighbours holds none of the treated areas. Are its codes nine-character codes?")
    usable = near[near["neighbour"].isin(controls)]
    if within_region:
        if profiles.regions is None:
            raise UsageError("These cells hold no region for their clusters, so neighbours can't be kept within it.")
        region = dict(zip(profiles.clusters, profiles.regions, strict=True))
        usable = usable[usable["cluster"].map(region) == usable["neighbour"].map(region)]
    usable = usable.sort_values(["cluster", "rank"], kind="stable")
    share = 1.0 / usable.groupby("cluster")["neighbour"].transform("size")
    base = dict(zip(treated, profiles.base[profiles.treated], strict=True))
    counted = share * usable["cluster"].map(base)
    raw = counted.groupby(usable["neighbour"]).sum().reindex(controls).fillna(0.0).to_numpy()
    lost = sorted(set(treated) - set(usable["cluster"]))
    reasons = pd.DataFrame(
        [{"cluster": each, "role": TREATED, "reason": "no statistical neighbour is untreated"} for each in lost],
        columns=["cluster", "role", "reason"],
    )
    chosen = pd.DataFrame(
        {
            "treated": usable["cluster"],
            "comparison": usable["neighbour"],
            "rank": usable["rank"].astype(int),
            "distance": float("nan"),
            "share": share,
        }
    )
    where = " in the same region" if within_region else ""
    how = (
        f"Each treated area is compared with those of its {count} published nearest statistical neighbours{where} that "
        "are untreated."
    )
    return grouped("statistical neighbours", how, profiles, profiles, raw, chosen, reasons)
