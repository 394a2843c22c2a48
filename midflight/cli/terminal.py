"""What people see and do while a command works: a bar on a terminal, nothing in a file or a pipe; Ctrl-C."""

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
    """Return the console to talk on: standard output, or standard error where that belongs to JSON (`-`)."""
    from rich.console import Console

    return Console(stderr=json_to == "-", highlight=False)


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar; yields what is to be told of progress: how many are done, of how many, in words."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def tell(done: int, total: int, doing: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{what} {doing}")

        yield tell


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Let an interrupt (Ctrl-C) break nothing off: yields what tells whether there was one. A second one breaks off."""
    came = threading.Event()

    def note(*_: object) -> None:
        came.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def table(console: Console, title: str, columns: tuple[str, ...]) -> Table:
    """Return a table for a console, without rules where it is not a terminal; the first column is of names."""
    from rich import box
    from rich.table import Table

    plain = not console.is_terminal
    made = Table(title=title, title_justify="left", caption_justify="left", pad_edge=not plain)
    made.box = None if plain else box.SIMPLE_HEAD
    made.add_column(columns[0], no_wrap=True)
    for each in columns[1:]:
        made.add_column(each, justify="right")
    return made
