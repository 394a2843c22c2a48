"""Sequencer: the switch numbers the requests to a group of replicas, so that all of them see one order."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import sat_add
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within
from midflight.primitives.serial import advance

__all__ = ["Sequencer"]


class Sequencer(Primitive):
    """Stamp each request to a group with the group's next number, and multicast it to the replicas.

    Parameters:
        groups: how many groups are numbered, each from 1 on (1 to 4096)
        clients: how many may send to a group (1 to 4096); groups * clients is at most 65536
        width: bits of a stamp (2 to 64)

    Follows the ordered unreliable multicast of NOPaxos (OSDI 2016), with the groups of Eris (SOSP 2017): what is
    ordered is not what is delivered, and a replica knows by a gap in the stamps that it lacks something. `session`
    says in which life of the switch's state a stamp was given; in a newer one the numbers begin at 1 again.
    Different here: the switch knows each client's latest request to a group and its stamp. So a request that is sent
    again has the same stamp again, which fills the gaps of the replicas that did not get it, and one that is older
    than its client's latest is dropped. In Eris one packet is stamped for several groups; here it has one.

    Contract with the clients: the common header's sequence is the number of a client's request to the group, compared
    as RFC 1982 has it and never 0, and a client has one request to a group under way. It sends that again until the
    replicas have answered. Only where a new session has begun can a request be stamped twice; replicas take a
    client's request by its number once. What stands behind the header in the packet is theirs alone.

    A group's numbers never wrap: when all 2**width - 1 of a session are used up, new requests to it are dropped, with
    an alert that tells the group; a new session begins when the controller admits the application with the next epoch
    and cleared state. State: `width` bits for each group; 32 + `width` bits for each client of each group.

    >>> orders = Sequencer("orders", groups=2, clients=4).reference(epoch=3)
    >>> def send(client, request):
    ...     fields = {"group": 1, "client": client, "session": 0, "stamp": 0}
    ...     return orders.process(Message(REQUEST, "orders", request, fields)).message.fields
    >>> [send(client, request)["stamp"] for client, request in ((0, 1), (3, 9), (0, 1), (0, 2))]
    [1, 2, 1, 3]
    >>> send(3, 9)
    {'group': 1, 'client': 3, 'session': 3, 'stamp': 2}
    """

    FAMILY = "state"
    PAPER = "NOPaxos: Li et al., OSDI 2016; Eris: Li et al., SOSP 2017"
    OVERFLOW = "stamps do not wrap: a group that has used all is closed, with an alert"

    groups: int = 1
    clients: int = 256
    width: int = 32

    class Wire(Header):
        """A request; its session and stamp are written by the switch."""

        group = bit[16]
        client = bit[16]
        session = bit[16]
        stamp = bit["width"]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "groups", 1, 2**12)
        within(self, "clients", 1, 2**12)
        within(self, "width", 2, 64)
        if self.groups * self.clients > 2**16:
            raise KernelError(
                f"{self.title}: {self.groups} groups of {self.clients} clients are more than the 65536 that are known",
                hint="lower one of the two",
            )

    def setup(self) -> None:
        """For each group its latest number; for each client of a group its latest request and that one's number."""
        self.counted = Register(bit[self.width], self.groups)
        self.latest = Register(bit[32], self.groups * self.clients)
        self.given = Register(bit[self.width], self.groups * self.clients)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Give a new request the next number; tell a repeated one its own again."""
        if wire.group >= self.groups or wire.client >= self.clients or packet.sequence == 0:
            packet.drop()
            return
        client = bit[32](wire.group) * self.clients + bit[32](wire.client)
        ahead = advance(self.latest, client, packet.sequence)
        if ahead < 0:
            packet.drop()
            return

        fresh = ahead > 0
        counted = self.counted.update_if(wire.group, fresh, lambda old: sat_add(old, 1))
        # After the last number comes 0, which is none.
        stamp = self.given.update_fetch(client, lambda old: counted + 1 if fresh else old)
        if stamp == 0:
            if fresh:
                packet.alert(wire.group)
            packet.drop()
            return
        wire.session = packet.epoch
        wire.stamp = stamp
        packet.multicast()
