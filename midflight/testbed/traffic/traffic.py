"""Requests that hosts send without an endpoint, and the messages that reach hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError, WireError
from midflight.primitives import Message, Program, Schema
from midflight.primitives.wire import REQUEST, UDP_PORT
from midflight.runtime.controller.jobs import WORKER_PORT
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.testbed.fabric.base import Fabric, Host, Schedule
from midflight.testbed.traffic.arrivals import Arrival, Inbox, Received
from midflight.testbed.traffic.fields import Columns

__all__ = ["Named", "Requests", "Traffic"]

_AT_ONCE = 32  # requests in flight at a time: the queues of every device have room for them
_PATIENCE = 1.0  # seconds to wait for packets in flight before received messages are returned
_SLICE = 0.02  # seconds of the network's clock between two checks for received messages

Named = Host | str
"""A host, or its name."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of one application from host `host` to host `to`.

    `frames` are complete Ethernet frames, `sequences` their sequence numbers, `sizes` the bytes of their UDP payloads.
    """

    host: Host
    to: Host
    frames: Sequence[bytes]
    sequences: NDArray[np.uint32]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames)


class Traffic:
    """Sends requests from the hosts of a fabric, and records the messages that reach them.

    `program` returns the current program. `server` returns the host that requests of an application are addressed to,
    or None if it has no server. `admit` is called with an application, a sender and a receiver before requests are
    sent. `token` returns the token that requests of an application carry.
    """

    def __init__(
        self,
        fabric: Fabric,
        program: Callable[[], Program],
        server: Callable[[str], Host | None],
        admit: Callable[[str, Host, Host], None],
        token: Callable[[str], int],
    ) -> None:
        self.fabric = fabric
        self._program = program
        self._server = server
        self._admit = admit
        self._token = token
        self._schema: tuple[Program, Schema] | None = None
        self._inboxes: dict[str, Inbox] = {}
        self._upcoming: dict[str, int] = {}  # the next sequence number, by application

    def send(
        self,
        host: Named,
        application: str,
        fields: Mapping[str, Any],
        *,
        to: Named | None = None,
        sequence: int | Sequence[int] | NDArray[Any] | None = None,
        payload: bytes = b"",
        timeout: float = 5.0,
    ) -> NDArray[np.uint32]:
        """Send requests in batches of 32, waiting after each until it has passed the network. Returns their sequence
        numbers.

        The parameters are those of `requests`. `timeout` limits the wait for each batch, in seconds of the network's
        clock; 0 does not wait. MidflightError if a name is unknown, if no switch on the path runs the application, or
        if a batch has not passed in time; the later batches are not sent then. WireError, before any is sent, if the
        fields, the sequence numbers or the payload are invalid.
        """
        self.capture()
        requests = self.requests(host, application, fields, to=to, sequence=sequence, payload=payload)
        for start in range(0, len(requests), _AT_ONCE):
            frames = requests.frames[start : start + _AT_ONCE]
            self.fabric.play([Schedule(requests.host.name, np.zeros(len(frames), np.int64), frames)])
            if timeout > 0:
                self.settle([requests.host.name], timeout)
        return requests.sequences

    def requests(
        self,
        host: Named,
        application: str,
        fields: Mapping[str, Any],
        *,
        to: Named | None = None,
        sequence: int | Sequence[int] | NDArray[Any] | None = None,
        payload: bytes = b"",
        count: int | None = None,
        many: bool = False,
    ) -> Requests:
        """Return requests for `host` to send, and admit the application for them. Nothing is sent.

        `fields` are as in `Columns`. `to` is the receiver; None as in `destination`. `sequence` is the first sequence
        number, or an array with one for each request; None continues after the last request of the application.
        `payload` is appended to each. The number of requests is `count`, or by default the length of the fields' arrays
        or of `sequence`, or 1; with `many`, it must be given by `count` or by the fields' arrays.

        MidflightError if the host or application is unknown, if no switch on the path runs the application, or, with
        `many`, if the number is not given. WireError if the fields, the sequence numbers or the payload are invalid.
        The application is not admitted then, but numbers after the last request's may have been used up.
        """
        number, source = self.number(application), self.host(host)
        target = self.destination(source, application, to)
        columns = Columns(self._program(), application, fields)
        given = None if sequence is None or np.ndim(sequence) == 0 else len(np.asarray(sequence))
        if many and count is None and columns.length is None:
            raise MidflightError(
                f"the number of requests of {source.name} is missing", hint="pass count=1000, or fields as arrays"
            )
        amount = next(each for each in (count, columns.length, given, 1) if each is not None)
        numbers = self._sequences(application, sequence, amount)
        schema, flow, token = self.schema, self._flow(source, target, number), self._token(application)
        datagrams = [
            schema.encode(Message(REQUEST, application, each, row, payload, token))
            for each, row in zip(numbers.tolist(), columns.rows(amount), strict=True)
        ]
        sizes = np.array([len(each) for each in datagrams], np.int64)
        self._admit(application, source, target)
        return Requests(source, target, [flow.encode(each) for each in datagrams], numbers, sizes)

    def received(self, host: Named, application: str = "", *, count: int = 0, timeout: float = 5.0) -> Received:
        """Return the messages of an application that have reached a host since recording began: see `Net.received`.

        An empty `application` means all. Waits for packets in flight, at most a second, and until there are `count`
        messages. MidflightError if fewer have arrived after `timeout` seconds of the network's clock. Recording begins
        with the first `send` or `received`.
        """
        self.capture()
        name = self.host(host).name
        self.fabric.settle(None, min(timeout, _PATIENCE))

        def wanted(arrival: Arrival) -> bool:
            return application in ("", arrival.application)

        def found() -> Received:
            return self._inboxes[name].received(self.schema, wanted)

        end = self.fabric.now + round(timeout * 1e9)
        while len(arrivals := found()) < count:
            left = (end - self.fabric.now) / 1e9
            if left <= 0 or not self.pass_time(min(left, _SLICE)):
                of = f" of {application}" if application else ""
                raise MidflightError(
                    f"expected {count} messages{of} at {name} within {timeout:g} s, but {len(arrivals)} arrived"
                )
        return arrivals

    def capture(self) -> None:
        """Start to record the messages that reach each host of the fabric. Idempotent."""
        for name, host in self.fabric.hosts.items():
            if name not in self._inboxes:
                self._inboxes[name] = inbox = Inbox(name, host.address)
                self.fabric.card(name).tap(inbox.take)

    def clear(self) -> None:
        """Forget the messages recorded so far, of all hosts. Recording continues."""
        for each in self._inboxes.values():
            each.clear()

    def settle(self, senders: Sequence[str] | None, timeout: float) -> None:
        """Wait until all packets sent by these hosts have passed the network: been delivered, dropped or lost.

        `senders` are names; None means all hosts. MidflightError, with a description of what has not passed, after
        `timeout` seconds of the network's clock.
        """
        if missing := self.fabric.settle(senders, timeout):
            raise MidflightError(
                f"not everything passed the network within {timeout:g} s: {missing}",
                hint="a switch may be off; pass timeout=0 to send without waiting",
            )

    @property
    def schema(self) -> Schema:
        """The wire schema of the current program."""
        program = self._program()
        if self._schema is None or self._schema[0] is not program:
            self._schema = program, Schema(program.schema())
        return self._schema[1]

    def number(self, application: str) -> int:
        """Return the id of an application, 16 bits, by its name. MidflightError if the program does not have the
        application.
        """
        applications = self._program().applications
        if application not in applications:
            raise MidflightError(
                f"the program has no application {application!r}", hint=f"it has {', '.join(applications)}"
            )
        return applications[application].id

    def host(self, named: Named) -> Host:
        """Return the fabric's host of this name. Given a host, return the fabric's host of the same name.

        MidflightError if there is none.
        """
        name = named if isinstance(named, str) else named.name
        if name not in self.fabric.hosts:
            raise MidflightError(f"there is no host named {name}", hint=f"the hosts are {', '.join(self.fabric.hosts)}")
        return self.fabric.hosts[name]

    def destination(self, source: Host, application: str, to: Named | None) -> Host:
        """Return the host that requests of `source` are addressed to: `to` if given, or the application's server, or
        another.

        Without a server, or if `source` is the server, it is the next host with the same IP version in the order of
        hosts; after the last, the first. MidflightError if `to` is unknown.
        """
        if to is not None:
            return self.host(to)
        server = self._server(application)
        if server is not None and server.name != source.name:
            return server
        hosts = [each for each in self.fabric.hosts.values() if each.address.version == source.address.version]
        return hosts[([each.name for each in hosts].index(source.name) + 1) % len(hosts)]

    def _sequences(
        self, application: str, given: int | Sequence[int] | NDArray[Any] | None, amount: int
    ) -> NDArray[np.uint32]:
        """Return the given sequence numbers, or `amount` numbers from the given one or from the last request's on."""
        if given is None:
            given = self._upcoming.get(application, 0)
            self._upcoming[application] = (given + amount) % 2**32
        numbers = np.asarray(given)
        if (
            numbers.dtype.kind not in "iu"
            or numbers.ndim > 1
            or (numbers.size and not 0 <= numbers.min() <= numbers.max() < 2**32)
        ):
            raise WireError(f"{application}: sequence must be a bit[32] number or an array of them, not {given!r}")
        if numbers.ndim == 0:
            numbers = (int(numbers) + np.arange(amount, dtype=np.int64)) % 2**32
        if len(numbers) != amount:
            raise WireError(f"{application}: {len(numbers)} sequence numbers for {amount} requests")
        return numbers.astype(np.uint32)

    def _flow(self, source: Host, target: Host, number: int) -> UdpFlow:
        return UdpFlow(
            source_mac=source.mac,
            destination_mac=self.fabric.topology.gateway(source.name),
            source=source.address,
            destination=target.address,
            source_port=WORKER_PORT + number,
            destination_port=UDP_PORT,
        )

    def pass_time(self, seconds: float) -> float:
        """Let `seconds` of the network's clock pass while endpoints run, and return how many seconds have passed.

        Fewer pass in a simulated network that has no more events.
        """
        before = self.fabric.now
        self.fabric.drive(lambda: False, seconds)
        return (self.fabric.now - before) / 1e9
