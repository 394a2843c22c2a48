"""Sequencer: numbers the requests to a group of replicas, so that all replicas see the same order."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import sat_add
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within
from midflight.primitives.serial import advance

__all__ = ["Sequencer"]


class Sequencer(Primitive):
    """Stamp each request to a group with the group's next number, and multicast it to the replicas.

    Parameters:
        groups: the number of groups (1 to 4096); the stamps of each start at 1
        clients: the number of clients per group (1 to 4096); groups * clients is at most 65536
        width: bits of a stamp (2 to 64)

    Follows the ordered unreliable multicast of NOPaxos (OSDI 2016), with the groups of Eris (SOSP 2017): requests are
    ordered but may be lost, and a replica detects a loss by a gap in the stamps. `session` is the epoch of the switch's
    state in which a stamp was assigned; in a newer session the numbers restart at 1. Different here: the switch stores
    each client's latest request to a group and its stamp. A repeated request gets the same stamp, which fills the gaps
    of replicas that missed it. Requests older than the client's latest are dropped. In Eris, a packet can be stamped
    for several groups; here it belongs to one.

    Contract with the clients: the common header's sequence numbers a client's requests to a group. It is never 0, and
    compared as a serial number (RFC 1982). A client has one request per group in flight and repeats it until the
    replicas answer. A request gets a second stamp only in a new session; replicas therefore execute each request of a
    client once, by its number. The payload behind the header is not examined.

    A group's numbers do not wrap. When a session has used all 2**width - 1 numbers, new requests are dropped and raise
    an alert with the group. A new session begins when the controller admits the application with the next epoch and
    cleared state. State: `width` bits per group, and 32 + `width` bits per client and group.

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
    OVERFLOW = "stamps do not wrap: a group that has used all of them is closed, with an alert"
    MEMBER = "client"

    groups: int = 1
    clients: int = 256
    width: int = 32

    class Wire(Header):
        """A request of a client to a group, both numbered from 0. The switch writes its session and stamp.

        `session` is the epoch of the switch's state, and `stamp` the request's number in the group, from 1.
        """

        group = bit[16]
        client = bit[16]
        session = bit[16]
        stamp = bit["width"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "groups", 1, 2**12)
        within(self, "clients", 1, 2**12)
        within(self, "width", 2, 64)
        if self.groups * self.clients > 2**16:
            raise KernelError(
                f"{self.title}: {self.groups} groups times {self.clients} clients exceed the limit of 65536",
                hint="reduce groups or clients",
            )

    def setup(self) -> None:
        """Create, for each group: its latest number; for each client and group: the latest request and its number."""
        self.counted = Register(bit[self.width], self.groups)
        self.latest = Register(bit[32], self.groups * self.clients)
        self.given = Register(bit[self.width], self.groups * self.clients)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Number a new request with the group's next number, a repeated one with its old number, and multicast it.

        Outdated requests are dropped. So are new ones without a number left, which also raise an alert with the group.
        """
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
        # After the last number, the stamp wraps to 0, which is not a number.
        stamp = self.given.update_fetch(client, lambda old: counted + 1 if fresh else old)
        if stamp == 0:
            if fresh:
                packet.alert(wire.group)
            packet.drop()
            return
        wire.session = packet.epoch
        wire.stamp = stamp
        packet.multicast()
