"""What hosts send of their own accord, and what reaches them."""

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
from midflight.testbed.fabric.base import Fabric, Host, Schedule
from midflight.testbed.sim.frames import UdpFlow
from midflight.testbed.traffic.arrivals import Arrival, Inbox, Received
from midflight.testbed.traffic.fields import Columns

__all__ = ["Named", "Requests", "Traffic"]

_AT_ONCE = 32  # requests that are under way at a time: as many as the queues of every device hold
_PATIENCE = 1.0  # seconds that what is under way is given when somebody asks for what has come
_SLICE = 0.02  # seconds of the network's clock between two looks at what has come

Named = Host | str
"""A host, or its name."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of one application from one host to another, as frames; `sizes` are bytes of their UDP payloads."""

    host: Host
    to: Host
    frames: Sequence[bytes]
    sequences: NDArray[np.uint32]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames)


class Traffic:
    """Sends requests from hosts of a fabric and captures what reaches them.

    `program` gives the program that the network runs at the time, `server` the host that an application's requests are
    addressed to, where it has one. `admit` has computed on an application what one host sends to another.
    """

    def __init__(
        self,
        fabric: Fabric,
        program: Callable[[], Program],
        server: Callable[[str], Host | None],
        admit: Callable[[str, Host, Host], None],
    ) -> None:
        self.fabric = fabric
        self._program = program
        self._server = server
        self._admit = admit
        self._schema: tuple[Program, Schema] | None = None
        self._inboxes: dict[str, Inbox] = {}
        self._upcoming: dict[str, int] = {}  # sequence numbers, by application

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
        """Send requests and return their sequence numbers, once they and what came of them have arrived."""
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
        """Return requests that `host` can send: `count` of them, by default as many as the fields' arrays are for.

        With `many`, one of the two has to tell. What they ask for is admitted by default.
        """
        number, source = self.number(application), self.host(host)
        target = self.destination(source, application, to)
        columns = Columns(self._program(), application, fields)
        told = None if sequence is None or np.ndim(sequence) == 0 else len(np.asarray(sequence))
        if many and count is None and columns.length is None:
            raise MidflightError(f"it is not told how many requests {source.name} sends", hint="count=1000, or arrays")
        amount = next(each for each in (count, columns.length, told, 1) if each is not None)
        numbers = self._sequences(application, sequence, amount)
        schema, flow = self.schema, self._flow(source, target, number)
        datagrams = [
            schema.encode(Message(REQUEST, application, each, row, payload))
            for each, row in zip(numbers.tolist(), columns.rows(amount), strict=True)
        ]
        sizes = np.array([len(each) for each in datagrams], np.int64)
        self._admit(application, source, target)
        return Requests(source, target, [flow.encode(each) for each in datagrams], numbers, sizes)

    def received(self, host: Named, application: str = "", *, count: int = 0, timeout: float = 5.0) -> Received:
        """Return what has reached a host; waits until it is `count` messages."""
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
                    f"{name} has received {len(arrivals)} messages{of}, not {count}, within {timeout:g} s"
                )
        return arrivals

    def capture(self) -> None:
        """Have kept what reaches hosts, from the first time on that this is called."""
        for name, host in self.fabric.hosts.items():
            if name not in self._inboxes:
                self._inboxes[name] = inbox = Inbox(name, host.address)
                self.fabric.card(name).tap(inbox.take)

    def clear(self) -> None:
        """Forget what has reached hosts so far."""
        for each in self._inboxes.values():
            each.clear()

    def settle(self, senders: Sequence[str] | None, timeout: float) -> None:
        """Let what hosts have sent arrive. MidflightError, which tells what has not, after `timeout` seconds."""
        if missing := self.fabric.settle(senders, timeout):
            raise MidflightError(
                f"within {timeout:g} s this has not come through the network: {missing}",
                hint="is a switch off? With timeout=0 nobody waits for it",
            )

    @property
    def schema(self) -> Schema:
        """The wire schema of the present program."""
        program = self._program()
        if self._schema is None or self._schema[0] is not program:
            self._schema = program, Schema(program.schema())
        return self._schema[1]

    def number(self, application: str) -> int:
        """Return an application's id. MidflightError where the program has none such."""
        applications = self._program().applications
        if application not in applications:
            raise MidflightError(
                f"the program has no application {application!r}", hint=f"it has {', '.join(applications)}"
            )
        return applications[application].id

    def host(self, named: Named) -> Host:
        """Return a host, by itself or by its name. MidflightError where the network has none such."""
        name = named if isinstance(named, str) else named.name
        if name not in self.fabric.hosts:
            raise MidflightError(f"there is no host named {name}", hint=f"there is {', '.join(self.fabric.hosts)}")
        return self.fabric.hosts[name]

    def destination(self, source: Host, application: str, to: Named | None) -> Host:
        """Return whom a host's requests are addressed to: the one told, the application's server, or the next host."""
        if to is not None:
            return self.host(to)
        server = self._server(application)
        if server is not None and server.name != source.name:
            return server
        hosts = [each for each in self.fabric.hosts.values() if each.address.version == source.address.version]
        return hosts[([each.name for each in hosts].index(source.name) + 1) % len(hosts)]

    def _sequences(
        self, application: str, told: int | Sequence[int] | NDArray[Any] | None, amount: int
    ) -> NDArray[np.uint32]:
        """Return as many sequence numbers: those told, those from the one told on, or from the last on."""
        if told is None:
            told = self._upcoming.get(application, 0)
            self._upcoming[application] = (told + amount) % 2**32
        numbers = np.asarray(told)
        if (
            numbers.dtype.kind not in "iu"
            or numbers.ndim > 1
            or (numbers.size and not 0 <= numbers.min() <= numbers.max() < 2**32)
        ):
            raise WireError(f"{application}: sequence is one bit[32] or an array of them, not {told!r}")
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
        """Let so many seconds pass, and return how many have: 0 where nothing more happens in a simulated network."""
        before = self.fabric.now
        self.fabric.drive(lambda: False, seconds)
        return (self.fabric.now - before) / 1e9
