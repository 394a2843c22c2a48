"""A network's shape: which nodes there are and what connects them."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.errors import MidflightError
from midflight.testbed.sim.link import LinkQuality

__all__ = ["Cable", "Port", "Topology", "star"]


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a node. A host has port 0 only; a switch's ports have the numbers that its program sees."""

    node: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Cable:
    """A link between two ports."""

    one: Port
    other: Port
    quality: LinkQuality = field(default_factory=LinkQuality)


@dataclass(frozen=True, slots=True)
class Topology:
    """Hosts, switches and the links between them. Node names are unique."""

    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    cables: tuple[Cable, ...]

    def __post_init__(self) -> None:
        names = [*self.hosts, *self.switches]
        if len(set(names)) != len(names):
            raise MidflightError("two nodes of the topology have the same name")
        taken: set[Port] = set()
        for port in (end for cable in self.cables for end in (cable.one, cable.other)):
            if port.node not in names:
                raise MidflightError(f"a link ends in {port.node}, which is no node of the topology")
            if port in taken:
                raise MidflightError(f"two links end in port {port.number} of {port.node}")
            taken.add(port)


def star(hosts: int, quality: LinkQuality | None = None) -> Topology:
    """Return hosts `h1`, `h2`, ... around one switch `s1`, host n on port n."""
    if not 1 <= hosts <= 500:
        raise MidflightError(f"a star has 1 to 500 hosts, not {hosts}")
    quality = quality or LinkQuality()
    names = tuple(f"h{number}" for number in range(1, hosts + 1))
    cables = tuple(Cable(Port(name), Port("s1", number), quality) for number, name in enumerate(names, 1))
    return Topology(names, ("s1",), cables)
