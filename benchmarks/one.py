"""Measure one case in a process of its own: ``python benchmarks/one.py TASK NUMBER FILE MEMORY``, one line of JSON out.

The time runs from the records on disk to the numbers, without imports.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path

from cases import TASKS, Case

THREADS = "OPENBLAS_NUM_THREADS"
OURS = ("sendap.cells.compress_paths", "sendap.effects", "sendap.effects_paths", "ibis.backends.duckdb")
THEIRS = {
    "linearmodels": ("linearmodels.iv.absorbing", "linearmodels.panel"),
    "statsmodels": ("statsmodels.formula.api",),
    "wildboottest": ("wildboottest.wildboottest", "statsmodels.formula.api"),
    "duckreg": ("duckreg.estimators",),
    "sendap": OURS,
    "pyspark": OURS,
}


def peak_bytes(process: str = "self") -> int:
    """The most memory a process and its children held, in bytes.

    From Linux's ``/proc`` where there is one: ``getrusage`` there also counts the process that started this one.
    """
    status = Path("/proc") / process / "status"
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    own = int(lines.get("VmHWM", "0 kB").split()[0]) * 1024
    threads = (Path("/proc") / process / "task").glob("*/children")
    return own + sum(peak_bytes(child) for thread in threads for child in thread.read_text().split())


def warm_up(case: Case) -> None:
    """Import what the case needs; compiled parts that load with the first fit are loaded by a fit of nothing."""
    for package in (case.package, "duckdb", "pandas", "pyarrow.parquet", *THEIRS.get(case.package, ())):
        importlib.import_module(package)
    if case.package == "pyfixest":
        import pandas as pd
        import pyfixest as pf

        small = pd.DataFrame(
            {"y": [0.0, 1, 4, 9, 16, 25], "x": [0, 1, 0, 0, 1, 1], "a": [0, 0, 1, 1, 2, 2], "b": [0, 1] * 3}
        )
        pf.feols("y ~ x | a + b", small, vcov={"CRV1": "a"})


def main() -> None:
    slug, number, path, most = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(float(sys.argv[4]) * 1e9)
    case = next(task for task in TASKS if task.slug == slug).cases[number]
    if case.alone and os.environ.get(THREADS) != "1":  # it's read when the library loads, so Python starts again
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, THREADS: "1"})
    warnings.simplefilter("ignore")
    warm_up(case)
    if case.package != "pyspark":  # Java reserves more addresses than it uses
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    given = path if case.prepare is None else case.prepare(path)
    started = time.perf_counter()
    numbers = case.run(given)
    seconds = time.perf_counter() - started
    numbers = {name: float(value) for name, value in numbers.items()}
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), "numbers": numbers}))


if __name__ == "__main__":
    main()
