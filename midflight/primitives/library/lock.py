"""Lock: shared and exclusive locks with queues in the switch, granted in the order of requests."""

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
    """Grant locks in the order of requests: to one exclusive holder, or to all consecutive shared requests.

    Parameters:
        locks: the number of locks (1 to 4096)
        clients: the number of clients (2 to 4096), of which client 0 is the server; locks * clients is at most 65536
        depth: the capacity of a lock's queue, holders included (a power of two, 2 to 64); the last place is reserved
            for the server

    Follows NetLock (SIGCOMM 2020): each lock has a ring of requests, first come, first served. Different here: a
    request draws a ticket, and `granted` is the first ticket that has to wait. A release therefore needs no
    recirculation to grant a lock to several sharing clients: one multicast sends `granted` to all members, which
    compare it with their tickets. A client that misses it repeats its request. There are no leases, which could not
    distinguish a slow holder from a dead one. A dead client keeps its locks and places in queues until the server is
    notified, with its bits of `inside` and `latest`, and releases them on its behalf.

    A full queue overflows to the server: the request goes to the host that it is addressed to. The server requests the
    lock as client 0, for which a place is reserved, and grants it to its waiting clients in turn. It answers them
    itself, and they release to it (`midflight.runtime.endpoint.lockserver`).

    Contract with the clients: the common header's sequence numbers a client's requests for one lock from 1, compared as
    serial numbers (RFC 1982). A client has one request per lock in flight and repeats it until it is answered. The
    switch recognises repeated and late requests by their numbers, so each counts once. A client releases only locks
    that the switch has granted to it, with the `epoch` of the grant. The switch does not verify this: any release
    removes the first request from the queue.

    Tickets wrap and are compared as serial numbers. The first tickets are just below the wrap, so that it happens
    early. State: 96 + `depth` bits per lock, and 65 bits per client and lock.

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
    OVERFLOW = "a full queue overflows to the server; tickets wrap and are compared as serial numbers"
    SHARED = 1
    """A request to hold the lock together with other sharing clients."""
    EXCLUSIVE = 2
    """A request to hold the lock alone."""
    RELEASE = 3
    """A request to release the lock."""
    WAITING = 1
    """The request is in the queue. It holds the lock once `granted` has passed its `ticket`."""
    GRANTED = 2
    """The client holds the lock."""
    RELEASED = 3
    """The lock was released. In a multicast, it is now granted to the tickets that `granted` has passed."""
    HANDED = 4
    """The queue is full, and the server handles the request."""
    LOST = 5
    """The lock was granted in an earlier epoch and is no longer held."""
    SERVED = 6
    """From the server: the client holds the lock, and releases it to the server."""
    MEMBER = "client"

    locks: int = 64
    clients: int = 64
    depth: int = 8

    class Wire(Header):
        """A request and its answer: `lock` and `client` are numbers from 0, `wish` and `status` constants of `Lock`.

        `ticket` is the client's place in the queue, and `granted` the first ticket that has to wait. `epoch` is that of
        the switch's state in an answer, and that of the grant in a release.
        """

        lock = bit[16]
        client = bit[16]
        wish = bit[8]
        status = bit[8]
        epoch = bit[16]
        ticket = bit[32]
        granted = bit[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "locks", 1, 2**12)
        within(self, "clients", 2, 2**12)
        power_of_two(self, "depth", 2, 64)
        if self.locks * self.clients > 2**16:
            raise KernelError(
                f"{self.title}: {self.locks} locks times {self.clients} clients exceed the limit of 65536",
                hint="reduce locks or clients",
            )

    def setup(self) -> None:
        """Create, for each lock: its queue; for each client and lock: the latest request and its place in the queue."""
        owners = self.locks * self.clients
        self.latest = Register(bit[32], owners)
        self.queue = Register(bit[64], self.locks, initial=FIRST << 32 | FIRST)  # the next ticket, and the first one in
        self.inside = Register(bit[1], owners)  # whether the latest request is in the queue, and not given back
        self.ticket = Register(bit[32], owners)
        self.exclusive = Register(bit[self.depth], self.locks)  # the places of the ring whose requests are exclusive
        self.granted = Register(bit[32], self.locks, initial=FIRST)  # the first ticket that has to wait

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Process a request or release, once: enqueue it, or dequeue the first request; answer who has the lock.

        Reply to the client, multicast a release that grants the lock to others, or hand the request to the server if
        the queue is full. Malformed and outdated requests are dropped.
        """
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

        # The next holders: the second in the queue and, if it shares, those behind it up to the first exclusive one.
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
            # Its ticket may have left the queue: a release by any sharing client dequeues the first request.
            wire.status = self.GRANTED if int_[32](wire.granted - wire.ticket) > 0 else self.WAITING
            packet.reply()
