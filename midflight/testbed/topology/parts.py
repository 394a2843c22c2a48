"""The parts of topologies besides nodes: ports, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.testbed.topology.quality import LinkQuality

__all__ = ["Link", "Port"]


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a node. A host has only port 0; the ports of a switch have the numbers that its program sees."""

    node: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.node}:{self.number}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two ports."""

    one: Port
    other: Port
    quality: LinkQuality = field(default_factory=LinkQuality)

    def __str__(self) -> str:
        return f"{self.one.node} - {self.other.node}"

    @property
    def ends(self) -> tuple[Port, Port]:
        """The two ports."""
        return self.one, self.other
