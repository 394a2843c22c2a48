"""A count-min sketch that reports heavy flows."""

from __future__ import annotations

from midflight.primitives import *


class HeavyHitters(Primitive):
    """Estimate the bytes of each flow, and report those that reach a threshold."""

    width: int = 1024
    threshold: int = 100_000

    class Wire(Header):
        """A packet of a flow."""

        flow = bit[32]
        size = bit[32]
        estimate = bit[32]

    def setup(self) -> None:
        """Create the rows."""
        self.rows = Register(bit[32], self.width, lanes=3)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count a packet."""
        size = wire.size
        least = bit[32](0xFFFFFFFF)
        for row in range(3):
            index = hash_(wire.flow, seed=row, range=self.width)
            counted = self.rows[row].update_fetch(index, lambda old: sat_add(old, size))
            least = min(least, counted)
        wire.estimate = least
        if least >= self.threshold and sat_sub(least, size) < self.threshold:
            packet.alert(wire.flow, wire.estimate)
        packet.forward()


program = Program(HeavyHitters("heavy"))
