"""The tables of the page on speed, from the file of results that the benchmarks write."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sendap.errors import DataError
from sendap.site.markup import anchor, heading, linked_table, paragraph, raw, text

RESULTS = Path("benchmarks") / "results.json"
COLUMNS = ("Way", "Records", "Seconds", "Times the floor", "Memory", "Same numbers")
SAME = {"equal": "Yes", "differ": "No", "": ""}


def benchmarks_part(root: Path) -> str:
    """The machine, the date and one table for each task, as Markdown to be included in the page.

    Raises DataError for a file of results that isn't what the benchmarks write.
    """
    path = root / RESULTS
    if not path.is_file():
        return "\n".join([heading("Results", "results"), raw(paragraph("There are no measurements in this copy."))])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = [_circumstances(content), *(_task(task) for task in content["tasks"])]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{RESULTS.as_posix()} isn't a file of benchmark results ({type(error).__name__}: {error}). Make it again "
            "with `make bench`."
        ) from None
    return "\n".join(parts)


def _circumstances(content: Mapping[str, Any]) -> str:
    machine, limits = content["machine"], content["limits"]
    loads = [size["load"] for task in content["tasks"] for size in task["sizes"]]
    runs = Counter(
        case["runs"] for task in content["tasks"] for size in task["sizes"] for case in size["cases"] if "runs" in case
    )
    times = {1: "once", 2: "twice"}
    often = [f"{rows} rows {times.get(count, f'{count} times')}" for count, rows in sorted(runs.items(), reverse=True)]
    day = date.fromisoformat(machine["date"])
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    said = paragraph(
        f"Measured on {day.day} {day:%B %Y}, on a machine with {machine['cores']} cores and {machine['memory_gb']} GB "
        f"of memory. Each run could take {limits['limit_gb']:g} GB. Measured: {', '.join(often)}.",
        f"Other work was going on: between {min(loads):.1f} and {max(loads):.1f} programs wanted a core when a table "
        "was begun. Where that is more than the cores, seconds are longer than on a machine at rest.",
        f"Python {machine['python']}, {versions}.",
    )
    return heading("Where and when", "machine") + "\n" + raw(said)


def _task(task: Mapping[str, Any]) -> str:
    rows = [_row(case, size) for size in task["sizes"] for case in size["cases"]]
    table = linked_table(f"{task['task']}: time and memory", COLUMNS, rows)
    return heading(task["task"], anchor(task["task"])) + "\n" + raw(_goal(task) + table)


def _goal(task: Mapping[str, Any]) -> str:
    """Whether our own goal is met, in words that come from the same figures as the table."""
    if not task["goal"]:
        return ""
    ratios = {
        size["records"]: case["ratio"] for size in task["sizes"] for case in size["cases"]
        if case["case"].split(",")[0] == "sendap" and "ratio" in case
    }  # fmt: skip
    over = [f"{ratio:.1f} times with {records:,} records" for records, ratio in ratios.items() if ratio > task["goal"]]
    goal = f"Our goal is at most {task['goal']:g} times the floor."
    if not ratios:
        return paragraph(f"{goal} It was not measured.")
    return paragraph(f"{goal} It is not met: {_listed(over)}." if over else f"{goal} It is met.")


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _row(case: Mapping[str, Any], size: Mapping[str, Any]) -> list[str]:
    note = f'<span class="sendap-minor">{text(case["note"])}</span>' if case["note"] else ""
    way = text(case["case"]) + note
    records = f"{size['records']:,}"
    if "failed" in case:
        return [way, records, text(case["failed"][:1].upper() + case["failed"][1:]), "", "", ""]
    seconds = f"{case['seconds']:.2f}" if case["seconds"] < 100 else f"{case['seconds']:.0f}"
    ratio = f"{case['ratio']:.1f}" if "ratio" in case else ""
    return [way, records, seconds, ratio, f"{case['peak_mb'] / 1000:.2f} GB", SAME[case["numbers"]]]
