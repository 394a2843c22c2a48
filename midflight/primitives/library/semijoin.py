"""SemiJoin: drops rows of one table whose key does not occur in the other table."""

from __future__ import annotations

from midflight.primitives.estimators.bloom import false_positives
from midflight.primitives.language import Packet, Register, bit, within
from midflight.primitives.library.membership import remember
from midflight.primitives.library.pruning import Pruning

__all__ = ["SemiJoin"]


class SemiJoin(Pruning):
    """Learn the keys of one table from its rows, then prune rows of the other table without any of these keys.

    Parameters:
        rows: how many hashes, each with a row of bits of its own (1 to 16)
        columns: bits in a row (1 to 2**24)
        item_bits: the width of a key, the `item` of a row (8 to 128)
        pruned: what happens to a row without a partner: `drop`, or `reply` with bit 1 of `flags` set. A row with bit 0
            of `flags` set is a retransmission, which is always forwarded: see `Pruning`

    `side` is `SemiJoin.BUILD` (0), whose rows are all forwarded, or `SemiJoin.PROBE` (1). Rows of other sides are
    forwarded unchanged.

    The switch forwards every probing row whose key has passed in a building row. It forwards others with the
    probability of `false_positives`, and the server drops them. A filter that is too full prunes fewer rows, in the end
    none. Building rows may be repeated.

    Pruning is correct only if the filter contains all keys. Hosts therefore probe after every building row has been
    acknowledged as built: it leaves the switch with bit 2 of `flags` set and with the `epoch` of the switch's state. A
    row that the switch did not process arrives without the bit, and is sent again. Probing rows carry that epoch. The
    switch forwards rows with another epoch, as it has lost keys.

    Follows JOIN in Cheetah (SIGMOD 2020), with a Bloom filter in rows of bits. Different here: one table prunes the
    other in one pass; pruning both takes two programs and two passes. State: `rows` arrays of `columns` bits.

    >>> orders = SemiJoin("orders", columns=1024).reference(epoch=3)
    >>> def send(side, item):
    ...     fields = {"flags": 0, "side": side, "epoch": 3, "item": item}
    ...     return orders.process(Message(REQUEST, "orders", 0, fields)).verdict.name
    >>> send(SemiJoin.BUILD, 42), send(SemiJoin.PROBE, 42), send(SemiJoin.PROBE, 43)
    ('FORWARD', 'FORWARD', 'DROP')
    """

    FAMILY = "reduction"
    PAPER = "Cheetah: Tirmazi et al., SIGMOD 2020"
    OVERFLOW = "nothing is summed"

    BUILD = 0
    PROBE = 1

    rows: int = 3
    columns: int = 65536
    item_bits: int = 64

    class Wire(Pruning.Wire):
        """A row: `side` is BUILD or PROBE, `item` the key, `epoch` that of the switch's state when keys were built."""

        side = bit[8]
        epoch = bit[16]
        item = bit["item_bits"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        super().validate()
        within(self, "rows", 1, 16)
        within(self, "columns", 1, 2**24)
        within(self, "item_bits", 8, 128)

    def false_positives(self, items: int) -> float:
        """Return the expected fraction (0 to 1) of rows without a partner that pass, after `items` different keys."""
        return false_positives(self.rows, self.columns, items)

    def setup(self) -> None:
        """Create the Bloom filter of keys: `rows` rows of `columns` bits."""
        self.bits = Register(bit[1], self.columns, lanes=self.rows)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Set the bits of a building row's key and forward the row; prune a probing row with a bit that is not set.

        Probing rows of another epoch, and retransmissions (bit 0 of `flags`), are forwarded.
        """
        building = wire.side == self.BUILD
        partner = remember(self.bits, self.rows, wire.item, building)
        packet.forward()
        if building:
            wire.flags |= 4
            wire.epoch = packet.epoch
        elif wire.side == self.PROBE and not partner and wire.epoch == packet.epoch and wire.flags & 1 == 0:
            self.prune(packet, wire)
