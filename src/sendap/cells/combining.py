"""Putting two frames of cells together, and taking a part of one, without the records behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sendap.cells.moments import SQUARED_DEVIATIONS, add_up, squared_deviations
from sendap.errors import DataError, UsageError, did_you_mean


def with_deviations(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its column of squared deviations, worked out where it lacks one."""
    return frame.assign(**{SQUARED_DEVIATIONS: squared_deviations(frame)})


def share_cohorts(first: pd.DataFrame, second: pd.DataFrame, *, latest: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both frames with one cohort for each cluster; ``latest`` takes those of the second where it has the cluster.

    Raises DataError where the two disagree and ``latest`` isn't set.
    """
    known = [frame.drop_duplicates("cluster").set_index("cluster")["cohort"].astype(float) for frame in (first, second)]
    shared = known[0].index.intersection(known[1].index)
    differ = known[0][shared].fillna(-1.0) != known[1][shared].fillna(-1.0)
    if differ.any() and not latest:
        raise DataError(
            f"{int(differ.sum())} cluster(s) have another first treated period in the other cells, first "
            f"'{shared[differ][0]}'. Expected the same. If the other cells know better, because a cluster has "
            "started since, use cohorts='other'."
        )
    joined = pd.concat([known[1], known[0][~known[0].index.isin(known[1].index)]])
    return tuple(frame.assign(cohort=frame["cluster"].map(joined)) for frame in (first, second))  # type: ignore[return-value]


def join_frames(
    first: pd.DataFrame, second: pd.DataFrame, keys: Sequence[str], covariates: Sequence[str], *, add: bool
) -> pd.DataFrame:
    """All cells of both, sorted by ``keys``. Cells in both are refused, or added up with ``add``.

    Raises DataError for cells in both without ``add``.
    """
    if SQUARED_DEVIATIONS in first.columns or SQUARED_DEVIATIONS in second.columns:
        first, second = with_deviations(first), with_deviations(second)
    both = pd.concat([first, second], ignore_index=True)
    repeated = both.duplicated(list(keys))
    if not repeated.any():
        return both.sort_values(list(keys), kind="stable", ignore_index=True)
    if not add:
        example = ", ".join(f"{key} '{value}'" for key, value in both.loc[repeated, list(keys)].iloc[0].items())
        raise DataError(
            f"{int(repeated.sum())} cell(s) are in both, first {example}. Expected other periods or other clusters. "
            "If the two were made from different records, say so with add=True, and they are added up."
        )
    return add_up(both, keys, covariates)


def _hashes(metadata: Mapping[str, object]) -> dict[str, str]:
    sources = metadata.get("sources", [])
    return {
        str(source.get("sha256") or source.get("footer_sha256")): str(source["name"])
        for source in sources  # type: ignore[attr-defined]
        if source.get("sha256") or source.get("footer_sha256")
    }


def join_metadata(first: Mapping[str, object], second: Mapping[str, object], *, add: bool) -> dict[str, object]:
    """Metadata of cells that were put together: all sources, synthetic if either is.

    Raises DataError where cells are to be added up and one file is a source of both.
    """
    mine, other = _hashes(first), _hashes(second)
    shared = sorted(mine.keys() & other.keys())
    if add and shared:
        raise DataError(f"'{mine[shared[0]]}' is a source of both, so its records would be counted twice.")
    sources = [*first.get("sources", []), *second.get("sources", [])]  # type: ignore[misc]
    joined: dict[str, object] = {**second, **first}
    joined["synthetic"] = bool(first.get("synthetic", False)) or bool(second.get("synthetic", False))
    joined["sources"] = [source for index, source in enumerate(sources) if source not in sources[:index]]
    if "records" in first and "records" in second:
        joined["records"] = first["records"] + second["records"]  # type: ignore[operator]
    hashes = [part["protocol_hash"] for part in (first, second) if "protocol_hash" in part]
    if len(set(map(str, hashes))) > 1:
        joined["other_protocol_hashes"] = [*first.get("other_protocol_hashes", []), hashes[1]]  # type: ignore[misc]
    return joined


def matching(frame: pd.DataFrame, clusters: pd.DataFrame | None, conditions: Mapping[str, object]) -> pd.Series:
    """Which rows meet every condition: a value, or one of several, of a column of the frame or of its clusters.

    Raises UsageError for an unknown column, DataError for a value that no row has.
    """
    keep = pd.Series(True, index=frame.index)
    about = (
        {} if clusters is None else {column: clusters.set_index("cluster")[column] for column in clusters.columns[1:]}
    )
    for column, wanted in conditions.items():
        if column in frame.columns:
            values = frame[column]
        elif column in about:
            values = frame["cluster"].map(about[column])
        else:
            raise UsageError(f"These cells have no column '{column}'.{did_you_mean(column, [*frame.columns, *about])}")
        several = isinstance(wanted, (list, tuple, set, frozenset, range, pd.Index, pd.Series))
        allowed = list(wanted) if several else [wanted]  # type: ignore[call-overload]
        absent = [value for value in allowed if not (values == value).any()]
        if absent:
            known = {str(value) for value in values.dropna().unique()}
            raise DataError(f"No cell has '{absent[0]}' as its {column}.{did_you_mean(str(absent[0]), known)}")
        keep &= values.isin(allowed)
    return keep
