"""Sessions: accepted forms of values and matches, and errors."""

from __future__ import annotations

import gc
import socket
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from finsy.proto import p4i, p4r
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import DeviceError
from midflight.runtime.devices import HostDevice
from midflight.runtime.p4runtime.client.link import Link
from midflight.runtime.p4runtime.client.matches import decode_match, encode_match, number
from midflight.runtime.p4runtime.client.session import RequestError, Session, TableEntry
from tests.p4runtime.support import EVERYTHING

KINDS = p4i.MatchField


def table(kind: p4i.MatchField.MatchType.ValueType, width: int) -> p4i.Table:
    described = p4i.Table(match_fields=[KINDS(id=1, name="field", bitwidth=width, match_type=kind)])
    described.preamble.name = "the.table"
    return described


@pytest.mark.parametrize(
    ("value", "width", "expected"),
    [
        (5, 8, 5),
        (True, 1, 1),
        (np.uint16(700), 16, 700),
        ("0x2a", 8, 42),
        ("42", 8, 42),
        ("10.0.0.1", 32, 0x0A000001),
        ("::1", 128, 1),
        ("02:00:00:00:00:ff", 48, 0x0200000000FF),
        ("02-0-0-0-0-ff", 48, 0x0200000000FF),
        (IPv4Address("1.2.3.4"), 32, 0x01020304),
        (IPv6Address("::2"), 128, 2),
        (b"\x01\x00", 16, 256),
    ],
)
def test_accepted_forms_of_a_value(value: object, width: int, expected: int) -> None:
    assert number(value, width, "it") == expected


@pytest.mark.parametrize("value", [256, -1, "256", "10.0.0.1", "ten", 1.5, [1], object()])
def test_invalid_values_are_rejected(value: object) -> None:
    with pytest.raises(DeviceError, match=r"^it: "):
        number(value, 8, "it")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (KINDS.EXACT, "10.0.0.1", 0x0A000001),
        (KINDS.LPM, "10.0.0.0/8", (0x0A000000, 8)),
        (KINDS.LPM, ("10.0.0.0", 8), (0x0A000000, 8)),
        (KINDS.LPM, "10.0.0.1", (0x0A000001, 32)),
        (KINDS.LPM, "0.0.0.0/0", None),
        (KINDS.LPM, None, None),
        (KINDS.TERNARY, ("10.0.0.0", "255.0.0.0"), (0x0A000000, 0xFF000000)),
        (KINDS.TERNARY, "10.0.0.0/8", (0x0A000000, 0xFF000000)),
        (KINDS.TERNARY, "0x10 &&& 0xf0", (0x10, 0xF0)),
        (KINDS.TERNARY, 7, (7, 0xFFFFFFFF)),
        (KINDS.TERNARY, (0, 0), None),
        (KINDS.RANGE, (5, 9), (5, 9)),
        (KINDS.RANGE, "5..9", (5, 9)),
        (KINDS.RANGE, 5, (5, 5)),
        (KINDS.RANGE, (0, 0xFFFFFFFF), None),
        (KINDS.OPTIONAL, 5, 5),
        (KINDS.OPTIONAL, None, None),
    ],
)
def test_accepted_forms_of_a_match(kind: p4i.MatchField.MatchType.ValueType, value: object, expected: object) -> None:
    described = table(kind, 32)
    read = decode_match(described, encode_match(described, {"field": value}))
    assert read == ({} if expected is None else {"field": expected})
    assert decode_match(described, encode_match(described, read)) == read or kind == KINDS.EXACT


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (KINDS.LPM, "10.0.0.1/8", r"(?s)bits beyond its prefix.*use 10\.0\.0\.0/8"),
        (KINDS.LPM, "10.0.0.0/33", r"(?s)prefix of 33 bits.*has 32"),
        (KINDS.LPM, (1, 2, 3), "not a pair"),
        (KINDS.TERNARY, (3, 1), r"(?s)bits outside its mask.*use 0x1"),
        (KINDS.RANGE, (9, 5), "range 9 to 5 is empty"),
        (KINDS.EXACT, 1 << 32, r"(?s)does not fit bit<32>.*0xffffffff"),
        (KINDS.EXACT, (1, 2), "not a value"),
    ],
)
def test_invalid_matches_are_rejected_with_the_reason(
    kind: p4i.MatchField.MatchType.ValueType, value: object, said: str
) -> None:
    with pytest.raises(DeviceError, match=said) as wrong:
        encode_match(table(kind, 32), {"field": value})
    assert str(wrong.value).startswith("table the.table, field")


@given(st.integers(1, 130), st.data())
def test_ternary_matches_are_read_back(width: int, data: st.DataObject) -> None:
    mask = data.draw(st.integers(1, (1 << width) - 1))
    value = data.draw(st.integers(0, (1 << width) - 1)) & mask
    described = table(KINDS.TERNARY, width)
    assert decode_match(described, encode_match(described, {"field": (value, mask)})) == {"field": (value, mask)}


def test_errors_name_what_is_allowed(session: Session) -> None:
    match = {"hdr.ipv4.destination": "10.0.0.0/8"}
    with pytest.raises(DeviceError, match=r"(?s)no table 'routes'.*ingress\.acl, ingress\.fixed, ingress\.route"):
        session.insert("routes", match, "to_port")
    with pytest.raises(DeviceError, match=r"(?s)no match field 'destination'.*hdr\.ipv4\.destination"):
        session.insert("route", {"destination": 1}, "to_port")
    with pytest.raises(DeviceError, match=r"(?s)no action 'to_prt'.*ingress\.to_port, ingress\.to_group"):
        session.insert("route", match, "to_prt")
    with pytest.raises(DeviceError, match=r"to_port takes port \(bit<9>\), mac \(bit<48>\), not port"):
        session.insert("route", match, "to_port", {"port": 1})
    with pytest.raises(DeviceError, match=r"ingress\.to_port, port: 512 does not fit bit<9>"):
        session.insert("route", match, "to_port", {"port": 512, "mac": 0})
    with pytest.raises(DeviceError, match="entries have no priority"):
        session.insert("route", match, "to_controller", priority=1)
    with pytest.raises(DeviceError, match="needs a priority"):
        session.insert("acl", {"standard_metadata.ingress_port": 1}, "drop")
    with pytest.raises(DeviceError, match=r"the match has no standard_metadata\.ingress_port"):
        session.insert("acl", {}, "drop", priority=1)
    session.insert("route", match, "to_controller")
    with pytest.raises(RequestError, match=r"insert into route .*already has this entry") as refused:
        session.insert("route", match, "to_controller")
    assert refused.value.code.name == "ALREADY_EXISTS"


def test_an_entry_that_was_read_can_be_written(session: Session) -> None:
    match = {"hdr.ipv4.source": "10.0.0.0/8", "length": (10, 20), "standard_metadata.ingress_port": 3}
    session.insert("acl", match, "classify", {"class": 9}, priority=7, metadata=b"me")
    (entry,) = session.read_table("acl")
    assert entry == TableEntry(
        "ingress.acl",
        {"hdr.ipv4.source": (0x0A000000, 0xFF000000), "length": (10, 20), "standard_metadata.ingress_port": 3},
        "ingress.classify",
        {"class": 9},
        7,
        b"me",
    )
    session.delete(entry.table, entry.match, priority=entry.priority)
    session.insert(entry.table, entry.match, entry.action, entry.params, priority=entry.priority, metadata=b"me")
    assert session.read_table("acl") == [entry]
    assert [each.const for each in session.read_table("fixed")] == [True, True]


def test_default_actions(session: Session) -> None:
    assert session.read_default("route").action == "ingress.drop"
    session.set_default("route", "to_port", {"port": 3, "mac": 4})
    assert session.read_default("route").params == {"port": 3, "mac": 4}
    session.reset_default("route")
    assert session.read_default("route").action == "ingress.drop"


@pytest.mark.parametrize("number", [-1, 1 << 32])
def test_numbers_that_p4runtime_cannot_carry_are_device_errors(session: Session, number: int) -> None:
    with pytest.raises(DeviceError, match="multicast group: "):
        session.multicast(number, [1])
    with pytest.raises(DeviceError, match="clone session: "):
        session.clone_session(number, [1])
    with pytest.raises(DeviceError, match="port: "):
        session.multicast(1, [number])
    with pytest.raises(DeviceError, match="instance: "):
        session.clone_session(1, [(1, number)])
    for huge in (1 << 63, -1 << 64):
        with pytest.raises(DeviceError, match="index: "):
            session.read_register("totals", huge)
        with pytest.raises(DeviceError, match="index: "):
            session.write_register("totals", 1, huge)


def test_a_pipeline_that_is_no_p4info_or_has_a_wrong_cookie_is_refused(session: Session, info: p4i.P4Info) -> None:
    with pytest.raises(DeviceError, match="the P4Info cannot be read: 1:8"):
        session.load("tables {", b"")
    with pytest.raises(DeviceError, match="cookie: 18446744073709551616 does not fit"):
        session.load(info, b"", cookie=1 << 64)


def test_a_session_reads_the_existing_pipeline(device: HostDevice, info: p4i.P4Info) -> None:
    with device.session() as session:
        assert session.p4info == info
        assert session.cookie is None


def test_a_second_session_is_a_backup_until_the_first_is_closed(device: HostDevice) -> None:
    first = device.session()
    with device.session(election_id=first.election_id - 1) as second:
        assert (first.is_primary, second.is_primary) == (True, False)
        assert len(second.read_register("totals")) == 16
        with pytest.raises(RequestError, match="not the primary's") as refused:
            second.write_register("totals", 1)
        assert refused.value.code.name == "PERMISSION_DENIED"
        first.close()
    with device.session() as third:
        assert third.is_primary
        third.write_register("totals", 1)


@pytest.mark.parametrize("number", [-1, 1 << 128])
def test_an_election_id_out_of_range_is_a_value_error(device: HostDevice, number: int) -> None:
    with pytest.raises(ValueError, match="an election id is 0 to"):
        device.session(election_id=number)
    with device.session(role="other", election_id=5) as session:
        with pytest.raises(ValueError, match="an election id is 0 to"):
            session.bid(number)
        assert session.is_primary


def test_an_election_id_in_use_is_reported(device: HostDevice, session: Session) -> None:
    with pytest.raises(RequestError, match="used by another controller"):
        device.session(election_id=session.election_id)


def test_sessions_of_two_roles_write_side_by_side(device: HostDevice, session: Session) -> None:
    with device.session(role="monitor") as other:
        assert other.is_primary
        other.write_register("totals", 1, 1)
        session.write_register("totals", 2, 2)
        assert list(session.read_register("totals"))[:3] == [0, 1, 2]


def test_an_unreachable_address_is_reported() -> None:
    with pytest.raises(DeviceError, match=r"no P4Runtime server answers at 127\.0\.0\.1:1"):
        Session("127.0.0.1:1")


def test_a_closed_session_reports_that_it_is_closed(device: HostDevice) -> None:
    session = device.session()
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session.read_register("totals")


def test_a_device_that_disappears_is_an_error() -> None:
    device = HostDevice(EVERYTHING)
    with device.session() as session:
        device.close()
        with pytest.raises(DeviceError):
            session.packets_in()
        with pytest.raises(DeviceError, match="answers at"):
            session.read_register("totals")


def test_a_missing_pipeline_is_reported() -> None:
    with HostDevice() as device, device.session() as session, pytest.raises(DeviceError, match="no pipeline yet"):
        session.read_table("route")


def test_an_unknown_pipeline_action_is_rejected(session: Session, info: p4i.P4Info) -> None:
    with pytest.raises(DeviceError, match=r"(?s)no pipeline action 'INSTALL'.*VERIFY_AND_COMMIT"):
        session.load(info, EVERYTHING, action="INSTALL")


def test_a_timeout_is_reported() -> None:
    """A timeout is not a RequestError, because the outcome of the request is unknown."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        link = Link(address, 0.2)
        try:
            with pytest.raises(DeviceError, match=rf"^{address} did not answer within 0\.2 s$") as failed:
                link.request("GetForwardingPipelineConfig", p4r.GetForwardingPipelineConfigRequest(device_id=1))
        finally:
            link.close()
    assert not isinstance(failed.value, RequestError)


def test_a_closed_session_leaves_nothing_in_memory() -> None:
    def visit(times: int) -> int:
        for _ in range(times):
            with device.session(role="guest") as guest:
                guest.read_table("route")
        gc.collect()
        return len(gc.get_objects())

    with HostDevice(EVERYTHING) as device, device.session():
        before = visit(3)
        assert visit(30) - before < 60
