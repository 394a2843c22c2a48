"""What the primitives that prune a stream of rows have in common: what becomes of a row that cannot matter."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.language import Header, Packet, Primitive, bit, one_of

__all__ = ["Pruning"]


class Pruning(Primitive):
    """Drops rows of a query's input that cannot change its result, on their way to the server that computes it.

    Parameters:
        pruned: what becomes of such a row: `drop`, or `reply`, back to its sender with bit 1 of `flags` set

    Follows Cheetah (Tirmazi et al., SIGMOD 2020): what is left is a superset of what is needed, and the server makes
    the result of it as it would of all rows. So to forward a row is always right, and the hosts make use of that: a
    sender that has no acknowledgement of a row, neither from the server nor by the row's reply, sends it again with
    bit 0 of `flags` set; it is forwarded whatever it is, and the state stays as it is. Rows that were lost behind the
    switch, on whose account others have been dropped, come through like this. Different here: in Cheetah the switch
    follows each sender's sequence numbers and lets rows pass that come again.
    """

    pruned: Literal["drop", "reply"] = "drop"

    class Wire(Header):
        """What every row begins with."""

        flags = bit[8]

    def validate(self) -> None:
        """Check the choice."""
        one_of(self, "pruned", "drop", "reply")

    def prune(self, packet: Packet, wire: Wire) -> None:
        """Drop a row that is not needed, or send it back."""
        if self.pruned == "drop":
            packet.drop()
        else:
            wire.flags |= 2
            packet.reply()
