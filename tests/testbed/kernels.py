"""Primitives for tests of the hosts' traffic."""

from __future__ import annotations

from midflight.primitives import Header, Packet, Primitive, Register, bit, int_

__all__ = ["Everything", "Latency"]


class Latency(Primitive):
    """Remember the largest value of each flow; raise an alert when a value is above a limit."""

    above: int
    flows: int = 64

    class Wire(Header):
        """A measurement."""

        flow = bit[16]
        value = bit[32]

    def setup(self) -> None:
        """Create the largest value of each flow."""
        self.held = Register(bit[32], self.flows)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Update the maximum, and raise an alert if necessary."""
        self.held.update(wire.flow, lambda old: max(old, wire.value))
        if wire.value > self.above:
            packet.alert(wire.flow, wire.value)
        packet.forward()


class Everything(Primitive):
    """Give the verdict that a field requests: forward, drop, reply, multicast or fallback, and mirror if requested."""

    class Wire(Header):
        """The requested verdict, lanes that the kernel doubles, and a signed number that raises an alert below 0."""

        verdict = bit[8]
        mirror = bit[1]
        change = int_[15]
        lanes = bit[16].array(3)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Apply the requested verdict."""
        for lane in range(3):
            wire.lanes[lane] = wire.lanes[lane] + wire.lanes[lane]
        if wire.change < 0:
            packet.alert(wire.change)
        if wire.mirror == 1:
            packet.mirror()
        if wire.verdict == 0:
            packet.forward()
        elif wire.verdict == 1:
            packet.drop()
        elif wire.verdict == 2:
            packet.reply()
        elif wire.verdict == 3:
            packet.multicast()
        else:
            packet.fallback()
