"""Pcap files as a switch's ports: captures are played in the order of their times, and what goes out is captured."""

from __future__ import annotations

import heapq
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.engine.ports.pcap import PcapReader, PcapWriter
from midflight.runtime.engine.ports.spec import FilePort
from midflight.runtime.engine.ports.stats import PortStats, TrafficStats
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["FilePorts"]

# Packets of one time that go through the switch together.
BATCH = 256


class FilePorts:
    """Pcap files as a switch's ports (`Ports`).

    Packets come in by their times, and those of one time by their ports. The program's clock begins with the first.
    What goes out has the time of the packet that it comes from. A file may be a pipe: its packets come when they are
    written, and those of other files wait for them.

    With `wait` nothing is played until a controller has come and the last one has gone. `finished` is set when
    everything is played and no controller is there. DeviceError where a file cannot be used; for what is found wrong
    only while it is played, from `close`.
    """

    def __init__(
        self,
        switch: Switch,
        files: Mapping[int, FilePort],
        *,
        captures: Path | None = None,
        wait: bool = False,
        finished: threading.Event | None = None,
    ) -> None:
        self.finished = finished or threading.Event()
        self._switch = switch
        self._wait = wait
        self._lock = threading.Condition()
        self._controllers, self._visited = 0, False
        self._stopping = self._closed = False
        self._error: Exception | None = None
        self._first: int | None = None
        self._time = 0
        self._received: Counter[int] = Counter()
        self._sent: Counter[int] = Counter()
        self._truncated: Counter[int] = Counter()
        self._other: Counter[str] = Counter()
        self._engine: Engine | None = None
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

    # A switch's carrier

    @property
    def now(self) -> int:
        """The time of the last packet, in microseconds since the first."""
        return (self._time - (self._first or 0)) // 1000

    def use(self, engine: Engine | None) -> None:
        """Take note of an engine: its counts are among ours. `Switch.process` finds it by itself."""
        if self._engine is not None and engine is not self._engine:
            self._other.update(self._engine.stats.dropped)
        self._engine = engine

    def packets_in(self) -> list[bytes]:
        """Return nothing: `Switch.process` has given the controllers what is theirs."""
        return []

    def send(self, port: int, packet: bytes) -> None:
        """Write a packet to a port's file."""
        with self._lock:
            if self._closed:
                return
            if port not in self._targets:
                self._other["no port"] += 1
                return
            self._sent[port] += 1
            for each in self._targets[port]:
                each.write(self._time, packet)

    # Ports

    @property
    def stats(self) -> TrafficStats:
        """What has been seen so far."""
        other = self._other + Counter({} if self._engine is None else dict(self._engine.stats.dropped))
        ports = {
            each: PortStats(self._received[each], self._sent[each], {"truncated": self._truncated[each]})
            for each in self._numbers
        }
        return TrafficStats(ports, other, self._switch.packets_in, self._switch.packets_out, self._switch.lost)

    def start(self) -> None:
        """Begin to play."""
        self._switch.attach(self)
        self._switch.watchers.append(self._watch)
        self._thread.start()

    def close(self) -> None:
        """Play no further, and bring what went out to its files. May be called more than once."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive() and not any(isinstance(each, Path) for each in self._sources.values()):
            self._thread.join()  # who reads a pipe may wait for ever
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
            # A capture whose times go back is played in its own order; the program's clock never goes back.
            self._first = time if self._first is None else self._first
            self._time = max(self._time, time)
            batch.append((port, data))
        if batch:
            self._process(batch)

    def _process(self, batch: list[tuple[int, bytes]]) -> None:
        self._received.update(port for port, _ in batch)
        if self._switch.pipeline is None:
            self._other["no program"] += len(batch)
        for port, data in self._switch.process(Packets.from_list(batch), self.now):
            self.send(port, data)

    def _arrivals(self, number: int, source: PcapReader | Path) -> Iterator[tuple[int, int, bytes]]:
        """Yield the packets of one port with their times."""
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
    """Open a file; a pipe is opened when it is played, which waits for somebody to write to it."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            return path
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
    return PcapReader(path)
