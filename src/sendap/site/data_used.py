"""Pilots by the data they use: real figures, synthetic ones, or a description; and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sendap.catalog import Catalog, Dataset
from sendap.protocol import Protocol, known_pilots, read_protocol
from sendap.site.banners import SOME_MADE_UP, SYNTHETIC, head
from sendap.site.catalogue import pilot_links
from sendap.site.found import FoundRun
from sendap.site.markup import anchor, front_matter, heading, linked_table, paragraph, raw, text, warning
from sendap.workspace import Workspace

REAL, MADE_UP, DESCRIBED, SILENT = "real", "synthetic", "described", "no-figures"
KINDS = {
    REAL: (
        "Evaluated on published figures",
        "Who took part is public, and published figures measure at least one outcome. Outcomes that need other data "
        "wait for them.",
    ),
    MADE_UP: (
        "Shown on synthetic data",
        "These pilots haven't been evaluated yet. Each is run on synthetic data of the same layout, so that it is "
        "ready for the real ones, and so that anyone can see what its report would look like.",
    ),
    DESCRIBED: (
        "Described with figures",
        "There is nobody to compare with, so no effect is claimed. Figures show how things stand. Those of a run "
        "without a folder of published figures are synthetic, and say so.",
    ),
    SILENT: (
        "Described without figures",
        "There is nobody to compare with, and no public figures describe the pilot yet.",
    ),
}
NO_FOLDER = "It was run without a folder of published figures."
COLUMNS = ("Pilot", "Data it uses", "Data it waits for", "Why")


def read_protocols(workspace: Workspace) -> list[Protocol]:
    """Every protocol of the workspace, in the order of the pilots' ids; none where there is no such folder."""
    return [read_protocol(workspace.analysis, pilot) for pilot in known_pilots(workspace.analysis)]


def board_pages(found: Sequence[FoundRun]) -> dict[str, str]:
    """The address of each pilot's Board page, as seen from a page of the site's folder of pages."""
    return {each.pilot: f"{each.page_folder}/board.html" for each in found}


def kind_of(found: FoundRun) -> str:
    """Which of the four kinds a run is."""
    said = found.summary
    if said.kind == "description":
        return DESCRIBED if said.datasets else SILENT
    return MADE_UP if said.synthetic else REAL


def data_used_page(found: Sequence[FoundRun], catalog: Catalog, protocols: Sequence[Protocol]) -> str:
    """One table a kind, each row a pilot with the data it uses, those it waits for, and why it is where it is."""
    known = {protocol.id: protocol for protocol in protocols}
    boards = board_pages(found)
    groups: dict[str, list[FoundRun]] = {kind: [] for kind in KINDS}
    for each in sorted(found, key=lambda run: run.summary.name.casefold()):
        groups[kind_of(each)].append(each)
    mixed = any(each.summary.synthetic for each in found)
    banner = warning(f"<strong>{SYNTHETIC}.</strong> {text(SOME_MADE_UP)}") if mixed else ""
    parts = [
        front_matter(title="Pilots by the data they use"),
        head(synthetic=False),
        raw(banner + _introduction(groups, known, boards)),
    ]
    for kind, (title, words) in KINDS.items():
        runs = groups[kind]
        parts.append(heading(f"{title} ({len(runs)})", anchor("data", kind)))
        rows = [_row(each, known.get(each.pilot), catalog) for each in runs]
        parts.append(raw(paragraph(words) + (linked_table(title, COLUMNS, rows, cards=True) if rows else NONE)))
    return "\n".join(parts)


NONE = paragraph("None.")


def _introduction(
    groups: Mapping[str, list[FoundRun]], known: Mapping[str, Protocol], boards: Mapping[str, str]
) -> str:
    counts = {kind: len(runs) for kind, runs in groups.items()}
    without = [protocol for name, protocol in known.items() if name not in boards]
    late = f"<p>Not run yet: {pilot_links(without, {})}.</p>" if without else ""
    return (
        paragraph(
            f"{counts[REAL]} {_pilots(counts[REAL])} evaluated on published figures. {counts[MADE_UP]} "
            f"{_pilots(counts[MADE_UP])} shown on synthetic data, which test nothing. "
            f"{counts[DESCRIBED] + counts[SILENT]} {_pilots(counts[DESCRIBED] + counts[SILENT])} described only.",
            "A run is real or synthetic as a whole, so that nobody mistakes one for the other. With the list of those "
            "who took part and the data of at least one outcome, a pilot moves from synthetic to real.",
        )
        + late
        + '<p><a href="catalogue.html">The data catalogue</a> says what each dataset is and how to get it.</p>'
    )


def _pilots(count: int) -> str:
    return "pilot is" if count == 1 else "pilots are"


def _row(found: FoundRun, protocol: Protocol | None, catalog: Catalog) -> list[str]:
    said = found.summary
    mark = f'<strong class="sendap-tag">{SYNTHETIC}</strong> ' if said.synthetic else ""
    first = f'{mark}<a href="{found.page_folder}/board.html">{text(said.name)}</a> ({text(said.pilot)})'
    used = [catalog.dataset(name) for name in said.datasets]
    waiting = [] if protocol is None else _waiting(protocol, said.synthetic, set(said.datasets), catalog)
    made = "Synthetic data in the layout of: " if said.synthetic and used else ""
    return [
        first,
        made + (_names(used) or "none"),
        _names(waiting, with_wait=True) or "none",
        text(_why(found, protocol, catalog)),
    ]


def _waiting(protocol: Protocol, synthetic: bool, used: set[str], catalog: Catalog) -> list[Dataset]:
    """Datasets of its outcomes that a real run would need and this one didn't have, each once."""
    named = dict.fromkeys(outcome.dataset for outcome in protocol.outcomes)
    datasets = [catalog.dataset(name) for name in named]
    return [each for each in datasets if each.access != "published" and (synthetic or each.id not in used)]


def _names(datasets: Sequence[Dataset], *, with_wait: bool = False) -> str:
    said = []
    for dataset in datasets:
        wait = f' (<span class="sendap-whole">{text(dataset.wait)}</span>)' if with_wait and dataset.wait else ""
        address = f"catalogue.html#{anchor('dataset', dataset.id)}"
        said.append(f'<li><a href="{address}">{text(dataset.title)}</a>{wait}</li>')
    return f'<ul class="sendap-listed">{"".join(said)}</ul>' if said else ""


def _why(found: FoundRun, protocol: Protocol | None, catalog: Catalog) -> str:
    if protocol is None:
        return "Its protocol isn't here, so the reason can't be given."
    if protocol.descriptive:
        return f"{protocol.why_no_effect}{f' {NO_FOLDER}' if found.summary.synthetic else ''}"
    listed = protocol.programme in catalog.rollouts and protocol.cluster_column == "la_code"
    if not found.summary.synthetic:
        start = protocol.stands_in or "Who took part is public." if listed else "Who took part was supplied."
        return f"{start} {_measured(protocol, set(found.summary.datasets))}"
    reasons = (
        []
        if listed
        else [f"Nobody has published who took part. It needs {protocol.supply.list}" if protocol.supply else ""]
    )
    published = [each for each in protocol.outcomes if catalog.dataset(each.dataset).access == "published"]
    if not published:
        reasons.append("Every outcome needs data that aren't public.")
    elif listed:
        reasons.append(f"{NO_FOLDER} With one, it can be evaluated.")
    return " ".join(reason for reason in reasons if reason)


def _measured(protocol: Protocol, used: set[str]) -> str:
    there = [outcome for outcome in protocol.outcomes if outcome.dataset in used]
    primary = next((outcome for outcome in protocol.outcomes if outcome.family == "primary"), None)
    words = f"{len(there)} of {len(protocol.outcomes)} outcomes are measured"
    if primary is not None and primary not in there:
        return f"{words}; the primary outcome waits for its data."
    return f"{words}."
