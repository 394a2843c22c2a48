"""What ports have seen, in packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PortStats", "TrafficStats"]


@dataclass(frozen=True, slots=True)
class PortStats:
    """One port: what arrived, what was sent, and by reason what was lost of either.

    `overrun`: arrived faster than it was taken. `oversize`: longer than the interface's MTU. `offload`: segments that
    the sending host has left to its interface to cut. `unsent`: not taken by the interface. `truncated`: not whole in
    the file it came from. `faults` counts the times that the interface went down.
    """

    received: int
    sent: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0


@dataclass(frozen=True, slots=True)
class TrafficStats:
    """All ports together, and what was lost between them.

    `dropped` counts by reason: those of the ports; those of the engine (`ingress` and `egress` for the program's own
    doing); `no port` for packets to a port that there is not, `no program` for packets that came before there was one,
    `packet-in` for packets to the CPU port that the control plane did not take in time. `lost` counts by reason the
    packet-ins and digests that no controller was told of, as `Switch.lost` does.
    """

    ports: Mapping[int, PortStats]
    other: Mapping[str, int]
    packets_in: int = 0
    packets_out: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def received(self) -> int:
        """Packets that arrived at a port."""
        return sum(each.received for each in self.ports.values())

    @property
    def sent(self) -> int:
        """Packets that left by a port."""
        return sum(each.sent for each in self.ports.values())

    @property
    def dropped(self) -> Mapping[str, int]:
        """Packets lost, by reason; reasons without any are left out."""
        total = Counter(self.other)
        for each in self.ports.values():
            total.update(each.dropped)
        return {reason: count for reason, count in total.items() if count}
