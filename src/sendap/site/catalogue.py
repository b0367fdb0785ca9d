"""The data catalogue as a page: what each dataset is, and where its series break."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sendap.catalog import Break, Catalog, DataFile, Dataset, Doubtful, Series
from sendap.periods import MONTH_NAMES, Month
from sendap.report.tables import table
from sendap.site.banners import head
from sendap.site.markup import (
    anchor,
    details,
    facts,
    front_matter,
    heading,
    items,
    link,
    linked_table,
    paragraph,
    raw,
    text,
)

ACCESS = {
    "published": "Published. Anyone may download and use it.",
    "restricted": "Restricted. It may only be used in a secure setting, by people who were given access.",
    "local": "Held by the body that collected it. Ask them.",
}
TYPES = {"text": "words", "code": "code", "integer": "whole number", "number": "number"}


NOTHING_UNUSUAL = paragraph("Nothing unusual has been found.")


def catalogue_page(catalog: Catalog) -> str:
    """Every dataset with its files, columns, symbols, series and quirks, and the calendar of breaks."""
    datasets = list(catalog.datasets.values())
    contents = [(dataset.title, f"#{anchor('dataset', dataset.id)}") for dataset in datasets]
    parts = [
        front_matter(title="Data catalogue"),
        head(synthetic=False),
        raw(
            paragraph(
                "These are the figures that the reports rest on: who publishes them, what they count, and what to "
                "watch for when using them. Data that don't fit their description here are refused before anything "
                "is run."
            )
            + "<ul>"
            + "".join(f"<li>{link(title, address)}</li>" for title, address in contents)
            + '<li><a href="#breaks">Breaks in the figures</a></li>'
            + '<li><a href="programmes.html">Which areas were in which programme</a></li></ul>'
        ),
        *(_dataset(dataset) for dataset in datasets),
        heading("Breaks in the figures", "breaks"),
        raw(
            paragraph(
                "After each of these months a series no longer measures quite what it did before. A report whose years "
                "cross one has to say so."
            )
            + _breaks(list(catalog.breaks.values()))
        ),
    ]
    return "\n".join(parts)


def _dataset(dataset: Dataset) -> str:
    return "\n".join(
        [
            heading(dataset.title, anchor("dataset", dataset.id)),
            raw(
                paragraph(dataset.what)
                + facts(
                    {
                        "Publisher": text(dataset.publisher),
                        "Release": text(dataset.release),
                        "Licence": text(dataset.licence),
                        "Who may use it": text(ACCESS[dataset.access]),
                        "Where it is": link(f"{dataset.title}, at its publisher", dataset.address),
                        "Name in protocols": f"<code>{text(dataset.id)}</code>",
                    }
                )
            ),
            heading("Measures that a protocol can name", anchor("series", dataset.id), level=3),
            raw(_series(dataset)),
            heading("Signs used for missing values", anchor("symbols", dataset.id), level=3),
            raw(_symbols(dataset)),
            heading("Things to know", anchor("quirks", dataset.id), level=3),
            raw(items(known) if (known := [*dataset.quirks, *map(_doubt, dataset.doubtful)]) else NOTHING_UNUSUAL),
            heading("Files and columns", anchor("files", dataset.id), level=3),
            raw("".join(_file(file, dataset) for file in dataset.files)),
        ]
    )


def _doubt(found: Doubtful) -> str:
    """A published figure that can't be right, and what is done about it."""
    done = "the denominator is added up from its parts" if found.denominator else "the figure is left out"
    return f"In {found.period}, {found.reason} ({len(found.areas)} areas): {done}."


def _measured(series: Series) -> str:
    if series.measured is None:
        return f"Whole {series.period_kind}"
    first, last = (MONTH_NAMES[month - 1] for month in series.measured)
    months = first if first == last else f"{first} to {last}"
    return f"{months} of each {series.period_kind}"


def _series(dataset: Dataset) -> str:
    rows = [
        {
            "Measure": series.label,
            "Unit": series.unit,
            "When it is counted": _measured(series),
            "Breaks": ", ".join(name.replace("_", " ") for name in series.breaks) or "none",
            "Note": series.note or "none",
            "Name in protocols": series.id,
        }
        for series in dataset.series
    ]
    return table(pd.DataFrame(rows), f"Measures of: {dataset.title}") if rows else paragraph("None.")


def _symbols(dataset: Dataset) -> str:
    if not dataset.symbols:
        return paragraph("This file has no signs for missing values.")
    rows = [[f"<code>{text(sign)}</code>" if sign else "(empty)", text(what)] for sign, what in dataset.symbols.items()]
    return linked_table(f"Signs in: {dataset.title}", ("Sign", "What it means"), rows)


def _file(file: DataFile, dataset: Dataset) -> str:
    rows = [
        {
            "Column": column.name,
            "What it holds": column.label or "not described yet",
            "Kind": TYPES[column.type],
            "Unit": column.unit or "none",
            "Key": "yes" if column.name in file.key else "no",
        }
        for column in file.columns
    ]
    caption = f"Columns of {file.name}"
    return details(f"{file.name}: {len(file.columns)} columns", table(pd.DataFrame(rows), caption))


def _breaks(breaks: Sequence[Break]) -> str:
    rows = [
        {"From": each.month.words, "What changed": each.what, "Name": each.id.replace("_", " ")}
        for each in sorted(breaks, key=lambda each: (each.month.index, each.id))
    ]
    return table(pd.DataFrame(rows), "Breaks in the figures, by month")


def started_words(started: str) -> str:
    """A start month in words; a bare year stays a year, since its month isn't known."""
    return Month.parse(started).words if "-" in started else f"{started}, month not known"
