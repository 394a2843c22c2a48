"""Sample: selects one packet in N, and reports it to the controller or drops the others."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, one_of, within

__all__ = ["Sample"]

# Unlike the small seeds of sketches, so that the choice of samples is independent of a sketch that counts them.
SEED = 0x53414D50


class Sample(Primitive):
    """Choose one packet in `one_in`, and report it to the controller, or drop all others.

    Parameters:
        one_in: one in this many packets, or flows, is chosen (1 to 2**31)
        by: `count` chooses every `one_in`-th packet, starting with the first; `packet` chooses each with probability
            1 / `one_in`, by a hash of its item and sequence number; `flow` chooses all packets of a flow or none, by a
            hash of its item
        others: what happens to the packets that are not chosen: `forward`, where each chosen packet raises the alert
            (item, sequence); or `drop`, without alerts
        item_bits: the width of an item, which identifies the flow (8 to 128)

    Multiply counts of the samples by `one_in` to estimate the totals. For k samples by `packet`, or k flows by `flow`,
    the relative standard error is at most 1 / sqrt(k). `count` is off by at most one sample, but biased for flows whose
    packets are in phase with it. The counter restarts with each sample, so nothing overflows.

    `packet` follows trajectory sampling (Duffield and Grossglauser, IEEE/ACM Transactions on Networking 2001): all
    switches choose the same packets, also when they are repeated. Different here: the hash covers only the header's
    fields. State: one counter of 32 bits with `count`, otherwise none.

    >>> watch = Sample("watch", one_in=3).reference()
    >>> [watch.process(Message(REQUEST, "watch", number, {"item": 7})).alerts for number in range(5)]
    [((7, 0),), (), (), ((7, 3),), ()]
    """

    FAMILY = "reduction"
    PAPER = "Duffield and Grossglauser, IEEE/ACM Transactions on Networking 2001"
    OVERFLOW = "the counter restarts with each sample"

    one_in: int
    by: Literal["count", "packet", "flow"] = "count"
    others: Literal["forward", "drop"] = "forward"
    item_bits: int = 64

    class Wire(Header):
        """The header of the packets that are sampled; `item` identifies the flow of a packet."""

        item = bit["item_bits"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "one_in", 1, 2**31)
        within(self, "item_bits", 8, 128)
        one_of(self, "by", "count", "packet", "flow")
        one_of(self, "others", "forward", "drop")

    def setup(self) -> None:
        """Create the counter of packets since the last sample, if `by` is `count`; otherwise there is no state."""
        if self.by == "count":
            self.count = Register(bit[32], 1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Decide whether the packet is a sample.

        Raise an alert for samples, or drop all others, as the parameter `others` says.
        """
        if self.by == "count":
            place = self.count.update(0, lambda old: old + 1 if old + 1 < self.one_in else 0)
        elif self.by == "packet":
            place = hash_(wire.item, packet.sequence, seed=SEED, range=self.one_in)
        else:
            place = hash_(wire.item, seed=SEED, range=self.one_in)
        if place != 0:
            if self.others == "drop":
                packet.drop()
        elif self.others == "forward":
            packet.alert(wire.item, packet.sequence)
