"""The tree of switches in which workers' paths to a server meet, and the numbering of contributors in it."""

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
    """A switch of the tree. The first `hosts` of its `children` are hosts, and the others are switches.

    The hosts are numbered from `base` and the switches from `first`; without hosts, `base` equals `first`. `rank` is
    the number of this switch as a contributor to the switch above it, or -1 for the topmost switch.
    """

    switch: str
    children: tuple[str, ...]
    hosts: int
    base: int
    first: int
    rank: int

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of an `Aggregate` at this place in the tree."""
        mixed = 0 < self.hosts < len(self.children)
        return {
            "workers": len(self.children),
            "base": self.base,
            "rank": self.rank,
            "switches": len(self.children) - self.hosts if mixed else 0,
            "first": self.first if mixed else 0,
        }


def branches(graph: Graph, workers: Sequence[str], server: str) -> dict[str, Branch]:
    """Return the switches of the tree of the workers' paths to the server, the topmost first.

    Workers are numbered from 0 in the given order, in which those on one switch must be consecutive, and switches after
    them. The topmost switch is the first that all paths pass. MidflightError if the paths form no tree, or if it has
    more than 256 workers and switches.
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
    ways = []
    for each in workers:
        path = graph.path(each, server)
        if path is None:
            raise MidflightError(f"there is no path from {each} to {server}")
        ways.append(path.nodes[:-1])
    top = next((node for node in ways[0][1:] if all(node in way for way in ways)), None)
    if top is None:
        raise MidflightError(f"the paths of the workers to {server} have no switch in common")
    children: dict[str, dict[str, None]] = {}
    for way in ways:
        for near, far in pairwise(way[: way.index(top) + 1]):
            children.setdefault(far, {})[near] = None
    return {switch: list(those) for switch, those in children.items()}, top
