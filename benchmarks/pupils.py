"""Records of pupils who come, go, miss years and move, and the floor and our way where effects are of pupils."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PERIODS, AREAS, TREATED, FIRST_YEAR = 10, 152, 60, 2014
DRAWS = 9999


def make_records(rows: int, path: Path, seed: int = 20230902) -> None:
    """Records of pupils over ten years: late, early, missing years, 15% movers, 3% missing outcomes; in year order.

    About as many ``rows``: the number that comes out depends on who misses which year.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sendap.files import whole

    draw = np.random.default_rng(seed)
    pupils = round(rows / 7.52)
    first = np.where(draw.random(pupils) < 0.5, 0, draw.integers(0, 6, pupils))
    last = np.where(draw.random(pupils) < 0.6, PERIODS, draw.integers(5, PERIODS + 1, pupils))
    home, new = draw.integers(0, AREAS, pupils), draw.integers(0, AREAS, pupils)
    moves = np.where(draw.random(pupils) < 0.15, draw.integers(1, PERIODS, pupils), PERIODS)
    start = np.full(AREAS, np.nan)
    start[:TREATED] = FIRST_YEAR + draw.integers(5, 9, TREATED)
    names = pa.array([f"E{9000000 + area}" for area in range(AREAS)])
    level = draw.normal(size=pupils)
    kinds = {"pupil": "int64", "la_code": "string", "year": "int32", "first_treated": "double", "absence": "double"}
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
    with whole(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for time in range(PERIODS):
            here = np.flatnonzero((time >= first) & (time < last) & (draw.random(pupils) < 0.97))
            area = np.where(time >= moves[here], new[here], home[here])
            exposed = FIRST_YEAR + time >= start[area]
            outcome = level[here] + 0.1 * time + 0.3 * exposed + draw.normal(size=len(here))
            outcome[draw.random(len(here)) < 0.03] = np.nan
            columns = {
                "pupil": here,
                "la_code": pa.DictionaryArray.from_arrays(pa.array(area.astype("int32")), names).cast(pa.string()),
                "year": np.full(len(here), FIRST_YEAR + time, dtype="int32"),
                "first_treated": pa.array(start[area], from_pandas=True),
                "absence": pa.array(outcome, from_pandas=True),
            }
            writer.write_table(pa.table(columns, schema=schema))


def floor(path: str) -> dict[str, float]:
    import duckdb

    with duckdb.connect() as con:
        con.execute(
            f"create temp table t as select pupil, count(absence) n, sum(absence) s from '{path}' group by pupil"
        )
    return {}


def _compress(path: str):  # type: ignore[no-untyped-def]
    from sendap.cells.compress_paths import compress_paths

    return compress_paths(path, unit="pupil", outcomes=["absence"])


def _two_way(path: str):  # type: ignore[no-untyped-def]
    from sendap.estimators.paths import fit_two_way_paths

    return fit_two_way_paths(_compress(path))


def cells(path: str) -> dict[str, float]:
    found = _compress(path)
    return {"cells": len(found.frame), "movers": float(found.counts["movers"].iloc[0])}


def two_way(path: str) -> dict[str, float]:
    from sendap.inference.cluster_robust import crv1_variance

    fit = _two_way(path)
    return {"estimate": float(fit.estimate[0]), "std_error": float(np.sqrt(crv1_variance(fit)[0]))}


def event_study(path: str) -> dict[str, float]:
    from sendap.estimators.paths import fit_event_study_paths
    from sendap.inference.cluster_robust import crv1_variance

    fit = fit_event_study_paths(_compress(path))
    times = fit.terms["event_time"].to_numpy()
    estimates = {f"event {time:g}": float(value) for time, value in zip(times, fit.estimate, strict=True)}
    return {**estimates, "std_error": float(np.sqrt(crv1_variance(fit)[-1]))}


def jackknife(path: str) -> dict[str, float]:
    from sendap.inference.cluster_robust import crv3_variance

    fit = _two_way(path)
    error = float(np.sqrt(crv3_variance(fit.leave_one_out(), fit.estimate)[0]))
    return {"estimate": float(fit.estimate[0]), "std_error": error, "dof": fit.jackknife_dof(0)}


def wild(path: str) -> dict[str, float]:
    from sendap.inference.cluster_robust import crv1_variance
    from sendap.inference.wild_bootstrap import wild_bootstrap

    fit = _two_way(path)
    error = float(np.sqrt(crv1_variance(fit)[0] / fit.crv1_factor))
    return {"t": float(fit.estimate[0]) / error, "p_value": wild_bootstrap(fit, draws=DRAWS).p_value}
