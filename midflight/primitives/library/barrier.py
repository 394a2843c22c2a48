"""Barrier: all parties wait until the last of them has arrived, in every round."""

from __future__ import annotations

from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within
from midflight.primitives.serial import advance

__all__ = ["Barrier"]


class Barrier(Primitive):
    """Multicast the release of a round when all parties have arrived in it.

    Parameters:
        parties: how many have to arrive (1 to 64)
        barriers: how many barriers there are, each with rounds of its own (1 to 65536)

    The common header's sequence is the round. It is never 0, and compared as a serial number (RFC 1982). A party
    repeats its arrival until it is released; the switch replies once the round is complete. Follows count-then-forward
    in SwitchML (NSDI 2021), without numbers to sum. Different here: there is no shadow copy. A barrier releases nobody
    into a round before all parties have arrived in the previous one, so an arrival in a newer round proves that older
    rounds are complete. It restarts the barrier, and parties that still ask for an older round are released from it. By
    the same rule, a switch that has lost its state continues with the round of the parties; `epoch` shows the loss.

    Contract with the parties: a party arrives in a round only after its release from the previous one.

    Nothing is summed, so nothing overflows. Rounds wrap from 2**32 - 1 to 1. State: 32 + `parties` bits per barrier.

    >>> steps = Barrier("steps", parties=2).reference()
    >>> def arrive(party, number):
    ...     return steps.process(
    ...         Message(REQUEST, "steps", number, {"barrier": 0, "party": party, "epoch": 0})
    ...     ).verdict.name
    >>> arrive(0, 1), arrive(0, 1), arrive(1, 1), arrive(0, 1)
    ('DROP', 'DROP', 'MULTICAST', 'REPLY')
    >>> arrive(0, 2), arrive(1, 1), arrive(1, 2)
    ('DROP', 'REPLY', 'MULTICAST')
    """

    FAMILY = "state"
    PAPER = "SwitchML: Sapio et al., NSDI 2021"
    OVERFLOW = "nothing is summed; rounds wrap from 2**32 - 1 to 1"
    MEMBER = "party"

    parties: int
    barriers: int = 64

    class Wire(Header):
        """An arrival on the way in, the release on the way out. The round is the common header's sequence.

        `barrier` and `party` are numbers from 0; `epoch` in a release is that of the switch's state.
        """

        barrier = bit[16]
        party = bit[8]
        epoch = bit[16]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "parties", 1, 64)
        within(self, "barriers", 1, 2**16)

    def setup(self) -> None:
        """Create, for each barrier: the current round, and the parties that have arrived in it."""
        self.round = Register(bit[32], self.barriers)
        self.arrived = Register(bit[self.parties], self.barriers)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Record a party's arrival, once. The last arrival of a round is multicast, earlier ones are dropped.

        An arrival is replied to if it repeats one in a complete round, or belongs to an older round. Arrivals at
        unknown barriers, of unknown parties, and in round 0 are dropped.
        """
        if wire.barrier >= self.barriers or wire.party >= self.parties or packet.sequence == 0:
            packet.drop()
            return
        wire.epoch = packet.epoch

        ahead = advance(self.round, wire.barrier, packet.sequence)
        if ahead < 0:
            packet.reply()
            return

        # Newer than the stored round: restart the barrier.
        fresh = ahead > 0
        mine = bit[self.parties](1) << wire.party
        before = self.arrived.update(wire.barrier, lambda old: mine if fresh else old | mine)
        complete = (mine if fresh else before | mine) == 2**self.parties - 1
        if not complete:
            packet.drop()
        elif not fresh and before & mine != 0:
            packet.reply()
        else:
            packet.multicast()
