"""The live view of `midflight steer`: a table of the policies that fills while seeds are simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from midflight.testbed.steer.figures import Figures

__all__ = ["Standings", "live_view"]


class Standings:
    """The figures that have arrived so far, by policy, of `seeds` seeds each."""

    def __init__(self, policies: Sequence[str], seeds: int) -> None:
        self._seeds = seeds
        self._found: dict[str, list[Figures]] = {each: [] for each in policies}

    def add(self, policy: str, figures: Figures) -> None:
        """Add the figures of a policy with one more seed."""
        self._found[policy].append(figures)

    def table(self, console: Console) -> Table:
        """Return the table for a console: seeds done, and the means of p99 and of the part that missed its objective.

        The policy with the smallest p99 so far is marked.
        """
        from midflight.cli.terminal import table

        done = sum(map(len, self._found.values()))
        made = table(
            console, f"Simulated {done} of {self._seeds * len(self._found)}", ("policy", "seeds", "p99", "missed")
        )
        tails = {name: fmean(each.p99_us for each in those) for name, those in self._found.items() if those}
        best = min(tails.values(), default=0.0)
        for name, those in self._found.items():
            if not those:
                made.add_row(name, f"0/{self._seeds}", "", "")
                continue
            missed = sum(each.slo_misses for each in those) / max(1, sum(each.requests for each in those))
            style = "bold green" if tails[name] == best else ""
            row = f"{len(those)}/{self._seeds}", f"{tails[name] / 1e3:,.2f} ms", f"{missed:.2%}"
            made.add_row(name, *row, style=style)
        return made


@contextmanager
def live_view(console: Console, policies: Sequence[str], seeds: int) -> Iterator[Callable[[str, Figures], None]]:
    """Show a table of the policies while the context is active, and yield a function that adds figures to it.

    The function receives the policy and its figures with one more seed. Nothing is shown if the console is not a
    terminal.
    """
    from rich.live import Live

    standings = Standings(policies, seeds)
    if not console.is_terminal:
        yield standings.add
        return
    with Live(standings.table(console), console=console, auto_refresh=False, transient=True) as live:

        def add(policy: str, figures: Figures) -> None:
            standings.add(policy, figures)
            live.update(standings.table(console), refresh=True)

        yield add
