"""What a version of a data set changed, in words.

The service lists major changes (something was taken away, so that older queries fail) and minor ones (something was
added or renamed), each as the state before and after. Source: Department for Education,
explore-education-statistics, ``DataSetVersionChangesViewModel``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

KINDS = {
    "filters": "filter",
    "filterOptions": "option",
    "geographicLevels": "geographic level",
    "indicators": "indicator",
    "locationGroups": "level of locations",
    "locationOptions": "location",
    "timePeriods": "period",
}
SHOWN = 5


def _name(state: object) -> str:
    if not isinstance(state, Mapping):
        return str(state)
    level = state.get("level")
    if isinstance(level, Mapping):
        return str(level.get("label") or level.get("code"))
    label = str(state.get("label") or state.get("name") or state.get("code") or state.get("id") or "without a name")
    return f"{label} ({state['column']})" if state.get("column") else label


def _one(kind: str, change: Mapping[str, object], inside: str) -> str:
    before, after = change.get("previousState"), change.get("currentState")
    if before is None:
        return f"added {kind} '{_name(after)}'{inside}"
    if after is None:
        return f"removed {kind} '{_name(before)}'{inside}"
    if _name(before) != _name(after):
        return f"renamed {kind} '{_name(before)}' to '{_name(after)}'{inside}"
    return f"changed {kind} '{_name(after)}'{inside}"


def _of(key: str, changes: object) -> Iterator[str]:
    kind = KINDS[key]
    for change in changes if isinstance(changes, list) else ():
        if not isinstance(change, Mapping):
            continue
        nested = change.get("options")
        if isinstance(nested, list):
            parent = change.get("filter") or change.get("level")
            inside = f" of {_name(parent)}" if parent else ""
            yield from (_one(kind, each, inside) for each in nested if isinstance(each, Mapping))
        else:
            yield _one(kind, change, "")


def in_words(changes: Mapping[str, object]) -> list[str]:
    """One line for each kind of change, major ones first; empty where nothing is described."""
    lines = []
    for size, word in (("majorChanges", "major"), ("minorChanges", "minor")):
        listed = changes.get(size)
        for key in KINDS:
            found = list(_of(key, listed.get(key))) if isinstance(listed, Mapping) else []
            if found:
                more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
                lines.append(f"{word}: {'; '.join(found[:SHOWN])}{more}")
    notes = changes.get("notes")
    if isinstance(notes, str) and notes.strip():
        lines.append(f"the publisher's note: {' '.join(notes.split())}")
    return lines
