"""What a switch must answer: the executed kernel, and around it what every program does, said again without P4."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from midflight.errors import WireError
from midflight.primitives import Message, Program, Verdict
from midflight.primitives.wire import REQUEST, RESULT, UDP_PORT, VERSION, Schema
from midflight.testbed.conformance.case import Alert, Case, State, Step, Write
from midflight.testbed.conformance.network import (
    EPOCH,
    MEMBERS,
    MIRROR,
    SERVER,
    Frame,
    address,
    ipv4_header,
    mac,
    result_port,
)

__all__ = ["Model", "answered", "leaving"]

HOSTS = {address(host): host for host in (*MEMBERS, SERVER)}
HEADERS = 42  # Ethernet, IPv4 without options, UDP


class Model:
    """A switch that runs a program of one application, `app`, among the hosts of a case."""

    def __init__(self, program: Program) -> None:
        self._schema = Schema(program.schema())
        self._id = program.applications["app"].id
        self._reference = program.applications["app"].primitive.reference(epoch=EPOCH)
        self._admitted = True
        self.alerts: list[Alert] = []

    def control(self, operation: str) -> None:
        """Do a step's control operation."""
        if operation:
            self._admitted = operation.split()[0] == "admit"

    def write(self, writes: Iterable[Write]) -> None:
        """Do what the controller does to maps before a step."""
        for each in writes:
            each.apply(self._reference.map(each.map))

    def state(self) -> Iterator[State]:
        """Yield what stands in the registers' elements that have been accessed."""
        for name, register in self._reference.registers.items():
            lanes = [None] if register.lanes is None else range(register.lanes)
            for lane in lanes:
                array = register if lane is None else register[lane]
                yield from (State(name, index, value, lane) for index, value in sorted(array.written.items()))

    def send(self, port: int, packet: bytes) -> tuple[tuple[int, bytes], ...]:
        """Take one packet; return what leaves, in order of ports."""
        frame = _parse(packet)
        if frame is None:
            return ()
        message = self._message(frame)
        if message is None:
            return ()
        if message is frame or not self._admitted:
            return leaving(Verdict.FORWARD, port, frame)
        assert isinstance(message, Message)
        outcome = self._reference.process(message)
        self.alerts += [("app_alert_t", values) for values in outcome.alerts]
        changed = replace(frame, payload=self._schema.encode(outcome.message), checksum=0)
        copies = [(MIRROR, self._copied(each, frame, message)) for each in outcome.mirrored]
        return *leaving(outcome.verdict, port, changed), *copies

    def _copied(self, copy: Message, frame: Frame, message: Message) -> bytes:
        """Return a mirrored copy: the packet as it came, or as it came around."""
        checksum = frame.checksum if copy is message else 0
        return bytes(replace(frame, payload=self._schema.encode(copy), checksum=checksum))

    def _message(self, frame: Frame) -> Message | Frame | None:
        """Return what is to be computed on; the frame itself where nothing is; None where it is malformed."""
        if frame.destination_port != UDP_PORT:
            return frame
        if len(frame.payload) < 8 or frame.payload[0] != VERSION:
            return None
        kind, number = struct.unpack_from("!BH", frame.payload, 1)
        if kind != REQUEST or number != self._id:
            return frame
        try:
            return self._schema.decode(frame.payload)
        except WireError:
            return None


def leaving(verdict: Verdict, port: int, frame: Frame) -> tuple[tuple[int, bytes], ...]:
    """Return what leaves, in order of ports, where `frame` came by `port` and a kernel has put its answer into it."""
    match verdict:
        case Verdict.FORWARD | Verdict.FALLBACK:
            return _forward(frame)
        case Verdict.REPLY:
            return ((port, bytes(_turned(frame))),)
        case Verdict.MULTICAST:
            return tuple((member, bytes(_copy(frame, member))) for member in MEMBERS)
        case _:
            return ()


def answered(case: Case) -> Case:
    """Return a case with the answers that the model gives to its steps."""
    model = Model(case.program())
    steps: list[Step] = []
    for step in case.steps:
        model.control(step.control)
        model.write(step.writes)
        steps.append(replace(step, expect=model.send(step.port, step.packet)))
    return replace(case, steps=tuple(steps), alerts=tuple(model.alerts), state=tuple(model.state()))


def _forward(frame: Frame) -> tuple[tuple[int, bytes], ...]:
    host = HOSTS.get(frame.destination)
    if host is None or frame.ttl <= 1:
        return ()
    routed = replace(frame, source_mac=frame.destination_mac, destination_mac=mac(host), ttl=frame.ttl - 1)
    return ((host, bytes(routed)),)


def _turned(frame: Frame) -> Frame:
    return replace(
        frame,
        source_mac=frame.destination_mac,
        destination_mac=frame.source_mac,
        source=frame.destination,
        destination=frame.source,
        ttl=64,
        source_port=frame.destination_port,
        destination_port=frame.source_port,
        payload=_result(frame.payload),
    )


def _copy(frame: Frame, member: int) -> Frame:
    return replace(
        frame,
        source_mac=frame.destination_mac,
        destination_mac=mac(member),
        source=frame.destination,
        destination=address(member),
        ttl=64,
        source_port=UDP_PORT,
        destination_port=result_port(member),
        payload=_result(frame.payload),
    )


def _result(payload: bytes) -> bytes:
    return payload[:1] + bytes([RESULT]) + payload[2:]


def _parse(packet: bytes) -> Frame | None:
    """Return a UDP frame as this network has them; None where the switch can only drop it."""
    if len(packet) < HEADERS or packet[12:14] != b"\x08\x00" or packet[14] != 0x45:
        return None
    source, destination = IPv4Address(packet[26:30]), IPv4Address(packet[30:34])
    source_port, destination_port, _, checksum = struct.unpack_from("!HHHH", packet, 34)
    frame = Frame(
        int.from_bytes(packet[6:12], "big"),
        int.from_bytes(packet[0:6], "big"),
        source,
        destination,
        packet[22],
        source_port,
        destination_port,
        packet[HEADERS:],
        checksum,
    )
    return frame if packet[14:34] == ipv4_header(len(frame.payload), frame.ttl, source, destination) else None
