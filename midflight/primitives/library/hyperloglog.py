"""HyperLogLog: estimates the number of distinct items from a few thousand small registers."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within

__all__ = ["HyperLogLog"]


class HyperLogLog(Primitive):
    """Maintain registers from which the number of distinct items can be estimated.

    Parameters:
        precision: how many of a hash's 32 bits choose one of 2**precision registers (4 to 16)
        item_bits: the width of an item (8 to 128)

    Every packet is forwarded. The rank of an item is the number of leading zeros of its hash, plus 1. A register holds
    the largest rank of its items. A new largest rank raises the alert (register, rank). A controller can collect the
    registers from these alerts, about 2**precision * log2(items / 2**precision) in total, or read them.

    `midflight.primitives.estimators.hyperloglog.estimate` estimates the number of distinct items from the registers,
    with a standard error of 1.04 / sqrt(2**precision). To merge the registers of several switches, take the maximum of
    each. A rank is at most 33 - precision, which fits a register, so nothing overflows. As the hash has 32 bits, the
    error grows from about 10**9 items on.

    Follows Flajolet et al. (AofA 2007). Different here: the alerts, and Ertl's estimator (2017), which needs no bias
    correction for small and large numbers. State: one array of 2**precision numbers of 5 bits.

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
        """A packet with the item to count, such as an address."""

        item = bit["item_bits"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "precision", 4, 16)
        within(self, "item_bits", 8, 128)

    def setup(self) -> None:
        """Create the 2**`precision` registers, which hold the largest rank of their items; 0 is empty."""
        self.ranks = Register(bit[5], 2**self.precision)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Keep the rank of the item in its register if it is larger; then raise the alert (register, rank).

        Forward the packet.
        """
        spread = hash_(wire.item)
        register = spread & 2**self.precision - 1
        # Count leading zeros by bisection: test the upper 16 bits, then the upper 8 of the rest, and so on. The
        # topmost of the bits that select the register is set to bound the count.
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
