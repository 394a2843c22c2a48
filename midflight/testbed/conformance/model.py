"""The model of a switch, from which conformance cases get their expected output: kernels executed in Python, without
P4.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from midflight.errors import WireError
from midflight.primitives import Message, Program, Verdict
from midflight.primitives.wire import COMMON, REQUEST, UDP_PORT, VERSION, Schema
from midflight.testbed.conformance.case import Alert, Case, State, Step, Write
from midflight.testbed.conformance.leaving import HOSTS, leaving
from midflight.testbed.conformance.network import (
    EPOCH,
    MIRROR,
    Frame,
    ipv4_header,
    mac,
)

__all__ = ["Model", "answered"]

HEADERS = 42  # Ethernet, IPv4 without options, UDP
HEADERS_IPV6 = 62


class Model:
    """A model of a switch that runs a program with one application, `app`, in the network of `conformance.network`.

    `ipv6` are the numbers of the members that receive results over IPv6. `alerts` are those raised so far, in order.
    """

    def __init__(self, program: Program, ipv6: Collection[int] = ()) -> None:
        self._ipv6 = ipv6
        self._schema = Schema(program.schema())
        self._id = program.applications["app"].id
        self._reference = program.applications["app"].primitive.reference(epoch=EPOCH)
        self._admitted = True
        self.alerts: list[Alert] = []

    def control(self, operation: str) -> None:
        """Apply the control operation of a step: "withdraw NAME" stops computing, "admit NAME" resumes, "" does
        nothing.
        """
        if operation:
            self._admitted = operation.split()[0] == "admit"

    def write(self, writes: Iterable[Write]) -> None:
        """Apply the controller's writes to the kernel's maps, in order."""
        for each in writes:
            each.apply(self._reference.map(each.map))

    def state(self) -> Iterator[State]:
        """Yield the current values of all register elements that have been accessed."""
        for name, register in self._reference.registers.items():
            lanes = [None] if register.lanes is None else range(register.lanes)
            for lane in lanes:
                array = register if lane is None else register[lane]
                yield from (State(name, index, value, lane) for index, value in sorted(array.written.items()))

    def send(self, port: int, packet: bytes) -> tuple[tuple[int, bytes], ...]:
        """Process one packet that arrives by `port`. Return (port, packet) pairs for the packets that leave, ordered by
        port.

        Changes the model's registers and adds to its `alerts`.
        """
        frame = _parse(packet)
        if frame is None:
            return _unread(packet)
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
        return *leaving(outcome.verdict, port, changed, self._ipv6), *copies

    def _copied(self, copy: Message, frame: Frame, message: Message) -> bytes:
        """Return a mirrored copy: the packet as it arrived, or as it was recirculated."""
        checksum = frame.checksum if copy is message else 0
        return bytes(replace(frame, payload=self._schema.encode(copy), checksum=checksum))

    def _message(self, frame: Frame) -> Message | Frame | None:
        """Return the message to compute on, the frame itself if there is none, or None if it is malformed."""
        if frame.destination_port != UDP_PORT:
            return frame
        if len(frame.payload) < COMMON or frame.payload[0] != VERSION:
            return None
        kind, number = struct.unpack_from("!BH", frame.payload, 1)
        if kind != REQUEST or number != self._id:
            return frame
        try:
            return self._schema.decode(frame.payload)
        except WireError:
            return None


def answered(case: Case, program: Program) -> Case:
    """Return a copy of a case whose expectations are the model's answers to its steps. `program` is that of the
    case.
    """
    model = Model(program, case.ipv6)
    steps: list[Step] = []
    for step in case.steps:
        model.control(step.control)
        model.write(step.writes)
        steps.append(replace(step, expect=model.send(step.port, step.packet)))
    return replace(case, steps=tuple(steps), alerts=tuple(model.alerts), state=tuple(model.state()))


def _unread(packet: bytes) -> tuple[tuple[int, bytes], ...]:
    """Return what leaves for a packet that is not a frame of this network.

    Over IPv6, packets for other UDP ports pass.
    """
    if packet[12:14] != b"\x86\xdd" or len(packet) < 54 or packet[14] >> 4 != 6 or packet[21] <= 1:
        return ()
    if packet[20] == 17 and (len(packet) < HEADERS_IPV6 or packet[56:58] == UDP_PORT.to_bytes(2, "big")):
        return ()
    host = HOSTS.get(IPv6Address(packet[38:54]))
    if host is None:
        return ()
    return ((host, mac(host).to_bytes(6, "big") + packet[:6] + packet[12:21] + bytes([packet[21] - 1]) + packet[22:]),)


def _parse(packet: bytes) -> Frame | None:
    """Return a UDP frame of this network, or None."""
    if packet[12:14] == b"\x86\xdd":
        return _parse_ipv6(packet)
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


def _parse_ipv6(packet: bytes) -> Frame | None:
    """Return a frame for Midflight's UDP port with correct headers and checksum, or None."""
    if len(packet) < HEADERS_IPV6:
        return None
    macs = int.from_bytes(packet[6:12], "big"), int.from_bytes(packet[0:6], "big")
    source_port, destination_port = struct.unpack_from("!HH", packet, 54)
    addresses = IPv6Address(packet[22:38]), IPv6Address(packet[38:54])
    frame = Frame(*macs, *addresses, packet[21], source_port, destination_port, packet[HEADERS_IPV6:])
    return frame if bytes(frame) == packet and frame.destination_port == UDP_PORT else None
