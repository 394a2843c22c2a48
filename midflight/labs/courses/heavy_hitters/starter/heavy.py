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
        # TODO: three rows of counters.
        self.row = Register(bit[32], self.width)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count a packet."""
        # TODO: add the size in each row, and take the minimum.
        packet.forward()


program = Program(HeavyHitters("heavy"))
