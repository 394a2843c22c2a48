"""Value sets of parsers over P4Runtime (specification section 9.7), from source and from BMv2's JSON."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from finsy.proto import p4r

from midflight.errors import DeviceError
from midflight.runtime.devices import HostDevice, open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.toolchain import compile_p4
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import RequestError, Session
from tests.bmv2 import BMV2
from tests.engine.build import source

PROGRAM = source(
    types="""
        struct exact_t { bit<16> kind; bit<8> level; }
        struct any_t { @match(ternary) bit<16> kind; @match(range) bit<8> level; @match(lpm) bit<4> low; }
    """,
    header="bit<16> kind; bit<8> level;",
    metadata="bit<8> found;",
    parser="""
        value_set<bit<16>>(2) plain;
        value_set<exact_t>(4) pairs;
        LOCALS
        state start {
            packet.extract(hdr.h);
            transition select(hdr.h.kind) { plain: one; 7: three; default: more; }
        }
        state more {
            transition select(hdr.h.kind, hdr.h.level) { pairs: two; (_, 0xff): three; default: OTHERS; }
        }
        state one { meta.found = 1; transition accept; }
        state two { meta.found = 2; transition accept; }
        state three { meta.found = 3; transition accept; }
        STATES
    """,
    ingress="hdr.h.level = meta.found; std.egress_spec = 1;",
)
EXACT = PROGRAM.replace("OTHERS", "accept").replace("LOCALS", "").replace("STATES", "")
ANY = (
    PROGRAM.replace("OTHERS", "others")
    .replace("LOCALS", "value_set<any_t>(3) any;")
    .replace(
        "STATES",
        """
        state others {
            transition select(hdr.h.kind, hdr.h.level, hdr.h.level[3:0]) { any: four; default: accept; }
        }
        state four { meta.found = 4; transition accept; }
    """,
    )
)


@pytest.fixture
def device() -> Iterator[HostDevice]:
    with HostDevice(ANY) as made:
        yield made


@pytest.fixture
def session(device: HostDevice) -> Iterator[Session]:
    with device.session() as made:
        yield made


def found(device: PacketDevice, *packets: str) -> list[int]:
    out = device.process(Packets.from_list([(1, bytes.fromhex(each)) for each in packets]))
    return [data[2] for _, data in out]


def test_members_decide_which_state_follows(device: HostDevice, session: Session) -> None:
    packets = ["000800", "000700", "000905", "000906", "0009ff", "00a017", "00a120", "00a028"]
    assert found(device, *packets) == [0, 3, 0, 0, 3, 0, 0, 0]
    session.value_sets.write("plain", [8, "0x7"])
    session.value_sets.write("pairs", [{"kind": 9, "level": 5}, {"kind": 8, "level": 0}])
    any_members = [{"kind": "0xa0&&&0xfff0", "level": (0x10, 0x20)}, {"level": 0x28, "low": (8, 1)}]
    session.value_sets.write("any", any_members)
    assert found(device, *packets) == [1, 1, 2, 0, 3, 4, 4, 4]
    session.value_sets.write("plain", [])
    assert found(device, *packets[:2]) == [2, 3]


def test_members_are_read_back(session: Session) -> None:
    assert session.value_sets.read("plain") == []
    session.value_sets.write("plain", [8, 7])
    session.value_sets.write("any", [{"kind": (16, 0xF0), "level": (1, 2)}])
    assert session.value_sets.read("plain") == [8, 7]
    assert session.value_sets.read("any") == [{"kind": (16, 0xF0), "level": (1, 2)}]
    everything = session._read(p4r.Entity(value_set_entry=p4r.ValueSetEntry()))
    assert [len(each.value_set_entry.members) for each in everything] == [2, 0, 1]


def test_a_set_that_is_refused_keeps_its_members(session: Session) -> None:
    session.value_sets.write("plain", [8, 7])
    with pytest.raises(RequestError, match="full"):
        session.value_sets.write("plain", [1, 2, 3])
    with pytest.raises(RequestError, match="already"):
        session.value_sets.write("plain", [1, 1])
    with pytest.raises(DeviceError, match="is not a member of pairs"):
        session.value_sets.write("pairs", [1])
    assert session.value_sets.read("plain") == [8, 7]
    message = p4r.ValueSetEntry(value_set_id=session.p4info.value_sets[0].preamble.id)
    with pytest.raises(RequestError, match="can only be modified"):
        session._write(p4r.Update.INSERT, p4r.Entity(value_set_entry=message), "plain")


def test_members_move_to_a_reconciled_pipeline(device: HostDevice, session: Session) -> None:
    session.value_sets.write("plain", [8])
    session.load(session.p4info, ANY.encode(), action="RECONCILE_AND_COMMIT")
    assert found(device, "000800") == [1]


@pytest.mark.parametrize("kind", ["host", pytest.param("bmv2", marks=BMV2)])
def test_an_empty_set_matches_nothing(kind: str) -> None:
    with open_device(kind, EXACT) as device:
        assert isinstance(device, PacketDevice)
        assert found(device, "000800", "000700", "000905", "0009ff") == [0, 3, 0, 3]


@pytest.mark.parametrize("program", [pytest.param(EXACT, marks=BMV2, id="compiled")])
def test_a_pushed_json_has_the_value_sets(program: str) -> None:
    config = compile_p4(program)
    with HostDevice() as device, device.session() as session:
        session.load(config.p4info, config.config)
        session.value_sets.write("plain", [8])
        session.value_sets.write("pairs", [{"kind": 9, "level": 5}])
        assert found(device, "000800", "000700", "000905", "0009ff") == [1, 3, 2, 3]
