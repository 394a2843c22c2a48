"""Messages that have reached hosts: captured frames, decoded on demand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Final, overload

from midflight.errors import WireError
from midflight.primitives.record import FieldValue
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT, Message, Schema
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.frames import Datagram, decode
from midflight.runtime.steering import IPAddress

__all__ = ["MOST", "Arrival", "Inbox", "Received"]

MOST: Final = 1 << 16
"""How many frames are kept for each host. Older ones are dropped and counted in `Received.missed`."""


_KINDS = {REQUEST: "request", RESULT: "result", FOR_HOST: "request left to the host"}


@dataclass(frozen=True, slots=True, repr=False)
class Arrival:
    """A message that reached host `host` at `time`, in nanoseconds of the network's clock.

    `source` and `destination` are pairs of an IP address, as text, and a UDP port. `message` is the decoded UDP
    payload. `mirrored` is True for copies of messages that are addressed to other hosts (`packet.mirror` in a kernel).
    """

    host: str
    time: int
    source: Address
    destination: Address
    message: Message
    mirrored: bool = False

    @property
    def application(self) -> str:
        """The name of the message's application."""
        return self.message.application

    @property
    def kind(self) -> int:
        """The kind of message: `REQUEST`, `RESULT`, `FOR_HOST` (of `primitives.wire`), or a kind that only hosts
        exchange.
        """
        return self.message.kind

    @property
    def sequence(self) -> int:
        """The sequence number in the message's common header, 32 bits."""
        return self.message.sequence

    @property
    def fields(self) -> Mapping[str, FieldValue]:
        """The application's fields in the message by name: integers, or sequences of integers for fields with lanes."""
        return self.message.fields

    @property
    def payload(self) -> bytes:
        """The bytes that follow the application's header in the message."""
        return self.message.payload

    def __repr__(self) -> str:
        kind = _KINDS.get(self.kind, f"message of kind {self.kind}")
        numbers = ", ".join(f"{name}={value}" for name, value in self.fields.items())
        where = f"{self.source[0]} to {self.destination[0]}"
        return f"<{kind} {self.sequence} of {self.application}, {where}, at {self.host}: {numbers}>"


class Received(Sequence[Arrival]):
    """The messages that have reached a host, as an immutable sequence in order of arrival.

    `missed` is the number of older messages that are not included because the record was full (`MOST`).
    """

    def __init__(self, arrivals: Sequence[Arrival], missed: int = 0) -> None:
        self._arrivals = tuple(arrivals)
        self.missed = missed

    @cached_property
    def results(self) -> tuple[Arrival, ...]:
        """The messages of kind `RESULT`: answers of a switch, or of a host that computes in its place, unicast or
        multicast.
        """
        return tuple(each for each in self._arrivals if each.kind == RESULT and not each.mirrored)

    @cached_property
    def requests(self) -> tuple[Arrival, ...]:
        """The messages of kind `REQUEST`: requests that were forwarded to this host without an answer on the way."""
        return tuple(each for each in self._arrivals if each.kind == REQUEST and not each.mirrored)

    @cached_property
    def left(self) -> tuple[Arrival, ...]:
        """The messages of kind `FOR_HOST`: requests that a switch has passed to this host to compute
        (`packet.fallback`).
        """
        return tuple(each for each in self._arrivals if each.kind == FOR_HOST and not each.mirrored)

    @cached_property
    def copies(self) -> tuple[Arrival, ...]:
        """The copies of messages that are addressed to other hosts (`packet.mirror`), of any kind."""
        return tuple(each for each in self._arrivals if each.mirrored)

    def __len__(self) -> int:
        return len(self._arrivals)

    @overload
    def __getitem__(self, place: int) -> Arrival: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Arrival]: ...

    def __getitem__(self, place: int | slice) -> Arrival | Sequence[Arrival]:
        return self._arrivals[place]

    def __repr__(self) -> str:
        return f"Received({[*self._arrivals]!r})"


class Inbox:
    """A record of the frames that reach one host; the latest `MOST` are kept.

    `host` is the host's name. `address` is its IP address: messages to other addresses count as mirrored copies.
    """

    def __init__(self, host: str, address: IPAddress) -> None:
        self._host = host
        self._own = address
        self._frames: deque[tuple[int, bytes]] = deque(maxlen=MOST)
        self._arrivals: deque[Arrival] = deque(maxlen=MOST)
        self._missed = 0

    def take(self, now: int, frame: bytes) -> None:
        """Add a frame to the record, with its arrival time `now` in nanoseconds of the network's clock.

        A full record drops its oldest frame. A network card can call this method for each frame: it has the signature
        of `fabric.base.Taken`.
        """
        self._missed += len(self._frames) == MOST
        self._frames.append((now, frame))

    def clear(self) -> None:
        """Forget all recorded frames and messages, and the count of dropped ones."""
        self._frames.clear()
        self._arrivals.clear()
        self._missed = 0

    def received(self, schema: Schema, wanted: Callable[[Arrival], bool]) -> Received:
        """Return the recorded messages for which `wanted` returns True, in order of arrival. The record keeps them.

        New frames are decoded with `schema`, the program's wire schema. Frames that contain no valid message of it are
        dropped.
        """
        while self._frames:
            if (arrival := self._arrival(schema, *self._frames.popleft())) is not None:
                self._missed += len(self._arrivals) == MOST
                self._arrivals.append(arrival)
        return Received([each for each in self._arrivals if wanted(each)], self._missed)

    def _arrival(self, schema: Schema, now: int, frame: bytes) -> Arrival | None:
        """Return the message in a frame, or None if the frame has none."""
        try:
            datagram = decode(frame)
            message = schema.decode(datagram.payload)
        except WireError:
            return None
        ends = _ends(datagram)
        return Arrival(self._host, now, *ends, message, mirrored=ends[1][0] != str(self._own))


def _ends(datagram: Datagram) -> tuple[Address, Address]:
    family = IPv6Address if datagram.version == 6 else IPv4Address
    return (
        (str(family(datagram.source)), datagram.source_port),
        (str(family(datagram.destination)), datagram.destination_port),
    )
