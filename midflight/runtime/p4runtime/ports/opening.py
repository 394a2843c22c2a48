"""Ports of a switch: Linux interfaces and UDP ports, whose packets native code processes, or pcap files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from midflight.errors import DeviceError
from midflight.runtime.engine.ports.datagrams import DatagramPort
from midflight.runtime.engine.ports.interface import Interface
from midflight.runtime.engine.ports.namespace import within
from midflight.runtime.engine.ports.packetloop import PacketLoop
from midflight.runtime.engine.ports.spec import FilePort, InterfacePort, UdpPort, check_ports, parse_port
from midflight.runtime.engine.ports.stats import TrafficStats
from midflight.runtime.p4runtime.ports.playback import FilePorts
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["InterfacePorts", "Ports", "open_ports"]


class Ports(Protocol):
    """The open ports of a switch. A context manager, which starts on entry and closes on exit."""

    @property
    def stats(self) -> TrafficStats:
        """The counts of received, sent and dropped packets of each port since the ports were opened."""

    def start(self) -> None:
        """Start processing packets in other threads, and return at once."""

    def close(self) -> None:
        """Process the packets that have arrived, and close the ports. Idempotent."""

    def __enter__(self) -> Ports: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_ports(
    switch: Switch,
    names: Mapping[int, str],
    *,
    netns: str = "",
    captures: Path | None = None,
    threads: int = 1,
    wait: bool = False,
    finished: threading.Event | None = None,
    news: Callable[[str], None] | None = None,
    unix_time: bool = False,
) -> Ports:
    """Open the ports of a switch, and return them.

    names: for each port number, 0 to 510, the text that `parse_port` reads: interfaces and UDP ports, or captures only;
        may be empty
    netns: the network namespace of the interfaces, by name or file
    captures: a folder for captures of each port's packets
    threads: the number of threads that process packets; one runs the program, and the others send packets to interfaces
    wait: play pcap files only after a controller has connected and all controllers have disconnected
    finished: an event that is set when no more packets can arrive from pcap files and no controller is connected
    news: called with a message when the state of an interface changes
    unix_time: whether the program's clock shows the time since 1970, and not since the start of the ports

    DeviceError if a port cannot be opened, is the CPU port, or is of another kind than the others, and for `wait` with
    interfaces. Nothing stays open then.
    """
    specs = {number: parse_port(name) for number, name in names.items()}
    files = {number: each for number, each in specs.items() if isinstance(each, FilePort)}
    live = {number: each for number, each in specs.items() if not isinstance(each, FilePort)}
    check_ports(specs, switch.cpu_port)
    if files and live:
        raise DeviceError("ports cannot be a mix of interfaces and pcap files: a file has its own clock")
    if not live:
        return FilePorts(switch, files, captures=captures, wait=wait, finished=finished, unix_time=unix_time)
    if wait:
        raise DeviceError("only pcap files can wait for a controller: packets arrive at interfaces at any time")
    return InterfacePorts(switch, live, netns=netns, captures=captures, threads=threads, news=news, unix_time=unix_time)


class InterfacePorts:
    """Linux interfaces and UDP ports as the ports of a switch (`Ports`). The parameters are those of `open_ports`.

    `interfaces` describes the ports by port number. The sockets of UDP ports are in the namespace `netns`, too.
    """

    def __init__(
        self,
        switch: Switch,
        interfaces: Mapping[int, InterfacePort | UdpPort],
        *,
        netns: str = "",
        captures: Path | None = None,
        threads: int = 1,
        news: Callable[[str], None] | None = None,
        unix_time: bool = False,
    ) -> None:
        self._switch = switch
        self._news = news
        self._closed = False
        self._last: TrafficStats | None = None
        with ExitStack() as opened:
            ports: dict[int, Interface | DatagramPort] = {}

            def open_all() -> None:
                for number, each in interfaces.items():
                    if isinstance(each, UdpPort):
                        ports[number] = opened.enter_context(DatagramPort(each))
                    else:
                        ports[number] = opened.enter_context(Interface(each.name))

            within(netns, open_all)
            self._loop = PacketLoop(
                switch.gate,
                ports,
                cpu_port=switch.cpu_port,
                captures=captures,
                threads=threads,
                store=switch.store,
                unix_time=unix_time,
            )
            opened.callback(self._loop.close)
            self._opened = opened.pop_all()
        self._messenger = threading.Thread(target=self._carry_messages, name="packet-ins", daemon=True)

    @property
    def stats(self) -> TrafficStats:
        """The counts of received, sent and dropped packets of each port since the ports were opened, also after
        `close`.
        """
        found = self._last or self._loop.stats
        switch = self._switch
        return TrafficStats(found.ports, found.other, switch.packets_in, switch.packets_out, switch.lost)

    def start(self) -> None:
        """Start processing packets in threads. Returns at once."""
        self._switch.attach(self._loop)
        self._loop.start()
        self._messenger.start()

    def close(self) -> None:
        """Process the packets that have arrived, and close the interfaces. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.stop()
        if self._messenger.is_alive():
            self._messenger.join()
            self._switch.detach()
        self._last = self._loop.stats
        self._opened.close()

    def __enter__(self) -> InterfacePorts:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _carry_messages(self) -> None:
        """Deliver packet-ins and digests from native code to the controllers, until the loop stops."""
        going = True
        while going:
            going = self._loop.wait()  # False means that this is the last iteration
            with self._switch.faults.survived("carrying packet-ins"):
                self._switch.collect()
            with self._switch.faults.survived("reporting interfaces"):
                for words in self._loop.news():
                    self._say(words)

    def _say(self, words: str) -> None:
        if self._news is not None:
            self._news(words)
