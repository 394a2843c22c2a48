"""Entries that are written together: requests per table, entries of an earlier controller, and rollback."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from midflight.errors import DeviceError
from midflight.primitives import Program, Steering
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.p4runtime.client.connection import Connection
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.steering.entry import Entry
from midflight.runtime.steering.ledger import Ledger

STEERING = Steering(pools=1, buckets=4, instances=3)


def bucket(number: int, instance: int = 1, pool: int = 1) -> Entry:
    match = (("pool", pool), ("bucket", number))
    params = (("instance", instance), ("egress_port", 1), ("neighbour", 1))
    return Entry("ingress.steering.buckets", match, "ingress.steering.to_attached", params)


def trunk(port: int) -> Entry:
    return Entry("ingress.steering.trunks", (("port", port),), "NoAction")


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with HostDevice(Program(STEERING).p4()) as device, device.session() as session:
        yield session


def held(session: Session) -> list[tuple[int, int]]:
    entries = session.read_table("ingress.steering.buckets")
    return sorted((int(each.match["bucket"]), each.params["instance"]) for each in entries)  # type: ignore[arg-type]


def test_entries_are_written_together_and_rolled_back_together(session: Session) -> None:
    ledger = Ledger(session)
    with patch.object(Connection, "_write_request", autospec=True, side_effect=Connection._write_request) as requests:
        ledger.change_together([trunk(1), trunk(2), *(bucket(each) for each in range(3))])
        assert requests.call_count == 2
        ledger.change_together([trunk(1), *(bucket(each) for each in range(3))])
        assert requests.call_count == 2, "the switch holds them already"
    before = held(session)
    assert before == [(0, 1), (1, 1), (2, 1)]
    too_many = [bucket(0, 2), bucket(1, 2), *(bucket(each, pool=0) for each in range(4))]
    with pytest.raises(DeviceError, match=r"RESOURCE_EXHAUSTED|full|room"):
        ledger.change_together(too_many)
    assert held(session) == before
    ledger.change_together([bucket(0, 3)])
    assert held(session) == [(0, 3), (1, 1), (2, 1)]

    later = Ledger(session)  # a controller that does not know what the switch holds
    later.change_together([bucket(2, 2), bucket(3, 2)])
    assert held(session) == [(0, 3), (1, 1), (2, 2), (3, 2)]
    with pytest.raises(DeviceError, match="bit<16>"):
        later.change_together([bucket(2, 1), bucket(3, 2**16)])
    assert held(session) == [(0, 3), (1, 1), (2, 2), (3, 2)]
