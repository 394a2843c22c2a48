"""A switch's ports: Linux interfaces whose packets native code carries, or pcap files that are played."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from midflight.errors import DeviceError
from midflight.runtime.engine.ports.interface import Interface
from midflight.runtime.engine.ports.namespace import within
from midflight.runtime.engine.ports.packetloop import PacketLoop
from midflight.runtime.engine.ports.spec import FilePort, InterfacePort, parse_port
from midflight.runtime.engine.ports.stats import TrafficStats
from midflight.runtime.p4runtime.ports.playback import FilePorts
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["InterfacePorts", "Ports", "open_ports"]


class Ports(Protocol):
    """The ports of a switch while it has them. A context manager: packets flow from entering it to leaving it."""

    @property
    def stats(self) -> TrafficStats:
        """What has been seen so far."""

    def start(self) -> None:
        """Let packets flow."""

    def close(self) -> None:
        """Work off what has arrived, and give the ports back. May be called more than once."""

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
) -> Ports:
    """Give a switch its ports: by number an interface's name, or `pcap:IN,OUT`, all of one kind, or none at all.

    `netns` is the network namespace of the interfaces, by name or file. `captures` is a folder to keep each port's
    packets in. Of `threads` one runs the program, and the others send by interfaces. With `wait`, files are played once
    a controller has come and gone. `finished` is an event to set when nothing more can arrive. `news` is told in words
    when an interface goes down. DeviceError where a port cannot be had.
    """
    specs = {number: parse_port(name) for number, name in names.items()}
    files = {number: each for number, each in specs.items() if isinstance(each, FilePort)}
    interfaces = {number: each.name for number, each in specs.items() if isinstance(each, InterfacePort)}
    if switch.cpu_port in specs:
        raise DeviceError(f"port {switch.cpu_port} is the CPU port", hint="give the CPU port another number")
    if files and interfaces:
        raise DeviceError("ports are interfaces or pcap files, not some of each: a file has a time of its own")
    if not interfaces:
        return FilePorts(switch, files, captures=captures, wait=wait, finished=finished)
    if wait:
        raise DeviceError("only pcap files are played when a controller has gone: interfaces have their packets anyway")
    return InterfacePorts(switch, interfaces, netns=netns, captures=captures, threads=threads, news=news)


class InterfacePorts:
    """Linux interfaces as a switch's ports (`Ports`)."""

    def __init__(
        self,
        switch: Switch,
        interfaces: Mapping[int, str],
        *,
        netns: str = "",
        captures: Path | None = None,
        threads: int = 1,
        news: Callable[[str], None] | None = None,
    ) -> None:
        self._switch = switch
        self._news = news
        self._closed = False
        self._last: TrafficStats | None = None
        with ExitStack() as opened:
            ports: dict[int, Interface] = {}

            def open_all() -> None:
                for number, name in interfaces.items():
                    ports[number] = opened.enter_context(Interface(name))

            within(netns, open_all)
            self._loop = PacketLoop(
                switch.gate,
                ports,
                cpu_port=switch.cpu_port,
                captures=captures,
                threads=threads,
                store=switch.store,
            )
            opened.callback(self._loop.close)
            self._opened = opened.pop_all()
        self._messenger = threading.Thread(target=self._carry_messages, name="packet-ins", daemon=True)

    @property
    def stats(self) -> TrafficStats:
        """What has been seen so far."""
        found = self._last or self._loop.stats
        switch = self._switch
        return TrafficStats(found.ports, found.other, switch.packets_in, switch.packets_out, switch.lost)

    def start(self) -> None:
        """Let packets flow."""
        self._switch.attach(self._loop)
        self._loop.start()
        self._messenger.start()

    def close(self) -> None:
        """Work off what has arrived, and give the interfaces back. May be called more than once."""
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
        """Take to the controllers what native code has for them, whenever it says so."""
        going = True
        while going:
            going = self._loop.wait()  # and once more for what came last
            with self._switch.faults.survived("carrying packet-ins"):
                self._switch.collect()
            with self._switch.faults.survived("telling of interfaces"):
                for words in self._loop.news():
                    self._say(words)

    def _say(self, words: str) -> None:
        if self._news is not None:
            self._news(words)
