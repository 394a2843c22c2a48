"""Quorum: counts votes in the switch and announces the value that reaches a quorum."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.language import Header, Packet, Primitive, Register, bit, one_of, power_of_two, within
from midflight.primitives.serial import advance

__all__ = ["Quorum"]


class Quorum(Primitive):
    """Count votes for values, and send on the value for which `needed` of the `voters` have voted.

    Parameters:
        voters: the number of voters (1 to 64)
        needed: the number of votes for one value that decide (1 to `voters`)
        slots: the number of votings in progress (a power of two, 1 to 65536)
        choices: the number of different values that one voting distinguishes (1 to 8)
        result: `multicast` the value to all members and reply with it to later votes, or `forward` it, and later votes
            with it, to the server

    Each voter counts once per voting, however often and for whatever it votes. The first value with enough votes is
    decided. Later votes change nothing and are answered with the decided value; `status` distinguishes them from the
    vote that reached the quorum. Votes before the quorum are not answered. Voters repeat their votes until they receive
    the result, which repairs losses in both directions.

    Follows the counting of votes in P4xos (ToN 2020), the learner of Paxos on a switch. Different here: votes for
    several values are counted in parallel, and entries are reused. The common header's sequence, which is never 0,
    numbers the votings. Voting n uses entry n % slots, where a newer voting (RFC 1982) replaces an older one, whose
    late votes are dropped. A voter must not vote in n before n - slots is over.

    Counts do not exceed the number of voters, so nothing overflows. A vote for a value beyond the number of `choices`
    is not counted. It is answered with status `CROWDED`, as is a voter's further vote for a value without votes. State
    per slot: 32 bits for its number, `voters` bits, 64 bits for the decided value, and 72 bits per choice.

    >>> commits = Quorum("commits", voters=3, needed=2).reference()
    >>> def vote(voter, value):
    ...     fields = {"voter": voter, "status": 0, "epoch": 0, "value": value}
    ...     outcome = commits.process(Message(REQUEST, "commits", 1, fields))
    ...     return outcome.verdict.name, outcome.message.fields["status"], outcome.message.fields["value"]
    >>> vote(0, 77), vote(0, 77), vote(1, 99)
    (('DROP', 0, 77), ('DROP', 0, 77), ('DROP', 0, 99))
    >>> vote(2, 77), vote(1, 99)
    (('MULTICAST', 1, 77), ('REPLY', 3, 77))
    """

    FAMILY = "state"
    PAPER = "P4xos: Dang et al., IEEE/ACM Transactions on Networking 2020"
    OVERFLOW = "counts do not exceed the number of voters"
    REACHED = 1
    """The result's status: this vote reached the quorum."""
    LATE = 2
    """The quorum was reached before this voter's first vote."""
    AGAIN = 3
    """The quorum was reached before, and this voter had already voted."""
    CROWDED = 4
    """The vote is not counted: there are already `choices` other values, or the voter has voted for another value."""
    MEMBER = "voter"

    voters: int
    needed: int
    slots: int = 256
    choices: int = 2
    result: Literal["multicast", "forward"] = "multicast"

    class Wire(Header):
        """A vote on the way in, the decided value on the way out. The voting's number is the common header's sequence.

        `voter` is a number from 0, `value` is never 0, `status` is a constant of `Quorum`, and `epoch` that of the
        switch's state.
        """

        voter = bit[8]
        status = bit[8]
        epoch = bit[16]
        value = bit[64]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "voters", 1, 64)
        within(self, "needed", 1, self.voters)
        power_of_two(self, "slots", 1, 2**16)
        within(self, "choices", 1, 8)
        one_of(self, "result", "multicast", "forward")

    def setup(self) -> None:
        """Create, for each slot: its voting, the voters so far, the values and their votes, and the decided value."""
        self.held = Register(bit[32], self.slots)
        self.voted = Register(bit[self.voters], self.slots)
        self.values = Register(bit[64], self.slots, lanes=self.choices)
        self.votes = Register(bit[8], self.slots, lanes=self.choices)
        self.decided = Register(bit[64], self.slots)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count a vote, once per voter; answer with the decided value if there is one, otherwise drop the packet.

        A vote for a value that is not among the counted ones, and cannot be added to them, is replied to as CROWDED.
        """
        if wire.voter >= self.voters or wire.value == 0 or packet.sequence == 0:
            packet.drop()
            return

        slot = packet.sequence % self.slots
        ahead = advance(self.held, slot, packet.sequence)
        if ahead < 0:
            packet.drop()
            return

        # Newer than the stored voting: restart the slot.
        fresh = ahead > 0
        mine = bit[self.voters](1) << wire.voter
        voted = self.voted.update(slot, lambda old: mine if fresh else old | mine)
        again = not fresh and voted & mine != 0

        known = False
        reached = False
        for choice in range(self.choices):
            vacant = not known and not again
            value = self.values[choice].update_fetch(
                slot, lambda old: wire.value if vacant and (fresh or old == 0) else (0 if fresh else old)
            )
            here = value == wire.value
            count = here and not again
            votes = self.votes[choice].update_fetch(
                slot, lambda old: (1 if count else 0) if fresh else (old + 1 if count else old)
            )
            reached = reached or (count and votes >= self.needed)
            known = known or here

        decided = self.decided.update(
            slot, lambda old: wire.value if reached and (fresh or old == 0) else (0 if fresh else old)
        )
        wire.epoch = packet.epoch
        if not fresh and decided != 0:
            wire.value = decided
            wire.status = self.AGAIN if again else self.LATE
            if self.result == "multicast":
                packet.reply()
        elif reached:
            wire.status = self.REACHED
            if self.result == "multicast":
                packet.multicast()
        elif not known:
            wire.status = self.CROWDED
            packet.reply()
        else:
            packet.drop()
