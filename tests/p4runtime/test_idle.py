"""Idle timeouts of table entries, in virtual time (P4Runtime specification 1.5, sections 9.1 and 16.3)."""

from __future__ import annotations

import grpc
import pytest
from finsy.proto import p4i, p4r

from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from tests.engine.build import source
from tests.p4runtime.support import Controller, details_of, entity, names, updates

TABLE = "table watched {{ key = {{ hdr.h.x: exact; }} actions = {{ NoAction; }} {more} }}"
P4 = source(
    ingress="std.egress_spec = 2; watched.apply(); other.apply();",
    declarations=TABLE.format(more="support_timeout = true;") + TABLE.format(more="").replace("watched", "other"),
)
SECOND = 1_000_000


def entry(info: p4i.P4Info, key: int, seconds: float, table: int = 0, **parts: object) -> p4r.TableEntry:
    made = p4r.TableEntry(
        table_id=info.tables[table].preamble.id,
        idle_timeout_ns=round(seconds * 1e9),
        **parts,  # type: ignore[arg-type]
    )
    made.match.add(field_id=1).exact.value = bytes([key])
    made.action.action.action_id = info.actions[0].preamble.id
    return made


def test_p4info_says_which_tables_notify() -> None:
    tables = p4info(check(P4)).tables
    assert [each.idle_timeout_behavior for each in tables] == [p4i.Table.NOTIFY_CONTROL, p4i.Table.NO_TIMEOUT]


def test_controllers_are_notified_of_entries_that_no_packet_hits() -> None:
    with HostDevice(P4) as device, Controller(device.address) as raw:
        info = p4info(check(P4))
        raw.become_primary()
        raw.write(*updates("INSERT", entity(table_entry=entry(info, 7, 2, metadata=b"seven"))))
        raw.write(*updates("INSERT", entity(table_entry=entry(info, 8, 5)), entity(table_entry=entry(info, 9, 0))))

        def at(seconds: float, *keys: int) -> None:
            device.process(Packets.from_list([(1, bytes([key])) for key in keys]), round(seconds * SECOND))

        at(0.5, 8)
        for seconds in range(1, 6):
            at(seconds, 7)  # hit more often than its timeout
        at(5.5, 8)
        at(7)  # 7 was hit at 5, 8 at 5.5
        first = raw.receive().idle_timeout_notification
        assert first.timestamp == 7_000_000_000
        (only,) = first.table_entry
        assert (only.match[0].exact.value, only.idle_timeout_ns, only.metadata) == (b"\7", 2_000_000_000, b"seven")
        assert not only.HasField("action")
        at(8.9)
        at(9.1)
        assert raw.receive().idle_timeout_notification.timestamp == 9_100_000_000  # again, after another timeout
        at(10.5)
        at(10.9)
        (late,) = raw.receive().idle_timeout_notification.table_entry
        assert late.match[0].exact.value == b"\x08"

        asked = p4r.TableEntry(table_id=info.tables[0].preamble.id, time_since_last_hit=p4r.TableEntry.IdleTimeout())
        found = {
            each.table_entry.match[0].exact.value: each.table_entry for each in raw.read(entity(table_entry=asked))
        }
        assert found[b"\7"].time_since_last_hit.elapsed_ns == 5_900_000_000
        assert [each.idle_timeout_ns for each in found.values()] == [2_000_000_000, 5_000_000_000, 0]


def test_a_new_or_modified_entry_starts_again() -> None:
    with HostDevice(P4) as device, Controller(device.address) as raw:
        info = p4info(check(P4))
        raw.become_primary()
        raw.write(*updates("INSERT", entity(table_entry=entry(info, 7, 2))))
        nothing = Packets.from_list([])
        device.process(nothing, 1 * SECOND)
        raw.write(*updates("MODIFY", entity(table_entry=entry(info, 7, 3))))
        device.process(nothing, 2 * SECOND)
        raw.write(*updates("DELETE", entity(table_entry=entry(info, 7, 3))))
        raw.write(*updates("INSERT", entity(table_entry=entry(info, 7, 3))))
        for time in (3, 4, 5, 6):
            device.process(nothing, time * SECOND)
        assert raw.receive().idle_timeout_notification.timestamp == 5_000_000_000


@pytest.mark.parametrize(("table", "seconds"), [(1, 1), (0, -1)])
def test_a_timeout_that_a_table_does_not_support_is_refused(table: int, seconds: float) -> None:
    with HostDevice(P4) as device, Controller(device.address) as raw:
        info = p4info(check(P4))
        raw.become_primary()
        with pytest.raises(grpc.RpcError) as refused:
            raw.write(*updates("INSERT", entity(table_entry=entry(info, 7, seconds, table))))
        assert names(details_of(refused.value)) == ["INVALID_ARGUMENT"]
