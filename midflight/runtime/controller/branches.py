"""The tree of switches in which the workers' paths to a server meet, and the numbers of its workers and switches.

`hierarchy.SummationTree` uses it to spread an `Aggregate` over several switches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from midflight.errors import MidflightError
from midflight.runtime.steering import Graph

__all__ = ["Branch", "branches"]

_NUMBERS = 256  # workers and switches together: the field in a packet has eight bits


@dataclass(frozen=True, slots=True)
class Branch:
    """A switch of a summation tree, which sums the contributions of its `children`: names of nodes nearer to the
    workers.

    The first `hosts` of the `children` are hosts, numbered from `base` on in their order; the others are switches,
    numbered from `first` on. Contributors carry these numbers in their packets. Without hosts, `base` equals `first`.
    `rank` is the number of this switch (`switch`, its name) as a contributor to the switch above it, or -1 for the
    topmost switch.
    """

    switch: str
    children: tuple[str, ...]
    hosts: int
    base: int
    first: int
    rank: int

    @property
    def parameters(self) -> dict[str, int]:
        """The values of `Aggregate`'s parameters workers, base, rank, switches and first for the one that this switch
        runs.
        """
        mixed = 0 < self.hosts < len(self.children)
        return {
            "workers": len(self.children),
            "base": self.base,
            "rank": self.rank,
            "switches": len(self.children) - self.hosts if mixed else 0,
            "first": self.first if mixed else 0,
        }


def branches(graph: Graph, workers: Sequence[str], server: str) -> dict[str, Branch]:
    """Return the switches of the tree that the workers' shortest paths to the server form, by name, the topmost first.

    Workers are numbered from 0 in the order of `workers`, in which those on one switch must be consecutive; the
    switches are numbered after them, from the top down. The topmost switch is the first that all paths pass.
    MidflightError if there are no workers, if a worker has no path to the server, if the workers on one switch are not
    consecutive, if the paths have no switch in common, or if the tree has more than 256 workers and switches together.
    """
    children, top = _children(graph, workers, server)
    numbers = {each: number for number, each in enumerate(workers)}
    found: dict[str, Branch] = {}
    level, upcoming = [top], len(workers)
    while level:
        below: list[str] = []
        for switch in level:
            hosts = [each for each in children[switch] if each in workers]
            switches = [each for each in children[switch] if each not in workers]
            hosts.sort(key=lambda each: numbers[each])
            first = upcoming
            for each in switches:
                numbers[each] = upcoming
                upcoming += 1
            base = numbers[hosts[0]] if hosts else first
            if hosts and numbers[hosts[-1]] != base + len(hosts) - 1:
                raise MidflightError(
                    f"the workers on {switch} are not consecutive", hint="name the workers switch by switch"
                )
            rank = -1 if switch == top else numbers[switch]
            found[switch] = Branch(switch, (*hosts, *switches), len(hosts), base, first, rank)
            below += switches
        level = below
    if upcoming > _NUMBERS:
        raise MidflightError(f"{len(workers)} workers and {upcoming - len(workers)} switches are too many for a tree")
    return found


def _children(graph: Graph, workers: Sequence[str], server: str) -> tuple[dict[str, list[str]], str]:
    """Return the children of each switch on the workers' paths, and the topmost switch."""
    if not workers:
        raise MidflightError("a tree of switches needs at least one worker")
    ways = []
    for each in workers:
        path = graph.path(each, server)
        if path is None:
            raise MidflightError(f"there is no path from {each} to {server}")
        ways.append(path.nodes[:-1])
    top = next((node for node in ways[0][1:] if all(node in way for way in ways)), None)
    if top is None:
        raise MidflightError(f"no switch is on the paths of all workers to {server}")
    children: dict[str, dict[str, None]] = {}
    for way in ways:
        for near, far in pairwise(way[: way.index(top) + 1]):
            children.setdefault(far, {})[near] = None
    return {switch: list(those) for switch, those in children.items()}, top
