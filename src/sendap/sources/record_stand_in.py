"""Synthetic records in the schema of a restricted or local dataset, with a known effect.

They have the columns, types and codes of the description, and figures that are invented from it alone. The file says
that it's synthetic, and so does everything made from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sendap.datasets import Column, Dataset, Series
from sendap.files import whole

RECORDS = 100_000
FEWEST_IN_CELL, MOST_IN_CELL = 30, 200
UNKNOWN_SHARE = 0.02
GROUP_SPREAD = 0.15
"""Spread of the level of groups, as a share of the mean: groups differ in level, and have the same effect."""

MARK = {"synthetic": True, "what": "Synthetic records made by sendap. Not a finding."}


def write_records(
    dataset: Dataset,
    path: Path,
    *,
    cluster_column: str,
    clusters: pd.DataFrame,
    years: Sequence[int],
    effects: Mapping[str, float],
    first_treated: Mapping[str, Mapping[str, int]],
    seed: int,
) -> None:
    """Write one file of records.

    ``clusters`` has ``cluster`` and ``region``, one row each. By series, ``effects`` gives what treatment adds, in
    the unit of the series, and ``first_treated`` the first treated year of each treated cluster. All other series
    get no effect.
    """
    roles = dataset.records
    assert roles is not None
    generator = np.random.default_rng(seed)
    count, periods = len(clusters), len(years)
    in_cell = int(np.clip(RECORDS // (count * periods), FEWEST_IN_CELL, MOST_IN_CELL))
    size = count * periods * in_cell
    place = np.repeat(np.arange(count), periods * in_cell)
    time = np.tile(np.repeat(np.arange(periods), in_cell), count)
    (file,) = [each for each in dataset.files if each.name == path.name]
    drawn: dict[str, np.ndarray] = {
        roles.unit: np.char.add("S", np.char.zfill(np.arange(size).astype(str), 8)).astype(object),
        roles.period: np.asarray(years)[time],
        cluster_column: clusters["cluster"].to_numpy(dtype=object)[place],
    }
    if roles.region is not None:
        drawn.setdefault(roles.region, clusters["region"].to_numpy(dtype=object)[place])
    level = np.zeros(size)
    for name in roles.strata:
        if name not in drawn:
            position, drawn[name], share = _stratum(file.by_name[name], size, generator)
            level += share[position]
    for series in dataset.series:
        assert series.value is not None
        if series.file != file.name:
            continue
        if series.value not in drawn:
            treated = _treated(series, clusters["cluster"], years, first_treated)[place, time]
            added = effects.get(series.id, 0.0) * treated
            drawn[series.value] = _outcome(
                series, file.by_name[series.value], place, time, level, added, count, periods, generator
            )
    for column in file.columns:
        if column.name not in drawn:
            drawn[column.name] = _other(column, size, generator)
    table = pa.table({column.name: pa.array(drawn[column.name]) for column in file.columns})
    with whole(path) as temporary:
        pq.write_table(table.replace_schema_metadata({b"sendap": json.dumps(MARK).encode()}), temporary)


def _treated(
    series: Series, clusters: pd.Series, years: Sequence[int], first_treated: Mapping[str, Mapping[str, int]]
) -> np.ndarray:
    starts = clusters.map(dict(first_treated.get(series.id, {}))).to_numpy(dtype=float)
    return np.asarray(years)[None, :] >= starts[:, None]


def _stratum(column: Column, size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, label and level of each record's group. Unknown is rare, and has the level of the mean."""
    labels = np.array(column.codes or ("A", "B"), dtype=object)
    share = np.where(labels == "Unknown", UNKNOWN_SHARE, 1.0)
    share /= share.sum()
    position = generator.choice(len(labels), size=size, p=share)
    return position, labels[position], np.where(labels == "Unknown", 0.0, generator.normal(0, 1, len(labels)))


def _outcome(
    series: Series,
    column: Column,
    place: np.ndarray,
    time: np.ndarray,
    level: np.ndarray,
    added: np.ndarray,
    clusters: int,
    periods: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """A course of its own for each cluster, groups that differ in level, and the effect on top."""
    shape = series.synthetic
    assert shape is not None
    course = generator.normal(0, shape.between, (clusters, 1)) + generator.normal(0, shape.within, (clusters, periods))
    mean = shape.mean + course[place, time] + GROUP_SPREAD * shape.between * level + added
    if column.yes_or_no:
        return (generator.random(len(mean)) < np.clip(mean / 100, 0.002, 0.998)).astype(np.int64)
    if column.minimum is None:
        return mean + generator.normal(0, shape.record, len(mean))
    # Cutting a bell curve at its bound would move the mean, and the effect with it.
    above = np.maximum(mean - column.minimum, 0.02 * shape.record)
    values = column.minimum + generator.gamma((above / shape.record) ** 2, shape.record**2 / above)
    return values if column.maximum is None else np.minimum(values, column.maximum)


def _other(column: Column, size: int, generator: np.random.Generator) -> np.ndarray:
    if column.codes:
        return np.array(column.codes, dtype=object)[generator.integers(0, len(column.codes), size)]
    if column.type in ("integer", "number"):
        low, high = column.minimum or 0, 100 if column.maximum is None else column.maximum
        found = generator.uniform(low, high, size)
        return found.astype(np.int64) if column.type == "integer" else found
    return np.full(size, "SYNTHETIC", dtype=object)
