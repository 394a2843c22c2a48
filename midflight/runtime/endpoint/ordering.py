"""The clients of `Sequencer`: one request at a time, sent until enough replicas have answered it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from midflight.errors import MidflightError
from midflight.primitives import Message, Schema
from midflight.primitives.wire import REQUEST, RESULT
from midflight.runtime.endpoint.messages import decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["OrderedClient", "Payload"]

_HEAD = struct.Struct(">16sHI")


@dataclass(frozen=True, slots=True)
class Payload:
    """What stands behind the header of a request: where its client is, which of its requests it is, what it asks for.

    The number stays the same where the request has to be sent as another one to the switch.
    """

    client: Address
    number: int
    body: bytes

    def packed(self) -> bytes:
        """Return the bytes."""
        host, port = ip_address(self.client[0]), self.client[1]
        if isinstance(host, IPv4Address):
            host = IPv6Address(f"::ffff:{host}")
        return _HEAD.pack(host.packed, port, self.number) + self.body

    @classmethod
    def unpacked(cls, data: bytes) -> Payload | None:
        """Return what bytes say; None where they are too few."""
        if len(data) < _HEAD.size:
            return None
        packed, port, number = _HEAD.unpack_from(data)
        host = IPv6Address(packed)
        return cls((str(host.ipv4_mapped or host), port), number, data[_HEAD.size :])


@dataclass(slots=True)
class OrderedClient:
    """The endpoint of client number `client` of a group of an application that is a `Sequencer` (an `Endpoint`).

    `request` queues bytes, which the switch stamps and tells all replicas, and which `poll` sends until `needed` of
    them, all unless told otherwise, have executed it in one and the same place: `answers` has what each of those has
    answered, by address. Where the replicas have agreed that its stamp is void, the request is sent as a new one.

    address: the client's own. server: where requests go to. first: the number of its first request; who begins again
    takes one larger than all before (`upcoming`), for the switch and the replicas take each once.
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
    """To the latest request."""
    void: int = 0
    """How often a request was sent as a new one."""
    malformed: int = 0
    _requests: Reliable = field(init=False)
    _under_way: Payload = field(init=False)
    _told: dict[Address, tuple[tuple[int, int], bytes]] = field(default_factory=dict)
    """By replica, the place of the request, and the answer."""

    def __post_init__(self) -> None:
        self._requests = Reliable(window=1, timing=self.timing, first=self.first)

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._requests.idle

    @property
    def upcoming(self) -> int:
        """The number of the next request."""
        return self._requests.upcoming

    def request(self, body: bytes) -> int:
        """Have the replicas execute a request, and return its number. MidflightError where one is under way."""
        if not self.idle:
            raise MidflightError(f"client {self.client} has a request under way", hint="wait until it is idle")
        number, self.answers = self.upcoming, {}
        self._under_way = Payload(self.address, serial(number), body)
        self._submit()
        return number

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Take the answer of a replica."""
        message = decoded(self.schema, self.application, datagram)
        if message is None or message.kind != RESULT or source not in self.replicas:
            self.malformed += 1
        elif self._requests.is_open(self._requests.index_of(message.sequence)):
            # Where a replica has begun again, it may have another place for it now; what it said before is void.
            place = whole(message, "session"), whole(message, "stamp")
            self._told[source] = place, message.payload
            answers = {each: answer for each, (found, answer) in self._told.items() if found == place}
            if len(answers) >= (len(self.replicas) if self.needed is None else self.needed):
                self._requests.acknowledge(message.sequence, now)
                if place[1]:
                    self.answers = answers
                else:
                    self.void += 1
                    self._submit()

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now. Raises NoAnswerError where too few have answered for the whole patience."""
        return self._requests.poll(now)

    def next_deadline(self) -> int | None:
        """Return when to poll again though nothing has come in, or None."""
        return self._requests.next_deadline()

    def _submit(self) -> None:
        self._told.clear()
        fields = {"group": self.group, "client": self.client, "session": 0, "stamp": 0}
        sequence = serial(self._requests.upcoming)
        message = Message(REQUEST, self.application, sequence, fields, self._under_way.packed())
        self._requests.submit(self.server, [self.schema.encode(message)])
