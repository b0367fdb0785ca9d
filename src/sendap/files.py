"""Files are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where age alone tells whether a writer is still at work
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".sendap.tmp"
DAY = 86_400


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends well and removed when it doesn't.

    A process that is killed can't remove its own, so whoever writes to the folder next does. While it's written the
    temporary file is locked, and the lock ends with the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    handle, temporary = _locked(path)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the unfinished files of processes that are no more. Where locks don't work, those over a day old."""
    for left in folder.glob(f".*{UNFINISHED}"):
        with suppress(OSError), left.open("rb") as file:
            if _abandoned(file.fileno()):
                left.unlink(missing_ok=True)


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder for what needn't outlive the block. One whose process was killed goes when the next one is made."""
    for left in Path(tempfile.gettempdir()).glob(f"{name}-*{UNFINISHED}"):
        with suppress(OSError), (left / "lock").open("rb") as file:
            if _abandoned(file.fileno()):
                shutil.rmtree(left, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=f"{name}-", suffix=UNFINISHED, ignore_cleanup_errors=True) as made,
        (Path(made) / "lock").open("wb") as file,
    ):
        _lock(file.fileno())
        yield Path(made)


def _locked(path: Path) -> tuple[int | None, Path]:
    """A new temporary file beside ``path``, and the handle that locks it; none where there are no locks."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent)
        if fcntl is None:  # and an open file can't be renamed
            os.close(handle)
            return None, Path(name)
        _lock(handle)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # swept by another process, between its making and its lock


def _lock(handle: int) -> None:
    if fcntl is not None:
        with suppress(OSError):  # a file system that knows no locks
            fcntl.flock(handle, fcntl.LOCK_EX)


def _abandoned(handle: int) -> bool:
    """Whether no process holds the lock of a file. Where locks don't work, whether it's over a day old."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        else:
            return True
    return time.time() - os.fstat(handle).st_mtime > DAY


def write_text(path: Path, text: str) -> None:
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(content: object) -> str:
    """SHA-256 of the canonical JSON of plain content: the same content, the same text, anywhere."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
