"""Progress of long work: what, how far, how long. Silent where nobody is looking."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class _Bars:
    """Bars on standard error, drawn only in a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class Steps(_Bars):
    """One bar for each piece of work."""

    def __init__(self, names: list[str]):
        super().__init__()
        self._tasks = {name: self._progress.add_task(f"{name}: waiting", total=None) for name in names}

    def show(self, name: str, what: str, done: int, total: int) -> None:
        if name in self._tasks:
            self._progress.update(self._tasks[name], description=f"{name}: {what}", completed=done, total=total)


class Rows(_Bars):
    """One bar that counts rows."""

    def __init__(self, what: str, total: int):
        super().__init__()
        self._task = self._progress.add_task(what, total=total)

    def show(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)
