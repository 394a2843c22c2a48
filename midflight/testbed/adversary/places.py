"""Places: implementations of the sum that a game is played on.

They are the executed kernel, on one switch or on a tree of three, and the compiled program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Literal, Protocol

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Message, Program, Schema, Verdict
from midflight.primitives.kernel.primitive import Reference
from midflight.primitives.wire import REQUEST, RESULT, UDP_PORT
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.engine.entries import Entry
from midflight.runtime.engine.tables import Table

__all__ = ["NAME", "EnginePlace", "KernelPlace", "Place", "Shape", "TreePlace"]

NAME = "sums"
_HEADERS = 42  # bytes of Ethernet, IPv4 and UDP
_MAC = 0x02_00_00_00_00_00
_RESULT_FOR_ALL = 3

Sent = list[tuple[int, bytes]]
"""What a place sends: pairs of receiver and datagram. Workers have their numbers, and switches have negative ones."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of a game's job, from which a place makes the `Aggregate` of each switch.

    `workers` are all workers of the job; the others are those of `Aggregate`.
    """

    workers: int
    slots: int
    lanes: int
    overflow: Literal["saturate", "detect"]

    def aggregate(self, workers: int, base: int = 0, rank: int = -1) -> Aggregate:
        """Return the `Aggregate` of one switch, which sums `workers` contributions; `base` and `rank` are its
        parameters.
        """
        return Aggregate(
            NAME, workers=workers, slots=self.slots, lanes=self.lanes, overflow=self.overflow, base=base, rank=rank
        )


class Place(Protocol):
    """An implementation of the sum that a game is played on: one switch or several."""

    def entrance(self, worker: int) -> int:
        """Return the number of the first switch on the path of a worker's packets. Switches have negative numbers."""

    def begin(self, epoch: int, which: int | None = None) -> None:
        """Clear the state of all switches, or only of one, and set the new epoch in all of them.

        `which` selects the switch, modulo their number; None means all.
        """

    def admit(self, token: int, job: int) -> None:
        """Compute on requests of the workers with this token in this job from now on, and on nothing else."""

    def state(self) -> object:
        """Return the state of all switches. Two results are equal if and only if the states are."""

    def compute(self, switch: int, port: int, datagram: bytes, source: int | None = None) -> Sent:
        """Process a datagram at a switch, and return what the switch sends.

        It arrives by the port of worker number `port`, directly or through another switch, with the source address of
        that worker, or of host number `source`. The host outside the job follows the workers; -1 is the server.
        """


class KernelPlace:
    """The kernel of an `Aggregate`, executed in Python, as the only switch of a game (a `Place`)."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._primitive = shape.aggregate(shape.workers)
        self._schema = Schema(Program(self._primitive).schema())
        self._kernel: Reference = self._primitive.reference()
        self._job = 0, 0

    def admit(self, token: int, job: int) -> None:
        """Compute on requests of the workers with this token in this job from now on, and on nothing else."""
        self._job = token, job

    def state(self) -> object:
        """Return what has been written to the kernel's registers."""
        return _written(self._kernel)

    def entrance(self, worker: int) -> int:  # noqa: ARG002
        """Return -1, the number of the only switch."""
        return -1

    def begin(self, epoch: int, which: int | None = None) -> None:  # noqa: ARG002
        """Clear the kernel's state and set the epoch. `which` is ignored, because there is one switch."""
        self._kernel = self._primitive.reference(epoch=epoch)

    def compute(self, switch: int, port: int, datagram: bytes, source: int | None = None) -> Sent:  # noqa: ARG002
        """Process a datagram, and return the results that the switch sends to workers, as pairs of worker and datagram.

        It arrives by the port of worker number `port`, with the source address of that worker, or of host number
        `source`.
        """
        message = self._schema.decode(datagram)
        named = message.fields["worker"]
        if not _admitted(message, self._job) or not (port == named == (port if source is None else source)):
            return []
        outcome = self._kernel.process(message)
        if outcome.verdict not in (Verdict.REPLY, Verdict.MULTICAST):
            return []
        result = self._schema.encode(outcome.message)
        receivers = range(self._shape.workers) if outcome.verdict == Verdict.MULTICAST else (port,)
        return [(each, result) for each in receivers]


def _admitted(message: Message, job: tuple[int, int]) -> bool:
    """Return whether a request has the token and the number of a job."""
    return message.kind == REQUEST and (message.token, message.fields["job"]) == job


def _written(reference: Reference) -> object:
    """Return what has been written to the registers of a kernel."""
    return [
        dict(array.written)
        for each in reference.registers.values()
        for array in ([each] if each.lanes is None else [each[lane] for lane in range(each.lanes)])
    ]


class TreePlace:
    """A tree of three switches that execute kernels in Python (a `Place`): the workers are divided between the lower
    two.

    The adversary controls packets between switches like those of the workers. The top switch has the number -3.
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
        self._job = 0, 0

    def admit(self, token: int, job: int) -> None:
        """Compute on requests of the workers with this token in this job from now on, and on nothing else."""
        self._job = token, job

    def state(self) -> object:
        """Return what has been written to the registers of each switch."""
        return [_written(each) for each in self._kernels]

    def entrance(self, worker: int) -> int:
        """Return the number, -1 or -2, of the lower switch that a worker is connected to."""
        return -1 if worker in self._halves[0] else -2

    def begin(self, epoch: int, which: int | None = None) -> None:
        """Clear the state of one switch, selected by `which`, or of all (None), and set the new epoch in all of
        them.
        """
        for number, primitive in enumerate(self._primitives):
            if which is None or number == which % len(self._primitives):
                self._kernels[number] = primitive.reference(epoch=epoch)
            else:
                self._kernels[number].epoch = epoch

    def compute(self, switch: int, port: int, datagram: bytes, source: int | None = None) -> Sent:
        """Process a datagram at one switch, and return what it sends up or down, as pairs of receiver and datagram.

        The top switch gets what the other two forward. `switch` is negative; receivers are workers, or switches with
        negative numbers. The datagram arrives by the port of worker number `port`, directly or through another switch,
        with the source address of that worker, or of host number `source`.
        """
        message, sender = self._schema.decode(datagram), port if source is None else source
        if message.kind != _RESULT_FOR_ALL and not self._sends(switch, port, sender, message):
            return [] if switch == self._TOP else [(self._TOP, datagram)]
        if message.kind == _RESULT_FOR_ALL:
            if not any(port in each for each in self._halves):  # from no switch
                return []
            result = self._schema.encode(replace(message, kind=RESULT))
            return [(each, result) for each in self._halves[-1 - switch]]
        assert message.kind == REQUEST
        outcome = self._kernels[-1 - switch].process(message)
        message = outcome.message
        if outcome.verdict == Verdict.FORWARD:
            assert switch != self._TOP
            return [(self._TOP, self._schema.encode(message))]
        if outcome.verdict == Verdict.REPLY:
            return [(port, self._schema.encode(message))]
        if outcome.verdict == Verdict.MULTICAST:
            down = self._schema.encode(replace(message, kind=_RESULT_FOR_ALL))
            return [(-1, down), (-2, down)]
        return []

    def _sends(self, switch: int, port: int, source: int, message: Message) -> bool:
        """Return whether a member sends this request to a switch: itself, or a switch below, in its number."""
        half = next((number for number, each in enumerate(self._halves) if port in each), -1)
        if half < 0 or source not in self._halves[half] or not _admitted(message, self._job):
            return False
        workers = sum(map(len, self._halves))
        number = workers + half if switch == self._TOP else source
        return message.fields["worker"] == number and (switch == self._TOP or (half == -1 - switch and port == source))


class EnginePlace:
    """The compiled program of an `Aggregate` in the engine, as the only switch (a `Place`). Worker n is on port
    n + 1.
    """

    def __init__(self, shape: Shape) -> None:
        program = Program(shape.aggregate(shape.workers))
        self._engine = Engine(check(program.p4(), "program.p4"))
        self._group = program.applications[NAME].id
        self._workers = range(shape.workers)
        self._engine.multicast.set(self._group, [(worker + 1, 0) for worker in self._workers])
        self._admission, self._membership = (
            self._engine.tables[f"ingress.{each}"] for each in ("admission", "membership")
        )
        self._job = 0, 0
        self._epoch = 0
        self._flows = [
            UdpFlow(
                source_mac=_MAC + worker + 1,
                destination_mac=_MAC,
                source=_address(worker),
                destination=IPv4Address("10.0.255.254"),
                source_port=50_000,
                destination_port=UDP_PORT,
            )
            for worker in (*self._workers, shape.workers, -1)
        ]

    def admit(self, token: int, job: int) -> None:
        """Compute on requests of the workers with this token in this job from now on, by entries of the program's
        tables.

        Each worker is admitted by its port, with its address and its number.
        """
        self._job = token, job
        _empty(self._membership)
        for worker in self._workers:
            numbers = self._group, REQUEST, worker + 1, int(_address(worker)), worker, job
            self._membership.insert(Entry(tuple(map(ir.EntryKey, numbers)), "NoAction", ()))
        self._write()

    def state(self) -> object:
        """Return the contents of all registers of the compiled program."""
        return [each.read_all().tobytes() for each in self._engine.registers.values()]

    def _write(self) -> None:
        _empty(self._admission)
        for worker in self._workers:
            key = ir.EntryKey(self._group), ir.EntryKey(worker + 1, 2**9 - 1)
            given = self._group, self._epoch, self._job[0], 1
            self._admission.insert(Entry(key, "ingress.admit", given, priority=1))

    def entrance(self, worker: int) -> int:  # noqa: ARG002
        """Return -1, the number of the only switch."""
        return -1

    def begin(self, epoch: int, which: int | None = None) -> None:  # noqa: ARG002
        """Clear all registers and set the epoch. `which` is ignored, because there is one switch."""
        for register in self._engine.registers.values():
            register.clear()
        self._epoch = epoch
        self._write()

    def compute(self, switch: int, port: int, datagram: bytes, source: int | None = None) -> Sent:  # noqa: ARG002
        """Process a datagram on the embedded switch, in a frame, and return the datagrams that it sends to workers.

        The datagram arrives by the port of worker number `port`, with the source address of that worker, or of host
        number `source`. The result is pairs of worker and datagram. `switch` is ignored, because there is one switch.
        """
        frame = self._flows[port if source is None else source].encode(datagram)
        packets: Sequence[tuple[int, bytes]] = [(port + 1, frame)]
        return [(out - 1, data[_HEADERS:]) for out, data in self._engine.process(Packets.from_list(packets))]


def _empty(table: Table) -> None:
    for each in table.entries():
        table.delete(each.keys, each.priority)


def _address(host: int) -> IPv4Address:
    """Return the address of a worker, of the host outside the job, or with -1 of the server."""
    return IPv4Address("10.0.255.254") if host < 0 else IPv4Address("10.0.0.1") + host
