"""The description of a dataset, drafted from one file.

Everything that isn't in the file or its metadata is a guess, and each guess is a line of ``to_confirm``: the draft is
read by the same readers as any description, and a person says what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
import yaml
from pydantic import ValidationError

from sendap.catalog import Dataset, Series
from sendap.datasets import Column, DataFile
from sendap.described import explain
from sendap.drafting.guessing import guess_column
from sendap.drafting.opening import Opened, stem
from sendap.drafting.screening import PLACE_COLUMNS, Finding, is_published_layout, screen
from sendap.drafting.series import identifier, of_published_layout, of_the_tool
from sendap.drafting.symbols import KNOWN, not_numbers
from sendap.errors import DataError, Problems
from sendap.places import Places
from sendap.sources.tables import rows_in_words
from sendap.sources.tribunal import read_tribunal_table

UNKNOWN = "to be confirmed"
TOOL = {"Short Desc", "Data item", "Years", "LA and Regions", "Values", "LA Number", "Year_Type"}
TIME_AND_PLACE = ("time_period", "time_identifier", "geographic_level")
TOP = 20
"""Rows among which the heading of a table of appeals lies."""
SERVICE = "https://explore-education-statistics.service.gov.uk/data-catalogue"


@dataclass
class Draft:
    """A drafted description, and what screening found against the file."""

    dataset: Dataset
    findings: list[Finding] = field(default_factory=list)

    def to_yaml(self) -> str:
        """The description as a YAML file: a line for each column, everything that is a guess listed first."""
        content = self.dataset.model_dump(exclude_defaults=True, mode="json")
        files = content.pop("files")
        series = content.pop("series", [])
        text = "# Drafted from the file. Confirm each line of to_confirm, then remove it.\n"
        text += yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=116)
        if series:
            text += "series:\n" + "".join(f"  - {_flow(each)}\n" for each in series)
        text += "files:\n"
        for file in files:
            text += f"  - name: {_flow(file['name'])}\n    key: {_flow(file['key'])}\n"
            text += "" if file.get("header", True) else "    header: false\n"
            text += "    columns:\n" + "".join(f"      - {_flow(column)}\n" for column in file["columns"])
        return text


def _flow(value: object) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def draft(opened: Opened, places: Places, *, folder: str, dataset_id: str | None = None, anyway: bool = False) -> Draft:
    """Draft a description. ``folder`` is where the file lies in a data folder.

    Raises Problems, with every rule of the publisher that the file breaks, where its metadata are laid out as they
    must be today; ``anyway`` lists these to be confirmed instead, as for files of older releases. Raises DataError for
    a file whose rows are copies of one another, which no key can tell apart.
    """
    name = dataset_id or identifier(stem(opened.path)).replace("_", "-")
    tribunal = _tribunal(opened, places)
    if tribunal is not None:
        return Draft(_dataset(name, opened, folder, "tribunal", *tribunal))
    if opened.header and set(opened.table.columns) >= TOOL:
        return Draft(_tool(name, opened, folder))
    return _table(name, opened, places, folder, anyway)


def _table(name: str, opened: Opened, places: Places, folder: str, anyway: bool) -> Draft:
    guessed = [guess_column(opened, column) for column in opened.table.columns]
    columns = tuple(each.column for each in guessed)
    measured = [each.column for each in guessed if each.measured]
    confirm = _about_columns(opened, [each.guess for each in guessed if each.guess])
    published = opened.header and is_published_layout(opened.table)
    findings = screen(opened, [column.name for column in measured], places) if published else []
    grave = [finding for finding in findings if finding.grave]
    if grave and opened.of_today and not anyway:
        raise Problems(
            f"{opened.path.name} breaks rules by which its publisher screens files. Correct the file, or draft its "
            "description with --anyway:",
            [f"{finding.rule}: {finding.text}" for finding in grave],
        )
    key = _key(opened, measured, published)
    series: tuple[Series, ...] = ()
    if published:
        filters = [each.column.name for each in guessed if not each.measured and each.column.name not in _placed()]
        series, notes = of_published_layout(opened.table, measured, filters, opened.path.name, places)
        confirm += notes
    symbols, guesses = _symbols(opened.signs, [column.name for column in measured])
    reader = "ees" if published and "new_la_code" in opened.table.columns else "table"
    file = DataFile(name=opened.path.name, key=key, columns=columns, header=opened.header)
    quirks = tuple(f"{finding.rule}: {finding.text}" for finding in findings)
    made = _dataset(name, opened, folder, reader, file, series if reader == "ees" else (), symbols, confirm + guesses)
    return Draft(made.model_copy(update={"quirks": quirks}), findings)


def _placed() -> set[str]:
    return {*TIME_AND_PLACE, *PLACE_COLUMNS}


def _about_columns(opened: Opened, guesses: list[str]) -> list[str]:
    found = []
    if not opened.header:
        found.append(
            f"The file has no heading, so its columns are called column_1 to column_{opened.table.shape[1]}, in order. "
            "Give each its name; the labels say what the values look like."
        )
    elif opened.meta is None:
        found.append(
            "There is no metadata file, so labels, units and what is a measure are guessed from names and values."
        )
    if guesses and opened.header:
        shown = "; ".join(guesses[:8])
        found.append(f"Columns: {shown}{f'; and {len(guesses) - 8} more' if len(guesses) > 8 else ''}.")
    return found


def _key(opened: Opened, measured: list[Column], published: bool) -> tuple[str, ...]:
    """Columns that tell rows apart: time, place and filters in the service's layout, else as few as do."""
    table = opened.table
    numbers = {column.name for column in measured}
    labels = [name for name in table.columns if name not in numbers]
    if published:
        usual = [name for name in labels if not name.endswith("_name") or name not in PLACE_COLUMNS]
        for names in (usual, labels):
            if not table.duplicated(names).any():
                return tuple(names)
    for names in (*([name] for name in labels), labels, list(table.columns)):
        if names and not table.duplicated(names).any():
            return tuple(_fewest(table, names))
    copies = table.index[table.duplicated(list(table.columns), keep=False)]
    raise DataError(
        f"{opened.path.name}, {rows_in_words(copies)}: rows are copies of one another in every column, so no key can "
        "tell them apart. Remove the copies."
    )


def _fewest(table: pd.DataFrame, names: list[str]) -> list[str]:
    """Leave out, from the last, columns that aren't needed to tell rows apart."""
    kept = list(names)
    for name in reversed(names):
        rest = [each for each in kept if each != name]
        if rest and not table.duplicated(rest).any():
            kept = rest
    return kept


def _symbols(signs: Callable[[str], pd.Series], measured: list[str]) -> tuple[dict[str, str], list[str]]:
    """Each sign that stands for a number, with its meaning; and which meanings are guesses."""
    found: dict[str, str] = {}
    for name in measured:
        for sign in signs(name).index:
            found[str(sign)] = KNOWN.get(str(sign), UNKNOWN)
    if not found:
        return {}, []
    listed = ", ".join(f"'{sign}' ({meaning})" for sign, meaning in sorted(found.items()))
    return dict(sorted(found.items())), [f"What the signs mean: {listed}."]


def _tribunal(opened: Opened, places: Places) -> tuple[DataFile, tuple[Series, ...], dict[str, str], list[str]] | None:
    """The description of a table of appeals in the Ministry of Justice's layout; None for any other file."""
    if not (opened.table.iloc[:TOP, 0].str.strip().str.lower() == "local authority").any():
        return None
    try:
        table = read_tribunal_table(opened.path, places)
    except DataError:
        return None
    counts = {"appeals_registered": "Appeals registered", "appealable_decisions": "Total appealable decisions"}
    labels = {
        "la_code": "Area code, found by the area's name", "la_name": "Area",
        "printed_code": "Three-digit code as printed", "year": "Calendar year",
    }  # fmt: skip
    columns = [
        Column(name=name, type="text" if name == "la_name" else "code", label=label) for name, label in labels.items()
    ]
    columns += [
        Column(name=name, type="integer", label=label, unit="count", minimum=0) for name, label in counts.items()
    ]
    symbols, guesses = _symbols(lambda name: not_numbers(table[name]), list(counts))
    if "-" in symbols:
        symbols["-"] = "zero"
        guesses = [text.replace(KNOWN["-"], "zero") for text in guesses]
    series = Series(
        id="appeal_rate", file=opened.path.name, label="Appeals registered, of all decisions that could be appealed",
        unit="per cent", period_kind="calendar year", numerator="appeals_registered",
        denominator="appealable_decisions",
    )  # fmt: skip
    file = DataFile(name=opened.path.name, key=("la_name", "year"), columns=tuple(columns))
    return file, (series,), symbols, [*guesses, "Areas are found by name: printed codes have been wrong before."]


def _tool(name: str, opened: Opened, folder: str) -> Dataset:
    kinds = {"Values": "number", "Short Desc": "code", "Years": "code", "Year_Type": "code", "LA Number": "code"}
    columns = tuple(
        Column.model_validate({"name": column, "label": column, "type": kinds.get(column, "text")})
        for column in opened.table.columns
    )
    file = DataFile(name=opened.path.name, key=("Short Desc", "Years", "LA and Regions"), columns=columns)
    series, notes = of_the_tool(opened.table, opened.path.name)
    symbols, guesses = _symbols(opened.signs, ["Values"])
    return _dataset(name, opened, folder, "lait", file, series, symbols, notes + guesses)


def _dataset(
    name: str, opened: Opened, folder: str, reader: str, file: DataFile, series: tuple[Series, ...],
    symbols: dict[str, str], confirm: list[str],
) -> Dataset:  # fmt: skip
    known = reader in ("ees", "lait", "tribunal")
    try:
        return Dataset.model_validate(
            {
                "id": name,
                "title": stem(opened.path).replace("_", " ").strip().capitalize(),
                "publisher": UNKNOWN,
                "licence": UNKNOWN,
                "access": "published",
                "address": SERVICE if known else UNKNOWN,
                "reader": reader,
                "folder": folder,
                "release": UNKNOWN,
                "what": _what(opened.table),
                "symbols": symbols,
                "to_confirm": ["Title, publisher, licence, access, address and release.", *confirm],
                "files": [file],
                "series": series,
            }
        )
    except ValidationError as error:
        raise DataError("\n".join(explain(error, opened.path.name))) from None


def _what(table: pd.DataFrame) -> str:
    """Rows, levels and periods, as the file holds them."""
    parts = [f"{len(table):,} rows"]
    if "geographic_level" in table.columns:
        parts.append(", ".join(sorted(table["geographic_level"].unique())))
    for name in ("time_period", "Years", "year"):
        if name in table.columns:
            labels = sorted(label for label in table[name].unique() if label)
            parts.append(f"{labels[0]} to {labels[-1]}" if len(labels) > 1 else f"{labels[0]}")
            break
    return "; ".join(parts) + "."
