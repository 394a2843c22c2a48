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
        self.first = Register(bit[32], self.rows)
        self.second = Register(bit[32], self.rows)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Drop or forward a message."""
        packet.forward()
        kept = wire.kind == 1 and wire.price < self.below
        if kept:
            index = hash_(wire.customer, range=self.rows)
            old = self.first.update(index, lambda _: wire.customer)
            if old == wire.customer:
                kept = False
            else:
                older = self.second.update(index, lambda _: old)
                if older == wire.customer:
                    kept = False
        if kept or wire.kind == 2:
            counted = self.count.update(0, lambda old: 0 if wire.kind == 2 else old + 1)
            if wire.kind == 2:
                wire.left = counted
        elif wire.kind == 1:
            packet.drop()


program = Program(Prune("prune"))
