"""Telemetry: each switch on a packet's path writes its number, ports, queue and times into the packet."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.primitives.kernel.arithmetic import sat_add
from midflight.primitives.language import Header, Map, Packet, Primitive, bit, within

__all__ = ["Telemetry"]

STAMPS: Mapping[str, str] = {
    "inlet": "ingress_port",
    "outlet": "egress_port",
    "depth": "queue_depth",
    "delay": "queue_delay",
    "arrival": "ingress_time",
    "departure": "egress_time",
}


class Telemetry(Primitive):
    """Record the path of each packet in it: every switch stamps its number, ports, queue depth, delay and times.

    Parameters:
        hops: how many switches have room in the packet (1 to 32)
        metadata: whether switches stamp what they measure, besides their number; False for switches without queues

    `count` is the number of switches that have seen the packet, also those beyond `hops`, which find no room; it
    saturates at 255. The sender reserves the room and sends zeros, so the packet's length never changes. Every packet
    is forwarded.

    The controller gives each switch its number: `net.map("path", "identity", "s1")[0] = 1`. The other stamps come from
    the switch when the packet leaves. `inlet` and `outlet` are its ports, `depth` the packets in the queue that it left
    behind, `delay` its time in the queue, `arrival` and `departure` the switch's clock at both ends of it, all in
    microseconds. Differences of times of one switch need no synchronised clocks.

    Follows in-band network telemetry, INT-MD (P4.org Applications Working Group, INT 2.1). Different here: room that
    the sender reserves, and a fixed set of metadata. State: none; one entry of a map. The reference leaves what only
    switches measure.

    >>> path = Telemetry("path", hops=2).reference()
    >>> path.map("identity")[0] = 7
    >>> zeros = {"switch": [0, 0], "inlet": [0, 0], "outlet": [0, 0], "depth": [0, 0], "delay": [0, 0]}
    >>> fields = {"count": 1, **zeros, "arrival": [0, 0], "departure": [0, 0]}
    >>> outcome = path.process(Message(REQUEST, "path", 0, fields))
    >>> outcome.message.fields["count"], [int(each) for each in outcome.message.fields["switch"]]
    (2, [0, 7])
    """

    FAMILY = "steering"
    PAPER = "In-band Network Telemetry 2.1, P4.org 2020"
    OVERFLOW = "`count` saturates at 255"

    hops: int = 6
    metadata: bool = True

    class Wire(Header):
        """A packet that records its path: the number of switches that it has passed, and the stamps of the first ones.

        Times are in microseconds, `depth` in packets.
        """

        count = bit[8]
        switch = bit[32].array("hops")
        inlet = bit[16].array("hops")
        outlet = bit[16].array("hops")
        depth = bit[32].array("hops")
        delay = bit[32].array("hops")
        arrival = bit[48].array("hops")
        departure = bit[48].array("hops")

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "hops", 1, 32)

    def setup(self) -> None:
        """Create the map whose only key, 0, has the switch's number."""
        self.identity = Map(bit[8], bit[32], size=1)

    def stamps(self) -> tuple[str, Mapping[str, str]] | None:
        """Return the fields that the switch fills in when a packet leaves; None without `metadata`."""
        return ("count", STAMPS) if self.metadata else None

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Stamp the switch's number at the packet's next hop, if there is room, and count the hop."""
        number = self.identity.get(bit[8](0), 0)
        for hop in range(self.hops):
            if wire.count == hop:
                wire.switch[hop] = number
        wire.count = sat_add(wire.count, 1)
        packet.forward()
