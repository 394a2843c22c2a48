"""Printing of lines from a background thread as they arrive, for traces and alerts."""

from __future__ import annotations

import threading
from collections.abc import Callable

import click

__all__ = ["Follower"]

_PAUSE = 0.2  # seconds between two calls of `take`


class Follower:
    """Calls `take` every 0.2 s in a thread, and prints the texts that it returns, until it is closed.

    `name` is printed before every line. The thread starts at once.
    """

    def __init__(self, take: Callable[[], list[str]], name: str = "") -> None:
        self._take = take
        self._name = f"{name} " if name else ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"following {name}", daemon=True)
        self._thread.start()

    def close(self, rest: Callable[[], list[str]]) -> None:
        """Stop the thread, call `rest` once, and print the texts that it returns."""
        self._end.set()
        self._thread.join()
        self._print(rest())

    def _follow(self) -> None:
        while not self._end.wait(_PAUSE):
            self._print(self._take())

    def _print(self, texts: list[str]) -> None:
        lines = [f"{self._name}{line}" for text in texts for line in text.splitlines()]
        if lines:
            click.echo("\n".join(lines))
