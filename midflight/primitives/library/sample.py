"""Sample: one packet in N, told to the controller or kept alone."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, one_of, within

__all__ = ["Sample"]

# So that what is sampled is no special case to sketches behind, whose seeds are small.
SEED = 0x53414D50


class Sample(Primitive):
    """Choose one packet in `one_in`, and tell the controller of it or keep it alone.

    Parameters:
        one_in: how many packets, or flows, there are to each that is chosen (1 to 2**31)
        by: `count`, every `one_in`-th packet, beginning with the first; `packet`, each with probability 1 / `one_in`,
            by a hash of its item and sequence number; `flow`, all packets of a flow or none, by a hash of its item
        others: what becomes of those that are not chosen: `forward`, and an alert tells (item, sequence) of each that
            is; or `drop`, and there are no alerts
        item_bits: the width of an item, which names the flow (8 to 128)

    Whatever is counted among the samples stands for `one_in` times as much. Of k samples by `packet`, or of flows by
    `flow`, that has a relative standard error of at most 1 / sqrt(k). `count` is off by at most one sample, but
    follows no flow fairly whose packets come in step with it. The counter starts anew with each sample, so nothing
    overflows.

    `packet` follows trajectory sampling (Duffield and Grossglauser, IEEE/ACM Transactions on Networking 2001): all
    switches choose the same packets, and the same again when they are sent again. Different here: the hash is over
    the header's fields only. Asks for one counter of 32 bits with `count`, for no state otherwise.

    >>> watch = Sample("watch", one_in=3).reference()
    >>> [watch.process(Message(REQUEST, "watch", number, {"item": 7})).alerts for number in range(5)]
    [((7, 0),), (), (), ((7, 3),), ()]
    """

    FAMILY = "reduction"
    PAPER = "Duffield and Grossglauser, IEEE/ACM Transactions on Networking 2001"
    OVERFLOW = "the counter starts anew with each sample"

    one_in: int
    by: Literal["count", "packet", "flow"] = "count"
    others: Literal["forward", "drop"] = "forward"
    item_bits: int = 64

    class Wire(Header):
        """A packet of a flow."""

        item = bit["item_bits"]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "one_in", 1, 2**31)
        within(self, "item_bits", 8, 128)
        one_of(self, "by", "count", "packet", "flow")
        one_of(self, "others", "forward", "drop")

    def setup(self) -> None:
        """By count: how many packets there have been since the last sample, it included."""
        if self.by == "count":
            self.count = Register(bit[32], 1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Choose."""
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
