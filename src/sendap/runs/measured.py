"""What can be measured here: which outcomes' data are there, who took part, and whether the run is real or synthetic.

A run is real or synthetic as a whole, so that nobody mistakes one for the other. It's real where somebody knows who
took part, and data of at least one outcome are there. Outcomes whose restricted data aren't there then wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sendap.adopters import Adopters, find_adopters, needed
from sendap.catalog import Catalog
from sendap.errors import DataError, Problems
from sendap.protocol import Outcome, Protocol, series_of
from sendap.sources.locate import is_synthetic, locate


@dataclass(frozen=True)
class Measurable:
    """A protocol cut down to what a data folder allows.

    ``protocol`` holds the outcomes that can be read, ``awaiting`` the others. ``adopters`` is None for a descriptive
    protocol, whose outcomes are read whoever took part.
    """

    protocol: Protocol
    awaiting: tuple[Outcome, ...]
    adopters: Adopters | None


def is_there(outcome: Outcome, catalog: Catalog, data_dir: Path) -> bool:
    """Whether an outcome's data can be asked for: published ones always, others where their file is there."""
    dataset, series = series_of(catalog, outcome)
    if dataset.access == "published":
        return True
    try:
        locate(dataset, series.file, data_dir)
    except DataError:
        return False
    return True


def can_be_real(protocol: Protocol, catalog: Catalog, data_dir: Path) -> bool:
    """Whether a data folder of the user's holds enough to evaluate a protocol, or to describe its outcomes."""
    if not protocol.descriptive and find_adopters(protocol, catalog, data_dir) is None:
        return False
    return protocol.descriptive or any(is_there(outcome, catalog, data_dir) for outcome in protocol.outcomes)


def measurable(protocol: Protocol, catalog: Catalog, data_dir: Path) -> Measurable:
    """The part of a protocol that this data folder allows.

    Raises Problems where nobody knows who took part, or where no outcome has data.
    """
    adopters = None
    if not protocol.descriptive:
        adopters = find_adopters(protocol, catalog, data_dir)
        if adopters is None:
            raise Problems(f"{protocol.id} can't be evaluated:", [needed(protocol, data_dir)])
    there = [outcome.id for outcome in protocol.outcomes if is_there(outcome, catalog, data_dir)]
    if not there and not protocol.descriptive:
        raise Problems(f"{protocol.id} can't be evaluated:", [f"{text}." for text in missing_data(protocol, catalog)])
    awaiting = tuple(outcome for outcome in protocol.outcomes if outcome.id not in there)
    return Measurable(protocol.keeping(there), awaiting, adopters)


def missing_data(protocol: Protocol, catalog: Catalog) -> list[str]:
    """For each restricted or local dataset that a protocol names: how to get it and how long that takes."""
    found = {}
    for outcome in protocol.outcomes:
        dataset, _ = series_of(catalog, outcome)
        if dataset.access != "published":
            found[dataset.id] = f"{dataset.title}: {dataset.route} Typical wait: {dataset.wait}"
    return list(found.values())


def to_supply(protocol: Protocol, catalog: Catalog, data_dir: Path | None) -> list[str]:
    """Everything that a user must still supply before a protocol runs on real data, as sentences; none where it can."""
    found = []
    known = find_adopters(protocol, catalog, data_dir) if data_dir is not None else None
    if not protocol.descriptive and protocol.supply is not None and known is None:
        found.append(needed(protocol, data_dir))
    for outcome in protocol.outcomes:
        dataset, series = series_of(catalog, outcome)
        there = data_dir is not None and not is_synthetic(data_dir) and is_there(outcome, catalog, data_dir)
        if dataset.access != "published" and not there:
            where = (data_dir or Path("DATA-FOLDER")) / dataset.folder / series.file
            found.append(f"{dataset.title}, as {where}. {dataset.route} Typical wait: {dataset.wait}")
    return list(dict.fromkeys(found))
