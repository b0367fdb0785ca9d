"""Measure every task on records of several sizes: the floor, our way and other packages, side by side.

    python benchmarks/run.py                                  1, 10 and 50 million pupil-years
    python benchmarks/run.py --rows 1e6 --task cells          a part
    python benchmarks/run.py --publish benchmarks/results.json

Each case runs in a process of its own, several times in turn with the others of its task; the median counts. A case
that takes longer than the limit, or more memory, did not finish, and isn't tried with more rows. What was measured is
kept task by task, so that a run that was stopped goes on where it was; a change of code or packages measures again.
Ends with exit code 1 where two packages give different numbers.
"""

from __future__ import annotations

import argparse
import hashlib
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

from cases import TASKS, Case, Task
from summary import agree, markdown, published

HERE = Path(__file__).parent
SEED = 7
FULL = (
    "MemoryError", "Unable to allocate", "OutOfMemory", "bad_alloc", "signal 9", "failed to allocate",
    "memory allocation of",
)  # fmt: skip
"""What packages say when there is no memory left."""
LONG = 10.0
"""Seconds beyond which one run is enough: its noise is a small part of it."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1e6,1e7,5e7", help="pupil-years, several with commas")
    parser.add_argument("--task", default="", help="only tasks whose name holds this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60, help="seconds for one run of a case")
    parser.add_argument("--memory", type=float, default=12, help="gigabytes for one run of a case")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of records and measurements")
    parser.add_argument("--peers", type=Path, help="Python of the environment of benchmarks/requirements.txt")
    parser.add_argument("--again", action="store_true", help="measure again what was measured before")
    parser.add_argument("--as-is", action="store_true", help="keep what was measured, whatever has changed since")
    parser.add_argument("--show", action="store_true", help="measure nothing: show what was measured")
    parser.add_argument("--publish", type=Path, help="file for what the site shows")
    return parser.parse_args()


def records(kind: str, rows: int, folder: Path) -> Path:
    """The file of records, made where it isn't there."""
    path = folder / f"{kind}-{rows}.parquet"
    if not path.exists() and kind == "areas":
        from sendap.sources.records import synthesise

        synthesise(path, rows, seed=SEED)
    elif not path.exists():
        from pupils import make_records

        make_records(rows, path)
    return path


def interpreter(case: Case, peers: Path | None) -> str | None:
    """The Python that has the package of a case; None where none has."""
    if find_spec(case.package) is not None:
        return sys.executable
    if peers is not None:
        code = f"import sys, importlib.util as u; sys.exit(u.find_spec({case.package!r}) is None)"
        if subprocess.run([str(peers), "-c", code], check=False).returncode == 0:
            return str(peers)
    return None


def measure(task: Task, number: int, path: Path, python: str, options: argparse.Namespace) -> dict:
    """One run of one case: its seconds, peak and numbers, or why there are none."""
    command = [python, str(HERE / "one.py"), task.slug, str(number), str(path), str(options.memory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"did not finish in {options.limit:g} seconds"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        full = any(word in done.stderr or word in last for word in FULL)
        return {"failed": f"needs more than {options.memory:g} GB" if full else f"error: {last[:80]}"}
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


def one_task(task: Task, rows: int, gave_up: set[int], options: argparse.Namespace, tell) -> dict:  # type: ignore[no-untyped-def]
    """Measure the cases of a task, in turn."""
    path = records(task.records, rows, options.results)
    pythons = [interpreter(case, options.peers) for case in task.cases]
    runs: list[list[dict]] = [[] for _ in task.cases]
    load = os.getloadavg()[0]
    for turn in range(options.repeats):
        for number, case in enumerate(task.cases):
            before = runs[number]
            if number in gave_up:
                before[:] = [{"failed": "not tried: it did not finish with fewer rows"}]
            elif pythons[number] is None:
                before[:] = [{"failed": "not tried: the package isn't installed"}]
            elif not any("failed" in run or run["seconds"] > LONG for run in before):
                tell(f"{case.name}, turn {turn + 1}")
                before.append(measure(task, number, path, pythons[number], options))
    cases = [
        {"case": case.name, "note": case.note, **summarise(done)} for case, done in zip(task.cases, runs, strict=True)
    ]
    # Spelled out, because the file has about as many rows as were asked for.
    import pyarrow.parquet as pq

    made = pq.read_metadata(path).num_rows
    return {"task": task.name, "goal": task.goal, "rows": rows, "records": made, "load": load, "cases": cases}


def fingerprint(options: argparse.Namespace) -> str:
    """Of all that a measurement rests on: this code, sendap's, the packages and the limits."""
    import sendap

    found = hashlib.sha256()
    for folder in (HERE, Path(sendap.__file__).parent):
        for path in sorted(folder.glob("*.py") if folder == HERE else folder.rglob("*.py")):
            if "site" not in path.parts and "report" not in path.parts:
                found.update(path.read_bytes())
    found.update(
        json.dumps([versions(options.peers), options.repeats, options.limit, options.memory], sort_keys=True).encode()
    )
    return found.hexdigest()


def versions(peers: Path | None) -> dict[str, str]:
    """Of each package here, or else in the environment of the peers."""
    packages = {case.package.replace("_", "-") for task in TASKS for case in task.cases} | {"pandas", "numpy"}
    found = {}
    for package in sorted(packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            code = f"from importlib.metadata import version; print(version({package!r}))"
            asked = [str(peers or sys.executable), "-c", code]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found[package] = done.stdout.strip()
    return found


def about_machine(peers: Path | None) -> dict:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "versions": versions(peers),
    }


def main() -> int:
    from sendap.files import write_json, write_text
    from sendap.progress import Steps

    options = arguments()
    options.results.mkdir(parents=True, exist_ok=True)
    chosen = [task for task in TASKS if options.task.lower() in task.name.lower()]
    sizes = sorted(int(float(text)) for text in options.rows.split(","))
    total, done, found = len(chosen) * len(sizes), 0, []
    stamp = fingerprint(options)
    with Steps(["benchmarks"]) as steps:
        for task in chosen:
            gave_up: set[int] = set()
            for rows in sizes:
                kept = options.results / f"{task.slug}-{rows}.json"
                result = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() and not options.again else {}
                if options.show and not result:
                    continue
                if not result or (result["stamp"] != stamp and not (options.as_is or options.show)):

                    def tell(what: str, task: Task = task, rows: int = rows, done: int = done) -> None:
                        steps.show("benchmarks", f"{rows:,} rows, {task.name}: {what}", done, total)

                    result = {**one_task(task, rows, gave_up, options, tell), "stamp": stamp}
                    write_json(kept, result)
                gave_up |= {number for number, case in enumerate(result["cases"]) if "failed" in case}
                found.append(result)
                done += 1
        steps.show("benchmarks", "done", done, total)
    content = published(found, about_machine(options.peers), {"limit_gb": options.memory})
    write_text(options.results / "results.md", markdown(content))
    if options.publish:
        write_json(options.publish, content)
    print(markdown(content))
    return 0 if agree(content) else 1


if __name__ == "__main__":
    sys.exit(main())
