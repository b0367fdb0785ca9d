"""Folders are built aside and renamed when whole, so that an interrupted build leaves the last good one."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path`` that takes its place when the block ends well, and goes when it doesn't.

    A folder can't be replaced in one step everywhere, so the old one steps aside first, and comes back if the new
    one can't be moved in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    new, old = made / "new", made / "old"
    new.mkdir()
    try:
        yield new
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove what a build that was killed left behind: unfinished folders over a day old."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        if left.is_dir() and time.time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)
