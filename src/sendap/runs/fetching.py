"""Published tables from their publishers: fetched where there is an API, else where to find them and where to put them.

A file that is there already isn't replaced unless the publisher has a newer version of it, and then only by one that
still fits its description in the catalogue.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sendap.catalog import DataFile, Dataset
from sendap.datasets import ApiFile
from sendap.errors import DataError, Problems, SendapError, UsageError, did_you_mean
from sendap.progress import Steps
from sendap.sources.ees.cache import Record, State, record_path, state_of, write_record
from sendap.sources.ees.changes import in_words
from sendap.sources.ees.client import ApiError, Client, Unreachable
from sendap.sources.ees.download import Arrived, download
from sendap.sources.ees.models import DataSet, Version
from sendap.sources.locate import SYNTHETIC_MARK, is_synthetic, locate
from sendap.sources.tables import check_columns, read_text
from sendap.workspace import Workspace

UNDER_WAY = ".fetch"
Say = Callable[[str], None]


def _chosen(names: list[str], workspace: Workspace) -> list[Dataset]:
    """The datasets named, or every published one. Raises UsageError for a name that isn't known."""
    held = workspace.catalog.datasets
    for name in names:
        if name not in held:
            raise UsageError(f"There is no dataset '{name}'.{did_you_mean(name, held)}")
    if names:
        return [held[name] for name in names]
    return [each for each in held.values() if each.access == "published" and each.reader != "none"]


def _folder(workspace: Workspace) -> Path:
    folder = workspace.data_dir or workspace.root / "data"
    if is_synthetic(folder):
        raise UsageError(
            f"{folder} holds synthetic tables (see {SYNTHETIC_MARK}), and real ones must not lie among them. Name "
            "another folder with --data-dir or SENDAP_DATA."
        )
    return folder


def _there(dataset: Dataset, name: str, folder: Path) -> Path | None:
    try:
        return locate(dataset, name, folder)
    except DataError:
        return None


def _by_hand(dataset: Dataset, file: DataFile, folder: Path) -> str:
    api = dataset.api.files.get(file.name) if dataset.api else None
    plain = file.name.removesuffix(".gz")  # as a browser saves it; the readers take either
    what = f"'{api.title}'" if api is not None and api.title else f"'{plain}'"
    return f"Download {what} from {dataset.address} and save it as {folder / dataset.folder / plain}."


def fetch_instructions(names: list[str], workspace: Workspace) -> str:
    """For each dataset: its address, the folder to put it in, and which files are there. Asks nobody."""
    folder = workspace.data_dir or workspace.root / "data"
    lines = []
    for dataset in _chosen(names, workspace):
        lines.append(f"{dataset.title} ({dataset.publisher}, {dataset.release}, {dataset.licence})")
        lines.append(f"  from {dataset.address}")
        if dataset.access != "published":
            lines.append(f"  {dataset.access}: {dataset.route} It takes {dataset.wait}.")
        for file in dataset.files:
            state = "there" if _there(dataset, file.name, folder) else "missing"
            api = "  (sendap fetch can)" if dataset.api and file.name in dataset.api.files else ""
            lines.append(f"  {state:8} {folder / dataset.folder / file.name}{api}")
        lines.append("")
    lines.append(f"Then run: sendap run --data-dir {folder}")
    return "\n".join(lines)


def fetch(
    names: list[str], workspace: Workspace, *, say: Say, replace: bool = False, client: Client | None = None
) -> None:
    """Bring the published files of datasets into the data folder, and ``say`` what became of each.

    ``replace`` lets files that were put there by hand be replaced too. Raises UsageError for an unknown dataset, and
    Problems with what to do by hand for every file that is still missing.
    """
    datasets = _chosen(names, workspace)
    folder = _folder(workspace)
    with client or Client() as opened:
        work = _Work(opened, folder, say, replace)
        try:
            for dataset in datasets:
                work.fetch(dataset)
        except OSError as error:
            raise DataError(
                f"{error.filename or folder} can't be written ({error.strerror}). Make room, allow writing there, or "
                "name another folder with --data-dir or SENDAP_DATA."
            ) from None
    if work.problems:
        raise Problems("These are still missing or don't fit:", work.problems)


@dataclass(frozen=True)
class _Wanted:
    """One file, the data set and the version of it that is wanted, and where it belongs."""

    dataset: Dataset
    file: DataFile
    data_set: DataSet
    version: Version
    path: Path


class _Work:
    def __init__(self, client: Client, folder: Path, say: Say, replace: bool):
        self.client, self.folder, self.say, self.replace = client, folder, say, replace
        self.problems: list[str] = []
        self.reachable = True

    def fetch(self, dataset: Dataset) -> None:
        self.say(f"{dataset.title} ({dataset.publisher})")
        if dataset.access != "published":
            self.problems.append(f"{dataset.id} is {dataset.access}. {dataset.route} It takes {dataset.wait}.")
            return
        listed: list[DataSet] | None = None
        for file in dataset.files:
            api = dataset.api.files.get(file.name) if dataset.api else None
            if api is None:
                self._without(dataset, file, "the publisher has no API for it")
                continue
            try:
                if self.reachable and listed is None and not api.id:
                    listed = self.client.data_sets(dataset.api.publication)
                if self.reachable:
                    self._file(self._wanted(dataset, file, api, listed or []))
                    continue
            except Unreachable as error:
                self.reachable = False
                self.say(f"  {error}")
            except SendapError as error:
                self._without(dataset, file, str(error))
                continue
            self._without(dataset, file, "the service can't be reached")

    def _without(self, dataset: Dataset, file: DataFile, why: str) -> None:
        """What is left to do for a file that can't be fetched."""
        path = _there(dataset, file.name, self.folder)
        if path is not None:
            self.say(f"  {path.name}: there. Whether there is a newer one wasn't asked: {why.rstrip('.')}.")
        else:
            self.say(f"  {file.name}: missing, and {why.rstrip('.')}.")
            self.problems.append(f"{file.name}: {_by_hand(dataset, file, self.folder)}")

    def _wanted(self, dataset: Dataset, file: DataFile, api: ApiFile, listed: list[DataSet]) -> _Wanted:
        if api.id:
            data_set = self.client.data_set(api.id)
        else:
            by_title = {" ".join(each.title.split()).lower(): each for each in listed}
            title = " ".join(api.title.split()).lower()
            if title not in by_title:
                raise DataError(f"the API has no data set '{api.title}' in this publication")
            data_set = by_title[title]
        if data_set.superseding_data_set_id:
            self.say(f"  {file.name}: the publisher has replaced its data set by {data_set.superseding_data_set_id}.")
        newest = data_set.latest_version
        version = newest if api.version == "*" and newest else self.client.version(data_set.id, api.version)
        path = _there(dataset, file.name, self.folder) or self.folder / dataset.folder / file.name
        return _Wanted(dataset, file, data_set, version, path)

    def _file(self, wanted: _Wanted) -> None:
        state, record = state_of(wanted.path, wanted.data_set.id, wanted.version.number)
        name, number = wanted.path.name, wanted.version.number
        if state is State.CURRENT:
            self.say(f"  {name}: version {number} is there and unchanged.")
            return
        if state is State.BY_HAND and not self.replace:
            self.say(f"  {name}: there, but not from here, so its version isn't known. --replace fetches {number}.")
            return
        if state is State.CHANGED and not self.replace:
            self.problems.append(
                f"{name}: it isn't what was fetched (its checksum differs). Fetch it again with --replace, or keep it "
                f"and remove {record_path(wanted.path).name}."
            )
            return
        if state is State.OLDER and record is not None:
            self.say(f"  {name}: the publisher has changed it, from version {record.version} to {number}.")
            for line in self._changed(wanted, record):
                self.say(f"    {line}")
        staged = wanted.path.parent / UNDER_WAY / wanted.path.name
        with Steps([name]) as bars:
            arrived = download(
                self.client, wanted.data_set.id, number, staged, parts=staged.parent, rows=wanted.version.total_results,
                show=lambda done, total: bars.show(name, f"version {number}, bytes", done, total or 0),
            )  # fmt: skip
        self._place(wanted, staged, arrived, record)

    def _changed(self, wanted: _Wanted, record: Record) -> Iterator[str]:
        """What every version since the recorded one changed, as far as the service describes it."""
        try:
            versions = self.client.versions(wanted.data_set.id)
            old = next((each.order for each in versions if each.number == record.version), None)
            between = [each for each in versions if old is not None and old < each.order <= wanted.version.order]
            lines = [
                (each, line)
                for each in between
                for line in in_words(self.client.changes(wanted.data_set.id, each.number))
            ]
        except ApiError as error:
            yield f"What has changed isn't known: {error}"
            return
        if not lines:
            yield "The publisher doesn't describe what has changed."
        for version, line in lines:
            yield f"{version.number}, {line}"

    def _place(self, wanted: _Wanted, staged: Path, arrived: Arrived, record: Record | None) -> None:
        """Put a finished download where it belongs, unless it doesn't fit and would take the place of one that does."""
        name, number = wanted.path.name, wanted.version.number
        try:
            check_columns(read_text(staged), wanted.file, wanted.path)
        except DataError as error:
            beside = wanted.path
            if wanted.path.is_file():
                stem, dot, ending = name.partition(".")
                beside = wanted.path.with_name(f"{stem}.version-{number}{dot}{ending}")
            os.replace(staged, beside)
            write_record(beside, wanted.data_set, wanted.version, self.client.address, arrived)
            hint = f" Compare: sendap catalog diff {wanted.path} {beside}." if beside != wanted.path else ""
            kept = " The older file stays in use." if beside != wanted.path else ""
            self.problems.append(f"{name}: version {number} lies in {beside}. {error}{kept}{hint}")
        else:
            os.replace(staged, wanted.path)
            write_record(wanted.path, wanted.data_set, wanted.version, self.client.address, arrived)
            same = record is not None and record.content_sha256 == arrived.content_sha256
            note = ", the same text as before" if same else ""
            on = ", taken up where it had stopped" if arrived.resumed else ""
            self.say(f"  {name}: fetched version {number}, {arrived.size:,} bytes{on}{note}.")
        if not any(staged.parent.iterdir()):
            staged.parent.rmdir()
