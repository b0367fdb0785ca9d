"""One CSV file of the service, whole or not at all.

What has arrived lies in a part file with its ETag or date. An interrupted download goes on where it stopped where the
service allows that (``Range`` with ``If-Range``, RFC 9110, section 13.1.5), so that two versions never mix in one
file; else it starts again. A file is taken only when its length is the announced one and, where the service sends it
gzipped, the checksum at its end fits. Where it sends neither, the number of rows that it announces for the version
tells a file that was cut short.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import httpx

from sendap.files import sha256, whole, write_json
from sendap.sources.ees.client import ApiError, Client, Passing

CHUNK = 1 << 16
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Arrived:
    """A finished download: SHA-256 of the file as it lies there and of its text, and its size in bytes."""

    sha256: str
    content_sha256: str
    size: int
    resumed: bool


@dataclass(frozen=True)
class _State:
    """What a part file is part of: enough to ask for the rest of the same thing."""

    source: str
    validator: str
    encoding: str
    total: int | None


def download(
    client: Client, data_set_id: str, version: str, target: Path, *, parts: Path, rows: int | None = None,
    show: Progress | None = None,
) -> Arrived:  # fmt: skip
    """Fetch the CSV of one version to ``target``, gzipped where its name ends in ``.gz``.

    ``parts`` is the folder for what is under way; ``rows`` the rows that the service
    announces. Raises Unreachable or ApiError; the target is then as it was.
    """
    part = parts / f"{data_set_id}-{version}.part"
    parts.mkdir(parents=True, exist_ok=True)
    resumed = False

    def once() -> Arrived:
        nonlocal resumed
        resumed = _receive(client, data_set_id, version, part, show) or resumed
        return _finish(part, target, resumed, rows)

    arrived = client.patiently(once, f"the CSV of data set {data_set_id}, version {version},")
    forget(part)
    return arrived


def forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _noted(part).unlink(missing_ok=True)


def _noted(part: Path) -> Path:
    return part.with_suffix(".json")


def _state(part: Path) -> _State | None:
    try:
        return _State(**json.loads(_noted(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _receive(client: Client, data_set_id: str, version: str, part: Path, show: Progress | None) -> bool:
    """Let the rest of a part file arrive. True where it went on from what was there."""
    state = _state(part)
    have = part.stat().st_size if part.is_file() and state is not None and state.source == client.address else 0
    if state is None or not state.validator:
        have = 0
    if have and state is not None and have == state.total:
        return True  # all of it is here: the work stopped between arriving and being put in its place
    headers = {"Accept": "text/csv", "Accept-Encoding": "gzip"}
    if have and state is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": state.validator}
    with client.attempt(
        "GET", f"/data-sets/{data_set_id}/csv", parameters={"dataSetVersion": version}, headers=headers,
        accept=(200, 206, 416),
    ) as response:  # fmt: skip
        if response.status_code == 416:
            forget(part)
            raise Passing("the part file no longer fits", status=416)
        encoding = response.headers.get("Content-Encoding", "")
        if encoding.lower() not in ("", "identity", "gzip"):
            raise ApiError(f"{response.url} answered in the encoding '{encoding}', which wasn't asked for.")
        if "html" in response.headers.get("Content-Type", ""):
            raise ApiError(f"{response.url} answered with a web page, not a table. Is there a sign-in in between?")
        goes_on = response.status_code == 206
        if goes_on and not _fits(response, state, have):
            forget(part)
            raise Passing("the service sent another part than was asked for", status=206)
        if not goes_on:
            state = _begin(client, response, part)
        total = state.total if state is not None else None
        with part.open("ab" if goes_on else "wb") as file:
            done = have if goes_on else 0
            for chunk in response.iter_raw():  # as it comes: a size would hold back what a broken connection left
                file.write(chunk)
                done += len(chunk)
                if show is not None:
                    show(done, total)
    if total is not None and done != total:
        raise Passing(f"{done:,} of {total:,} bytes arrived")
    return goes_on


def _begin(client: Client, response: httpx.Response, part: Path) -> _State:
    """Note what is about to arrive, before its first byte is written."""
    headers = response.headers
    etag = headers.get("ETag", "")
    length = headers.get("Content-Length", "")
    state = _State(
        source=client.address,
        validator=etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", ""),
        encoding=headers.get("Content-Encoding", "").lower(),
        total=int(length) if length.isdigit() else None,
    )
    part.unlink(missing_ok=True)
    write_json(_noted(part), asdict(state))
    return state


def _fits(response: httpx.Response, state: _State | None, have: int) -> bool:
    """Whether a partial answer is the rest of what lies in the part file."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if state is None or match is None or int(match[1]) != have:
        return False
    same_encoding = response.headers.get("Content-Encoding", "").lower() == state.encoding
    return same_encoding and (state.total is None or match[3] == "*" or int(match[3]) == state.total)


def _finish(part: Path, target: Path, resumed: bool, rows: int | None) -> Arrived:
    """Check what has arrived, and put it in its place."""
    state = _state(part)
    zipped = state is not None and state.encoding == "gzip"
    text, lines = hashlib.sha256(), 0
    with whole(target) as temporary:
        try:
            with _opened(part, zipped) as source, _sink(temporary, target.suffix == ".gz" and not zipped) as sink:
                while chunk := source.read(CHUNK):
                    text.update(chunk)
                    lines += chunk.count(b"\n")
                    sink.write(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            forget(part)
            raise Passing(f"the file is damaged ({error})") from error
        if text.digest() == hashlib.sha256(b"").digest():
            forget(part)
            raise Passing("the file is empty")
        uncounted = state is None or (state.total is None and not zipped)
        if uncounted and rows is not None and lines < rows:  # the heading's line makes up for a last one without end
            forget(part)
            raise Passing(f"{max(lines - 1, 0):,} of {rows:,} rows arrived")
        if zipped and target.suffix == ".gz":
            shutil.copyfile(part, temporary)  # sound, so it's kept as the service compressed it
        size, digest = temporary.stat().st_size, sha256(temporary)
    return Arrived(sha256=digest, content_sha256=text.hexdigest(), size=size, resumed=resumed)


def _opened(path: Path, zipped: bool) -> IO[bytes]:
    return gzip.open(path, "rb") if zipped else path.open("rb")


@contextmanager
def _sink(path: Path, zip_it: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as out:
        if not zip_it:
            yield out
            return
        with gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as sink:  # the same text, the same bytes
            yield sink
