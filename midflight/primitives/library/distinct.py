"""Distinct: rows that have been seen lately are dropped, so that fewer duplicates reach the server."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import concat, hash_
from midflight.primitives.language import Packet, Register, bit, within
from midflight.primitives.library.pruning import Pruning

__all__ = ["Distinct"]


class Distinct(Pruning):
    """Prune rows whose item is in the cache; what is left has the same set of different items.

    Parameters:
        rows: how many rows the cache has; a hash of the item chooses one (1 to 2**20)
        columns: how many items a row holds, those that came last (1 to 16)
        item_bits: the width of an item (8 to 128)
        fingerprint: bits of a hash that are kept for an item (8 to 32), or 0 to keep the item itself
        pruned: what becomes of a duplicate, and the contract with the hosts: see `Pruning`

    With whole items, each different item's first row is always forwarded. With fingerprints an item that is new is
    taken for a duplicate, and may be lost, with a probability of at most columns * max(2**-fingerprint, rows * 2**-32):
    its fingerprint is one of those in its row. Duplicates that are not in the cache any more pass, and the server
    drops them. Nothing is computed that could overflow.

    Follows DISTINCT in Cheetah (SIGMOD 2020): a matrix, each of whose rows is a cache that forgets what was used least
    recently. A new item goes into the first column, what was there into the second, and so on to the column where
    the item was found or the last; so each is accessed once. Asks for `columns` arrays of `rows` items with a bit each.

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
        """A row, as far as it must differ from others."""

        item = bit["item_bits"]

    def validate(self) -> None:
        """Check the limits."""
        super().validate()
        within(self, "rows", 1, 2**20)
        within(self, "columns", 1, 16)
        within(self, "item_bits", 8, 128)
        if self.fingerprint != 0 and not 8 <= self.fingerprint <= 32:
            raise KernelError(f"{self.title}: fingerprint must be 0 or 8 to 32, not {self.fingerprint}")

    def setup(self) -> None:
        """The cache: a bit that tells that there is something, and what it is."""
        self.cache = Register(bit[1 + (self.fingerprint or self.item_bits)], self.rows, lanes=self.columns)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Put the item in front, and each one before it a column further back, until it is found."""
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
