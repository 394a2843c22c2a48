"""The client of a `Sequencer`: one request at a time, retransmitted until enough replicas have answered."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from midflight.errors import MidflightError
from midflight.primitives import Message, Schema
from midflight.primitives.wire import REQUEST, RESULT
from midflight.runtime.endpoint.messages import Refused, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["OrderedClient", "Payload"]

_HEAD = struct.Struct(">16sHI")


@dataclass(frozen=True, slots=True)
class Payload:
    """The payload of a client's request to a `Sequencer`: client address, number of the request, and body.

    The 32-bit number stays the same if the request is sent to the switch again as a new one.
    """

    client: Address
    number: int
    body: bytes

    def packed(self) -> bytes:
        """Return the payload as bytes: a 16-byte IPv6 or mapped IPv4 address, UDP port, number, body; big-endian.

        ValueError if the client's address is not an IP address.
        """
        host, port = ip_address(self.client[0]), self.client[1]
        if isinstance(host, IPv4Address):
            host = IPv6Address(f"::ffff:{host}")
        return _HEAD.pack(host.packed, port, self.number) + self.body

    @classmethod
    def unpacked(cls, data: bytes) -> Payload | None:
        """Return the payload that `packed` has encoded in these bytes, or None if they are too short."""
        if len(data) < _HEAD.size:
            return None
        packed, port, number = _HEAD.unpack_from(data)
        host = IPv6Address(packed)
        return cls((str(host.ipv4_mapped or host), port), number, data[_HEAD.size :])


@dataclass(slots=True)
class OrderedClient:
    """The endpoint of client number `client` of a group of a `Sequencer` application (an `Endpoint`).

    `request` queues bytes. The switch stamps them with a number and multicasts them to all replicas, and `poll`
    retransmits them until `needed` replicas (by default all) have executed them in the same place of the order.
    `answers` then holds the answer of each of these replicas, by address. If the replicas have agreed to go on without
    the stamp, the request is sent as a new one.

    address: the client's own.
    server: the address that requests are sent to.
    replicas: the addresses of the group's replicas.
    timing: the retransmission timers, None for the defaults.
    first: the number of the first request.

    A client that restarts uses a number larger than all before (`upcoming`), because the switch and the replicas accept
    each number once.
    """

    schema: Schema
    application: str
    client: int
    address: Address
    server: Address
    replicas: Sequence[Address]
    group: int = 0
    needed: int | None = None
    first: int = 1
    timing: Timing | None = None
    answers: dict[Address, bytes] = field(default_factory=dict)
    """The answers to the latest request, by the replicas' addresses; empty until enough replicas have answered."""
    void: int = 0
    """How often a request was sent again as a new one, because the replicas went on without its stamp."""
    refused: Refused = field(default_factory=Refused)
    _requests: Reliable = field(init=False)
    _current: Payload = field(init=False)
    _replies: dict[Address, tuple[tuple[int, int], bytes]] = field(default_factory=dict)
    """By replica, the place (session and stamp) of the current request, and the answer."""

    def __post_init__(self) -> None:
        self._requests = Reliable(window=1, timing=self.timing, first=self.first)

    @property
    def idle(self) -> bool:
        """Whether no request is open: the latest one has been answered by enough replicas."""
        return self._requests.idle

    @property
    def upcoming(self) -> int:
        """The number that this client's next request will have."""
        return self._requests.upcoming

    def request(self, body: bytes) -> int:
        """Queue a request with this body for the replicas to execute, and return its number. `poll` sends it.

        MidflightError if another request is open; WireError if the client's or the group's number does not fit its
        field; ValueError if the client's own address is not an IP address.
        """
        if not self.idle:
            raise MidflightError(f"client {self.client} has an open request", hint="wait until it is idle")
        number, self.answers = self.upcoming, {}
        self._current = Payload(self.address, serial(number), body)
        self._submit()
        return number

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process the answer of a replica to the open request. Anything else is ignored or counted in `refused`."""
        message = decoded(self.schema, self.application, datagram, (RESULT,), self.refused)
        if message is None:
            return
        if source not in self.replicas:
            self.refused.source += 1
        elif self._requests.is_open(self._requests.index_of(message.sequence)):
            # A replica that has restarted may have a new place for the request, which replaces its earlier answer.
            place = whole(message, "session"), whole(message, "stamp")
            self._replies[source] = place, message.payload
            answers = {each: answer for each, (found, answer) in self._replies.items() if found == place}
            if len(answers) >= (len(self.replicas) if self.needed is None else self.needed):
                self._requests.acknowledge(message.sequence, now)
                if place[1]:
                    self.answers = answers
                else:
                    self.void += 1
                    self._submit()

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: the open request, or nothing until its timer expires.

        NoAnswerError if too few replicas have answered for the configured patience.
        """
        return self._requests.poll(now)

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no request is open."""
        return self._requests.next_deadline()

    def _submit(self) -> None:
        self._replies.clear()
        fields = {"group": self.group, "client": self.client, "session": 0, "stamp": 0}
        sequence = serial(self._requests.upcoming)
        message = Message(REQUEST, self.application, sequence, fields, self._current.packed())
        self._requests.submit(self.server, [self.schema.encode(message)])
