"""HeavyHitter: reports the items with large amounts in a window, once each."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import bits, concat, hash_, sat_add
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within

__all__ = ["HeavyHitter"]


class HeavyHitter(Primitive):
    """Raise an alert when an item's amounts in one window reach `above`: once for each item and window, unless
    heavy items share a slot.

    Parameters:
        above: the smallest amount of a heavy item, in the unit of the packets' amounts (1 to 2**32 - 1)
        window: packets in a window, after which the counters restart (1 to 2**31 - 1)
        rows: how many hashes, each with a row of counters of its own (1 to 16)
        columns: counters in a row (1 to 2**20)
        slots: entries that store which items have been reported (1 to 2**20)
        item_bits: the width of an item (8 to 128)

    Every packet is forwarded. The packet that makes an item heavy raises the alert (item, estimate).

    No heavy item of a window is missed. An item that is not heavy may be reported because its estimate is too high: it
    exceeds the true amount by more than e / columns of the window's amounts with a probability of at most e**-rows. At
    most (amounts / above) items are heavy. Heavy items that share one of the `slots` may be reported several times.

    Counters saturate at 2**32 - 1, which is heavy for every threshold. Windows are numbered from 1 in 32 bits. After
    2**32 windows, a counter that has not changed since the window with the same number continues from its old value.

    Follows the Count-Min sketch (Cormode and Muthukrishnan, Journal of Algorithms 2005) with a threshold. Different
    here: a counter contains the number of its window and restarts in a newer one, so that it need not be cleared.
    State: `rows` arrays of `columns` counters of 64 bits, and `slots` entries of 32 bits and an item.

    >>> elephants = HeavyHitter("elephants", above=1000, window=100).reference()
    >>> def send(item, amount):
    ...     return elephants.process(Message(REQUEST, "elephants", 0, {"item": item, "amount": amount})).alerts
    >>> [send(item, amount) for item, amount in ((7, 600), (8, 999), (7, 400), (7, 400))]
    [(), (), ((7, 1000),), ()]
    """

    FAMILY = "detection"
    PAPER = "Cormode and Muthukrishnan, Journal of Algorithms 2005"
    OVERFLOW = "counters saturate at 2**32 - 1, which is heavy for every threshold"

    above: int
    window: int
    rows: int = 3
    columns: int = 4096
    slots: int = 1024
    item_bits: int = 64

    class Wire(Header):
        """A packet of an item, with the amount to add to it: for example 1 to count packets, or the packet's bytes."""

        item = bit["item_bits"]
        amount = bit[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "above", 1, 2**32 - 1)
        within(self, "window", 1, 2**31 - 1)
        within(self, "rows", 1, 16)
        within(self, "columns", 1, 2**20)
        within(self, "slots", 1, 2**20)
        within(self, "item_bits", 8, 128)

    def setup(self) -> None:
        """Create the window's number and packet count, the rows of counters, and the slots of reported items."""
        self.clock = Register(bit[64], 1, initial=1 << 32)
        self.counts = Register(bit[64], self.columns, lanes=self.rows)
        self.told = Register(bit[32 + self.item_bits], self.slots)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Add the amount to the item's counter in every row, and forward the packet.

        Raise an alert if the smallest of these counters reaches `above` and the item was not reported in this window.
        """
        clock = self.clock.update(
            0,
            lambda old: old + 1 if bits(old, 31, 0) + 1 < self.window else concat(bits(old, 63, 32) + 1, bit[32](0)),
        )
        window = bits(clock, 63, 32)
        estimate = bit[32](0xFFFFFFFF)
        for row in range(self.rows):
            column = hash_(wire.item, seed=row, range=self.columns)
            count = self.counts[row].update_fetch(
                column,
                lambda old: concat(
                    window, sat_add(bits(old, 31, 0), wire.amount) if bits(old, 63, 32) == window else wire.amount
                ),
            )
            estimate = min(estimate, bits(count, 31, 0))
        if estimate >= self.above:
            mark = concat(window, wire.item)
            before = self.told.update(hash_(wire.item, seed=self.rows, range=self.slots), lambda _: mark)
            if before != mark:
                packet.alert(wire.item, estimate)
        packet.forward()
