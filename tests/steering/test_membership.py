"""Membership on devices: a request is computed on only with the token, by its member's port, and in the job."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from midflight.primitives import Aggregate, Message, Program, Schema
from midflight.primitives.wire import REQUEST, UDP_PORT
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.runtime.engine import Packets
from midflight.runtime.steering import Member, Offload, Route, Sender
from tests.bmv2 import BMV2

TOKEN = 0xFEED_FACE_CAFE_BEEF
SERVER = IPv4Address("10.0.0.9")
PROGRAM = Program(Aggregate("sums", workers=2, lanes=1, slots=4))


def address(worker: int) -> IPv4Address:
    return IPv4Address("10.0.0.1") + worker


def frame(worker: int, *, source: int, token: int = TOKEN, job: int = 5) -> bytes:
    fields: dict[str, Any] = {"slot": 0, "worker": worker, "flags": 0, "job": job, "epoch": 0, "values": [7]}
    payload = Schema(PROGRAM.schema()).encode(Message(REQUEST, "sums", 1, fields, token=token))
    flow = UdpFlow(
        source_mac=1,
        destination_mac=2,
        source=address(source),
        destination=SERVER,
        source_port=5000,
        destination_port=UDP_PORT,
    )
    return flow.encode(payload)


@pytest.mark.parametrize("kind", ["host", pytest.param("bmv2", marks=BMV2)])
def test_only_members_requests_are_computed_on(kind: str) -> None:
    device = open_device(kind, PROGRAM.p4())
    assert isinstance(device, PacketDevice)
    with device, device.session() as session:
        offload = Offload(session)
        offload.install([Route(SERVER, 9, 9)])
        members = [Member(worker + 1, worker, address(worker), 7000) for worker in range(2)]
        senders = [Sender(worker + 1, address(worker), worker, 5) for worker in range(2)]
        offload.admit(1, members, ports=[1, 2], token=TOKEN, senders=senders)
        offload.limit(1, 1_000_000)  # changes the rate, and no binding

        def ports(port: int, packet: bytes) -> list[int]:
            return sorted(out for out, _ in device.process(Packets.from_list([(port, packet)])))

        others = [
            (3, frame(0, source=0)),  # by a port that is not admitted
            (1, frame(0, source=0, token=TOKEN ^ 1)),
            (1, frame(1, source=0)),  # in another's number
            (1, frame(1, source=1)),  # and from its address
            (1, frame(0, source=1)),
            (1, frame(0, source=0, job=16_005)),
        ]
        assert [ports(*each) for each in others] == [[9]] * len(others)
        assert [session.read_counter("ingress.refused", reason).packets for reason in range(4)] == [1, 1, 4, 0]
        assert ports(1, frame(0, source=0)) == []
        assert [ports(*each) for each in others] == [[9]] * len(others)
        assert ports(2, frame(1, source=1)) == [1, 2]
        offload.withdraw(1)
        assert session.read_table("ingress.membership") == []
        assert ports(1, frame(0, source=0)) == [9]
