"""Learner: counts acceptances of Paxos, and multicasts a value once a majority has accepted it."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import popcount
from midflight.primitives.language import Packet, Primitive, Register, bit, power_of_two, within
from midflight.primitives.library.acceptor import Acceptor
from midflight.primitives.serial import advance

__all__ = ["Learner"]


class Learner(Primitive):
    """Count the acceptances of an instance in its latest ballot; multicast the value that a majority has accepted.

    Parameters:
        acceptors: the number of acceptors (1 to 63); more than half of them are a majority
        instances: how many instances the switch counts at a time (a power of two, 1 to 65536)
        width: bits of a value (1 to 512)

    Follows the learner of P4xos (ToN 2020), which reduces the acceptances that hosts receive to one. It serves
    acceptors in software, which send acceptances as requests; acceptors on switches multicast theirs to learners on
    hosts. The header is that of `Acceptor`. An `Acceptor.ACCEPTED` counts once per acceptor and ballot; other phases
    are forwarded. The acceptance that completes a majority goes to all members as `Learner.CHOSEN`. The switch replies
    to later ones with the chosen value. Different here: entries are reused. The common header's sequence, which is
    never 0, is the instance. Instance n uses entry n % instances, where a newer instance (RFC 1982) replaces an older
    one; acceptances for the older one are dropped.

    Acceptances in a smaller ballot than the latest are not counted. If a majority has accepted both, the value is the
    same, and acceptors repeat their acceptances until they receive the chosen value.

    Ballots do not wrap, and at most `acceptors` are counted, so nothing overflows. State: 65 + `acceptors` + `width`
    bits per instance.

    >>> chosen = Learner("chosen", acceptors=3).reference()
    >>> def accepted(acceptor, ballot, value):
    ...     fields = {"phase": Acceptor.ACCEPTED, "acceptor": acceptor, "epoch": 0}
    ...     fields |= {"ballot": ballot, "voted": ballot, "value": value}
    ...     outcome = chosen.process(Message(REQUEST, "chosen", 1, fields))
    ...     return outcome.verdict.name, outcome.message.fields["value"]
    >>> accepted(0, 7, 42), accepted(1, 9, 43), accepted(1, 9, 43), accepted(2, 9, 43), accepted(0, 7, 42)
    (('DROP', 42), ('DROP', 43), ('DROP', 43), ('MULTICAST', 43), ('REPLY', 43))
    """

    FAMILY = "state"
    PAPER = "P4xos: Dang et al., IEEE/ACM Transactions on Networking 2020"
    OVERFLOW = "ballots do not wrap; at most all acceptors are counted"

    CHOSEN = 7
    """To all learners: a majority of the acceptors has accepted the value."""

    acceptors: int
    instances: int = 1024
    width: int = 64

    class Wire(Acceptor.Wire):
        """An acceptance on the way in, the chosen value on the way out, with the fields of `Acceptor.Wire`."""

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "acceptors", 1, 63)
        power_of_two(self, "instances", 1, 2**16)
        within(self, "width", 1, 512)

    def setup(self) -> None:
        """Create, for each of `instances` entries: its instance, latest ballot, acceptors so far, and chosen value."""
        self.held = Register(bit[32], self.instances)
        self.ballot = Register(bit[32], self.instances)
        self.voted = Register(bit[self.acceptors], self.instances)
        self.known = Register(bit[1], self.instances)
        self.value = Register(bit[self.width], self.instances)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count an acceptance once; multicast the value when a majority has accepted it, and reply with it afterwards.

        Other acceptances are dropped, and packets of other phases forwarded.
        """
        if wire.phase != Acceptor.ACCEPTED:
            packet.forward()
            return
        packet.drop()
        if wire.acceptor >= self.acceptors or wire.ballot == 0 or packet.sequence == 0:
            return
        entry = packet.sequence % self.instances
        ahead = advance(self.held, entry, packet.sequence)
        if ahead < 0:
            return

        # Newer than the stored instance: restart the entry.
        fresh = ahead > 0
        latest = self.ballot.update(entry, lambda old: wire.ballot if fresh else max(old, wire.ballot))
        newer = fresh or wire.ballot > latest
        counts = newer or wire.ballot == latest
        mine = bit[self.acceptors](1) << wire.acceptor
        voted = self.voted.update_fetch(entry, lambda old: mine if newer else (old | mine if counts else old))
        majority = counts and popcount(voted) > self.acceptors // 2

        known = self.known.update(entry, lambda old: 1 if majority else (0 if fresh else old))
        before = not fresh and known == 1
        value = self.value.update_fetch(entry, lambda old: wire.value if majority and not before else old)
        if before or majority:
            wire.phase = self.CHOSEN
            wire.epoch = packet.epoch
            wire.value = value
            if before:
                packet.reply()
            else:
                packet.multicast()
