"""The XDP engine: a checked program loaded in the kernel, with all state that a control plane reads and writes."""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import numpy as np
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.engine.bpf.arena import Arena
from midflight.runtime.engine.bpf.codegen import CodegenError
from midflight.runtime.engine.bpf.compiled import BpfCompiled
from midflight.runtime.engine.bpf.lines import failed_at
from midflight.runtime.engine.bpf.linking import Memory, link
from midflight.runtime.engine.bpf.pipeline import (
    COPIED,
    EXCHANGE,
    INTERFACES,
    LARGEST,
    MAIN,
    PORTS,
    SHORTEST,
    TEST_INTERFACE,
    WAITING,
)
from midflight.runtime.engine.bpf.ringbuffer import RingBuffer
from midflight.runtime.engine.bpf.syscall import (
    DEVMAP,
    VerifierError,
    create_map,
    load,
    possible_processors,
    run,
    update,
)
from midflight.runtime.engine.bpf.target import EVENTS, MEMORY, RECORD, ROOT
from midflight.runtime.engine.context import Context, Slots
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.memory import DEFAULT, Budget, demand
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.passes import DROPS
from midflight.runtime.engine.queues import Queueing, QueueState
from midflight.runtime.engine.records import Digest, Records
from midflight.runtime.engine.state import State, generator
from midflight.runtime.engine.stats import Stats
from midflight.runtime.engine.traces import Trace

__all__ = ["XdpEngine"]

_MEMORY = 1 << 30
_EVENTS = 1 << 24
_MOST_PORTS = 512
_ATTEMPTS = 8


class XdpEngine:
    """A v1model program in the kernel, as an XDP program, with its own state.

    The attribute `program` is the file descriptor of the XDP program, to attach to interfaces; `process` runs it
    without any.
    `tables`, `value_sets`, `profiles`, `registers`, `counters` and `meters` are by fully qualified name. Changes of
    tables and groups take effect with `commit`, all at once: a packet is processed with all of them, or with none.

    program: the checked program to load
    cpu_port: the controller's port
    seed: the first state of the program's random numbers is derived from it
    gate: the lock that is held during changes; by default, a new one
    compiled: the code of the same program if it is compiled already; engines can share code, but not state
    memory: the limit in bytes for registers, counters, meters, table entries and similar state
    queueing: settings of queues, of which `apply_queueing` accepts only the defaults

    P4Error for a construct that the engine does not support; CodegenError for a program that LLVM cannot translate to
    BPF, and VerifierError for one that the kernel's verifier rejects, both UnsupportedErrors; BudgetError if it needs
    more than `memory`; DeviceError if the kernel refuses otherwise, as without root.
    """

    def __init__(
        self,
        program: ir.Program,
        *,
        cpu_port: int = 510,
        seed: int = 0,
        gate: Gate | None = None,
        compiled: BpfCompiled | None = None,
        memory: int = DEFAULT,
        queueing: Queueing | None = None,
    ) -> None:
        self.memory = Budget(memory, demand(program, memory))
        self.compiled = compiled or BpfCompiled(program)
        self.cpu_port = cpu_port
        self.queueing = queueing or Queueing()
        self._lock = gate or Gate()
        self._arena = Arena(_MEMORY)
        self._root: NDArray[np.uint64] = self._arena.root
        context = self._context = Context(self.compiled.slots, self._arena)
        state = self._state = State(
            program, self.compiled.layouts, self.compiled.members, context, self._lock, self.memory
        )
        self.tables, self.profiles, self.registers = state.tables, state.profiles, state.registers
        self.value_sets = state.value_sets
        self.counters, self.meters = state.counters, state.meters
        self.multicast, self.clones = state.multicast, state.clones
        self.clones.has_options = False
        self._records = Records(self.compiled.records, Context(Slots()))
        self._taken = bytearray()
        self._leaving: list[tuple[int, bytes]] = []
        self._settings: NDArray[np.uint8] | None = None
        self._interfaces = self._arena.zeros(INTERFACES, np.uint16)
        self._set_up(seed)
        self.commit()
        self._events = RingBuffer(_EVENTS)
        self._ports = create_map(DEVMAP, PORTS, key=4, value=4, entries=_MOST_PORTS)
        files = [self._ports]
        self.close = weakref.finalize(self, _close, files, self._events, self._arena)
        """Unload the program, if no interface uses it, and release its memory. Idempotent."""
        maps: dict[str, int | Memory] = {MEMORY: Memory(self._arena.map), EVENTS: self._events.map, PORTS: self._ports}
        self.program = self._load(maps)
        files.append(self.program)
        if self.compiled.exclusive:
            code, _ = link(self.compiled.files[-1], EXCHANGE, maps)
            files.append(load(code, EXCHANGE))
            self._arena.copy = partial(_copy_between_packets, self._root, files[-1])

    def _set_up(self, seed: int) -> None:
        context, arena, locals_ = self._context, self._arena, self.compiled.locals.offsets
        for name, (width, values) in self.compiled.constants.items():
            context.point(f"constant.{name}", np.array(values, f"u{width // 8}"))
        context.point("interfaces", self._interfaces)
        root = self._root
        root[ROOT["random"] // 8] = generator(seed)
        root[ROOT["cpu"] // 8] = self.cpu_port
        self._blocks: list[NDArray[np.uint64]] = []
        for processor in range(possible_processors()):
            block = arena.zeros(self.compiled.block // 8 + 8, np.uint64)
            self._blocks.append(block)
            address = root[ROOT["processors"] // 8 + processor] = block.__array_interface__["data"][0]
            if "out.data" in locals_:
                block[locals_["out.data"] // 8] = address + locals_["out"]
            if self.compiled.queued:
                queue = arena.zeros(self.compiled.queued * WAITING, np.uint8)
                block[locals_["queue"] // 8] = queue.__array_interface__["data"][0]

    def _load(self, maps: dict[str, int | Memory]) -> int:
        *others, last = self.compiled.files
        for each in others:
            with suppress(VerifierError, CodegenError):
                return load(link(each, MAIN, maps)[0], MAIN)
        code, origins = link(last, MAIN, maps)
        try:
            return load(code, MAIN)
        except VerifierError as error:
            number = failed_at(error.log)
            place = None if number is None else self.compiled.place(last, origins[number])
            raise VerifierError(error.reason, error.log, place) from None

    def commit(self) -> None:
        """Make all changes of tables, groups and ports since the last call take effect, at once: a packet sees all or
        none.

        Does nothing without changes. DeviceError if the arena is full.
        """
        with self._lock:
            if self._settings is not None and not self._state.dirty:
                return
            self._state.flush()
            before, self._settings = self._settings, self._arena.place(self._context.memory.copy())
            self._root[ROOT["settings"] // 8] = self._settings.__array_interface__["data"][0]
            if before is not None:
                self._arena.give(before.__array_interface__["data"][0])

    def process(self, packets: Packets, now: int = 0, times: NDArray[np.uint64] | None = None) -> Packets:
        """Process a batch at time `now` in microseconds by the kernel's test runs, and return the packets that leave.

        Packets run one after the other. A time of 0 is the kernel's clock.
        times: uint64[n], when each packet arrives, in nanoseconds; None if all arrive at `now`; ValueError for an array
            of another shape or type

        Packets of more than 3,840 bytes and empty ones are dropped and counted as `memory`. DeviceError if the kernel
        refuses a run; the packets before it have been processed, and their output is lost.
        """
        if times is not None:
            packets.check_times(times)
        with self._lock:
            self.commit()
            sources: list[int] = []
            leaving: list[tuple[int, bytes]] = []
            for number, (port, packet) in enumerate(packets):
                self._root[ROOT["now"] // 8] = now if times is None else int(times[number]) // 1000
                for each in self._run(port, packet):
                    leaving.append(each)
                    sources.append(number)
            output = Packets.from_list(leaving)
            output.sources[:] = sources
            return output

    def _run(self, port: int, packet: bytes) -> list[tuple[int, bytes]]:
        if not 0 < len(packet) <= LARGEST:
            self._count("dropped.memory")
            return []
        root = self._root
        self._interfaces[TEST_INTERFACE] = port
        short = len(packet) < SHORTEST
        root[ROOT["length"] // 8] = len(packet) if short else 0
        root[ROOT["port"] // 8] = 0
        ran = run(self.program, packet.ljust(SHORTEST, b"\0"), room=2 * LARGEST)
        leaving = self.taken()
        if out := int(root[ROOT["port"] // 8]):
            start, size = (int(root[ROOT[name] // 8]) for name in ("start", "size"))
            bytes_ = self._arena.bytes_at(start, size) if short or size < SHORTEST else ran.packet
            leaving.insert(int(root[ROOT["before"] // 8]), (out - 1, bytes_))
        return leaving

    def taken(self) -> list[tuple[int, bytes]]:
        """Remove and return the packets that left through the ring buffer since the last call, as (port, bytes), oldest
        first.

        These are the packets to the controller, and copies that the kernel did not redirect itself. Does not wait for
        any.
        """
        with self._lock:
            self._read()
            packets, self._leaving = self._leaving, []
        return packets

    def _read(self) -> None:
        for message in self._events.read():
            port, length = struct.unpack_from("=II", message)
            if port:
                self._leaving.append((port - 1, message[RECORD : RECORD + length]))
            else:
                self._taken += message[RECORD : RECORD + length]

    @property
    def events(self) -> int:
        """The file descriptor of the ring buffer, which polls as readable while there is something for `taken`."""
        return self._events.map

    def connect(self, port: int, interface: int) -> None:
        """Connect port `port` (0 to 511) of the program to the network interface whose index is `interface`.

        DeviceError if the kernel refuses, as for a larger port.
        """
        update(self._ports, struct.pack("=I", port), struct.pack("=I", interface))
        self._interfaces[interface % INTERFACES] = port

    def digests(self) -> list[Digest]:
        """Return and remove the digests that the program has sent since the last call, oldest first."""
        return self._records.digests(self._take_records())

    def messages(self) -> list[str]:
        """Return and remove the program's log messages since the last call, oldest first."""
        return self._records.messages(self._take_records())

    def _take_records(self) -> bytes:
        with self._lock:
            self._read()
            taken, self._taken = bytes(self._taken), bytearray()
        return taken

    @property
    def assertions(self) -> int:
        """The number of `assert` and `assume` calls that failed since the engine was created."""
        return self._sum("assertions")

    @property
    def stats(self) -> Stats:
        """The engine's packet counts so far, over all processors."""
        dropped: Mapping[str, int] = {reason: self._sum(f"dropped.{reason}") for reason in (*DROPS, "busy")}
        return Stats(
            received=self._sum("received"),
            sent=self._sum("sent"),
            dropped=dropped,
            digests_lost=self._sum("digests.lost"),
            messages_lost=self._sum("log.lost"),
            assertions=self.assertions,
        )

    def _sum(self, name: str) -> int:
        offset = self.compiled.locals.offsets.get(name)
        return 0 if offset is None else sum(int(block[offset // 8]) for block in self._blocks)

    def _count(self, name: str) -> None:
        offset = self.compiled.locals.offsets.get(name)
        if offset is not None:
            self._blocks[0][offset // 8] += np.uint64(1)

    def set_port(self, port: int, *, up: bool) -> None:
        """Record whether a port is up; at first, all are.

        While a port is down, the members of action selectors' groups that watch it are left out, and multicast replicas
        to it are replaced by their backups. Takes effect with `commit`.
        """
        self._state.set_port(port, up=up)

    def trace(self, on: bool) -> None:
        """Raise DeviceError if traces are to be recorded: XDP programs record none."""
        if on:
            raise DeviceError("an XDP program records no traces", hint="run it on the embedded switch")

    def traces(self) -> list[Trace]:
        """Return no traces: the engine records none."""
        return []

    # Queues between ingress and egress, of which there are none

    def advance(self, time: int) -> Packets:  # noqa: ARG002
        """Return no packets: none waits."""
        return Packets.from_list([])

    @property
    def due(self) -> int | None:
        """None: no packet waits."""
        return None

    @property
    def queued(self) -> bool:
        """False: there are no queues."""
        return False

    def apply_queueing(self, now: int | None = None) -> bool:  # noqa: ARG002
        """Return False: nothing changes, since an XDP program has no queues.

        DeviceError if queues are configured: the interfaces have queues of their own.
        """
        if self.queueing.configured:
            raise DeviceError("an XDP program has no queues", hint="configure the interfaces instead: tc qdisc")
        return False

    def queue(self, port: int, queue: int = 0) -> QueueState:
        """Raise DeviceError in any case: an XDP program has no queues."""
        raise DeviceError(f"port {port} has no queue {queue}: an XDP program has no queues")

    def used_queues(self) -> set[tuple[int, int]]:
        """Return no queues."""
        return set()

    def discard(self) -> None:
        """Do nothing: no packet waits."""


def _copy_between_packets(root: NDArray[np.uint64], program: int, target: int, source: int, size: int) -> None:
    for name, number in (("to", target), ("from", source), ("size", size)):
        root[ROOT[f"copy.{name}"] // 8] = number
    for _ in range(_ATTEMPTS):
        if run(program, bytes(SHORTEST)).value == COPIED:
            return
    raise DeviceError("packets keep the program's registers busy, so they could not be read or written")


def _close(files: list[int], events: RingBuffer, arena: Arena) -> None:
    for each in files:
        os.close(each)
    events.close()
    arena.close()
