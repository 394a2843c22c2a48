"""What sums: the kernel executed as plain Python, or the compiled program in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Protocol

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Program
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.engine.entries import Entry
from midflight.testbed.endpoint.reliable import Address
from midflight.testbed.endpoint.software import SoftwareServer
from midflight.testbed.sim.frames import UdpFlow

__all__ = ["NAME", "EnginePlace", "KernelPlace", "Place", "aggregate"]

NAME = "sums"
_HEADERS = 42  # of Ethernet, IPv4 and UDP
_MAC = 0x02_00_00_00_00_00


class Place(Protocol):
    """Something that sums, in one life of its state."""

    def begin(self, epoch: int) -> None:
        """Start a life, with nothing in memory."""

    def compute(self, worker: int, datagram: bytes) -> list[tuple[int, bytes]]:
        """Take a request; return what goes to which worker."""


def aggregate(workers: int, slots: int, lanes: int, overflow: str) -> Program:
    """Return the program that is played with."""
    assert overflow in ("saturate", "detect")
    return Program(
        Aggregate(NAME, workers=workers, slots=slots, lanes=lanes, overflow="detect")
        if overflow == "detect"
        else Aggregate(NAME, workers=workers, slots=slots, lanes=lanes)
    )


class KernelPlace:
    """The kernel, executed (a `Place`)."""

    def __init__(self, program: Program, members: Sequence[Address]) -> None:
        self._server = SoftwareServer(program)
        self._members = list(members)
        self._numbers = {address: number for number, address in enumerate(members)}

    def begin(self, epoch: int) -> None:
        """Start a life, with nothing in memory."""
        self._server.serve(NAME, self._members, epoch=epoch)

    def compute(self, worker: int, datagram: bytes) -> list[tuple[int, bytes]]:
        """Take a request; return what goes to which worker."""
        self._server.receive(self._members[worker], datagram, 0)
        return [(self._numbers[address], result) for address, result in self._server.poll(0)]


class EnginePlace:
    """The compiled program in the engine (a `Place`): worker n, from 0, is on port n + 1."""

    def __init__(self, program: Program, workers: int) -> None:
        self._engine = Engine(check(program.p4(), "program.p4"))
        self._group = program.applications[NAME].id
        self._key = ir.EntryKey(self._group)
        self._engine.multicast.set(self._group, [(worker + 1, 0) for worker in range(workers)])
        self._admission = self._engine.tables["ingress.admission"]
        self._admission.insert(Entry((self._key,), "ingress.admit", (self._group, 0)))
        self._flows = [
            UdpFlow(
                source_mac=_MAC + worker + 1,
                destination_mac=_MAC,
                source=IPv4Address("10.0.0.1") + worker,
                destination=IPv4Address("10.0.255.254"),
                source_port=50_000,
                destination_port=UDP_PORT,
            )
            for worker in range(workers)
        ]

    def begin(self, epoch: int) -> None:
        """Start a life, with nothing in memory."""
        for register in self._engine.registers.values():
            register.clear()
        self._admission.modify(Entry((self._key,), "ingress.admit", (self._group, epoch)))

    def compute(self, worker: int, datagram: bytes) -> list[tuple[int, bytes]]:
        """Take a request; return what goes to which worker."""
        frame = self._flows[worker].encode(datagram)
        return [
            (port - 1, data[_HEADERS:]) for port, data in self._engine.process(Packets.from_list([(worker + 1, frame)]))
        ]
