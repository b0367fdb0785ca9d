"""What was fetched, when and from where: a small JSON beside each file, and whether it still holds.

A file is current when the service's newest version (or the version that the catalogue asks for) is the one that was
fetched and the file is still what it was then, by its SHA-256.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sendap.files import sha256, write_json
from sendap.sources.ees.download import Arrived
from sendap.sources.ees.models import DataSet, Version


class State(StrEnum):
    MISSING = "missing"
    BY_HAND = "put there by hand"
    CURRENT = "current"
    OLDER = "an older version"
    CHANGED = "changed since it was fetched"


@dataclass(frozen=True)
class Record:
    """Where a file came from. ``sha256`` is of the file as it lies there, ``content_sha256`` of its text."""

    data_set: str
    title: str
    version: str
    published: str
    source: str
    fetched: str
    sha256: str
    content_sha256: str
    size: int


def record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.source.json")


def write_record(path: Path, data_set: DataSet, version: Version, source: str, arrived: Arrived) -> Record:
    record = Record(
        data_set=data_set.id,
        title=data_set.title,
        version=version.number,
        published=version.published or "",
        source=source,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        sha256=arrived.sha256,
        content_sha256=arrived.content_sha256,
        size=arrived.size,
    )
    write_json(record_path(path), asdict(record))
    return record


def read_record(path: Path) -> Record | None:
    """The record of a file, or None where there is none that can be read."""
    try:
        return Record(**json.loads(record_path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def state_of(path: Path, data_set_id: str, version: str) -> tuple[State, Record | None]:
    """How a file stands to a version of a data set."""
    if not path.is_file():
        return State.MISSING, None
    record = read_record(path)
    if record is None or record.data_set != data_set_id:
        return State.BY_HAND, record
    if sha256(path) != record.sha256:
        return State.CHANGED, record
    return (State.CURRENT if record.version == version else State.OLDER), record
