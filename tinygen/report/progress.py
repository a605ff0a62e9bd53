"""Progress of what takes longer than a moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_QUIET_SECONDS = 10.0


class Report:
    """Progress on standard error: moving on a terminal, a line per stage elsewhere."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self._console = console
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def stage(self, text: str) -> None:
        """A new stage without a known end."""
        if self._progress is None:
            self._console.print(f"{text} …", markup=False)
        else:
            self._clear()
            self._tasks[text] = self._progress.add_task(text, total=None)

    def line(self, text: str) -> Callable[[str], None]:
        """A stage that moves with every line that a program prints; elsewhere than on a terminal, now and then one."""
        shown: float | None = None

        def on_line(line: str) -> None:
            nonlocal shown
            if shown is None:
                self.stage(text)
                shown = time.monotonic()
            if self._progress is not None and line:
                self._progress.update(self._tasks[text], description=f"{text}: {line[:60]}")
            elif line and time.monotonic() - shown >= _QUIET_SECONDS:
                self._console.print(f"{text}: {line}", markup=False, highlight=False)
                shown = time.monotonic()

        return on_line

    def count(self, name: str, done: int, total: int) -> None:
        """`done` of `total` of what `name` does."""
        if self._progress is None:
            return
        if name not in self._tasks:
            self._clear()
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing moves meanwhile: something is asked."""
        if self._progress is not None:
            self._progress.stop()
        yield
        if self._progress is not None:
            self._progress.start()

    def _clear(self) -> None:
        assert self._progress is not None
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()


@contextlib.contextmanager
def progress_on(console: Console) -> Iterator[Report]:
    """Progress on a console: bars where it is a terminal, a line per stage elsewhere."""
    if not console.is_terminal:
        yield Report(console, None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield Report(console, progress)
