"""Console output while the demo runs: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.core.progress import Progress as ProgressCallback


class Narrator:
    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[ProgressCallback]:
        """Show the progress of a step. Yields a callback that takes `(fraction done, text)`."""
        if not self.console.is_terminal:
            yield from self._plainly(title)
            return
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        with Progress(*columns, TextColumn("{task.fields[text]}"), console=self.console) as bars:
            task = bars.add_task(escape(title), total=1.0, text="")

            def tell(done: float, text: str = "") -> None:
                bars.update(task, completed=done, text=escape(text))

            yield tell
            bars.update(task, completed=1.0, text="")

    def _plainly(self, title: str) -> Iterator[ProgressCallback]:
        started = time.monotonic()

        def tell(done: float, text: str = "") -> None:
            """Plain output shows no intermediate progress."""

        yield tell
        self.say(f"{title}: done after {time.monotonic() - started:.1f} s")
