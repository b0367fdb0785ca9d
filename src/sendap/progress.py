"""Progress of long work: what, how far, how long. Silent where nobody is looking."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Steps:
    """One bar for each piece of work, on standard error, only in a terminal."""

    def __init__(self, names: list[str]):
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
        self._names = names
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Steps:
        self._progress.start()
        self._tasks = {name: self._progress.add_task(f"{name}: waiting", total=None) for name in self._names}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, name: str, what: str, done: int, total: int) -> None:
        if name in self._tasks:
            self._progress.update(self._tasks[name], description=f"{name}: {what}", completed=done, total=total)
