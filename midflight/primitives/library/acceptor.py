"""Acceptor: an acceptor of Paxos on a switch."""

from __future__ import annotations

from midflight.primitives.language import Header, Packet, Primitive, Register, bit, power_of_two, within
from midflight.primitives.serial import advance

__all__ = ["Acceptor"]


class Acceptor(Primitive):
    """Promise and accept ballots for the instances of a consensus as a Paxos acceptor, and inform all learners.

    Parameters:
        number: the number of this acceptor (0 to 63), which every answer contains
        instances: how many instances the switch remembers (a power of two, 1 to 65536)
        width: bits of a value (1 to 512)

    Follows P4xos (ToN 2020): the state is the promised ballot, the accepted ballot and its value. The switch replies to
    the proposer with a promise or refusal. It multicasts an acceptance to the members, which are the learners. A value
    is chosen when a majority of acceptors has accepted it in one ballot. `midflight.runtime.endpoint.paxos` proposes
    and learns on hosts; `Learner` learns on a switch from acceptors in software. Each acceptor is a separate
    application, so each may be on a different switch.

    Different here: an acceptor that has lost state says so instead of voting. The common header's sequence, which is
    never 0, is the instance. Instance n uses entry n % instances, where a newer instance (RFC 1982) replaces an older
    one; messages for the older one are answered with `FORGOTTEN`. A request also carries the epoch for which the
    proposers know the acceptor's promises. A switch that restarted empty is in a newer epoch, and answers `FORGOTTEN`
    until the hosts have agreed on a membership with that epoch. The controller must therefore never reuse an epoch.

    Contract with the proposers: a ballot is at least 1 and belongs to one proposer and, in each instance, to one value.
    Instance n begins after all learners know the value of n - instances. Safety depends only on the former. Requests
    may be lost, duplicated, delayed and reordered; proposers repeat them until they are answered.

    Ballots do not wrap: after ballot 2**32 - 1 an instance cannot continue. State: 96 + `width` bits per instance.

    >>> first = Acceptor("first", number=0).reference()
    >>> def send(phase, ballot, value=0):
    ...     fields = {"phase": phase, "acceptor": 0, "epoch": 0, "ballot": ballot, "voted": 0, "value": value}
    ...     outcome = first.process(Message(REQUEST, "first", 1, fields))
    ...     answer = outcome.message.fields
    ...     return outcome.verdict.name, answer["phase"], answer["ballot"], answer["voted"], answer["value"]
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
    OVERFLOW = "ballots do not wrap: after 2**32 - 1 an instance cannot continue"
    PREPARE = 1
    """Phase 1a, from a proposer: promise not to accept smaller ballots."""
    PROMISE = 2
    """Phase 1b: promised; `voted` and `value` are the accepted ballot and value, or `voted` is 0."""
    ACCEPT = 3
    """Phase 2a, from a proposer: accept this value."""
    ACCEPTED = 4
    """Phase 2b, to all learners: accepted."""
    REFUSED = 5
    """A larger ballot has been promised; `ballot` is that ballot."""
    FORGOTTEN = 6
    """This acceptor cannot vote in the instance: it has lost its state, or a newer instance uses the entry."""

    number: int
    instances: int = 1024
    width: int = 64

    class Wire(Header):
        """A Paxos message. The instance is the common header's sequence.

        `phase` is one of the constants of `Acceptor`, `acceptor` the number of the answering acceptor, `epoch` the
        epoch of its state. `ballot` is the ballot of the request, or in `REFUSED` the promised one. `voted` is the
        ballot in which `value` was accepted, 0 for none.
        """

        phase = bit[8]
        acceptor = bit[8]
        epoch = bit[16]
        ballot = bit[32]
        voted = bit[32]
        value = bit["width"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "number", 0, 63)
        power_of_two(self, "instances", 1, 2**16)
        within(self, "width", 1, 512)

    def setup(self) -> None:
        """Create, for each of `instances` entries: its instance, promised ballot, and accepted ballot and value."""
        self.held = Register(bit[32], self.instances)
        self.promised = Register(bit[32], self.instances)
        self.voted = Register(bit[32], self.instances)
        self.value = Register(bit[self.width], self.instances)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Process a PREPARE or ACCEPT: reply with a promise, a refusal or FORGOTTEN, or multicast an acceptance.

        Drop messages of other phases, and those whose ballot or sequence is 0.
        """
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

        # Newer than the stored instance: restart the entry.
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
