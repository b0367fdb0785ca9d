"""Measure one case in a process of its own: ``python benchmarks/one.py NUMBER FILE MEMORY``, one line of JSON out.

The time runs from the records on disk to the numbers, without imports.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

from cases import CASES


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


def main() -> None:
    number, path, most = int(sys.argv[1]), sys.argv[2], int(float(sys.argv[3]) * 1e9)
    case = CASES[number]
    for package in dict.fromkeys((case.package, "duckdb", "pandas", "pyarrow", "pyarrow.parquet")):
        importlib.import_module(package)
    if case.package in ("sendap", "pyspark"):
        importlib.import_module("sendap.cells.compress")
        importlib.import_module("sendap.effects")
        importlib.import_module("ibis.backends.duckdb")
    if case.package != "pyspark":  # Java reserves more addresses than it uses
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    started = time.perf_counter()
    numbers = case.run(path)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), "numbers": numbers}))


if __name__ == "__main__":
    main()
