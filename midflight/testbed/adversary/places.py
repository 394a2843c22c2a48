"""Implementations of the summation for games: the executed kernel, on one switch or a tree, or the compiled program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Literal, Protocol

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Program, Schema, Verdict
from midflight.primitives.kernel.primitive import Reference
from midflight.primitives.wire import REQUEST, RESULT, UDP_PORT
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.engine.entries import Entry
from midflight.testbed.sim.frames import UdpFlow

__all__ = ["NAME", "EnginePlace", "KernelPlace", "Place", "Shape", "TreePlace"]

NAME = "sums"
_HEADERS = 42  # bytes of Ethernet, IPv4 and UDP
_MAC = 0x02_00_00_00_00_00
_RESULT_FOR_ALL = 3

Sent = list[tuple[int, bytes]]
"""Pairs of receiver and datagram. Workers have their numbers, and switches have negative ones."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of the job that is played."""

    workers: int
    slots: int
    lanes: int
    overflow: Literal["saturate", "detect"]

    def aggregate(self, workers: int, base: int = 0, rank: int = -1) -> Aggregate:
        """Return the primitive of one switch."""
        return Aggregate(
            NAME, workers=workers, slots=self.slots, lanes=self.lanes, overflow=self.overflow, base=base, rank=rank
        )


class Place(Protocol):
    """Something that sums: one switch or several."""

    def entrance(self, worker: int) -> int:
        """Return the first switch on the path of a worker's packets, a negative number."""

    def begin(self, epoch: int, which: int | None = None) -> None:
        """Clear the state of all switches, or only of the n-th one, and set the new epoch in all of them."""

    def compute(self, switch: int, worker: int, datagram: bytes) -> Sent:
        """Process a packet at a switch, sent by a worker, directly or through another switch.

        Return what the switch sends.
        """


class KernelPlace:
    """The executed kernel (a `Place`)."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._primitive = shape.aggregate(shape.workers)
        self._schema = Schema(Program(self._primitive).schema())
        self._kernel: Reference = self._primitive.reference()

    def entrance(self, worker: int) -> int:  # noqa: ARG002
        """Return the only switch."""
        return -1

    def begin(self, epoch: int, which: int | None = None) -> None:  # noqa: ARG002
        """Clear the state."""
        self._kernel = self._primitive.reference(epoch=epoch)

    def compute(self, switch: int, worker: int, datagram: bytes) -> Sent:  # noqa: ARG002
        """Process a packet."""
        outcome = self._kernel.process(self._schema.decode(datagram))
        if outcome.verdict not in (Verdict.REPLY, Verdict.MULTICAST):
            return []
        result = self._schema.encode(outcome.message)
        receivers = range(self._shape.workers) if outcome.verdict == Verdict.MULTICAST else (worker,)
        return [(each, result) for each in receivers]


class TreePlace:
    """Two switches with the workers divided between them, below a third one: executed kernels (a `Place`).

    The adversary controls packets between switches like those of the workers.
    """

    _TOP = -3

    def __init__(self, shape: Shape) -> None:
        count, left = shape.workers, shape.workers // 2
        self._halves = range(left), range(left, count)
        self._primitives = [
            shape.aggregate(left, rank=count),
            shape.aggregate(count - left, base=left, rank=count + 1),
            shape.aggregate(2, base=count),
        ]
        self._schema = Schema(Program(self._primitives[0]).schema())
        self._kernels = [each.reference() for each in self._primitives]

    def entrance(self, worker: int) -> int:
        """Return the worker's lower switch."""
        return -1 if worker in self._halves[0] else -2

    def begin(self, epoch: int, which: int | None = None) -> None:
        """Clear the state of one switch or of all."""
        for number, primitive in enumerate(self._primitives):
            if which is None or number == which % len(self._primitives):
                self._kernels[number] = primitive.reference(epoch=epoch)
            else:
                self._kernels[number].epoch = epoch

    def compute(self, switch: int, worker: int, datagram: bytes) -> Sent:
        """Process a packet at one switch, sending up or down."""
        message = self._schema.decode(datagram)
        if message.kind == _RESULT_FOR_ALL:
            result = self._schema.encode(replace(message, kind=RESULT))
            return [(each, result) for each in self._halves[-1 - switch]]
        assert message.kind == REQUEST
        outcome = self._kernels[-1 - switch].process(message)
        message = outcome.message
        if outcome.verdict == Verdict.FORWARD:
            assert switch != self._TOP
            return [(self._TOP, self._schema.encode(message))]
        if outcome.verdict == Verdict.REPLY:
            return [(worker, self._schema.encode(message))]
        if outcome.verdict == Verdict.MULTICAST:
            down = self._schema.encode(replace(message, kind=_RESULT_FOR_ALL))
            return [(-1, down), (-2, down)]
        return []


class EnginePlace:
    """The compiled program in the engine (a `Place`). Worker n, counted from 0, is on port n + 1."""

    def __init__(self, shape: Shape) -> None:
        program = Program(shape.aggregate(shape.workers))
        self._engine = Engine(check(program.p4(), "program.p4"))
        self._group = program.applications[NAME].id
        self._key = ir.EntryKey(self._group), ir.EntryKey(None)
        self._engine.multicast.set(self._group, [(worker + 1, 0) for worker in range(shape.workers)])
        self._admission = self._engine.tables["ingress.admission"]
        self._admission.insert(Entry(self._key, "ingress.admit", (self._group, 0, 0, 0), priority=1))
        self._flows = [
            UdpFlow(
                source_mac=_MAC + worker + 1,
                destination_mac=_MAC,
                source=IPv4Address("10.0.0.1") + worker,
                destination=IPv4Address("10.0.255.254"),
                source_port=50_000,
                destination_port=UDP_PORT,
            )
            for worker in range(shape.workers)
        ]

    def entrance(self, worker: int) -> int:  # noqa: ARG002
        """Return the only switch."""
        return -1

    def begin(self, epoch: int, which: int | None = None) -> None:  # noqa: ARG002
        """Clear the state."""
        for register in self._engine.registers.values():
            register.clear()
        self._admission.modify(Entry(self._key, "ingress.admit", (self._group, epoch, 0, 0), priority=1))

    def compute(self, switch: int, worker: int, datagram: bytes) -> Sent:  # noqa: ARG002
        """Process a packet."""
        frame = self._flows[worker].encode(datagram)
        packets: Sequence[tuple[int, bytes]] = [(worker + 1, frame)]
        return [(port - 1, data[_HEADERS:]) for port, data in self._engine.process(Packets.from_list(packets))]
