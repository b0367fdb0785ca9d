"""Measure every case on synthetic records of several sizes, side by side in one run.

    python benchmarks/run.py                          1, 10 and 50 million pupil-years
    python benchmarks/run.py --rows 1e6 --task cells  a part

Each case runs in a process of its own, several times in turn with the others; the median counts. A case that takes
longer than the limit, or more memory, is reported as not finishing, and isn't tried with more rows. Results go to
``benchmarks/results`` as JSON and as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from cases import CASES
from table import markdown

HERE = Path(__file__).parent
SEED = 7
PACKAGES = (
    "sendap",
    "duckdb",
    "ibis-framework",
    "pyarrow",
    "pandas",
    "pyspark",
    "pyfixest",
    "linearmodels",
    "statsmodels",
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1e6,1e7,5e7", help="pupil-years, several with commas")
    parser.add_argument("--task", default="", help="only tasks whose name begins so")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one run of a case")
    parser.add_argument("--memory", type=float, default=12, help="gigabytes for one run of a case")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


def records(rows: int, folder: Path) -> tuple[Path, float | None]:
    """The file of records, made where it isn't there, and the seconds that took."""
    path = folder / f"records-{rows}.parquet"
    if path.exists():
        return path, None
    from time import perf_counter

    from sendap.sources.records import synthesise

    started = perf_counter()
    synthesise(path, rows, seed=SEED)
    return path, perf_counter() - started


def measure(number: int, path: Path, limit: float, memory: float) -> dict:
    """One run of one case: its seconds, peak and numbers, or why there are none."""
    command = [sys.executable, str(HERE / "one.py"), str(number), str(path), str(memory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"over {limit:g} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        memory_words = ("MemoryError", "Unable to allocate", "OutOfMemory", "bad_alloc", "signal 9")
        why = f"over {memory:g} GB" if any(word in done.stderr or word in last for word in memory_words) else last[:120]
        return {"failed": why}
    return json.loads(done.stdout.strip().splitlines()[-1])


def summarise(runs: list[dict]) -> dict:
    failed = [run["failed"] for run in runs if "failed" in run]
    if failed:
        return {"failed": failed[0]}
    return {
        "seconds": statistics.median(run["seconds"] for run in runs),
        "all_seconds": [round(run["seconds"], 3) for run in runs],
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "numbers": runs[0]["numbers"],
    }


def about_machine() -> dict:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed" if find_spec(package) is None else "from the checkout"
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
        "versions": versions,
    }


def main() -> None:
    options = arguments()
    options.results.mkdir(parents=True, exist_ok=True)
    found = {"machine": about_machine(), "repeats": options.repeats, "made": {}, "results": []}
    chosen = [i for i, case in enumerate(CASES) if case.task.startswith(options.task) and find_spec(case.package)]
    gave_up: set[int] = set()
    for rows in (int(float(text)) for text in options.rows.split(",")):
        path, seconds = records(rows, options.results)
        if seconds is not None:
            found["made"][str(rows)] = {"seconds": seconds, "bytes": path.stat().st_size}
        runs: dict[int, list[dict]] = {number: [] for number in chosen}
        for turn in range(options.repeats):
            for number in chosen:
                if number in gave_up:
                    runs[number] = [{"failed": "not tried: didn't finish with fewer rows"}]
                    continue
                if any("failed" in run for run in runs[number]):
                    continue
                print(f"{rows:,} rows, turn {turn + 1}: {CASES[number].task}, {CASES[number].name}", file=sys.stderr)
                runs[number].append(measure(number, path, options.limit, options.memory))
        gave_up |= {number for number, done in runs.items() if "failed" in done[-1]}
        for number, done in runs.items():
            case = CASES[number]
            named = {"task": case.task, "case": case.name, "note": case.note, "rows": rows}
            found["results"].append({**named, **summarise(done)})
        found["machine"]["load_at_end"] = os.getloadavg()[0]
        (options.results / "results.json").write_text(json.dumps(found, indent=2) + "\n")
        (options.results / "results.md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
