"""A path selector for one service."""

from __future__ import annotations


class Selector:
    """Chooses the instance of each flow."""

    def __init__(self, stale: int, margin: float) -> None:
        self.stale = stale
        self.margin = margin

    def report(
        self, now: int, instance: str, measured: int, network: float, compute: float, load: float, draining: bool
    ) -> None:
        """Accept a report of an instance."""
        # TODO: keep the latest one.

    def choose(self, now: int, flow: int) -> str | None:
        """Return the instance for a packet of a flow."""
        # TODO: the rules of the README.
        return None
