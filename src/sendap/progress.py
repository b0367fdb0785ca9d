"""Progress of long work: what, how far, how long. Silent where nobody is looking."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class _Bars:
    """Bars on standard error, drawn only in a terminal."""

    def __init__(self, *columns: ProgressColumn) -> None:
        console = Console(stderr=True)
        usual = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *(columns or usual),
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


class Working(_Bars):
    """One line that says what is being done, with a mark that moves and the time so far, where nobody knows how far."""

    def __init__(self, what: str):
        super().__init__(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._task = self._progress.add_task(what, total=None)

    def show(self, what: str) -> None:
        self._progress.update(self._task, description=what)


class Rows(_Bars):
    """One bar that counts rows."""

    def __init__(self, what: str, total: int):
        super().__init__()
        self._task = self._progress.add_task(what, total=total)

    def show(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)
