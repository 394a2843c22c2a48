"""Linux interfaces as ports of a switch whose program runs in the kernel, as an XDP program."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import TracebackType

from midflight.errors import DeviceError
from midflight.runtime.engine import Backend
from midflight.runtime.engine.bpf.engine import XdpEngine
from midflight.runtime.engine.bpf.pipeline import TEST_INTERFACE
from midflight.runtime.engine.bpf.syscall import attach, replace
from midflight.runtime.engine.ports.interface import is_up
from midflight.runtime.engine.ports.namespace import within
from midflight.runtime.engine.ports.spec import check_ports
from midflight.runtime.engine.ports.stats import TrafficStats
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["KernelPorts"]


class KernelPorts:
    """Interfaces by port number, 0 to 510, to which the switch's XDP program is attached (`Ports` and `Carrier`).

    netns: the network namespace of the interfaces, by name or file
    mode: how the program is attached: `native`, by the interface's driver; `generic`, by any interface; or empty for
        the kernel's choice

    The kernel processes packets by itself. Packets to the controller, further copies of a packet, and digests come
    through a ring buffer, which a thread empties. The program is detached by `close`, and also when this process ends.
    The constructor opens the interfaces: DeviceError if one does not exist or is the CPU port. `start` attaches the
    program.
    """

    def __init__(self, switch: Switch, interfaces: Mapping[int, str], *, netns: str = "", mode: str = "") -> None:
        check_ports(interfaces, switch.cpu_port)
        self._switch = switch
        self._netns = netns
        self._mode = mode
        self._names = dict(interfaces)
        self._engine: XdpEngine | None = None
        self._links: dict[int, int] = {}
        self._closed = False
        with ExitStack() as opened:
            self._sockets: dict[int, socket.socket] = {}
            self._indexes: dict[int, int] = {}

            def open_all() -> None:
                for port, name in interfaces.items():
                    self._indexes[port] = _index(name)
                    self._sockets[port] = opened.enter_context(_sender(name))

            within(netns, open_all)
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            opened.callback(os.close, self._wake)
            self._opened = opened.pop_all()
        self._messenger = threading.Thread(target=self._carry_messages, name="packet-ins", daemon=True)

    # As a carrier

    @property
    def now(self) -> int:
        """The program's time, in microseconds: that of the system's monotonic clock."""
        return time.monotonic_ns() // 1000

    @property
    def down(self) -> frozenset[int]:
        """The ports whose interface is down or has no link."""
        return frozenset(port for port, each in self._sockets.items() if not is_up(each, self._names[port]))

    def use(self, engine: Backend | None) -> None:
        """Process packets with this engine, an `XdpEngine`, from now on.

        None is possible only before the first engine: packets then pass to the system. DeviceError if the kernel
        refuses the program, for example because an interface no longer exists, has another XDP program, or does not
        support the mode. All interfaces then keep the previous engine.
        """
        if engine is None:
            return
        assert isinstance(engine, XdpEngine), "the program runs in the kernel"
        within(self._netns, lambda: self._connect(engine))  # the kernel looks for an interface where the caller is
        engine.commit()
        if self._links:
            self._replace(engine)
        else:
            within(self._netns, lambda: self._attach(engine))
        self._engine = engine
        os.eventfd_write(self._wake, 1)

    def _connect(self, engine: XdpEngine) -> None:
        for port, index in self._indexes.items():
            engine.connect(port, index)

    def _attach(self, engine: XdpEngine) -> None:
        try:
            for port, index in self._indexes.items():
                self._links[port] = attach(engine.program, index, self._mode)
        except DeviceError as error:
            self._detach()
            raise DeviceError(f"interface {self._names[port]}: {error.message}", hint=error.hint) from None

    def _replace(self, engine: XdpEngine) -> None:
        replaced: list[int] = []
        for port, link in self._links.items():
            try:
                replace(link, engine.program)
            except DeviceError as error:
                assert self._engine is not None
                for each in replaced:
                    replace(each, self._engine.program)
                raise DeviceError(f"interface {self._names[port]}: {error.message}", hint=error.hint) from None
            replaced.append(link)

    def packets_in(self) -> list[bytes]:
        """Remove and return the packets to the CPU port; send those that the kernel leaves to this process."""
        found = []
        for port, packet in self._engine.taken() if self._engine is not None else []:
            if port == self._switch.cpu_port:
                found.append(packet)
            else:
                self.send(port, packet)
        return found

    def send(self, port: int, packet: bytes) -> None:
        """Send a packet through a port. A packet for a port that does not exist, or that it rejects, is dropped."""
        if port in self._sockets:
            try:
                self._sockets[port].send(packet)
            except OSError:
                return

    def wake(self) -> None:
        """Wake the thread that delivers packet-ins and digests; packets of the controller may have caused some."""
        os.eventfd_write(self._wake, 1)

    # As ports

    @property
    def stats(self) -> TrafficStats:
        """The packets of the present program, of all ports together: `ip -s link` has those of each."""
        engine, switch = self._engine, self._switch
        counts = None if engine is None else engine.stats
        together = (0, 0) if counts is None else (counts.received, counts.sent)
        dropped = {} if counts is None else counts.dropped
        return TrafficStats({}, dropped, switch.packets_in, switch.packets_out, switch.lost, together)

    def start(self) -> None:
        """Attach the program to the interfaces, and start the thread that delivers packet-ins and digests. Returns at
        once.

        DeviceError if an interface takes no program.
        """
        self._switch.attach(self)
        self._messenger.start()

    def close(self) -> None:
        """Detach the program and close the ports, after delivering the last messages. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._detach()
        if self._messenger.is_alive():
            os.eventfd_write(self._wake, 1)
            self._messenger.join()
            self._switch.detach()
        self._opened.close()

    def __enter__(self) -> KernelPorts:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _detach(self) -> None:
        for link in self._links.values():
            os.close(link)
        self._links.clear()

    def _carry_messages(self) -> None:
        while not self._closed:
            engine = self._engine
            waiting = [self._wake] if engine is None else [self._wake, engine.events]
            poll = select.poll()
            for each in waiting:
                poll.register(each, select.POLLIN)
            poll.poll()
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            with self._switch.faults.survived("carrying packet-ins"):
                self._switch.collect()


def _index(name: str) -> int:
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        known = ", ".join(each for _, each in socket.if_nameindex())
        raise DeviceError(f"there is no interface {name}", hint=f"the interfaces are {known}") from None
    if index == TEST_INTERFACE:
        raise DeviceError(f"interface {name} cannot be a port: test runs seem to come from it")
    return index


def _sender(name: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind((name, 0))
    return made
