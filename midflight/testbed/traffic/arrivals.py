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
from midflight.runtime.steering import IPAddress
from midflight.testbed.sim.frames import Datagram, decode

__all__ = ["MOST", "Arrival", "Inbox", "Received"]

MOST: Final = 1 << 16
"""How many frames are kept for each host. Older ones are dropped and counted in `Received.missed`."""


_KINDS = {REQUEST: "request", RESULT: "result", FOR_HOST: "request left to the host"}


@dataclass(frozen=True, slots=True, repr=False)
class Arrival:
    """A message that reached a host at `time`, in nanoseconds of the network's clock.

    `source` and `destination` are pairs of address and UDP port. `mirrored` is True for copies of messages that are
    addressed to other hosts (`packet.mirror`).
    """

    host: str
    time: int
    source: Address
    destination: Address
    message: Message
    mirrored: bool = False

    @property
    def application(self) -> str:
        """The application's name."""
        return self.message.application

    @property
    def kind(self) -> int:
        """The kind of message: `REQUEST`, `RESULT`, `FOR_HOST`, or a kind that only hosts exchange."""
        return self.message.kind

    @property
    def sequence(self) -> int:
        """The sequence number of the common header."""
        return self.message.sequence

    @property
    def fields(self) -> Mapping[str, FieldValue]:
        """The application's own fields, by name."""
        return self.message.fields

    @property
    def payload(self) -> bytes:
        """The bytes after the application's header."""
        return self.message.payload

    def __repr__(self) -> str:
        kind = _KINDS.get(self.kind, f"message of kind {self.kind}")
        numbers = ", ".join(f"{name}={value}" for name, value in self.fields.items())
        where = f"{self.source[0]} to {self.destination[0]}"
        return f"<{kind} {self.sequence} of {self.application}, {where}, at {self.host}: {numbers}>"


class Received(Sequence[Arrival]):
    """The messages that have reached a host, in order of arrival. `missed` is the number of earlier ones dropped."""

    def __init__(self, arrivals: Sequence[Arrival], missed: int = 0) -> None:
        self._arrivals = tuple(arrivals)
        self.missed = missed

    @cached_property
    def results(self) -> tuple[Arrival, ...]:
        """Results that a switch, or a host in its place, has sent as a reply or multicast."""
        return tuple(each for each in self._arrivals if each.kind == RESULT and not each.mirrored)

    @cached_property
    def requests(self) -> tuple[Arrival, ...]:
        """Requests that were forwarded."""
        return tuple(each for each in self._arrivals if each.kind == REQUEST and not each.mirrored)

    @cached_property
    def left(self) -> tuple[Arrival, ...]:
        """Requests that a switch has left to the host to compute (`packet.fallback`)."""
        return tuple(each for each in self._arrivals if each.kind == FOR_HOST and not each.mirrored)

    @cached_property
    def copies(self) -> tuple[Arrival, ...]:
        """Copies of messages that are addressed to other hosts (`packet.mirror`)."""
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
    """Records the frames that reach a host with this address."""

    def __init__(self, host: str, address: IPAddress) -> None:
        self._host = host
        self._own = address
        self._frames: deque[tuple[int, bytes]] = deque(maxlen=MOST)
        self._arrivals: deque[Arrival] = deque(maxlen=MOST)
        self._missed = 0

    def take(self, now: int, frame: bytes) -> None:
        """Record a frame (`Taken`)."""
        self._missed += len(self._frames) == MOST
        self._frames.append((now, frame))

    def clear(self) -> None:
        """Clear the record."""
        self._frames.clear()
        self._arrivals.clear()
        self._missed = 0

    def received(self, schema: Schema, wanted: Callable[[Arrival], bool]) -> Received:
        """Return the recorded messages for which `wanted` returns True. Frames that are no messages are ignored."""
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
