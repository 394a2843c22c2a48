"""Terminal output of commands: consoles, progress bars, tables; and interrupts of long-running commands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["bar", "console_beside", "interrupts", "table"]


def console_beside(json_to: str | None) -> Console:
    """Return the console for a command's text: standard output, or standard error if JSON goes to standard output.

    `json_to` is the file that JSON is written to, `-` for standard output, or None.
    """
    from rich.console import Console

    return Console(stderr=json_to == "-", highlight=False)


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar while the context is active, and yield a function that updates it.

    `what` is its title. The function receives the number of finished steps, the number of all steps, and a description.
    Nothing is shown if the console is not a terminal.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def update(done: int, total: int, doing: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{what} {doing}")

        yield update


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Record the first interrupt (Ctrl-C) instead of raising it, and yield a function that returns whether it came.

    A second interrupt raises KeyboardInterrupt as usual. Only for the main thread.
    """
    interrupted = threading.Event()

    def handle(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def table(console: Console, title: str, columns: tuple[str, ...]) -> Table:
    """Return an empty table for a console, without rules if it is not a terminal. Only the first column is
    left-aligned.
    """
    from rich import box
    from rich.table import Table

    plain = not console.is_terminal
    made = Table(title=title, title_justify="left", caption_justify="left", pad_edge=not plain)
    made.box = None if plain else box.SIMPLE_HEAD
    made.add_column(columns[0], no_wrap=True)
    for each in columns[1:]:
        made.add_column(each, justify="right")
    return made
