"""Action profiles and selectors: members, groups, one-shot sets, and which member of a group a packet gets."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from midflight.p4.ir import EntryKey
from midflight.runtime.engine import (
    ActionSet,
    Engine,
    Entry,
    GroupMember,
    GroupOf,
    Member,
    MemberOf,
    Reason,
    TableError,
    WeightedAction,
)
from tests.engine.build import engine, run
from tests.engine.test_checksums import crc16

DECLARATIONS = """
    action set(bit<8> v) { hdr.h.given = v; }
    action both(bit<8> v, bit<16> w) { hdr.h.given = v; hdr.h.more = w; }
    action lost() { hdr.h.given = 99; }
    action_selector(HashAlgorithm.crc16, 20, 14) choose;
    action_profile(3) share;
    table first {
        key = { hdr.h.a: exact; hdr.h.b: selector; hdr.h.more: selector; }
        actions = { set; both; lost; }
        default_action = lost();
        implementation = choose;
    }
    table second {
        key = { hdr.h.a: ternary; hdr.h.b: selector; hdr.h.more: selector; }
        actions = { both; set; }
        implementation = choose;
    }
    table third { key = { hdr.h.a: exact; } actions = { set; both; } implementation = share; }
    table fourth { key = { hdr.h.b: lpm; } actions = { set; both; } implementation = share; }
"""
INGRESS = """
    std.egress_spec = 1;
    if (hdr.h.which == 1) {
        switch (first.apply().action_run) {
            set: { hdr.h.ran = 1; } both: { hdr.h.ran = 2; } default: { hdr.h.ran = 3; }
        }
    } else if (hdr.h.which == 2) {
        switch (second.apply().action_run) {
            set: { hdr.h.ran = 1; } both: { hdr.h.ran = 2; } default: { hdr.h.ran = 3; }
        }
    } else if (hdr.h.which == 3) {
        if (third.apply().hit) { hdr.h.ran = 1; }
    } else {
        fourth.apply();
    }
"""
HEADER = "bit<8> which; bit<8> a; bit<8> b; bit<16> more; bit<8> given; bit<8> ran;"
SET, BOTH = "ingress.set", "ingress.both"


def switch() -> Engine:
    return engine(header=HEADER, declarations=DECLARATIONS, ingress=INGRESS)


def packet(which: int, a: int, b: int = 0, more: int = 0) -> bytes:
    return bytes([which, a, b]) + more.to_bytes(2, "big") + bytes(2)


def results(made: Engine, *packets: bytes) -> list[tuple[int, int, int]]:
    """Return for each packet `more`, `given` and `ran`."""
    return [(int.from_bytes(data[3:5], "big"), data[5], data[6]) for _, data in run(made, *packets)]


def exact(a: int) -> tuple[EntryKey, ...]:
    return (EntryKey(a),)


def reason(error: pytest.ExceptionInfo[TableError]) -> Reason:
    return error.value.reason


def test_members_are_shared_between_tables() -> None:
    made = switch()
    share = made.profiles["ingress.share"]
    share.insert_member(7, Member(SET, (1,)))
    share.insert_member(9, Member(BOTH, (2, 500)))
    made.tables["ingress.third"].insert(Entry(exact(5), "", choice=MemberOf(7)))
    made.tables["ingress.third"].insert(Entry(exact(6), "", choice=MemberOf(9)))
    made.tables["ingress.fourth"].insert(Entry((EntryKey(0x40, 0xC0),), "", choice=MemberOf(7)))
    packets = packet(3, 5), packet(3, 6), packet(3, 7), packet(4, 0, 0x41), packet(4, 0, 0x80)
    assert results(made, *packets) == [(0, 1, 1), (500, 2, 1), (0, 0, 0), (0, 1, 0), (0, 0, 0)]
    share.modify_member(7, Member(BOTH, (3, 600)))
    made.tables["ingress.third"].modify(Entry(exact(6), "", choice=MemberOf(7)))
    assert results(made, *packets) == [(600, 3, 1), (600, 3, 1), (0, 0, 0), (600, 3, 0), (0, 0, 0)]
    assert share.members == {7: Member(BOTH, (3, 600)), 9: Member(BOTH, (2, 500))}
    assert made.tables["ingress.third"].entries() == [
        Entry(exact(5), "", choice=MemberOf(7)),
        Entry(exact(6), "", choice=MemberOf(7)),
    ]


def test_a_group_chooses_by_the_hash_of_the_selector_keys() -> None:
    """The member of a packet is the one at the hash modulo the number of members, in the order of their creation."""
    made = switch()
    choose = made.profiles["ingress.choose"]
    for number in (30, 10, 20):
        choose.insert_member(number, Member(SET, (number,)))
    choose.insert_group(1, [GroupMember(10), GroupMember(20), GroupMember(30)])
    made.tables["ingress.first"].insert(Entry(exact(1), "", choice=GroupOf(1)))
    made.tables["ingress.second"].insert(Entry((EntryKey(None),), "", priority=1, choice=GroupOf(1)))
    rows = [(b, more) for b in range(8) for more in (0, 1, 777)]
    expected = [(30, 10, 20)[crc16(bytes([b]) + more.to_bytes(2, "big")) % 3] for b, more in rows]
    assert len(set(expected)) == 3
    for which in (1, 2):
        found = results(made, *(packet(which, 1, b, more) for b, more in rows))
        assert [given for _, given, _ in found] == expected
        assert {ran for _, _, ran in found} == {1}
    choose.modify_group(1, [GroupMember(20)])
    assert {given for _, given, _ in results(made, *(packet(1, 1, b, more) for b, more in rows))} == {20}
    assert results(made, packet(1, 2)) == [(0, 99, 3)]


def test_tables_with_other_actions_share_a_selector() -> None:
    made = switch()
    choose = made.profiles["ingress.choose"]
    choose.insert_member(1, Member("ingress.lost"))
    choose.insert_member(2, Member(BOTH, (4, 40)))
    choose.insert_group(1, [GroupMember(2)])
    made.tables["ingress.second"].insert(Entry((EntryKey(1, 0xFF),), "", priority=2, choice=MemberOf(1)))
    made.tables["ingress.second"].insert(Entry((EntryKey(None),), "", priority=1, choice=GroupOf(1)))
    made.tables["ingress.first"].insert(Entry(exact(1), "", choice=MemberOf(1)))
    # `second` has no action `lost`.
    assert results(made, packet(2, 1), packet(2, 2), packet(1, 1)) == [(0, 0, 3), (40, 4, 2), (0, 99, 3)]


def test_weights_ports_and_empty_groups() -> None:
    draw = Random(1)
    made = switch()
    choose = made.profiles["ingress.choose"]
    choose.insert_member(1, Member(SET, (1,)))
    choose.insert_member(2, Member(SET, (2,)))
    choose.insert_group(5, [GroupMember(1, 3, watch_port=8), GroupMember(2, watch_port=9)])
    made.tables["ingress.first"].insert(Entry(exact(1), "", choice=GroupOf(5)))
    packets = [packet(1, 1, draw.randrange(256), draw.randrange(1 << 16)) for _ in range(512)]

    def shares() -> Counter[int]:
        return Counter(given for _, given, _ in results(made, *packets))

    assert 0.65 < shares()[1] / len(packets) < 0.85
    made.set_port(8, up=False)
    assert shares() == {2: len(packets)}
    made.set_port(9, up=False)
    assert results(made, packet(1, 1)) == [(0, 0, 3)]
    made.set_port(8, up=True)
    assert shares() == {1: len(packets)}
    choose.modify_group(5, [])
    made.trace(True)
    assert results(made, packet(1, 1)) == [(0, 0, 3)]
    (trace,) = made.traces()
    assert ("table", "ingress.first: hit, an empty group") in trace.steps


def test_one_shot_sets_come_and_go_with_their_entries() -> None:
    draw = Random(1)
    made = switch()
    table, choose = made.tables["ingress.first"], made.profiles["ingress.choose"]
    actions = WeightedAction(SET, (1,), 3), WeightedAction(BOTH, (2, 9), 1, watch_port=4)
    before = made.memory.used
    table.insert(Entry(exact(1), "", choice=ActionSet(actions)))
    packets = [packet(1, 1, draw.randrange(256), draw.randrange(1 << 16)) for _ in range(512)]
    found = Counter(given for _, given, _ in results(made, *packets))
    assert found.keys() == {1, 2}
    assert 0.65 < found[1] / len(packets) < 0.85
    assert table.entries() == [Entry(exact(1), "", choice=ActionSet(actions))]
    assert (choose.members, choose.groups) == ({}, {})
    with pytest.raises(TableError) as error:
        choose.insert_member(1, Member(SET, (1,)))
    assert reason(error) is Reason.INVALID
    table.modify(Entry(exact(1), "", choice=ActionSet((WeightedAction(SET, (7,), 20),))))
    assert {given for _, given, _ in results(made, *packets)} == {7}
    with pytest.raises(TableError) as error:
        table.insert(Entry(exact(2), "", choice=ActionSet((WeightedAction(SET, (7,)),))))
    assert reason(error) is Reason.FULL
    table.delete(exact(1))
    assert made.memory.used == before
    choose.insert_member(1, Member(SET, (1,)))
    with pytest.raises(TableError) as error:
        table.insert(Entry(exact(1), "", choice=ActionSet(actions)))
    assert reason(error) is Reason.INVALID
    assert len(table) == 0


def test_what_is_in_use_stays() -> None:
    made = switch()
    table, choose = made.tables["ingress.first"], made.profiles["ingress.choose"]
    choose.insert_member(1, Member(SET, (1,)))
    choose.insert_member(2, Member(SET, (2,)))
    choose.insert_group(1, [GroupMember(1)])
    table.insert(Entry(exact(1), "", choice=GroupOf(1)))
    table.insert(Entry(exact(2), "", choice=MemberOf(2)))
    for delete, number in ((choose.delete_member, 1), (choose.delete_member, 2), (choose.delete_group, 1)):
        with pytest.raises(TableError) as error:
            delete(number)
        assert reason(error) is Reason.IN_USE
    table.modify(Entry(exact(1), "", choice=MemberOf(2)))
    choose.delete_group(1)
    choose.delete_member(1)
    table.delete(exact(1))
    table.delete(exact(2))
    choose.delete_member(2)
    assert choose.members == {}


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (MemberOf(3), Reason.NOT_FOUND),
        (GroupOf(1), Reason.INVALID),
        (ActionSet(()), Reason.INVALID),
        (None, Reason.INVALID),
    ],
)
def test_references_that_do_not_fit(choice: MemberOf | GroupOf | ActionSet | None, why: Reason) -> None:
    made = switch()
    before = made.memory.used
    with pytest.raises(TableError) as error:
        made.tables["ingress.third"].insert(Entry(exact(1), SET, (1,), choice=choice))
    assert reason(error) is why
    assert (len(made.tables["ingress.third"]), made.memory.used) == (0, before)


def test_members_and_groups_that_do_not_fit() -> None:
    made = switch()
    share, choose = made.profiles["ingress.share"], made.profiles["ingress.choose"]
    for number in range(1, 4):
        share.insert_member(number, Member(SET, (number,)))
        choose.insert_member(number, Member(SET, (number,)))

    def refused(why: Reason, call: object, *arguments: object) -> None:
        assert callable(call)
        with pytest.raises(TableError) as error:
            call(*arguments)
        assert reason(error) is why

    refused(Reason.FULL, share.insert_member, 4, Member(SET, (4,)))
    refused(Reason.EXISTS, share.insert_member, 1, Member(SET, (4,)))
    refused(Reason.INVALID, share.modify_member, 1, Member(SET, (256,)))
    refused(Reason.INVALID, share.modify_member, 1, Member("ingress.lost"))
    refused(Reason.NOT_FOUND, share.modify_member, 9, Member(SET, (1,)))
    refused(Reason.INVALID, share.insert_group, 1, [GroupMember(1)])
    refused(Reason.NOT_FOUND, choose.insert_group, 1, [GroupMember(9)])
    refused(Reason.INVALID, choose.insert_group, 1, [GroupMember(1, 0)])
    refused(Reason.INVALID, choose.insert_group, 1, [GroupMember(1), GroupMember(1)])
    refused(Reason.FULL, choose.insert_group, 1, [GroupMember(1, 21)])
    choose.insert_group(1, [GroupMember(1, 20)])
    refused(Reason.EXISTS, choose.insert_group, 1, [])
    refused(Reason.FULL, choose.modify_group, 1, [GroupMember(1, 20), GroupMember(2)])
    assert choose.groups == {1: (GroupMember(1, 20),)}
    assert share.members[1] == Member(SET, (1,))
