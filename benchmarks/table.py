"""Results of a run as a Markdown table: one section a task, ratios to its first case."""

from __future__ import annotations

AGREE = 1e-8
"""Relative difference up to which two numbers are called equal."""


def differs(numbers: dict[str, float], others: dict[str, float]) -> float | None:
    """The largest relative difference of the numbers that both give; None where they share none."""
    shared = numbers.keys() & others.keys()
    if not shared:
        return None
    return max(abs(numbers[key] - others[key]) / max(abs(others[key]), 1e-300) for key in shared)


def _lines(results: list[dict], rows: int) -> list[str]:
    done = [result for result in results if "seconds" in result]
    floor = done[0]["seconds"] if done and "floor" in done[0]["case"] else None
    lines = []
    for index, result in enumerate(results):
        if "failed" in result:
            lines.append(f"| {rows:,} | {result['case']} | {result['failed']} | | | |")
            continue
        earlier = [other["numbers"] for other in results[:index] if "numbers" in other]
        gaps = [gap for other in earlier if (gap := differs(result["numbers"], other)) is not None]
        equal = "" if not gaps else "equal" if gaps[0] <= AGREE else f"differs by {gaps[0]:.1e}"
        ratio = "" if floor is None else f"{result['seconds'] / floor:.2f}"
        name = f"{result['case']} ({result['note']})" if result["note"] else result["case"]
        lines.append(
            f"| {rows:,} | {name} | {result['seconds']:.2f} | {ratio} | {result['peak_bytes'] / 1e9:.2f} | {equal} |"
        )
    return lines


def markdown(found: dict) -> str:
    machine = found["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    text = [
        "# Benchmarks",
        "",
        f"{machine['when']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB, "
        f"Python {machine['python']}, {versions}. Load {machine['load_at_start']:.1f} at the start, "
        f"{machine.get('load_at_end', 0):.1f} at the end.",
        "",
        f"Median of {found['repeats']} run(s), each in a process of its own, from the records on disk to the numbers. "
        "The ratio is to the first case of the task. Numbers are equal where they differ by less than "
        f"{AGREE:g} of their size from those of the first case that gives them.",
    ]
    for rows, made in found["made"].items():
        text += ["", f"Making {int(rows):,} records took {made['seconds']:.1f} s ({made['bytes'] / 1e6:,.0f} MB)."]
    for task in dict.fromkeys(result["task"] for result in found["results"]):
        text += ["", f"## {task.capitalize()}", "", "| Rows | Case | Seconds | Ratio | Peak GB | Numbers |"]
        text.append("|---:|---|---:|---:|---:|---|")
        ours = [result for result in found["results"] if result["task"] == task]
        for rows in dict.fromkeys(result["rows"] for result in ours):
            text += _lines([result for result in ours if result["rows"] == rows], rows)
    return "\n".join(text) + "\n"
