"""Who took part in a programme, and from when: from the catalogue's rollouts, or from a list that the user supplies.

Nobody has published who took part in most of the programmes. The user's list lies in the data folder, so that it
stays where the records are: ``rollouts/<pilot>.csv`` with one row a cluster.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sendap.catalog import Catalog
from sendap.errors import DataError, Problems, did_you_mean
from sendap.periods import Month, Period
from sendap.protocol import Protocol, series_of

COLUMNS = ("cluster", "started", "confidence", "source")
CONFIDENCE = ("high", "medium", "low")


@dataclass(frozen=True)
class Adopter:
    """One treated cluster: its code, its first month, how sure that is, and who says so."""

    cluster: str
    name: str
    start: Month
    confidence: str
    source: str


@dataclass(frozen=True)
class Adopters:
    """Everybody who took part. ``path`` is the user's list, or None where the catalogue has it."""

    programme: str
    description: str
    members: tuple[Adopter, ...]
    path: Path | None = None

    def content(self, data_dir: Path) -> dict[str, object]:
        """Plain content, to be kept with the cells."""
        return {
            "description": self.description,
            "list": None if self.path is None else self.path.relative_to(data_dir).as_posix(),
            "members": [
                [each.cluster, each.name, str(each.start), each.confidence, each.source] for each in self.members
            ],
        }

    @classmethod
    def of_content(cls, programme: str, content: Mapping[str, Any]) -> Adopters:
        members = tuple(
            Adopter(cluster, name, Month.parse(start), confidence, source)
            for cluster, name, start, confidence, source in content["members"]
        )
        path = None if content["list"] is None else Path(content["list"])
        return cls(programme, str(content["description"]), members, path)

    @property
    def unsure(self) -> list[str]:
        """Clusters whose membership or start isn't sure: left out of a sensitivity run."""
        return [each.cluster for each in self.members if each.confidence != "high"]


def list_path(protocol: Protocol, data_dir: Path) -> Path:
    return data_dir / "rollouts" / f"{protocol.id.lower()}.csv"


def find_adopters(protocol: Protocol, catalog: Catalog, data_dir: Path) -> Adopters | None:
    """Who took part: the user's list where there is one, else the catalogue's rollout, else None.

    Raises Problems with everything wrong in the user's list.
    """
    path = list_path(protocol, data_dir)
    if path.is_file():
        members = _read(path, catalog if protocol.cluster_column == "la_code" else None)
        return Adopters(protocol.programme, "The list in the data folder.", members, path)
    if protocol.programme not in catalog.rollouts or protocol.cluster_column != "la_code":
        return None
    rollout = catalog.rollout(protocol.programme)
    return Adopters(
        protocol.programme,
        rollout.description,
        tuple(Adopter(area.la_code, area.name, area.start, area.confidence, area.source) for area in rollout.areas),
    )


def needed(protocol: Protocol, data_dir: Path | None) -> str:
    """What the user must supply, in one sentence, and where to put it."""
    assert protocol.supply is not None
    where = list_path(protocol, data_dir or Path("DATA-FOLDER"))
    return (
        f"Nobody has published who took part. Supply {where} with the columns {', '.join(COLUMNS)}: "
        f"{protocol.supply.list} Write 'cluster' as it stands in the column '{protocol.cluster_column}', 'started' "
        f"like 2023-09, 'confidence' as {', '.join(CONFIDENCE[:-1])} or {CONFIDENCE[-1]}."
    )


def _read(path: Path, catalog: Catalog | None) -> tuple[Adopter, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} isn't UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    problems: list[str] = []
    found: dict[str, Adopter] = {}
    for number, row in enumerate(rows, 2):
        missing = [name for name in COLUMNS if not (row.get(name) or "").strip()]
        if missing:
            problems.append(f"row {number}: '{missing[0]}' is empty or its column is missing.")
            continue
        where = f"row {number}"
        try:
            member = _member(row, catalog)
        except DataError as error:
            problems.append(f"{where}: {error}")
            continue
        if member.cluster in found:
            problems.append(f"{where}, column 'cluster': '{member.cluster}' is there twice. Keep its first start.")
        found[member.cluster] = member
    if not rows:
        problems.append(f"there is no row. Expected one a cluster, with the columns {', '.join(COLUMNS)}.")
    if problems:
        raise Problems(f"{path} can't be used:", problems)
    return tuple(found.values())


def _member(row: Mapping[str, str], catalog: Catalog | None) -> Adopter:
    cluster, confidence = row["cluster"].strip(), row["confidence"].strip().lower()
    if confidence not in CONFIDENCE:
        raise DataError(f"column 'confidence': found '{confidence}', expected one of {', '.join(CONFIDENCE)}.")
    name = cluster
    if catalog is not None:
        current = {area.la_code for area in catalog.places.current}
        if cluster not in current:
            raise DataError(
                f"column 'cluster': found '{cluster}', expected a code of today in "
                f"data-catalog/codes/local-authorities.csv.{did_you_mean(cluster, current)}"
            )
        name = catalog.places.name_of(cluster)
    return Adopter(cluster, name, Month.parse(row["started"]), confidence, row["source"].strip())


def starts_outside(
    protocol: Protocol, catalog: Catalog, members: Iterable[Adopter], periods: Mapping[str, Sequence[int]]
) -> list[str]:
    """Start dates that lie outside the months of every outcome's data. ``periods`` by outcome, as read."""
    windows: list[tuple[Month, Month]] = []
    for outcome in protocol.outcomes:
        _, series = series_of(catalog, outcome)
        windows += [Period(series.period_kind, year).window(series.measured) for year in periods.get(outcome.id, [])]
    if not windows:
        return []
    first, last = min(opens for opens, _ in windows), max(closes for _, closes in windows)
    return [
        f"Rollout of {protocol.programme}: {member.name} ({member.cluster}) starts in {member.start}, outside the "
        f"data, which run from {first} to {last}. Correct 'started' in data-catalog/rollouts, or add data."
        for member in members
        if not first <= member.start <= last
    ]
