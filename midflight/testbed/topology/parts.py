"""The parts of topologies besides nodes: ports, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.testbed.topology.quality import LinkQuality

__all__ = ["Link", "Port"]


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a host or switch, `node`. A host has only port 0; a switch's ports have the numbers that its program
    sees.
    """

    node: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.node}:{self.number}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link between ports `one` and `other`, with the same `quality` in both directions."""

    one: Port
    other: Port
    quality: LinkQuality = field(default_factory=LinkQuality)

    def __str__(self) -> str:
        return f"{self.one.node} - {self.other.node}"

    @property
    def ends(self) -> tuple[Port, Port]:
        """The two ports of the link: `one` and `other`."""
        return self.one, self.other
