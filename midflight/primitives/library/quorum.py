"""Quorum: votes counted in the switch; what enough have voted for is told once, and again to who asks again."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.language import Header, Packet, Primitive, Register, bit, one_of, power_of_two, within
from midflight.primitives.serial import advance

__all__ = ["Quorum"]


class Quorum(Primitive):
    """Count votes for values, and send on the value for which `needed` of the `voters` have voted.

    Parameters:
        voters: how many may vote (1 to 64)
        needed: how many votes for one value decide (1 to `voters`)
        slots: how many votings may be under way (a power of two, 1 to 65536)
        choices: how many values are told apart in one voting (1 to 8)
        result: `multicast` the value to all members, and reply it to later votes; or `forward` it to the server,
            and every later vote with it

    Each voter counts once in a voting, however often and for whatever it votes. The first value with enough votes is
    decided, and later votes change nothing: they are answered with the decided value, and `status` tells them from the
    one that made the quorum. Before there is a quorum votes are not answered, and voters send theirs again until they
    hear the result, which makes good what is lost on either way.

    Follows the counting of votes in P4xos (ToN 2020), the learner of Paxos on a switch. Different here: votes for
    several values are counted side by side, and a voting's entry is used again. The common header's sequence, which is
    never 0, numbers the votings; number n has the entry n % slots, where a voting of a newer number (RFC 1982) takes
    the place of the older one, whose late votes are dropped. So a voter must not vote in n before n - slots is over.

    Nothing overflows: counts do not exceed the number of voters. A vote for one more value than `choices` is not
    counted, and its voter is told so (status `CROWDED`) each time: values are to be few, or `choices` more. State:
    for each slot 32 bits for its number, `voters` bits, 64 for the decided value, and 72 for each of the choices.

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
    """The result's status: this vote made the quorum."""
    LATE = 2
    """The quorum was there before, and this voter had not voted."""
    AGAIN = 3
    """The quorum was there before, and so was a vote of this voter."""
    CROWDED = 4
    """This is one more value than can be told apart: the vote is not counted."""

    voters: int
    needed: int
    slots: int = 256
    choices: int = 2
    result: Literal["multicast", "forward"] = "multicast"

    class Wire(Header):
        """A vote on the way in, the decided value on the way out. A value is never 0."""

        voter = bit[8]
        status = bit[8]
        epoch = bit[16]
        value = bit[64]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "voters", 1, 64)
        within(self, "needed", 1, self.voters)
        power_of_two(self, "slots", 1, 2**16)
        within(self, "choices", 1, 8)
        one_of(self, "result", "multicast", "forward")

    def setup(self) -> None:
        """For each slot: the voting that it holds, who has voted, the values and their votes, and what is decided."""
        self.held = Register(bit[32], self.slots)
        self.voted = Register(bit[self.voters], self.slots)
        self.values = Register(bit[64], self.slots, lanes=self.choices)
        self.votes = Register(bit[8], self.slots, lanes=self.choices)
        self.decided = Register(bit[64], self.slots)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count a vote once; answer when there is a quorum."""
        if wire.voter >= self.voters or wire.value == 0 or packet.sequence == 0:
            packet.drop()
            return

        slot = packet.sequence % self.slots
        ahead = advance(self.held, slot, packet.sequence)
        if ahead < 0:
            packet.drop()
            return

        # Newer than what is held: the slot starts afresh.
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
