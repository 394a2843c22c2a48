"""CountMin: a Count-Min sketch, which estimates the amounts of many items in a small table."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import hash_, sat_add
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within

__all__ = ["CountMin"]


class CountMin(Primitive):
    """Add up the amounts of each item, and answer with an estimate of an item's total.

    Parameters:
        rows: how many hashes, each with a row of counters of its own (1 to 16)
        columns: counters in a row (1 to 2**24)
        width: bits of an amount, a counter and an estimate (8 to 64)
        item_bits: the width of an item (8 to 128)

    `operation` is `CountMin.QUERY` (0), which the switch replies to, or `CountMin.UPDATE` (1), which it forwards;
    others are dropped. Both get the item's `estimate` and the `total` of all amounts so far. The unit of amounts is the
    user's, for example packets or bytes.

    An estimate is never below the item's true amount. It exceeds it by more than e / columns * total with a probability
    of at most e**-rows. `midflight.primitives.estimators.count_min` computes bounds, sizes and estimates from the
    counters of one switch, or the sums of those of several.

    Counters saturate at 2**width - 1. Then bit 0 of `flags` is set, and the estimate may be below the true amount. The
    total saturates at 2**64 - 1. A repeated update counts again.

    Follows Cormode and Muthukrishnan (Journal of Algorithms, 2005). Different here: amounts are not negative, and there
    is no conservative update. That would read all rows before it writes to one, but a switch accesses an array once per
    packet. State: `rows` arrays of `columns` counters, and the total.

    >>> traffic = CountMin("traffic", rows=3, columns=64).reference()
    >>> def ask(operation, item, amount=0):
    ...     fields = {"operation": operation, "flags": 0, "item": item, "amount": amount, "estimate": 0, "total": 0}
    ...     return traffic.process(Message(REQUEST, "traffic", 0, fields)).message.fields
    >>> [ask(CountMin.UPDATE, item, amount)["estimate"] for item, amount in ((7, 100), (8, 5), (7, 20))]
    [100, 5, 120]
    >>> answer = ask(CountMin.QUERY, 7)
    >>> answer["estimate"], answer["total"]
    (120, 125)
    """

    FAMILY = "detection"
    PAPER = "Cormode and Muthukrishnan, Journal of Algorithms 2005"
    OVERFLOW = "counters saturate at 2**width - 1, which the answer flags"

    QUERY = 0
    UPDATE = 1

    rows: int = 3
    columns: int = 4096
    width: int = 32
    item_bits: int = 64

    class Wire(Header):
        """An update or query, and its answer: `operation` is UPDATE or QUERY, `amount` what an update adds to the item.

        `estimate`, `total` and `flags` are the switch's answer.
        """

        operation = bit[8]
        flags = bit[8]
        item = bit["item_bits"]
        amount = bit["width"]
        estimate = bit["width"]
        total = bit[64]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "rows", 1, 16)
        within(self, "columns", 1, 2**24)
        within(self, "width", 8, 64)
        within(self, "item_bits", 8, 128)

    def setup(self) -> None:
        """Create `rows` rows of `columns` counters, and the sum of all amounts."""
        self.counts = Register(bit[self.width], self.columns, lanes=self.rows)
        self.total = Register(bit[64], 1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Add an update's amount to the item's counter in every row; write the smallest of them as the estimate.

        Reply to a query, forward an update, drop other operations.
        """
        amount = wire.amount if wire.operation == self.UPDATE else bit[self.width](0)
        estimate = bit[self.width](2**self.width - 1)
        for row in range(self.rows):
            column = hash_(wire.item, seed=row, range=self.columns)
            estimate = min(estimate, self.counts[row].update_fetch(column, lambda old: sat_add(old, amount)))
        wire.estimate = estimate
        wire.total = self.total.update_fetch(0, lambda old: sat_add(old, bit[64](amount)))
        wire.flags = bit[8](estimate == 2**self.width - 1)
        if wire.operation == self.QUERY:
            packet.reply()
        elif wire.operation > self.UPDATE:
            packet.drop()
