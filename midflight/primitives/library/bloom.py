"""Bloom: a Bloom filter, a set of items in a few bits each without false negatives."""

from __future__ import annotations

from midflight.primitives.estimators.bloom import false_positives
from midflight.primitives.kernel.arithmetic import sat_add
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within
from midflight.primitives.library.membership import remember

__all__ = ["Bloom"]


class Bloom(Primitive):
    """Insert items into a set, and answer whether an item is in it.

    Parameters:
        rows: how many hashes, each with a row of bits of its own (1 to 16)
        columns: bits in a row (1 to 2**24)
        capacity: how many items the filter is meant for (1 to 2**32 - 2)
        item_bits: the width of an item (8 to 128)

    `operation` is `Bloom.QUERY` (0) or `Bloom.INSERT` (1); others are dropped. Bit 0 of the answer's `flags` is set if
    the item was in the set before, and bit 1 if there are more than `capacity` items. Inserting is idempotent, so a
    host repeats a request until it has the answer.

    An inserted item is always found. Another item is found with probability (1 - (1 - 1/columns)**n)**rows if n items
    are in the set, which `false_positives` computes; it keeps growing beyond `capacity`. Items that change no bit are
    not counted. The count saturates at 2**32 - 1. Items can be removed only by clearing the registers.

    Follows Bloom (CACM 1970). Different here: each hash has its own row, as a switch accesses an array once per packet.
    With the same number of bits, false positives are slightly more frequent. State: `rows` arrays of `columns` bits and
    one counter of 32 bits.

    >>> seen = Bloom("seen", rows=3, columns=1024, capacity=100).reference()
    >>> def ask(operation, item):
    ...     fields = {"operation": operation, "flags": 0, "item": item}
    ...     return seen.process(Message(REQUEST, "seen", 0, fields)).message.fields["flags"]
    >>> ask(Bloom.QUERY, 42), ask(Bloom.INSERT, 42), ask(Bloom.QUERY, 42), ask(Bloom.QUERY, 43)
    (0, 0, 1, 0)
    """

    FAMILY = "detection"
    PAPER = "Bloom, Communications of the ACM 1970"
    OVERFLOW = "the count saturates at 2**32 - 1; answers flag more than `capacity` items"

    QUERY = 0
    INSERT = 1

    rows: int = 3
    columns: int = 8192
    capacity: int = 1024
    item_bits: int = 64

    class Wire(Header):
        """A request and its answer: `operation` is QUERY or INSERT, `flags` the answer's bits, `item` the item."""

        operation = bit[8]
        flags = bit[8]
        item = bit["item_bits"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "rows", 1, 16)
        within(self, "columns", 1, 2**24)
        within(self, "capacity", 1, 2**32 - 2)
        within(self, "item_bits", 8, 128)

    def false_positives(self, items: int | None = None) -> float:
        """Return the probability (0 to 1) of finding an item by mistake after `items` insertions (None: `capacity`)."""
        return false_positives(self.rows, self.columns, self.capacity if items is None else items)

    def setup(self) -> None:
        """Create the rows of bits, and the number of insertions that have set a bit."""
        self.bits = Register(bit[1], self.columns, lanes=self.rows)
        self.items = Register(bit[32], 1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Test whether the item's bit is set in every row, set the bits for an INSERT, and reply.

        Drop other operations.
        """
        if wire.operation > self.INSERT:
            packet.drop()
            return
        inserting = wire.operation == self.INSERT
        member = remember(self.bits, self.rows, wire.item, inserting)
        items = self.items.update_fetch(0, lambda old: sat_add(old, 1) if inserting and not member else old)
        wire.flags = bit[8](member) | bit[8](items > self.capacity) << 1
        packet.reply()
