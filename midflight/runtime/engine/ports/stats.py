"""Packet counters of the embedded switch's ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PortStats", "TrafficStats"]


@dataclass(frozen=True, slots=True)
class PortStats:
    """The counters of one port: received, sent, and dropped by reason.

    `overrun`: arrived faster than they were processed. `oversize`: larger than the interface's MTU. `offload`:
    unsegmented TSO/GSO packets. `unsent`: rejected by the interface. `truncated`: incomplete in their capture file.
    `faults` counts how often the interface went down.
    """

    received: int
    sent: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0


@dataclass(frozen=True, slots=True)
class TrafficStats:
    """The counters of all ports by number (`ports`), and of packets dropped between them by reason (`other`).

    `packets_in` and `packets_out` count the switch's packet-ins and packet-outs, and `lost` messages that not every
    controller received, by reason.

    `dropped` counts by reason: those of the ports; those of the engine (`ingress` and `egress` for drops by the
    program); `no port` for packets to an unknown port; `no program` for packets that arrived before there was one;
    `packet-in` for packets to the CPU port that the control plane did not fetch in time.

    `together` is how many packets all ports received and sent, where they are not counted by port; otherwise None.
    """

    ports: Mapping[int, PortStats]
    other: Mapping[str, int]
    packets_in: int = 0
    packets_out: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    together: tuple[int, int] | None = None

    @property
    def received(self) -> int:
        """The number of packets that arrived at any port."""
        if self.together is not None:
            return self.together[0]
        return sum(each.received for each in self.ports.values())

    @property
    def sent(self) -> int:
        """The number of packets sent by any port."""
        if self.together is not None:
            return self.together[1]
        return sum(each.sent for each in self.ports.values())

    @property
    def dropped(self) -> Mapping[str, int]:
        """The number of dropped packets by reason, over all ports, without reasons that did not occur."""
        total = Counter(self.other)
        for each in self.ports.values():
            total.update(each.dropped)
        return {reason: count for reason, count in total.items() if count}
