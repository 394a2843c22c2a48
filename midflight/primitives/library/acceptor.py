"""Acceptor: Paxos' acceptor on a switch, one vote for each instance of the consensus."""

from __future__ import annotations

from midflight.primitives.language import Header, Packet, Primitive, Register, bit, power_of_two, within
from midflight.primitives.serial import advance

__all__ = ["Acceptor"]


class Acceptor(Primitive):
    """Promise and accept ballots for the instances of a consensus, as Paxos has it, and tell all learners.

    Parameters:
        number: which of the acceptors this is (0 to 63); it stands in every answer
        instances: how many instances are remembered (a power of two, 1 to 65536)
        width: bits of a value (1 to 512)

    Follows P4xos (ToN 2020): the acceptor's state is the ballot promised, the ballot accepted and its value. A promise
    or a refusal is replied to the proposer. An acceptance is multicast to the members, which are the learners: a value
    is chosen when a majority of the acceptors has accepted it in one ballot (`midflight.runtime.endpoint.paxos`
    proposes and learns on a host; `Learner` learns on a switch from acceptors in software). Each acceptor is an
    application of its own, so each may be on another switch. Different here: an acceptor that has forgotten says so and
    never votes as if it knew. The common header's sequence, which is never 0, is the instance; number n is kept in
    entry n % instances, where one that is newer (RFC 1982) takes the place, and a message for the older one is answered
    `FORGOTTEN`. And a request says in which life of the switch's state the proposers rely on this acceptor: to a switch
    that came back empty and is in a newer epoch they are wrong about its promises, so it takes no part until the hosts
    have agreed on a membership with that epoch. To that end the controller must never give an epoch twice.

    Contract with the proposers: a ballot, from 1 on, belongs to one proposer and in each instance to one value; and
    instance n is begun when all learners know what was chosen in n - instances. Safety rests on the former only.
    Requests may be lost, doubled, late and in any order; proposers repeat them until they are answered.

    Ballots do not wrap: larger is larger, and after 2**32 - 1 an instance is at its end. State: 96 + `width` bits for
    each instance.

    >>> first = Acceptor("first", number=0).reference()
    >>> def send(phase, ballot, value=0):
    ...     fields = {"phase": phase, "acceptor": 0, "epoch": 0, "ballot": ballot, "voted": 0, "value": value}
    ...     outcome = first.process(Message(REQUEST, "first", 1, fields))
    ...     told = outcome.message.fields
    ...     return outcome.verdict.name, told["phase"], told["ballot"], told["voted"], told["value"]
    >>> send(Acceptor.PREPARE, 7) == ("REPLY", Acceptor.PROMISE, 7, 0, 0)
    True
    >>> send(Acceptor.ACCEPT, 7, 42) == ("MULTICAST", Acceptor.ACCEPTED, 7, 7, 42)
    True
    >>> send(Acceptor.ACCEPT, 6, 13) == ("REPLY", Acceptor.REFUSED, 7, 0, 13)
    True
    >>> send(Acceptor.PREPARE, 9) == ("REPLY", Acceptor.PROMISE, 9, 7, 42)
    True
    """

    FAMILY = "state"
    PAPER = "P4xos: Dang et al., IEEE/ACM Transactions on Networking 2020"
    OVERFLOW = "ballots do not wrap: after 2**32 - 1 an instance is at its end"
    PREPARE = 1
    """Phase 1a, from a proposer: promise to take part in no smaller ballot."""
    PROMISE = 2
    """Phase 1b: promised, and this is what was accepted before; `voted` is 0 where nothing was."""
    ACCEPT = 3
    """Phase 2a, from a proposer: accept this value."""
    ACCEPTED = 4
    """Phase 2b, to all learners: accepted."""
    REFUSED = 5
    """A larger ballot has been promised; `ballot` says which."""
    FORGOTTEN = 6
    """This acceptor has no say in the instance any more: it has lost its memory, or keeps a newer instance there."""

    number: int
    instances: int = 1024
    width: int = 64

    class Wire(Header):
        """A message of Paxos; the instance is the common header's sequence."""

        phase = bit[8]
        acceptor = bit[8]
        epoch = bit[16]
        ballot = bit[32]
        voted = bit[32]
        value = bit["width"]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "number", 0, 63)
        power_of_two(self, "instances", 1, 2**16)
        within(self, "width", 1, 512)

    def setup(self) -> None:
        """For each entry: its instance, the ballot promised, and the ballot and value accepted."""
        self.held = Register(bit[32], self.instances)
        self.promised = Register(bit[32], self.instances)
        self.voted = Register(bit[32], self.instances)
        self.value = Register(bit[self.width], self.instances)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Answer phases 1a and 2a."""
        if wire.phase not in (self.PREPARE, self.ACCEPT) or wire.ballot == 0 or packet.sequence == 0:
            packet.drop()
            return
        packet.reply()
        wire.acceptor = self.number
        if wire.epoch != packet.epoch:
            wire.phase = self.FORGOTTEN
            wire.epoch = packet.epoch
            return
        entry = packet.sequence % self.instances
        ahead = advance(self.held, entry, packet.sequence)
        if ahead < 0:
            wire.phase = self.FORGOTTEN
            return

        # Newer than what is held: the entry starts afresh.
        fresh = ahead > 0
        promised = self.promised.update_fetch(entry, lambda old: wire.ballot if fresh else max(old, wire.ballot))
        if wire.ballot < promised:
            wire.phase = self.REFUSED
            wire.ballot = promised
            return

        accepting = wire.phase == self.ACCEPT
        wire.voted = self.voted.update_fetch(entry, lambda old: wire.ballot if accepting else (0 if fresh else old))
        wire.value = self.value.update_fetch(entry, lambda old: wire.value if accepting else (0 if fresh else old))
        if accepting:
            wire.phase = self.ACCEPTED
            packet.multicast()
        else:
            wire.phase = self.PROMISE
