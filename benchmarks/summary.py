"""From measurements to what is shown: ratios to the floor, and whether packages agree on the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

AGREE = 1e-6
"""Relative difference up to which two numbers are called equal: some packages find theirs by iteration."""

DRAWS = 9999


def gap(name: str, ours: float, theirs: float) -> float:
    """The difference of two numbers as a share of what is allowed; up to one, they're equal.

    p-values come from draws of each package's own, so they may lie four standard errors of those apart.
    """
    if name == "p_value":
        allowed = 4 * sqrt(2 * max(ours * (1 - ours), 1 / DRAWS) / DRAWS)
    else:
        allowed = AGREE * max(abs(theirs), 1e-300)
    return abs(ours - theirs) / allowed


def compared(numbers: dict[str, float], earlier: Sequence[dict[str, float]]) -> str:
    """Whether numbers equal those of the first case before that gives the same: "equal", "differ" or nothing."""
    for other in earlier:
        shared = sorted(numbers.keys() & other.keys())
        if shared:
            return "equal" if max(gap(name, numbers[name], other[name]) for name in shared) <= 1 else "differ"
    return ""


def _case(result: dict, before: Sequence[dict], floor: float | None) -> dict:
    shown = {"case": result["case"], "note": result["note"]}
    if "failed" in result:
        return {**shown, "failed": result["failed"]}
    shown |= {"seconds": round(result["seconds"], 3), "peak_mb": round(result["peak_bytes"] / 1e6)}
    shown |= {"runs": len(result["all_seconds"])}
    if floor:
        shown["ratio"] = round(result["seconds"] / floor, 2)
    return {**shown, "numbers": compared(result["numbers"], [each["numbers"] for each in before if "numbers" in each])}


def published(found: Sequence[dict], machine: dict, limits: dict) -> dict:
    """What is kept: no paths, no stamps, the machine by its cores and memory only."""
    tasks: dict[str, dict] = {}
    for each in found:
        first = each["cases"][0]
        floor = first.get("seconds") if "floor" in first["case"] else None
        cases = [_case(case, each["cases"][:index], floor) for index, case in enumerate(each["cases"])]
        task = tasks.setdefault(each["task"], {"task": each["task"], "goal": each["goal"], "sizes": []})
        task["sizes"].append({"records": each["records"], "load": round(each["load"], 1), "cases": cases})
    return {"machine": machine, "limits": limits, "tasks": list(tasks.values())}


def agree(content: dict) -> bool:
    """Whether no two packages differ."""
    return not any(
        case.get("numbers") == "differ" for task in content["tasks"] for size in task["sizes"] for case in size["cases"]
    )


def markdown(content: dict) -> str:
    machine, limits = content["machine"], content["limits"]
    text = [
        "# Benchmarks",
        "",
        f"{machine['date']}, {machine['cores']} cores, {machine['memory_gb']} GB, Python {machine['python']}, "
        f"{', '.join(f'{name} {number}' for name, number in machine['versions'].items())}.",
        "",
        f"The median of each case's runs, each in a process of its own, of at most {limits['limit_gb']:g} GB. "
        "The ratio is to the floor.",
    ]
    for task in content["tasks"]:
        text += ["", f"## {task['task']}", "", "| Records | Case | Seconds | Ratio | Peak MB | Numbers | Load |"]
        text.append("|---:|---|---:|---:|---:|---|---:|")
        for size in task["sizes"]:
            for case in size["cases"]:
                name = f"{case['case']} ({case['note']})" if case["note"] else case["case"]
                if "failed" in case:
                    values = [case["failed"], "", "", ""]
                else:
                    ratio = f"{case['ratio']:.2f}" if "ratio" in case else ""
                    values = [f"{case['seconds']:.3f}", ratio, f"{case['peak_mb']:,}", case["numbers"]]
                text.append(f"| {size['records']:,} | {name} | {' | '.join(values)} | {size['load']} |")
    return "\n".join(text) + "\n"
