"""The packet loop: the native loop of an engine's ports in a thread of its own, with its memory and counters."""

from __future__ import annotations

import functools
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.runtime.engine.backend import Backend
from midflight.runtime.engine.context import Context, Slots
from midflight.runtime.engine.engine import Engine
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.jit import Native
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.datagrams import DatagramPort
from midflight.runtime.engine.ports.interface import Interface
from midflight.runtime.engine.ports.loop import BORROWED, build_loop
from midflight.runtime.engine.ports.pcap import HEADER, record
from midflight.runtime.engine.ports.records import BATCH, CAPTURE_BYTES, CPU, NOWHERE, OUTPUTS, Capture, Output, Port
from midflight.runtime.engine.ports.send import CPU_HEAD
from midflight.runtime.engine.ports.stats import PortStats, TrafficStats
from midflight.runtime.engine.store import Store

__all__ = ["PacketLoop"]

OUT_BYTES, OUT_PACKETS = 1 << 25, 1 << 16
CPU_BYTES = 1 << 20
INPUT: dict[str, type[np.generic]] = {
    "in.offsets": np.uint32,
    "in.lengths": np.uint32,
    "in.ports": np.uint16,
    "in.times": np.uint64,
}
OUTPUT: dict[int, type[np.generic]] = {
    Output.OFFSETS: np.uint32,
    Output.LENGTHS: np.uint32,
    Output.PORTS: np.uint16,
    Output.SOURCES: np.uint32,
}
OFFLOAD_NEWS = """unsegmented TSO/GSO packets arrive from the sending host; they are dropped
    disable segmentation offload on the host's interface: ethtool -K INTERFACE tso off gso off"""
DROPS = {"oversize": Port.OVERSIZE, "offload": Port.OFFLOAD, "unsent": Port.UNSENT}

# The name under which the loop's code is stored.
_KEY = "packet loop"


class PacketLoop:
    """Carries packets between ports and an engine, from `start` to `stop`.

    `ports` are the Linux interfaces and UDP ports by port number of the program. Their creator closes them, after
    `stop`. Packets that the program sends to `cpu_port` wait for `packets_in`. Without an engine every packet is
    dropped. One thread receives and runs the program, packet after packet. With `threads` > 1 the other threads send,
    each for a share of the ports. If `captures` is a folder, the packets of each port are recorded there in
    `port1_in.pcap` and `port1_out.pcap`, and so on. DeviceError if these files cannot be written.

    The program's clock starts with the loop. With `unix_time`, it shows the time since 1970 when the loop is created,
    and runs evenly from then on. Packets that wait in queues when the loop stops are dropped and counted.
    """

    def __init__(
        self,
        gate: Gate,
        ports: Mapping[int, Interface | DatagramPort],
        *,
        cpu_port: int = 510,
        captures: Path | None = None,
        threads: int = 1,
        store: Store | None = None,
        unix_time: bool = False,
    ) -> None:
        self._gate = gate
        self._ports = dict(ports)
        self._engine: Engine | None = None
        self._past: Counter[str] = Counter()
        self._reported: dict[int, tuple[int, int]] = {}
        self._by_hand: Counter[str | int] = Counter()
        self._memory: list[NDArray[np.generic]] = []
        self._captures = {} if captures is None else _open_captures(captures, self._ports)
        self._native, slots = _compiled(store)
        self._run = self._native.function("run")
        self._enter, self._leave = (self._native.function(f"turn_{each}") for each in ("enter", "leave"))
        self._context = Context(slots)
        self._senders = [threading.Thread(target=self._send, name="sending", daemon=True) for _ in range(threads - 1)]
        self._wake, self._notice = os.eventfd(0, os.EFD_CLOEXEC), os.eventfd(0, os.EFD_CLOEXEC)
        self._lay_out(cpu_port)
        start = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._epoch = start - time.clock_gettime_ns(time.CLOCK_REALTIME) if unix_time else start
        self._context.set("epoch", self._epoch % (1 << 64))
        self._thread = threading.Thread(target=self._carry, name="ports", daemon=True)
        self.cpu_seconds = 0.0
        self._started = self._stopped = False

    # Memory

    def _lay_out(self, cpu_port: int) -> None:
        context, count = self._context, len(self._ports)
        for name, kind in INPUT.items():
            context.point(name, np.zeros(BATCH, kind))
        outputs: NDArray[np.uint64] = np.zeros((OUTPUTS, Output.SIZE // 8), np.uint64)
        for each in outputs[: OUTPUTS if self._senders else 1]:
            self._lay_out_output(each)
        context.point("outputs", outputs)
        context.set("senders", len(self._senders))
        context.set("out.capacity", OUT_BYTES)
        context.set("out.packets", OUT_PACKETS)
        context.set("out.grow", self._native.address("no_more"))
        self._cpu: NDArray[np.uint8] = np.zeros(CPU_BYTES, np.uint8)
        context.point("cpu.data", self._cpu)
        context.set("cpu.capacity", CPU_BYTES)
        where = np.full(1 << 16, NOWHERE, np.uint16)
        self._records: NDArray[np.uint64] = np.zeros((max(count, 1), Port.SIZE // 8), np.uint64)
        polls: NDArray[np.uint16] = np.zeros((count + 1, linux.POLLFD // 2), np.uint16)
        for place, (number, interface) in enumerate(self._ports.items()):
            where[number] = place
            self._lay_out_port(self._records[place], number, interface)
            polls[place, :2].view(np.int32)[0] = interface.receiver.fileno()
            polls[place, 2] = select.POLLIN
        polls[count, :2].view(np.int32)[0] = self._wake
        polls[count, 2] = select.POLLIN
        where[cpu_port] = CPU
        context.point("map", where)
        context.point("ports", self._records)
        context.point("polls", polls)
        context.set("port.count", count)
        context.set("wake", self._wake)
        context.set("notice", self._notice)

    def _lay_out_output(self, record: NDArray[np.uint64]) -> None:
        columns = {Output.DATA: np.empty(OUT_BYTES, np.uint8)}
        columns |= {offset: np.empty(OUT_PACKETS, kind) for offset, kind in OUTPUT.items()}
        for offset, column in columns.items():
            record[offset // 8] = column.ctypes.data
        self._memory += columns.values()

    def _lay_out_port(self, record: NDArray[np.uint64], number: int, interface: Interface | DatagramPort) -> None:
        vectors: NDArray[np.uint64] = np.zeros((BATCH, linux.IOVEC // 8), np.uint64)
        messages: NDArray[np.uint64] = np.zeros((BATCH, linux.MMSGHDR // 8), np.uint64)
        start = vectors.ctypes.data
        messages[:, linux.MMSGHDR_IOV // 8] = np.arange(start, start + BATCH * linux.IOVEC, linux.IOVEC)
        messages[:, linux.MMSGHDR_IOVLEN // 8] = 1
        if interface.peer:
            messages[:, linux.MMSGHDR_NAME // 8] = interface.peer
            messages.view(np.uint32)[:, linux.MMSGHDR_NAMELEN // 4] = linux.SOCKADDR
        self._memory += [vectors, messages]
        for at, file in zip((Port.INWARD, Port.OUTWARD), self._captures.get(number, ()), strict=False):
            buffer = np.empty(CAPTURE_BYTES, np.uint8)
            self._memory.append(buffer)
            record[(at + Capture.FILE) // 8] = file + 1
            record[(at + Capture.BUFFER) // 8] = buffer.ctypes.data
        for offset, value in (
            (Port.NUMBER, number),
            (Port.RING, interface.ring.ctypes.data),
            (Port.FRAME, interface.frame),
            (Port.FRAMES, interface.frames),
            (Port.SOCKET, interface.receiver.fileno()),
            (Port.SENDER, interface.sender.fileno()),
            (Port.MESSAGES, messages.ctypes.data),
            (Port.VECTORS, start),
            (Port.MAIL, interface.mail),
            (Port.SOURCE, interface.source),
            (Port.PEER, interface.peer),
        ):
            record[offset // 8] = value

    # Running

    def start(self) -> None:
        """Start the threads that carry packets, and return. May be called once."""
        address = self._context.address

        def leave() -> None:
            try:
                if self._engine is not None:
                    self._engine.flush()
            finally:
                self._leave(address)

        self._gate.attach(lambda: self._enter(address), leave)
        self._started = True
        for each in (*self._senders, self._thread):
            each.start()

    def use(self, engine: Backend | None) -> None:
        """Carry packets through this engine from now on; None drops all packets. It takes effect between two batches.

        The engine must be an `Engine` that shares the loop's gate (AssertionError for another class). It then uses real
        time.
        """
        assert engine is None or isinstance(engine, Engine)
        context = self._context
        with self._gate:
            if engine is not self._engine:
                self._past += self._lost_by_engine()
            self._engine = engine
            if engine is None:
                context.set("process", 0)
                return
            engine.live()
            engine.flush()
            process, theirs = engine.native
            for name in BORROWED:
                context.set(f"at.{name}", theirs.offset(name))
            context.set("engine", theirs.address)
            context.set("process", process)
            context.set("timed", engine.timed)
            self.wake()

    def wake(self) -> None:
        """Make the loop look again at once at when the next packet leaves its queue, after a change of settings."""
        with self._gate:
            self._context.set("due", 0)
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Stop receiving, process all received packets, and return when their output is sent.

        Interfaces stay open. May be called more than once, and without `start`.
        """
        if self._stopped:
            return
        self._stopped = True
        if self._started:
            for each in self._ports.values():
                each.refuse()
            self._context.set("stop", 1)
            os.eventfd_write(self._wake, 1)
            for thread in (self._thread, *self._senders):
                thread.join()
            self._gate.detach()
            if self._engine is not None:
                self._engine.discard()
        os.eventfd_write(self._notice, 1)

    def close(self) -> None:
        """Stop the loop and release its resources; the interfaces stay open. May be called more than once."""
        self.stop()
        for name in ("_wake", "_notice"):
            if (descriptor := getattr(self, name)) >= 0:
                setattr(self, name, -1)
                os.close(descriptor)
        for files in self._captures.values():
            for each in files:
                os.close(each)
        self._captures.clear()

    def _carry(self) -> None:
        start = time.thread_time()
        self._run(self._context.address)
        self.cpu_seconds = time.thread_time() - start

    def _send(self) -> None:
        self._native.function("send")(self._context.address)

    # Interface to the control plane

    @property
    def now(self) -> int:
        """The time that the program sees, in microseconds."""
        return (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._epoch) // 1000

    @property
    def down(self) -> frozenset[int]:
        """The ports whose interface is down or has no link."""
        return frozenset(number for number, each in self._ports.items() if not each.up)

    def wait(self) -> bool:
        """Block until there may be packet-ins, digests or interface news.

        Return False when the loop has stopped, else True.
        """
        os.eventfd_read(self._notice)
        return not self._stopped

    def packets_in(self) -> list[bytes]:
        """Return and remove the packets that the program has sent to the CPU port, oldest first."""
        with self._gate:
            taken = self._cpu[: self._context.get("cpu.used")].tobytes()
            self._context.set("cpu.used", 0)
        found, at = [], 0
        while at < len(taken):
            start, length = at + CPU_HEAD, int.from_bytes(taken[at : at + 4], "little")
            found.append(taken[start : start + length])
            at = (start + length + 7) & -8
        return found

    def send(self, port: int, packet: bytes) -> None:
        """Send a packet of the control plane by the port with this number, immediately and without the program.

        It does not block. A packet for an unknown port, or one that the interface rejects, is counted in `stats`.
        OSError only if the port is recorded and the capture file cannot be written.
        """
        interface = self._ports.get(port)
        if interface is None:
            self._by_hand["no port"] += 1
            return
        try:
            interface.send(packet)
        except OSError:
            self._by_hand["unsent"] += 1
            return
        self._by_hand[port] += 1
        if (files := self._captures.get(port)) is not None:
            os.write(files[1], record(time.time_ns(), packet))

    def news(self) -> list[str]:
        """Return messages for users about events at the interfaces since the last call, each once."""
        found = []
        for row, (number, interface) in zip(self._records.tolist(), self._ports.items(), strict=False):
            faults, offloads = self._reported.get(number, (0, 0))
            self._reported[number] = row[Port.FAULTS // 8], row[Port.OFFLOAD // 8]
            if row[Port.FAULTS // 8] != faults:
                found.append(f"port {number}: {interface.fault}")
            if row[Port.OFFLOAD // 8] and not offloads:
                found.append(f"port {number}: {OFFLOAD_NEWS}")
        return found

    @property
    def stats(self) -> TrafficStats:
        """The packet counters since the loop was created."""
        with self._gate:
            lost = self._past + self._lost_by_engine()
        for reason, slot in (("no port", "nowhere"), ("no program", "unprogrammed"), ("packet-in", "cpu.lost")):
            lost[reason] = self._context.get(slot) + self._by_hand[reason]
        lost["unsent"] = self._by_hand["unsent"]
        rows = zip(self._records.tolist(), self._ports.items(), strict=False)
        ports = {number: self._port_stats(record, number, interface) for record, (number, interface) in rows}
        return TrafficStats(ports, lost)

    def _port_stats(self, record: list[int], number: int, interface: Interface | DatagramPort) -> PortStats:
        dropped = {name: record[offset // 8] for name, offset in DROPS.items()}
        dropped["overrun"] = interface.overrun()
        return PortStats(
            received=record[Port.RECEIVED // 8] + dropped["overrun"],
            sent=record[Port.SENT // 8] + self._by_hand[number],
            dropped=dropped,
            faults=record[Port.FAULTS // 8],
        )

    def _lost_by_engine(self) -> Counter[str]:
        return Counter() if self._engine is None else Counter(dict(self._engine.stats.dropped))


@functools.cache
def _compiled(store: Store | None) -> tuple[Native, Slots]:
    """Compile the loop, or load it from `store`. It is the same for every switch: only their contexts differ."""
    stored: tuple[Native, Slots] | None = store.load(_KEY) if store is not None else None
    if stored is not None:
        return stored
    unit = build_loop()
    made = Native(str(unit.module)), unit.slots
    if store is not None:
        store.save(_KEY, made)
    return made


def _open_captures(folder: Path, ports: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Create two captures for each port and return their file descriptors."""
    opened: dict[int, tuple[int, int]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in ports:
            paths = [folder / f"port{number}_{way}.pcap" for way in ("in", "out")]
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            incoming, outgoing = (os.open(path, flags, 0o666) for path in paths)
            opened[number] = incoming, outgoing
            for each in opened[number]:
                os.write(each, HEADER)
    except OSError as error:
        for files in opened.values():
            for each in files:
                os.close(each)
        raise DeviceError(f"{error.filename or folder}: {error.strerror}") from None
    return opened
