"""BMv2 and the embedded switch give the same output, byte for byte, for all kinds of packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from itertools import pairwise
from random import Random

import pytest

from midflight.primitives import Aggregate, Filter, Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.steering import Member, Offload, Route
from tests.bmv2 import BMV2
from tests.primitives.rig import Sent, SwitchRig, address, mac
from tests.primitives.rig import _number as number

pytestmark = BMV2

PORTS = (1, 2, 3, 4)
CONTROLLER, CPU_PORT = 5, 510
PATIENCE = 20.0
Arrivals = Sequence[tuple[int, bytes]]


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(
        Aggregate("gradients", workers=3, lanes=4, slots=8, overflow="saturate"),
        Filter("telemetry", keep="temperature > 80 and status != 0"),
        Threshold("pressure", above=900, clear=850, sensors=8),
        Aggregate("losses", workers=2, lanes=1, slots=2, overflow="detect"),
        Filter("passing", keep="x > 0"),
    )


def steer(program: Program, device: PacketDevice, session: Session) -> None:
    """Configure a switch as any controller would, independent of its kind."""
    pipeline = device.compile(CheckedProgram(program.p4()))
    session.load(pipeline.p4info, pipeline.config)
    steering = Offload(session)
    ways = {**{port: port for port in PORTS}, CONTROLLER: CPU_PORT}
    steering.install(Route(IPv4Address(address(host)), port, number(mac(host), ":", 16)) for host, port in ways.items())
    for each in program.applications.values():
        if each.name != "passing":  # not admitted: only forwarded
            members = [Member(port, number(mac(port), ":", 16), IPv4Address(address(port)), 7000) for port in PORTS[:3]]
            steering.admit(each.id, members)
        if each.primitive.kernel.alert:
            session.subscribe(f"{each.name}_alert_t")


def requests(program: Program, random: Random, count: int) -> Iterator[bytes]:
    """Draw requests like those of hosts, including duplicates and late ones."""
    rig = SwitchRig(program)
    edges = (0, 1, -1, 2**31 - 1, -(2**31))
    sent: list[Sent] = []
    for at in range(count):
        name = random.choice(list(program.applications))
        fields: dict[str, object] = {}
        for field in program.applications[name].primitive.layout:
            kind = field.kind
            values = [
                kind.wrap(random.choice((random.getrandbits(32), random.choice(edges), random.randint(0, 5))))
                for _ in range(field.count or 1)
            ]
            fields[field.name] = values if field.count else values[0]
        if name in ("gradients", "losses"):  # few chunks, so that some sums become complete
            fields |= {"slot": random.choice((0, 0, 0, 1, 40)), "worker": random.randint(0, 3), "job": 1, "flags": 0}
        if name == "pressure":
            fields |= {"sensor": random.choice((0, 1, 7, 8, 65535)), "value": random.choice((849, 850, 899, 900, at))}
        sent.append(Sent(name, 1 + at // 100, fields))
        frame = rig.frame(random.choice(sent[-30:]))
        yield with_checksum(frame[:33] + bytes([CONTROLLER]) + frame[34:]) if at % 9 == 0 else frame


def with_checksum(frame: bytes) -> bytes:
    """Return a frame with a correct IPv4 header checksum."""
    header = frame[14:24] + bytes(2) + frame[26:34]
    total = sum(header[place] << 8 | header[place + 1] for place in range(0, 20, 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[:24] + (0xFFFF - total).to_bytes(2, "big") + frame[26:]


def damaged(frame: bytes, random: Random) -> bytes:
    """Return a frame damaged as by a faulty host or link."""
    data = bytearray(frame)
    match random.randrange(6):
        case 0:
            del data[random.randrange(1, len(data)) :]
        case 1:
            data += random.randbytes(random.randrange(1, 40))
        case 2:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        case 3:  # the IPv4 header's first byte: version and length
            data[14] = random.choice((0x44, 0x46, 0x4F, 0x65, 0x00))
        case 4:  # UDP ports, the common header
            place = random.randrange(34, min(50, len(data)))
            data[place] = random.getrandbits(8)
        case 5:  # an expired time to live
            data[22] = random.choice((0, 1, 2))
            return with_checksum(bytes(data))
    return bytes(data)


def test_all_kinds_of_packets_give_the_same_results(program: Program) -> None:
    random = Random(7)
    arrivals = [
        (random.choice(PORTS), damaged(frame, random) if random.random() < 0.3 else frame)
        for frame in requests(program, random, 1200)
    ]
    assert len(set(arrivals)) > 900
    reported = []
    for kind in ("host", "bmv2"):
        with open_device(kind) as device, device.session() as session:
            assert isinstance(device, PacketDevice)
            steer(program, device, session)
            out = device.process(Packets.from_list(arrivals))
            left = list(zip(out.sources.tolist(), list(out), strict=True))
            inward = [(each.payload, each.metadata) for each in session.packets_in()]
            counted = [session.read_counter(f"ingress.{each}", 0).packets for each in ("malformed", "unroutable")]
            reported.append((left, inward, counted))
    (left, inward, counted), (also_left, also_inward, also_counted) = reported
    for one, other in zip(left, also_left, strict=False):
        assert one == other, arrivals[one[0]][1].hex()
    assert (len(left), inward, counted) == (len(also_left), also_inward, also_counted)
    assert min(counted) > 10
    assert (len(left) > 400, len(inward) > 10) == (True, True)
    # Complete sums leave by the ports of all members.
    assert sum(one == other for (one, _), (other, _) in pairwise(left)) > 20


def test_each_alert_arrives_once_and_in_order(program: Program) -> None:
    """One packet at a time, because BMv2 does not send a digest that equals an unacknowledged one."""
    rig = SwitchRig(program)
    random = Random(3)
    readings = [(random.randrange(8), random.choice((849, 851, 899, 900, 901 + at))) for at in range(120)]
    frames = [
        rig.frame(Sent("pressure", 1, {"sensor": sensor, "value": value})) for sensor, value in [*readings, (0, 0)]
    ]
    with open_device("host") as host, host.session() as one, open_device("bmv2") as bmv2, bmv2.session() as other:
        assert isinstance(host, PacketDevice)
        assert isinstance(bmv2, PacketDevice)
        steer(program, host, one)
        steer(program, bmv2, other)
        reported = 0
        for frame in frames:
            packets = Packets.from_list([(1, frame)])
            assert list(host.process(packets)) == list(bmv2.process(packets))
            alerts = [each.values for each in one.digests()]
            # BMv2 sends digests with a delay; an extra one would have arrived before the next.
            assert [each.values for each in other.digests(timeout=PATIENCE if alerts else 0.0)] == alerts
            reported += len(alerts)
        assert reported > 20
