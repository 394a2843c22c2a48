"""Lock: shared and exclusive locks whose queues are in the switch, granted in the order of the requests."""

from __future__ import annotations

from typing import Final

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import bits, concat
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, power_of_two, within
from midflight.primitives.serial import advance

__all__ = ["Lock"]


FIRST: Final = 2**32 - 6
"""The first ticket."""


class Lock(Primitive):
    """Grant locks in the order of the requests: one exclusive holder, or all that share in a row.

    Parameters:
        locks: how many there are (1 to 4096)
        clients: how many may ask for them (2 to 4096), client 0 being the server; locks * clients is at most 65536
        depth: how many requests a lock's queue has room for, holders included (a power of two, 2 to 64); the last
            place is the server's

    Follows NetLock (SIGCOMM 2020): a ring of requests for each lock, first come, first served. Different here: a
    request draws a ticket, and the switch counts up to which ticket the lock is granted. So a release needs no
    recirculation to grant the lock to a row of clients that share it: one multicast tells all members how far `granted`
    has come, and each knows by its ticket whether it is meant. Who missed that asks again. There are no leases: who
    holds a lock and is slow would be as one who is dead. A client that dies keeps its locks, and its places in queues,
    until the server is told so, with what `inside` and `latest` say of it, and gives them back in its name.

    A full queue overflows to the server: the request is left to it, as the host that computes it. The server
    asks for the lock as client 0, for which a place is kept, waits its turn and grants it to those it has waiting; to
    them it answers itself, and they release to it (`midflight.runtime.endpoint.lockserver`).

    Contract with the clients: the common header's sequence numbers a client's requests for one lock, from 1 on and
    compared as RFC 1982 has it; a client has one of them under way and repeats it until it is answered. Repeated and
    late requests are known by their number, so each counts once. A client releases only what the switch has granted it,
    with the `epoch` of the grant, and is trusted in that: any release takes the first request out of the queue.

    Tickets wrap, and are compared as RFC 1982 has it; the first ones are just below that, so that it is nothing rare.
    State for each lock: 96 bits and `depth` bits; for each client of each lock: 65 bits.

    >>> locks = Lock("locks", locks=4, clients=8, depth=4).reference()
    >>> def ask(client, number, wish):
    ...     fields = {"lock": 0, "client": client, "wish": wish}
    ...     fields |= {"status": 0, "epoch": 0, "ticket": 0, "granted": 0}
    ...     outcome = locks.process(Message(REQUEST, "locks", number, fields))
    ...     return outcome.verdict.name, outcome.message.fields["status"]
    >>> ask(1, 1, Lock.EXCLUSIVE) == ("REPLY", Lock.GRANTED)
    True
    >>> ask(2, 1, Lock.SHARED) == ask(3, 1, Lock.SHARED) == ("REPLY", Lock.WAITING)
    True
    >>> ask(4, 1, Lock.SHARED) == ("FALLBACK", Lock.HANDED)
    True
    >>> ask(1, 2, Lock.RELEASE) == ("MULTICAST", Lock.RELEASED)
    True
    >>> ask(2, 1, Lock.SHARED) == ask(3, 1, Lock.SHARED) == ("REPLY", Lock.GRANTED)
    True
    """

    FAMILY = "state"
    PAPER = "NetLock: Yu et al., SIGCOMM 2020"
    OVERFLOW = "a full queue is left to the server; tickets wrap and are compared as serial numbers"
    SHARED = 1
    """A wish: to hold the lock together with others who share it."""
    EXCLUSIVE = 2
    """A wish: to hold the lock alone."""
    RELEASE = 3
    """A wish: to give the lock back."""
    WAITING = 1
    """The request is in the queue: it has the lock as soon as `granted` has passed its `ticket`."""
    GRANTED = 2
    """The client has the lock."""
    RELEASED = 3
    """The lock was given back; in a multicast, to those whose tickets `granted` has passed by that."""
    HANDED = 4
    """The queue is full: the server deals with the request."""
    LOST = 5
    """The lock was granted in an earlier life of the switch's state, and is not held any more."""
    SERVED = 6
    """From the server: the client has the lock, and gives it back to the server."""

    locks: int = 64
    clients: int = 64
    depth: int = 8

    class Wire(Header):
        """A request, and what became of it."""

        lock = bit[16]
        client = bit[16]
        wish = bit[8]
        status = bit[8]
        epoch = bit[16]
        ticket = bit[32]
        granted = bit[32]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "locks", 1, 2**12)
        within(self, "clients", 2, 2**12)
        power_of_two(self, "depth", 2, 64)
        if self.locks * self.clients > 2**16:
            raise KernelError(
                f"{self.title}: {self.locks} locks of {self.clients} clients are more than the 65536 that are known",
                hint="lower one of the two",
            )

    def setup(self) -> None:
        """For each lock its queue; for each client of a lock its latest request and its place in the queue."""
        owners = self.locks * self.clients
        self.latest = Register(bit[32], owners)
        self.queue = Register(bit[64], self.locks, initial=FIRST << 32 | FIRST)  # the next ticket, and the first one in
        self.inside = Register(bit[1], owners)  # whether the latest request is in the queue, and not given back
        self.ticket = Register(bit[32], owners)
        self.exclusive = Register(bit[self.depth], self.locks)  # which places of the ring
        self.granted = Register(bit[32], self.locks, initial=FIRST)  # the first ticket that has to wait

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Put a request into the queue or take the first one out, once; tell how far the lock is granted."""
        if wire.lock >= self.locks or wire.client >= self.clients or packet.sequence == 0:
            packet.drop()
            return
        if wire.wish not in (self.SHARED, self.EXCLUSIVE, self.RELEASE):
            packet.drop()
            return
        releasing = wire.wish == self.RELEASE
        if releasing and wire.epoch != packet.epoch:
            wire.status = self.LOST
            wire.epoch = packet.epoch
            packet.reply()
            return
        wire.epoch = packet.epoch

        owner = bit[32](wire.lock) * self.clients + bit[32](wire.client)
        ahead = advance(self.latest, owner, packet.sequence)
        if ahead < 0:
            packet.drop()
            return

        fresh = ahead > 0
        room = bit[32](self.depth - 1)
        if wire.client == 0:
            room = bit[32](self.depth)
        asks = fresh and not releasing
        gives = fresh and releasing
        before = self.queue.update(
            wire.lock,
            lambda old: (
                concat(bits(old, 63, 32) + 1, bits(old, 31, 0))
                if asks and bits(old, 63, 32) - bits(old, 31, 0) < room
                else (
                    concat(bits(old, 63, 32), bits(old, 31, 0) + 1)
                    if gives and bits(old, 63, 32) != bits(old, 31, 0)
                    else old
                )
            ),
        )
        tail = bits(before, 63, 32)
        head = bits(before, 31, 0)
        count = tail - head
        enters = asks and count < room
        leaves = gives and count != 0

        inside = self.inside.update_fetch(owner, lambda old: 1 if enters else (0 if fresh else old))
        wire.ticket = self.ticket.update_fetch(owner, lambda old: (tail if enters else 0) if asks else old)

        mark = bit[self.depth](1) << ((tail if enters else head) % self.depth)
        alone = wire.wish == self.EXCLUSIVE
        marks = self.exclusive.update(
            wire.lock, lambda old: (old | mark if alone else old) if enters else (old & ~mark if leaves else old)
        )

        # Who has the lock next: the second in the queue and, if it shares, those behind it up to one that does not.
        turn = (head + 1) % self.depth
        ring = marks >> turn | marks << (self.depth - turn)
        following = head + 1
        goes_on = True
        for place in range(1, self.depth):
            shares = bits(ring, place - 1, place - 1) == 0
            has = goes_on and place < count and (place == 1 or shares)
            if has:
                following += 1
            goes_on = has and shares

        at_once = enters and (count == 0 or (not alone and marks == 0))
        granted = self.granted.update(
            wire.lock, lambda old: tail + 1 if at_once else (following if leaves and old == head + 1 else old)
        )
        passes = leaves and granted == head + 1 and following != granted
        wire.granted = tail + 1 if at_once else (following if passes else granted)

        if releasing:
            wire.status = self.RELEASED
            if passes:
                packet.multicast()
            else:
                packet.reply()
        elif inside == 0:
            wire.status = self.HANDED
            packet.fallback()
        else:
            # Its ticket may have left the queue: of those that share, whoever gives the lock back takes the first out.
            wire.status = self.GRANTED if int_[32](wire.granted - wire.ticket) > 0 else self.WAITING
            packet.reply()
