"""What differs between two versions of a file, and what of it a description uses.

Rows are matched by everything that isn't a measure (time, place, filters), after columns and labels that seem to have
been renamed are given one name; so a revised figure is told from a moved row. Renames are guesses and are called so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher

import pandas as pd

from sendap.catalog import Dataset
from sendap.drafting.guessing import guess_column
from sendap.drafting.opening import Opened
from sendap.drafting.symbols import as_numbers

ALIKE = 0.72
"""How alike two names must be (ratio of matching characters) to be taken for one that was renamed."""
SAME_VALUES = 0.95
"""The share of rows in which two columns must agree to be taken for one that was renamed."""
PERIODS = ("time_period", "Years", "year")
AREAS = (("new_la_code", "la_name"), ("region_code", "region_name"), ("la_code", "la_name"))
SHOWN = 8


@dataclass(frozen=True)
class Revised:
    """Figures of one measure that differ in rows that both files hold.

    ``largest`` is the largest difference, new less old, in ``row``; ``hidden`` and ``shown`` count numbers that became
    signs, and signs that became numbers.
    """

    measure: str
    compared: int
    revised: int
    largest: float | None
    row: str
    hidden: int
    shown: int


@dataclass(frozen=True)
class Differences:
    """Everything that differs. ``used`` says what of it a description in the catalogue relies on, one line each."""

    old: str
    new: str
    columns_added: list[str]
    columns_removed: list[str]
    columns_renamed: dict[str, str]
    labels: dict[str, tuple[str, str]]
    options_added: dict[str, list[str]]
    options_removed: dict[str, list[str]]
    options_renamed: dict[str, dict[str, str]]
    codes: dict[str, tuple[str, str]]
    periods_added: list[str]
    periods_removed: list[str]
    symbols_added: list[str]
    symbols_removed: list[str]
    rows_old: int
    rows_new: int
    rows_matched: int
    values: list[Revised]
    used: list[str] = field(default_factory=list)

    def content(self) -> dict[str, object]:
        return asdict(self)

    @property
    def any(self) -> bool:
        counted = ("old", "new", "rows_old", "rows_new", "rows_matched", "values", "used")
        return any(value for key, value in self.content().items() if key not in counted) or any(
            each.revised or each.hidden or each.shown for each in self.values
        )


def compare(old: Opened, new: Opened) -> Differences:
    """Compare two files of one layout."""
    before, after = old.table, new.table
    measured_old, measured_new = _measures(old), _measures(new)
    removed = [name for name in before.columns if name not in after.columns]
    added = [name for name in after.columns if name not in before.columns]
    renamed = _renamed_columns(before, after, removed, added, set(measured_old), set(measured_new))
    before = before.rename(columns=renamed)
    measures = [name for name in (renamed.get(each, each) for each in measured_old) if name in measured_new]
    shared = [name for name in before.columns if name in after.columns]
    filters = [
        name for name in shared if name not in measures and name not in PERIODS and not _of_place(name)
    ]  # fmt: skip
    gone, come, called = _options(before, after, filters)
    matched = before.assign(**{name: before[name].replace(called[name]) for name in called})
    keys = [name for name in shared if name not in measures and not name.endswith("_name")]
    values, together = _values(matched, after, keys, measures, show=_is_statistics(after))
    return Differences(
        old=old.path.name,
        new=new.path.name,
        columns_added=[name for name in added if name not in renamed.values()],
        columns_removed=[name for name in removed if name not in renamed],
        columns_renamed=renamed,
        labels=_labels(old, new, renamed),
        options_added=come,
        options_removed=gone,
        options_renamed=called,
        codes=_codes(before, after),
        periods_added=_only(after, before, PERIODS),
        periods_removed=_only(before, after, PERIODS),
        symbols_added=_signs(new, measured_new, old, measured_old),
        symbols_removed=_signs(old, measured_old, new, measured_new),
        rows_old=len(before),
        rows_new=len(after),
        rows_matched=together,
        values=values,
    )


def _measures(opened: Opened) -> list[str]:
    return [each.column.name for name in opened.table.columns if (each := guess_column(opened, name)).measured]


def _of_place(name: str) -> bool:
    return name.endswith(("_code", "_name")) or name in ("geographic_level", "LA Number", "LA and Regions")


def _likeness(first: str, second: str) -> float:
    return SequenceMatcher(None, " ".join(first.lower().split()), " ".join(second.lower().split())).ratio()


def _pairs(removed: Iterable[str], added: Iterable[str]) -> dict[str, str]:
    """Names that seem to be one renamed, the likest first, each used once."""
    found = sorted(
        ((_likeness(one, other), one, other) for one in removed for other in added),
        key=lambda each: (-each[0], *each[1:]),
    )
    pairs: dict[str, str] = {}
    for likeness, one, other in found:
        if likeness >= ALIKE and one not in pairs and other not in pairs.values():
            pairs[one] = other
    return pairs


def _renamed_columns(
    before: pd.DataFrame, after: pd.DataFrame, removed: list[str], added: list[str], measured_old: set[str],
    measured_new: set[str],
) -> dict[str, str]:  # fmt: skip
    """Removed columns whose values an added one holds, row by row in the same order, or whose name is alike."""
    renamed: dict[str, str] = {}
    if len(before) == len(after):
        for one in removed:
            for other in (each for each in added if each not in renamed.values()):
                if (before[one].to_numpy() == after[other].to_numpy()).mean() >= SAME_VALUES and before[
                    one
                ].nunique() > 1:
                    renamed[one] = other
                    break
    left = [name for name in removed if name not in renamed]
    free = [name for name in added if name not in renamed.values()]
    for one, other in _pairs(left, free).items():
        if (one in measured_old) == (other in measured_new):
            renamed[one] = other
    return renamed


def _labels(old: Opened, new: Opened, renamed: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Columns whose label in the metadata has changed."""
    found = {}
    for name in old.table.columns:
        first, second = (opened.meta_of(renamed.get(name, name) if opened is new else name) for opened in (old, new))
        if first.get("label") and second.get("label") and first["label"] != second["label"]:
            found[renamed.get(name, name)] = (first["label"], second["label"])
    return found


def _options(
    before: pd.DataFrame, after: pd.DataFrame, filters: list[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, dict[str, str]]]:
    """Labels of each filter that are gone, that are new, and that seem to be renamed."""
    gone, come, called = {}, {}, {}
    for name in filters:
        one, other = set(before[name]), set(after[name])
        pairs = _pairs(sorted(one - other), sorted(other - one))
        if pairs:
            called[name] = pairs
        if left := sorted(one - other - set(pairs)):
            gone[name] = left
        if new := sorted(other - one - set(pairs.values())):
            come[name] = new
    return gone, come, called


def _codes(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Areas whose code has changed under the same name, or whose name has changed under the same code."""
    found: dict[str, tuple[str, str]] = {}
    for code, name in AREAS:
        if not all({code, name} <= set(table.columns) for table in (before, after)):
            continue
        old, new = (table[[code, name]].drop_duplicates().replace("", pd.NA).dropna() for table in (before, after))
        fresh = set(new[code]) - set(old[code])
        for _, row in new[new[code].isin(fresh)].iterrows():
            known = old.loc[old[name] == row[name], code]
            if len(known):
                found[str(row[name])] = (str(known.iloc[-1]), str(row[code]))
    return found


def _only(table: pd.DataFrame, other: pd.DataFrame, names: Iterable[str]) -> list[str]:
    for name in names:
        if name in table.columns and name in other.columns:
            return sorted(set(table[name]) - set(other[name]))
    return []


def _signs(opened: Opened, names: list[str], other: Opened, other_names: list[str]) -> list[str]:
    def held(each: Opened, columns: list[str]) -> set[str]:
        return {str(sign) for name in columns for sign in each.signs(name).index}

    return sorted(held(opened, names) - held(other, other_names))


def _values(
    before: pd.DataFrame, after: pd.DataFrame, keys: list[str], measures: list[str], *, show: bool
) -> tuple[list[Revised], int]:
    """Revised figures of each measure, in rows that one key names once in both files."""
    if not keys:
        return [], 0
    one, other = (table[~table.duplicated(keys, keep=False)].set_index(keys) for table in (before, after))
    index = one.index.intersection(other.index)
    one, other = one.loc[index], other.loc[index]
    found = []
    for name in measures:
        old, new = as_numbers(one[name].astype(str)), as_numbers(other[name].astype(str))
        change = (new - old).where((new - old).abs() > 0)
        widest = change.abs().idxmax() if change.notna().any() else None
        found.append(
            Revised(
                measure=name,
                compared=int((old.notna() & new.notna()).sum()),
                revised=int(change.notna().sum()),
                largest=None if widest is None else float(change.loc[widest]),
                row=_key_in_words(keys, widest) if show and widest is not None else "",
                hidden=int((old.notna() & new.isna()).sum()),
                shown=int((old.isna() & new.notna()).sum()),
            )
        )
    return found, len(index)


def _is_statistics(table: pd.DataFrame) -> bool:
    """Whether rows are published figures of areas. Rows of another file may be of persons, and are never shown."""
    return bool({"geographic_level", "Short Desc", "la_name", "LA and Regions"} & set(table.columns))


def _key_in_words(keys: list[str], values: object) -> str:
    given = values if isinstance(values, tuple) else (values,)
    return ", ".join(f"{name} '{value}'" for name, value in zip(keys, given, strict=True) if value != "")


def used_by(differences: Differences, dataset: Dataset, name: str) -> list[str]:
    """What a described file of a dataset relies on that has changed: reading the newer file would fail, or mislead."""
    file = dataset.file(name)
    described = file.by_name
    where = f"{dataset.id}, {name}"
    lines = [f"{where}: column '{each}' is gone" for each in differences.columns_removed if each in described]
    lines += [
        f"{where}: column '{one}' seems to be called '{other}' now"
        for one, other in differences.columns_renamed.items() if one in described
    ]  # fmt: skip
    lines += [
        f"{where}: column '{each}' isn't described" for each in differences.columns_added if each not in described
    ]
    selected: dict[str, set[str]] = {}
    for series in dataset.series:
        if series.file == name:
            for column, label in series.select.items():
                selected.setdefault(column, set()).add(" ".join(label.split()).lower())
    changed = {
        column: [(label, "is gone") for label in labels] for column, labels in differences.options_removed.items()
    }
    for column, pairs in differences.options_renamed.items():
        changed.setdefault(column, []).extend((one, f"seems to be '{other}' now") for one, other in pairs.items())
    for column, labels in changed.items():
        codes = set(described[column].codes) if column in described else set()
        for label, what in labels:
            if label in codes or " ".join(label.split()).lower() in selected.get(column, set()):
                lines.append(f"{where}: label '{label}' of '{column}' {what}")
    for column, labels in differences.options_added.items():
        codes = set(described[column].codes) if column in described else set()
        lines += [f"{where}: label '{label}' of '{column}' isn't described" for label in labels if codes]
    lines += [
        f"{where}: the sign '{sign}' isn't described"
        for sign in differences.symbols_added
        if sign not in dataset.symbols
    ]
    return lines
