"""HeavyHitter: the items that have more than their share of a window, told once each."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import bits, concat, hash_, sat_add
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within

__all__ = ["HeavyHitter"]


class HeavyHitter(Primitive):
    """Raise an alert when an item's amounts in one window reach `above`: once for each item and window.

    Parameters:
        above: the amount from which on an item is heavy, in the unit of the packets' amounts (1 to 2**32 - 1)
        window: packets in a window, after which counting begins anew (1 to 2**31 - 1)
        rows: how many hashes, each with a row of counters of its own (1 to 16)
        columns: counters in a row (1 to 2**20)
        slots: places in which an item is remembered as told (1 to 2**20)
        item_bits: the width of an item (8 to 128)

    Every packet is forwarded. The alert tells (item, estimate), by the packet that makes the item heavy.

    No heavy item of a window is missed. An item is told by mistake when it only seems heavy: each item is estimated
    too high by more than e / columns of the window's amounts with a probability of at most e**-rows. At most
    (amounts / above) items are heavy; where two that are fall into one of the `slots`, they may be told several times.

    Counters stop at 2**32 - 1, which is heavy in any case. Windows are numbered from 1 in 32 bits; when they have all
    been used, a counter that has not been touched since the same number before counts on from there.

    Follows the Count-Min sketch (Cormode and Muthukrishnan, Journal of Algorithms 2005) with a threshold. Different
    here: a counter carries the number of its window and begins anew when it finds itself in a newer one, so that
    nobody has to clear it. Asks for `rows` arrays of `columns` counters of 64 bits, and `slots` of 32 bits and an item.

    >>> elephants = HeavyHitter("elephants", above=1000, window=100).reference()
    >>> def send(item, amount):
    ...     return elephants.process(Message(REQUEST, "elephants", 0, {"item": item, "amount": amount})).alerts
    >>> [send(item, amount) for item, amount in ((7, 600), (8, 999), (7, 400), (7, 400))]
    [(), (), ((7, 1000),), ()]
    """

    FAMILY = "detection"
    PAPER = "Cormode and Muthukrishnan, Journal of Algorithms 2005"
    OVERFLOW = "counters saturate at 2**32 - 1, which is heavy in any case"

    above: int
    window: int
    rows: int = 3
    columns: int = 4096
    slots: int = 1024
    item_bits: int = 64

    class Wire(Header):
        """A packet of an item: 1 for each, or its bytes."""

        item = bit["item_bits"]
        amount = bit[32]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "above", 1, 2**32 - 1)
        within(self, "window", 1, 2**31 - 1)
        within(self, "rows", 1, 16)
        within(self, "columns", 1, 2**20)
        within(self, "slots", 1, 2**20)
        within(self, "item_bits", 8, 128)

    def setup(self) -> None:
        """The window's number with the packets in it, with the amounts of each counter, with the items told."""
        self.clock = Register(bit[64], 1, initial=1 << 32)
        self.counts = Register(bit[64], self.columns, lanes=self.rows)
        self.told = Register(bit[32 + self.item_bits], self.slots)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count in every row, and tell the item when even the least of its counters is heavy."""
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
