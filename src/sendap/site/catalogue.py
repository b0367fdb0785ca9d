"""The data catalogue as a page: what each dataset is, who may use it, which pilots need it, where its series break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sendap.catalog import Break, Catalog, DataFile, Dataset, Doubtful, Series
from sendap.periods import MONTH_NAMES, Month
from sendap.protocol import Protocol
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
KINDS = {
    "published": "Published datasets",
    "restricted": "Restricted datasets",
    "local": "Datasets held by those who collected them",
}
WHO = {
    "published": "Anyone may download and use these.",
    "restricted": "These may only be used in a secure setting, or under an agreement, by people who were given access.",
    "local": "Each body that collects these keeps its own. Ask them.",
}
TYPES = {"text": "words", "code": "code", "integer": "whole number", "number": "number"}

NOTHING_UNUSUAL = paragraph("Nothing unusual has been found.")
ONLY_DESCRIBED = paragraph("It is only described here. Its files aren't read, so no protocol can name a measure of it.")

Boards = Mapping[str, str]
"""The Board page of each pilot that has one, by the pilot's id."""


def catalogue_page(catalog: Catalog, protocols: Sequence[Protocol] = (), boards: Boards | None = None) -> str:
    """An index by who may use a dataset, then each with its files, columns, symbols and series; the breaks.

    ``protocols`` say which pilots use which dataset; ``boards`` gives addresses of Board pages by pilot.
    """
    datasets = sorted(catalog.datasets.values(), key=lambda dataset: dataset.title.casefold())
    users = pilots_by_dataset(protocols)
    parts = [front_matter(title="Data catalogue"), head(synthetic=False), raw(_introduction(datasets))]
    for access, title in KINDS.items():
        chosen = [dataset for dataset in datasets if dataset.access == access]
        if chosen:
            parts.append(heading(f"{title} ({len(chosen)})", anchor("access", access)))
            parts.append(raw(paragraph(WHO[access]) + _index(access, chosen, users, boards or {})))
    parts.append(heading("Each dataset in detail", "details"))
    parts += [_dataset(dataset) for dataset in datasets]
    parts.append(heading("Breaks in the figures", "breaks"))
    parts.append(
        raw(
            paragraph(
                "After each of these months a series no longer measures quite what it did before. A report whose years "
                "cross one has to say so."
            )
            + _breaks(list(catalog.breaks.values()))
        )
    )
    return "\n".join(parts)


def _introduction(datasets: Sequence[Dataset]) -> str:
    counts = {access: sum(dataset.access == access for dataset in datasets) for access in KINDS}
    words = {"published": "published", "restricted": "restricted", "local": "held by those who collected them"}
    counted = ", ".join(f"{counts[access]} {words[access]}" for access in KINDS)
    ways = [
        ("Which areas were in which programme", "programmes.html"),
        ("Areas and programmes, term by term", "exposure.html"),
        ("Pilots by the data they use", "data-used.html"),
    ]
    return (
        paragraph(
            "These are the figures that the reports rest on, or would need: who publishes them, what they count, how "
            "to get them, and what to watch for. Data that don't fit their description here are refused before "
            f"anything is run. There are {len(datasets)} datasets: {counted}."
        )
        + "<ul>"
        + "".join(f"<li>{link(words, address)}</li>" for words, address in ways)
        + "</ul>"
        + paragraph(
            "The tables below list every dataset by who may use it. Follow its name to its details. Codes are those by "
            "which the register of pilots names its sources."
        )
    )


def pilots_by_dataset(protocols: Sequence[Protocol]) -> dict[str, list[Protocol]]:
    """Which protocols measure at least one outcome on each dataset, by its id, in the order of the pilots' ids."""
    found: dict[str, list[Protocol]] = {}
    for protocol in sorted(protocols, key=lambda each: each.id):
        for name in sorted({outcome.dataset for outcome in protocol.outcomes}):
            found.setdefault(name, []).append(protocol)
    return found


def pilot_links(protocols: Sequence[Protocol], boards: Boards) -> str:
    """The pilots by their ids, each with its name for those who can't see it, and a link where it has a Board page."""
    named = []
    for protocol in protocols:
        inside = f'{text(protocol.id)}<span class="sendap-hidden">: {text(protocol.name)}</span>'
        address = boards.get(protocol.id)
        named.append(f'<a href="{text(address)}">{inside}</a>' if address else inside)
    return ", ".join(named) or "none yet"


def _index(access: str, datasets: Sequence[Dataset], users: Mapping[str, list[Protocol]], boards: Boards) -> str:
    way = ("Read here",) if access == "published" else ("How to get it", "Typical wait")
    rows = []
    for dataset in datasets:
        first = f'<a href="#{anchor("dataset", dataset.id)}">{text(dataset.title)}</a>'
        got = [_read_here(dataset)] if access == "published" else [text(dataset.route), text(dataset.wait)]
        codes = text(", ".join(dataset.register_codes) or "none")
        rows.append([first, text(dataset.publisher), *got, pilot_links(users.get(dataset.id, []), boards), codes])
    columns = ("Dataset", "Publisher", *way, "Pilots that use it", "Codes")
    return linked_table(KINDS[access], columns, rows, cards=True)


def _read_here(dataset: Dataset) -> str:
    if dataset.reader == "none":
        return "No, only described"
    return f"Yes, {len(dataset.series)} measures" if dataset.series else "Yes, without measures"


def _dataset(dataset: Dataset) -> str:
    about = {
        "Publisher": text(dataset.publisher),
        "Release": text(dataset.release),
        "Licence": text(dataset.licence),
        "Who may use it": text(ACCESS[dataset.access]),
        **({"How to get it": text(dataset.route)} if dataset.route else {}),
        **({"Typical wait": text(dataset.wait)} if dataset.wait else {}),
        "Where it is": link(f"{dataset.title}, at its publisher", dataset.address),
        "Name in protocols": f"<code>{text(dataset.id)}</code>",
    }
    parts = [
        heading(dataset.title, anchor("dataset", dataset.id), level=3),
        raw(paragraph(dataset.what) + facts(about)),
    ]
    known = [*dataset.quirks, *map(_doubt, dataset.doubtful)]
    if dataset.reader == "none":
        return "\n".join([*parts, raw(ONLY_DESCRIBED + (items(known) if known else ""))])
    return "\n".join(
        [
            *parts,
            heading("Measures that a protocol can name", anchor("series", dataset.id), level=4),
            raw(_series(dataset)),
            heading("Signs used for missing values", anchor("symbols", dataset.id), level=4),
            raw(_symbols(dataset)),
            heading("Things to know", anchor("quirks", dataset.id), level=4),
            raw(items(known) if known else NOTHING_UNUSUAL),
            heading("Files and columns", anchor("files", dataset.id), level=4),
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
