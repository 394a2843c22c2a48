"""Pruning: the base class of primitives that drop rows of a query which cannot affect its result."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.language import Header, Packet, Primitive, bit, one_of

__all__ = ["Pruning"]


class Pruning(Primitive):
    """Drops rows of a query's input that cannot change its result, on their way to the server that computes it.

    Parameters:
        pruned: what happens to such a row: `drop`, or `reply`, which returns it to its sender with bit 1 of `flags` set

    Follows Cheetah (Tirmazi et al., SIGMOD 2020): the remaining rows are a superset of the necessary ones, and the
    server computes the same result from them as from all rows. Forwarding a row is therefore always correct, which
    retransmissions use: a sender without an acknowledgement, from the server or by a reply, repeats the row with bit 0
    of `flags` set. The switch forwards it unconditionally and does not change its state (except that a `SemiJoin` adds
    the key of a repeated building row). So if a row because of which others were dropped is lost behind the switch, its
    repetition reaches the server. Different here: in Cheetah, the switch tracks each sender's sequence numbers and
    forwards repeated rows.
    """

    pruned: Literal["drop", "reply"] = "drop"

    class Wire(Header):
        """The first field of every row. Bit 0 of `flags` marks a retransmission, bit 1 a pruned row in a reply."""

        flags = bit[8]

    def validate(self) -> None:
        """Raise KernelError unless `pruned` is `drop` or `reply`."""
        one_of(self, "pruned", "drop", "reply")

    def prune(self, packet: Packet, wire: Wire) -> None:
        """Give the verdict for a row that the query does not need: drop it, or reply with bit 1 of `flags` set.

        Kernels of subclasses call it.
        """
        if self.pruned == "drop":
            packet.drop()
        else:
            wire.flags |= 2
            packet.reply()
