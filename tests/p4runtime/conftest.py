"""One embedded switch for all tests that do not change its program. Each test gets it without entries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from finsy.proto import p4i, p4r

from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.devices import HostDevice
from midflight.runtime.p4runtime.client.session import Session
from tests.p4runtime.support import EVERYTHING, Controller, entity, updates


@pytest.fixture(scope="session")
def info() -> p4i.P4Info:
    return p4info(check(EVERYTHING))


@pytest.fixture(scope="session")
def config(info: p4i.P4Info) -> p4r.ForwardingPipelineConfig:
    return p4r.ForwardingPipelineConfig(p4info=info, p4_device_config=EVERYTHING.encode())


@pytest.fixture(scope="session")
def ids(info: p4i.P4Info) -> dict[str, int]:
    """The ids of all objects by their full names."""
    parts = (info.tables, info.actions, info.counters, info.direct_counters, info.meters, info.registers, info.digests)
    return {each.preamble.name: each.preamble.id for part in parts for each in part}


@pytest.fixture(scope="session")
def running() -> Iterator[HostDevice]:
    with HostDevice(EVERYTHING) as device:
        yield device


@pytest.fixture
def device(running: HostDevice) -> Iterator[HostDevice]:
    yield running
    running.transmitted()
    with Controller(running.address) as cleaner:
        cleaner.become_primary()
        wild = [
            p4r.Entity(table_entry=p4r.TableEntry()),
            entity(packet_replication_engine_entry={"multicast_group_entry": {}}),
            entity(packet_replication_engine_entry={"clone_session_entry": {}}),
            p4r.Entity(digest_entry=p4r.DigestEntry()),
        ]
        found = [each for each in cleaner.read(*wild) if not each.table_entry.is_const]
        cleaner.write(*updates("DELETE", *found))
        pipeline = running.switch.pipeline
        assert pipeline is not None
        resets = [
            p4r.Entity(table_entry=p4r.TableEntry(table_id=number, is_default_action=True))
            for number, table in pipeline.tables.items()
            if not table.table.default_const
        ]
        cleaner.write(*updates("MODIFY", *resets))
        for register in pipeline.engine.registers.values():
            register.clear()
        for counter in pipeline.engine.counters.values():
            counter.clear()


@pytest.fixture
def session(device: HostDevice) -> Iterator[Session]:
    with device.session() as opened:
        yield opened
