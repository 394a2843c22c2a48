"""Pcap files as the ports of a switch: packets come from captures, in order of time, and output goes to captures."""

from __future__ import annotations

import heapq
import itertools
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.engine import Backend, Packets
from midflight.runtime.engine.ports.pcap import PcapReader, PcapWriter
from midflight.runtime.engine.ports.spec import FilePort
from midflight.runtime.engine.ports.stats import PortStats, TrafficStats
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["FilePorts"]

# The maximum number of packets with the same time in one batch.
BATCH = 256


class FilePorts:
    """Pcap files as the ports of a switch; implements `Ports`.

    Packets are processed in order of time, and at the same time in order of ports. The program's clock starts with the
    first packet, or shows the time of the captures with `unix_time`. Output packets have the time at which they leave
    their queue, or without queues that of the packet that they come from. Queues are empty at the end. A file may be a
    pipe: packets are processed when they have been written, and those of other files wait for them.

    With `wait`, playback starts after a controller has connected and all controllers have disconnected. `finished` is
    set when all packets are processed and no controller is connected. Raises DeviceError if a file cannot be used. An
    error during playback is raised by `close`.
    """

    def __init__(
        self,
        switch: Switch,
        files: Mapping[int, FilePort],
        *,
        captures: Path | None = None,
        wait: bool = False,
        finished: threading.Event | None = None,
        unix_time: bool = False,
    ) -> None:
        self.finished = finished or threading.Event()
        self._switch = switch
        self._wait = wait
        self._lock = threading.Condition()
        self._controllers, self._visited = 0, False
        self._stopping = self._closed = self._played = False
        self._error: Exception | None = None
        self._first: int | None = 0 if unix_time else None
        self._time = 0
        self._received: Counter[int] = Counter()
        self._sent: Counter[int] = Counter()
        self._truncated: Counter[int] = Counter()
        self._other: Counter[str] = Counter()
        self._engine: Backend | None = None
        self._sources: dict[int, PcapReader | Path] = {}
        self._targets: dict[int, list[PcapWriter]] = {}
        self._kept: dict[int, PcapWriter] = {}
        self._numbers = list(files)
        with ExitStack() as opened:
            for number, each in files.items():
                if each.source is not None:
                    self._sources[number] = source = _open(each.source)
                    if isinstance(source, PcapReader):
                        opened.callback(source.close)
            for number, each in files.items():
                paths = [] if each.target is None else [each.target]
                if captures is not None:
                    captures.mkdir(parents=True, exist_ok=True)
                    paths.append(captures / f"port{number}_out.pcap")
                    self._kept[number] = opened.enter_context(PcapWriter(captures / f"port{number}_in.pcap"))
                self._targets[number] = [opened.enter_context(PcapWriter(path)) for path in paths]
            self._opened = opened.pop_all()
        self._thread = threading.Thread(target=self._run, name="pcap ports", daemon=True)

    # The methods of a `Carrier`

    @property
    def now(self) -> int:
        """The program's time at the last packet, in microseconds."""
        return (self._time - self._start) // 1000

    @property
    def _start(self) -> int:
        """The time of the captures at which the program's clock is 0, in nanoseconds."""
        return self._first or 0

    @property
    def down(self) -> frozenset[int]:
        """The ports that cannot send: none."""
        return frozenset()

    def use(self, engine: Backend | None) -> None:
        """Set the engine whose dropped packets are counted in `stats`; None for none.

        Unlike other carriers, it does not process packets with this engine, but through `Switch.process`.
        """
        if self._engine is not None and engine is not self._engine:
            self._other.update(self._engine.stats.dropped)
        self._engine = engine

    def packets_in(self) -> list[bytes]:
        """Return an empty list, because `Switch.process` delivers packet-ins itself."""
        return []

    def send(self, port: int, packet: bytes) -> None:
        """Write a packet to the output capture of a port. If the port has none, the packet is only counted."""
        self._send(self._time, port, packet)

    def wake(self) -> None:
        """Play all packets that wait in queues, if nothing else is played."""
        if self._played:
            self._depart(None)

    def _send(self, time: int, port: int, packet: bytes) -> None:
        with self._lock:
            if self._closed:
                return
            if port not in self._targets:
                self._other["no port"] += 1
                return
            self._sent[port] += 1
            for each in self._targets[port]:
                each.write(time, packet)

    # Ports

    @property
    def stats(self) -> TrafficStats:
        """The counts of received, sent and dropped packets of each port since playback started."""
        other = self._other + Counter({} if self._engine is None else dict(self._engine.stats.dropped))
        ports = {
            each: PortStats(self._received[each], self._sent[each], {"truncated": self._truncated[each]})
            for each in self._numbers
        }
        return TrafficStats(ports, other, self._switch.packets_in, self._switch.packets_out, self._switch.lost)

    def start(self) -> None:
        """Start playback in a thread. Returns at once."""
        self._switch.attach(self)
        self._switch.watchers.append(self._watch)
        self._thread.start()

    def close(self) -> None:
        """Stop playback, and close the files. Idempotent.

        The first call raises the error that ended playback, if there is one, after closing the files: DeviceError, or
        another MidflightError.
        """
        if self._closed:
            return
        self._closed = True
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive() and not any(isinstance(each, Path) for each in self._sources.values()):
            self._thread.join()  # not with pipes, as reading one may block indefinitely
        if self._watch in self._switch.watchers:
            self._switch.watchers.remove(self._watch)
            self._switch.detach()
        with self._lock:
            self._opened.close()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> FilePorts:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Playing

    def _watch(self, controllers: int) -> None:
        with self._lock:
            self._controllers = controllers
            self._visited = self._visited or controllers > 0
            self._lock.notify_all()

    def _run(self) -> None:
        try:
            with self._lock:
                while self._wait and not self._stopping and (self._controllers or not self._visited):
                    self._lock.wait()
            self._play()
            self._played = True
            with self._lock:
                while self._sources and self._controllers and not self._stopping:
                    self._lock.wait()
        except MidflightError as error:
            self._error = error
        except Exception as error:
            fault = self._switch.faults.report("playing captures", error)
            self._error = DeviceError(f"the captures were not played to their end: internal error {fault}, see the log")
        if self._sources or self._error is not None:
            self.finished.set()

    def _play(self) -> None:
        arrivals = heapq.merge(*(self._arrivals(number, source) for number, source in self._sources.items()))
        batch: list[tuple[int, bytes]] = []
        for time, port, data in arrivals:
            if batch and (time != self._time or len(batch) == BATCH):
                self._process(batch)
                batch = []
            self._depart(time)
            # A capture with decreasing times is played in its own order. The program's clock never decreases.
            self._first = time if self._first is None else self._first
            self._time = max(self._time, time)
            batch.append((port, data))
        if batch:
            self._process(batch)
        self._depart(None)

    def _depart(self, until: int | None) -> None:
        """Play the packets that leave queues before a time of the captures in ns, or with None, all of them."""
        while (due := self._switch.due) is not None and not self._stopping:
            if until is not None and due + self._start >= until:
                return
            self._time = max(self._time, due + self._start)
            self._write(self._switch.advance(due))

    def _process(self, batch: list[tuple[int, bytes]]) -> None:
        self._received.update(port for port, _ in batch)
        if self._switch.pipeline is None:
            self._other["no program"] += len(batch)
        elapsed = np.full(len(batch), self._time - self._start, np.uint64)
        self._write(self._switch.process(Packets.from_list(batch), self.now, elapsed))

    def _write(self, output: Packets) -> None:
        """Write packets to the files of their ports."""
        times = itertools.repeat(self._time) if output.times is None else output.times.tolist()
        for time, (port, data) in zip(times, output, strict=False):
            self._send(time if output.times is None else time + self._start, port, data)

    def _arrivals(self, number: int, source: PcapReader | Path) -> Iterator[tuple[int, int, bytes]]:
        """Yield the packets of one port as (time in ns, port, bytes), without truncated ones."""
        reader = source if isinstance(source, PcapReader) else PcapReader(source)
        for each in reader:
            if self._stopping:
                return
            if each.whole:
                if (kept := self._kept.get(number)) is not None:
                    kept.write(each.time, each.data)
                yield each.time, number, each.data
            else:
                self._truncated[number] += 1
                self._received[number] += 1


def _open(path: Path) -> PcapReader | Path:
    """Open a file. A pipe is only opened for playback, as opening it blocks until it has a writer."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            return path
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
    return PcapReader(path)
