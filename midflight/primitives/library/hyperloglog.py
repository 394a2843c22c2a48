"""HyperLogLog: how many different items have passed, from a few bits for each of some thousand registers."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within

__all__ = ["HyperLogLog"]


class HyperLogLog(Primitive):
    """Keep what is needed to estimate how many different items have passed.

    Parameters:
        precision: how many of a hash's 32 bits choose one of 2**precision registers (4 to 16)
        item_bits: the width of an item (8 to 128)

    Every packet is forwarded. A register holds the largest rank of its items: how many zeros their hashes begin with,
    and 1. Where a rank is larger than all before, an alert tells (register, rank). So a controller has the registers
    from the alerts, which are about 2**precision * log2(items / 2**precision) in all, or reads them.

    `midflight.primitives.estimators.hyperloglog.estimate` makes the number of them, with a standard error of
    1.04 / sqrt(2**precision); the registers of several switches may be united before, by the larger of each two. A
    rank is at most 33 - precision, which a register holds, so nothing overflows. The hash has 32 bits: from about
    10**9 items on, so many hashes are in use that the error grows.

    Follows Flajolet et al. (AofA 2007). Different here: the alerts, and the estimate, which is Ertl's (2017) and has
    no bias to be corrected for small and for large numbers. Asks for one array of 2**precision times 5 bits.

    >>> users = HyperLogLog("users", precision=4).reference()
    >>> def see(item):
    ...     return users.process(Message(REQUEST, "users", 0, {"item": item})).alerts
    >>> [see(item) for item in (1, 2, 1, 3)]
    [((9, 1),), ((10, 3),), (), ((12, 1),)]
    """

    FAMILY = "detection"
    PAPER = "Flajolet et al., AofA 2007; Ertl, 2017"
    OVERFLOW = "a register holds the largest rank there is"

    precision: int = 12
    item_bits: int = 64

    class Wire(Header):
        """Something that bears an item, such as an address."""

        item = bit["item_bits"]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "precision", 4, 16)
        within(self, "item_bits", 8, 128)

    def setup(self) -> None:
        """The largest rank of each register."""
        self.ranks = Register(bit[5], 2**self.precision)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Find the item's register and rank; keep the larger one."""
        spread = hash_(wire.item)
        register = spread & 2**self.precision - 1
        # Zeros are counted by halves: if the upper 16 bits are, then if the upper 8 of the rest are, and so on. Of
        # the bits that chose the register the topmost becomes 1, so that there is an end.
        rest = spread | 2 ** (self.precision - 1)
        rank = bit[5](1)
        for step in range(5):
            half = 16 >> step
            if rest < 2 ** (32 - half):
                rank += half
                rest <<= half
        before = self.ranks.update(register, lambda old: max(old, rank))
        if rank > before:
            packet.alert(register, rank)
        packet.forward()
