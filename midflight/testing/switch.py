"""A switch under test: packets in, expected packets out, and the state of the program by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from midflight.closing import Closer
from midflight.errors import DeviceError, MidflightError, P4Error
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import Device, PacketDevice
from midflight.runtime.devices.tracing import Tracer, open_tracer
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.results import Count, Counts, DigestMessage, PacketIn, TableEntry
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.entryfiles.reading import read_entries
from midflight.runtime.p4runtime.entryfiles.steps import SessionTarget, apply
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.testbed.stf.fielddiff import Pattern, differences, values
from midflight.testbed.stf.fields import FieldAt, layout
from midflight.testing.packets import Packet, Received, as_bytes, as_pattern

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["P4Switch"]

_TRACES = 8  # traces that a message shows
_PATIENCE = 2.0  # seconds that a device in another process gets for its messages


class P4Switch:
    """A switch that runs a program, for tests. A context manager that closes it.

    device: a running device without interfaces, which the switch closes
    program: the program that it runs
    controller: whether to open a P4Runtime session, which the methods for tables, state, packet-outs, packet-ins and
        digests need: without it, they raise MidflightError, and a controller of one's own can be the primary, at
        `address`. The session subscribes to all digests.
    find: returns the path of a file that a test names

    Packets that leave are kept by port, in order, until `expect` or `received` takes them. A failed expectation raises
    AssertionError, with the differences field by field and the trace of the last packets. The constructor raises
    DeviceError, after closing the device, if it does not take packets or its session cannot be opened. All methods
    raise DeviceError if the device fails.
    """

    def __init__(
        self,
        device: Device,
        program: CheckedProgram,
        *,
        controller: bool = True,
        find: Callable[[str | Path], Path] = Path,
    ) -> None:
        opened = ExitStack()
        opened.callback(device.close)
        self._close = Closer(self, opened.close)
        try:
            if not isinstance(device, PacketDevice):  # a device of another package, or a remote one
                raise DeviceError(f"a {device.capabilities.kind} takes no packets from tests")
            self.device: PacketDevice = device
            self._program = program
            self._find = find
            self._left: dict[int, list[bytes]] = {}
            self._sent = 0
            self._now = 0
            self._last = ""
            self._tracer: Tracer | None = None
            self._traces: list[str] = []
            self._session: Session | None = None
            if controller:
                self._session = opened.enter_context(device.session())
                for each in self._session.p4info.digests:
                    self._session.subscribe(each.preamble.name)
            self._tracer = _tracer(device, self._session)
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """The address of the switch's P4Runtime server, "host:port" or "unix:/path"."""
        return self.device.address

    @property
    def session(self) -> Session:
        """The P4Runtime session, for everything that has no method here. MidflightError with `controller=False`."""
        if self._session is None:
            raise MidflightError("this switch was opened with controller=False", hint="use your own controller")
        return self._session

    # Packets

    def send(self, port: int, packet: Packet, count: int = 1) -> list[Received]:
        """Let a packet arrive by a port, `count` times, and return the packets that leave because of it, in order.

        They also wait for `expect`. Packets that the switch delays are waited for in the program's time, which advances
        by at least 1 µs for each packet. MidflightError for a text that is not hexadecimal.
        """
        data = as_bytes(packet)
        self._collect()
        sent: list[Received] = []
        for _ in range(count):
            self._sent += 1
            self._now += 1
            self._last = f"packet {self._sent}, by port {port}, {len(data)} bytes"
            out = list(self.device.process(Packets.from_list([(port, data)]), self._now))
            while (due := getattr(self.device, "due", None)) is not None:
                self._now = max(self._now, due // 1000)
                out += list(self.device.advance(due))  # type: ignore[attr-defined]
            sent += [self._received(*each) for each in out]
        self._keep((each.port, each.data) for each in sent)
        return sent

    def expect(self, port: int, packet: Packet | None = None, *, ignore: Iterable[str] = (), **fields: int) -> Received:
        """Remove the oldest packet that left by a port, require that it is the given one, and return it.

        packet: the expected packet, or None for any. In a text of hexadecimal digits, `*` stands for any digit.
        ignore: header fields of `packet` that may have any value, such as "ipv4.hdrChecksum"
        fields: required values of header fields, with two underscores for the dot: `ipv4__ttl=63`

        AssertionError if another packet left, or none. MidflightError for a field in `ignore` that the expected packet
        does not have, one in `fields` that the packet that left does not have, and a text that is not hexadecimal. The
        packet is removed in any case.
        """
        __tracebackhide__ = True
        self._collect()
        waiting = self._left.get(port)
        if not waiting:
            raise AssertionError(self._message([f"port {port}: a packet must leave, but none did", *self._others()]))
        data = waiting.pop(0)
        received = self._received(port, data)
        said = []
        if packet is not None:
            pattern = as_pattern(packet)
            layout_ = self._fields(port, pattern.data)
            said = differences(self._without(pattern, layout_, tuple(ignore)), data, layout_)
        for name, must in fields.items():
            dotted = name.replace("__", ".")
            if (has := received[dotted]) != must:
                said.append(f"{dotted} is {has}, must be {must}")
        if said:
            raise AssertionError(self._message([f"port {port}: the packet differs", *(f"  {each}" for each in said)]))
        return received

    def expect_nothing(self, port: int | None = None) -> None:
        """Require that no packet has left, by a port or with None by any, other than those that were removed.

        AssertionError if there is one, which is still there afterwards.
        """
        __tracebackhide__ = True
        self._collect()
        if others := self._others(port):
            raise AssertionError(self._message(["no other packet must leave", *others]))

    def received(self, port: int | None = None) -> list[Received]:
        """Remove and return the packets that left by a port, or with None by any port, by port and in order."""
        self._collect()
        ports = sorted(self._left) if port is None else [port]
        return [self._received(each, data) for each in ports for data in self._left.pop(each, [])]

    def wait(self, seconds: float) -> None:
        """Let seconds pass for the program: the next packet arrives later by them. For BMv2, this takes real time."""
        self._now += int(seconds * 1_000_000)
        if self.device.capabilities.kind == "bmv2":
            time.sleep(seconds)

    # Controller

    def insert(
        self, table: str, match: Mapping[str, object], action: str, *, priority: int = 0, **params: object
    ) -> None:
        """Add a table entry, with the parameters of its action by name. Values are as for `Session.insert`.

        A parameter of an action with the name of one of this method, such as `priority`, needs `session`. DeviceError
        for a name or a value that does not fit the program, or if the device rejects the entry.
        """
        self.session.insert(table, match, action, params, priority=priority)

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        """Remove a table entry. DeviceError if there is none, if it is const, or if a name or value does not fit."""
        self.session.delete(table, match, priority=priority)

    def default(self, table: str, action: str, **params: object) -> None:
        """Set the default action of a table. DeviceError for a name or value that does not fit, or a const default."""
        self.session.set_default(table, action, params)

    def entries(self, file: str | Path) -> None:
        """Apply a file of entries, of simple_switch_CLI's commands or in the JSON form of p4lang's tutorials.

        MidflightError, with file and line, for a mistake in the file, of which nothing is applied then; and for the
        first entry that the switch rejects, with those before it applied. MidflightError if the file cannot be read.
        """
        target = SessionTarget(self.session)
        apply(read_entries(self._find(file), target.schema), target)

    def table(self, name: str) -> list[TableEntry]:
        """Return the entries of a table, without its default action. DeviceError for an unknown table."""
        return self.session.read_table(name)

    def register(self, name: str, index: int | None = None) -> npt.NDArray[np.integer] | list[int] | int:
        """Return a cell of a register, or with None all cells.

        All cells are an array, or a list for more than 64 bits. DeviceError for an unknown register or index, for cells
        that are structs, and on BMv2, whose P4Runtime server does not read registers.
        """
        return self.session.read_register(name) if index is None else self.session.read_register(name, index)

    def counter(self, name: str, index: int | None = None) -> Count | Counts:
        """Return the packets and bytes of a cell of a counter, or with None of all cells as arrays.

        DeviceError for an unknown counter or index.
        """
        return self.session.read_counter(name) if index is None else self.session.read_counter(name, index)

    def packet_out(self, packet: Packet, **metadata: object) -> None:
        """Send a packet from the controller, with the fields of its packet-out header. What leaves waits for `expect`.

        DeviceError if the fields do not fit the header, or the switch refuses the packet. MidflightError for a text
        that is not hexadecimal.
        """
        self._sent += 1
        self._last = f"packet {self._sent}, from the controller"
        self.session.packet_out(as_bytes(packet), **metadata)
        self._collect()

    def packet_ins(self, timeout: float = _PATIENCE) -> list[PacketIn]:
        """Remove and return the packets for the controller, oldest first.

        From a device in another process, waits up to `timeout` seconds for the first; those of the embedded switch and
        of XDP are there when `send` returns.
        """
        return self.session.packets_in(self._timeout(timeout))

    def digests(self, timeout: float = _PATIENCE) -> list[DigestMessage]:
        """Remove and return the digests that the program has sent, such as alerts of primitives, oldest first.

        Waits as `packet_ins` does.
        """
        return self.session.digests(self._timeout(timeout))

    @property
    def trace(self) -> str:
        """What happened to the last packets in the pipeline, at most 8, as text.

        Empty on a device without traces, such as XDP, and on BMv2 with `controller=False`.
        """
        if self._tracer is not None:
            self._traces += self._tracer.take() + (self._tracer.take() if self._slow else [])
            del self._traces[:-_TRACES]
        return "\n".join(self._traces)

    def close(self) -> None:
        """Close the session and the device. May be called more than once."""
        self._close()

    def __enter__(self) -> P4Switch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def _slow(self) -> bool:
        """Whether the device is in another process, whose messages come later."""
        return not hasattr(self.device, "switch")

    def _timeout(self, seconds: float) -> float:
        return seconds if self._slow else 0.0

    def _collect(self) -> None:
        """Keep the packets that left because of packet-outs."""
        self._keep(self.device.transmitted())

    def _keep(self, packets: Iterable[tuple[int, bytes]]) -> None:
        for port, data in packets:
            self._left.setdefault(port, []).append(data)

    def _received(self, port: int, data: bytes) -> Received:
        return Received(port, data, values(self._fields(port, data), data))

    def _fields(self, port: int, data: bytes) -> list[FieldAt]:
        """Return the fields of a packet as the program's parser sees them when it arrives by this port."""
        try:
            return layout(self._program.program, data, port)
        except P4Error:
            return []  # a program that only the device's own compiler takes

    def _without(self, pattern: Pattern, fields: list[FieldAt], ignore: tuple[str, ...]) -> Pattern:
        known = {each.name: each for each in fields}
        for each in ignore:
            if each not in known:
                raise MidflightError(
                    f"the expected packet has no field {each!r}", hint=f"its fields are {', '.join(known) or '(none)'}"
                )
        return pattern.ignoring(known[each] for each in ignore)

    def _others(self, port: int | None = None) -> list[str]:
        return [
            f"  left by port {each}: {len(data)} bytes, {data[:48].hex(' ', -4)}{' ...' if len(data) > 48 else ''}"
            for each in sorted(self._left)
            if port in (None, each)
            for data in self._left[each]
        ]

    def _message(self, lines: list[str]) -> str:
        trace = self.trace
        if trace:
            lines = [*lines, "trace of the last packets:", *(f"  {each}" for each in trace.splitlines())]
        elif self._last:
            lines = [*lines, f"the last packet was {self._last}; this device has no traces"]
        return "\n".join(lines)


class _SwitchTraces:
    """The traces of a switch in this process, which are there as soon as it has processed a packet."""

    def __init__(self, switch: Switch) -> None:
        self._waiting: list[str] = []
        self._switch = switch
        switch.trace(self, lambda trace: self._waiting.append(trace.detailed()))

    def take(self) -> list[str]:
        taken, self._waiting[:] = list(self._waiting), []
        return taken

    def close(self) -> list[str]:
        self._switch.trace(self, None)
        return self.take()


def _tracer(device: Device, session: Session | None) -> Tracer | None:
    """Return a tracer of a device, or None if it has no traces."""
    switch = getattr(device, "switch", None)
    try:
        if isinstance(switch, Switch):
            return _SwitchTraces(switch)
        return open_tracer(device, session) if session is not None else None
    except DeviceError:
        return None
