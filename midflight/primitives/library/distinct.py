"""Distinct: drops rows that were seen recently, so that fewer duplicates reach the server."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import concat, hash_
from midflight.primitives.language import Packet, Register, bit, within
from midflight.primitives.library.pruning import Pruning

__all__ = ["Distinct"]


class Distinct(Pruning):
    """Prune rows whose item is in the cache; the remaining rows have the same set of distinct items.

    Parameters:
        rows: how many rows the cache has; a hash of the item chooses one (1 to 2**20)
        columns: how many of the latest items a row holds (1 to 16)
        item_bits: the width of an item (8 to 128)
        fingerprint: bits of a hash to store instead of an item (8 to 32), or 0 to store the item itself
        pruned: what happens to a duplicate: `drop`, or `reply` with bit 1 of `flags` set. A row with bit 0 of `flags`
            set is a retransmission, which is always forwarded: see `Pruning`

    With whole items, the first row of each item is always forwarded. With fingerprints, a new item is mistaken for a
    duplicate, and may be lost, with a probability of at most columns * max(2**-fingerprint, rows * 2**-32). Duplicates
    that are no longer in the cache pass, and the server drops them. Nothing can overflow.

    Follows DISTINCT in Cheetah (SIGMOD 2020): a matrix whose rows are LRU caches. A new item moves to the first column,
    the previous one there to the second, and so on, up to the column of the item or the last one. Each column is
    accessed once. State: `columns` arrays of `rows` items with one extra bit each.

    >>> users = Distinct("users", rows=64, columns=2).reference()
    >>> def send(item):
    ...     return users.process(Message(REQUEST, "users", 0, {"flags": 0, "item": item})).verdict.name
    >>> [send(item) for item in (7, 8, 7, 7, 9)]
    ['FORWARD', 'FORWARD', 'DROP', 'DROP', 'FORWARD']
    """

    FAMILY = "reduction"
    PAPER = "Cheetah: Tirmazi et al., SIGMOD 2020"
    OVERFLOW = "nothing is summed"

    rows: int = 4096
    columns: int = 2
    item_bits: int = 64
    fingerprint: int = 0

    class Wire(Pruning.Wire):
        """A row of the query's input: `item` is the part by which rows are compared."""

        item = bit["item_bits"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        super().validate()
        within(self, "rows", 1, 2**20)
        within(self, "columns", 1, 16)
        within(self, "item_bits", 8, 128)
        if self.fingerprint != 0 and not 8 <= self.fingerprint <= 32:
            raise KernelError(f"{self.title}: fingerprint must be 0 or 8 to 32, not {self.fingerprint}")

    def setup(self) -> None:
        """Create the cache: `columns` arrays of `rows` items or fingerprints, each below a valid bit."""
        self.cache = Register(bit[1 + (self.fingerprint or self.item_bits)], self.rows, lanes=self.columns)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Prune a row whose item is in the cache, and forward others.

        The item moves to the first column of its cache row. The items before it move back by one column.
        Retransmissions (bit 0 of `flags`) are forwarded and change nothing.
        """
        if wire.flags & 1 == 1:
            packet.forward()
            return
        if self.fingerprint == 0:
            mark = concat(bit[1](1), wire.item)
        else:
            mark = concat(bit[1](1), bit[self.fingerprint](hash_(wire.item, seed=1)))
        row = hash_(wire.item, range=self.rows)
        moved = mark
        found = False
        for column in range(self.columns):
            before = self.cache[column].update(row, lambda old: old if found else moved)
            found = found or before == mark
            moved = before
        if not found:
            packet.forward()
        else:
            self.prune(packet, wire)
