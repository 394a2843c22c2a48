"""A BMv2 switch as a device: it takes what any controller says, forwards packets, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from midflight.runtime.devices import Bmv2Device
from midflight.runtime.engine import Packets
from tests.bmv2 import BMV2
from tests.p4runtime.support import EVERYTHING, ipv4

pytestmark = BMV2


@pytest.fixture(scope="module")
def device() -> Iterator[Bmv2Device]:
    with Bmv2Device(EVERYTHING) as running:
        yield running


def test_a_controller_makes_it_forward(device: Bmv2Device) -> None:
    with device.session() as session:
        session.insert(
            "route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 3, "mac": "02:00:00:00:00:03"}
        )
        ((port, left),) = device.process(Packets.from_list([(1, ipv4("10.1.2.3")), (1, ipv4("11.0.0.1"))]))
        assert port == 3
        seen = Ether(left)
        assert (seen.dst, seen.src, seen[IP].ttl) == ("02:00:00:00:00:03", "02:00:00:00:00:01", 63)
