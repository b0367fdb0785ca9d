"""Differences between two files in words."""

from __future__ import annotations

from sendap.drafting.compare import SHOWN, Differences, Revised


def in_words(found: Differences, *, described: bool) -> str:
    """The differences for a reader: what changed in the layout, then in the figures, then what it means here."""
    lines = [
        f"{found.old} ({found.rows_old:,} rows) and {found.new} ({found.rows_new:,} rows), "
        f"{found.rows_matched:,} rows in both:"
    ]
    parts = [
        ("columns added", found.columns_added),
        ("columns removed", found.columns_removed),
        ("columns that seem to be renamed", [f"{one} to {other}" for one, other in found.columns_renamed.items()]),
        ("labels of columns changed", [f"{name}: '{one}' to '{other}'" for name, (one, other) in found.labels.items()]),
        ("areas with a new code", [f"{name}: {one} to {other}" for name, (one, other) in found.codes.items()]),
        ("periods added", found.periods_added),
        ("periods removed", found.periods_removed),
        ("signs added", [f"'{sign}'" for sign in found.symbols_added]),
        ("signs removed", [f"'{sign}'" for sign in found.symbols_removed]),
    ]
    for name, labels in found.options_added.items():
        parts.append((f"labels of {name} added", [f"'{label}'" for label in labels]))
    for name, labels in found.options_removed.items():
        parts.append((f"labels of {name} removed", [f"'{label}'" for label in labels]))
    for name, pairs in found.options_renamed.items():
        parts.append((f"labels of {name} that seem to be renamed", [f"'{a}' to '{b}'" for a, b in pairs.items()]))
    lines += [f"  {what}: {_listed(names)}" for what, names in parts if names]
    lines += [f"  {line}" for each in found.values if (line := _revised(each))]
    if not found.any:
        lines.append("  nothing differs")
    if found.used:
        lines.append("A description in the catalogue relies on what has changed:")
        lines += [f"  {line}" for line in found.used]
    elif described:
        lines.append("Nothing that a description in the catalogue relies on has changed.")
    else:
        lines.append("No description in the catalogue names either file.")
    return "\n".join(lines)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _revised(each: Revised) -> str:
    said = []
    if each.revised:
        where = f" ({each.row})" if each.row else ""
        said.append(f"{each.revised:,} of {each.compared:,} figures revised, at most by {each.largest:+.12g}{where}")
    if each.hidden:
        said.append(f"{each.hidden:,} became signs")
    if each.shown:
        said.append(f"{each.shown:,} became numbers")
    return f"{each.measure}: {'; '.join(said)}" if said else ""
