"""Progress bars on the terminal for calls that report `progress(stage, done, total)`; nothing where nobody looks."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

WAIT_SECONDS = 0.5  # work that is done sooner shows no bar


class Bars:
    """One bar a stage, drawn on a terminal and taken away at the end: `with Bars() as progress: memory.sleep(...)`.

    stream  where to draw; standard error if not given. If it is no terminal, nothing is drawn and nothing imported.
    wait_seconds  how long work goes on before a bar appears

    >>> with Bars() as progress:
    ...     progress("index", 1, 2)
    """

    def __init__(self, stream: IO[str] | None = None, wait_seconds: float = WAIT_SECONDS) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.wait_seconds = wait_seconds
        self._start = time.monotonic()
        self._shown = self.stream is not None and self.stream.isatty()
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw how far a stage is; a total of 0 means that it is not known."""
        if not self._shown or (self._bars is None and time.monotonic() - self._start < self.wait_seconds):
            return
        if self._bars is None:
            self._bars = self._begin()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total or None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)

    def _begin(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bars = Progress(*columns, console=Console(file=self.stream), transient=True)
        bars.start()
        return bars

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
