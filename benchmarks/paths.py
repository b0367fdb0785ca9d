"""Times pupil effects from path cells against the floor and against pyfixest.

    python benchmarks/paths.py --rows 1000000 10000000 --out benchmarks/results

Each run is a process of its own, so that none profits from another's memory; each case runs three times and the
median counts. The floor is one DuckDB query that groups the same file by pupil (a count and a sum), into a temporary
table. Times leave out the start of Python and the imports, which are the same for all. Peak memory is that of the
whole process. A case that passes the time limit is reported as not finished.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PERIODS, AREAS, TREATED, FIRST_YEAR = 10, 152, 60, 2014
REPEATS = 3


def make_records(rows: int, path: Path, seed: int = 20230902) -> None:
    """Records of pupils over ten years: late, early, missing years, 15% movers, 3% missing outcomes; in year order."""
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
    writer = None
    for time_ in range(PERIODS):
        here = np.flatnonzero((time_ >= first) & (time_ < last) & (draw.random(pupils) < 0.97))
        area = np.where(time_ >= moves[here], new[here], home[here])
        exposed = FIRST_YEAR + time_ >= start[area]
        outcome = level[here] + 0.1 * time_ + 0.3 * exposed + draw.normal(size=len(here))
        outcome[draw.random(len(here)) < 0.03] = np.nan
        table = pa.table(
            {
                "pupil": here,
                "la_code": pa.DictionaryArray.from_arrays(pa.array(area.astype("int32")), names).cast(pa.string()),
                "year": np.full(len(here), FIRST_YEAR + time_, dtype="int32"),
                "first_treated": pa.array(start[area], from_pandas=True),
                "absence": pa.array(outcome, from_pandas=True),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def floor(path: Path) -> dict[str, float]:
    import duckdb

    with duckdb.connect() as con:
        con.execute(
            f"create temp table t as select pupil, count(absence) n, sum(absence) s from '{path}' group by pupil"
        )
    return {}


def compress(path: Path) -> dict[str, float]:
    from sendap.cells.compress_paths import compress_paths

    cells = compress_paths(path, unit="pupil", outcomes=["absence"])
    return {"cells": len(cells.frame), "movers": int(cells.counts["movers"].iloc[0])}


def two_way(path: Path) -> dict[str, float]:
    from sendap.cells.compress_paths import compress_paths
    from sendap.estimators.paths import fit_two_way_paths
    from sendap.inference.cluster_robust import crv1_variance

    fit = fit_two_way_paths(compress_paths(path, unit="pupil", outcomes=["absence"]))
    return {"estimate": float(fit.estimate[0]), "std_error": float(np.sqrt(crv1_variance(fit)[0]))}


def event_study_all(path: Path) -> dict[str, float]:
    """Event study with jackknife errors and degrees of freedom for every term, and a wild bootstrap of one."""
    from sendap.cells.compress_paths import compress_paths
    from sendap.effects_paths import infer_paths
    from sendap.estimators.paths import fit_event_study_paths
    from sendap.inference.wild_bootstrap import wild_bootstrap

    fit = fit_event_study_paths(compress_paths(path, unit="pupil", outcomes=["absence"]))
    found = infer_paths(fit)
    boot = wild_bootstrap(fit, term=len(fit.estimate) - 1)
    return {"terms": len(fit.estimate), "rows": len(found.frame), "p_value": boot.p_value}


def pyfixest(path: Path) -> dict[str, float]:
    import pandas as pd
    import pyfixest as pf

    frame = pd.read_parquet(path)
    frame["exposed"] = (frame["year"] >= frame["first_treated"]).astype(float)
    fit = pf.feols(
        "absence ~ exposed | pupil + year", frame, vcov={"CRV1": "la_code"}, store_data=False, copy_data=False
    )
    return {"estimate": float(fit.coef().iloc[0]), "std_error": float(fit.se().iloc[0])}


CASES = {
    "floor": floor,
    "compress_paths": compress,
    "two_way_paths": two_way,
    "event_study_all": event_study_all,
    "pyfixest": pyfixest,
}


def run_here(case: str, path: Path) -> None:
    """One run, in this process: prints seconds, peak megabytes and the numbers found."""
    import_everything(case)
    started = time.perf_counter()
    found = CASES[case](path)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "found": found}))


def import_everything(case: str) -> None:
    if case == "pyfixest":
        import pandas as pd
        import pyfixest as pf

        # Its compiled parts load with the first fit.
        small = pd.DataFrame(
            {"y": np.arange(12.0) ** 2, "x": np.arange(12) % 5, "a": np.arange(12) % 3, "b": [0, 1] * 6}
        )
        pf.feols("y ~ x | a + b", small, vcov={"CRV1": "a"})
    elif case == "floor":
        import duckdb  # noqa: F401
    else:
        import ibis

        import sendap.effects_paths
        import sendap.inference.wild_bootstrap  # noqa: F401

        ibis.duckdb  # noqa: B018, its module loads with the first use of the name


def run_apart(case: str, path: Path, limit: float) -> dict[str, object]:
    """The median of several processes."""
    runs = []
    for _ in range(REPEATS):
        command = [sys.executable, __file__, "--case", case, "--records", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return {"case": case, "finished": False, "limit_seconds": limit}
        if done.returncode:
            return {"case": case, "finished": False, "error": done.stderr.strip().splitlines()[-1]}
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return {
        "case": case,
        "finished": True,
        "seconds": statistics.median(run["seconds"] for run in runs),
        "all_seconds": [run["seconds"] for run in runs],
        "peak_mb": max(run["peak_mb"] for run in runs),
        "found": runs[-1]["found"],
    }


def markdown(results: list[dict]) -> str:
    lines = [
        "| Rows | Case | Seconds | Times the floor | Peak MB | Estimate | Standard error |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        base = next(case["seconds"] for case in result["cases"] if case["case"] == "floor")
        for case in result["cases"]:
            if not case["finished"]:
                why = case.get("error") or f"not finished in {case['limit_seconds']:g} s"
                lines.append(f"| {result['rows']:,} | {case['case']} | {why} | | | | |")
                continue
            numbers = [
                f"{case['found'][key]:.12f}" if key in case["found"] else "" for key in ("estimate", "std_error")
            ]
            lines.append(
                f"| {result['rows']:,} | {case['case']} | {case['seconds']:.2f} | {case['seconds'] / base:.1f} | "
                f"{case['peak_mb']:,.0f} | {' | '.join(numbers)} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which a case is given up")
    parser.add_argument("--out", type=Path, help="folder for paths.json and paths.md")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--records", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run_here(options.case, options.records)
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in options.rows:
            path = Path(folder) / f"{rows}.parquet"
            make_records(rows, path)
            count = pq.read_metadata(path).num_rows
            cases = [run_apart(case, path, options.limit) for case in dict.fromkeys(["floor", *options.cases])]
            results.append({"rows": count, "cases": cases})
            path.unlink()
    text, table = json.dumps(results, indent=2), markdown(results)
    print(text, table, sep="\n\n")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "paths.json").write_text(text + "\n", encoding="utf-8")
        (options.out / "paths.md").write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
