"""Pruning of SELECT DISTINCT customer ... WHERE price < LIMIT."""

from __future__ import annotations

from midflight.primitives import *


class Prune(Primitive):
    """Drop rows that the query does not need."""

    rows: int = 256
    below: int = 500

    class Wire(Header):
        """A row of a table, or the end of the rows."""

        kind = bit[8]
        customer = bit[32]
        price = bit[32]
        left = bit[32]

    def setup(self) -> None:
        """Create the cache and the count."""
        self.count = Register(bit[32], 1)
        # TODO: the cache.

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Drop or forward a message."""
        packet.forward()
        # TODO: the condition, the cache and the count.


program = Program(Prune("prune"))
