"""Tables: actions with bound arguments, defaults, entries and their priorities, direct resources."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.types import Bits
from tests.p4.skeleton import program

ACTIONS = "action go(bit<9> port) { standard_metadata.egress_spec = port; } action add(inout bit<8> x, bit<8> y) {}"


def table(body: str, extra: str = "") -> ir.Table:
    made = program(locals=f"{ACTIONS} {extra} table t {{ {body} }}", apply="t.apply();")
    return made.tables["MyIngress.t"]


def test_a_table_without_a_default_action_gets_noaction() -> None:
    made = table("key = { meta.small: exact; } actions = { go; }")
    assert [(each.action.name, each.default_only) for each in made.actions] == [
        ("MyIngress.go", False),
        ("NoAction", True),
    ]
    assert made.default.action.name == "NoAction"
    assert (made.size, made.default_const, made.entries_const) == (1024, False, False)


def test_properties() -> None:
    made = table("key = { meta.small: exact; } actions = { go; } size = 16 * 4; const default_action = go(511);")
    assert made.size == 64
    assert made.default_const
    assert made.default_arguments == (511,)


def test_directed_parameters_are_bound_in_the_list() -> None:
    made = table("actions = { add(meta.small); } default_action = add(meta.small, 3);")
    (reference,) = made.actions
    assert isinstance(reference.bound[0], ir.Member)
    assert made.default_arguments == (3,)
    assert [each.variable.name for each in reference.action.data] == ["y"]


def test_entries_of_every_match_kind() -> None:
    made = table("""
        key = {
            meta.small: exact; meta.medium: lpm; meta.wide: ternary; hdr.ethernet.type: range; meta.flag: optional;
        }
        actions = { go; NoAction; }
        const entries = {
            (1, 0x1200 &&& 0xFF00, 0x3 &&& 0xF, 10 .. 20, true): go(1);
            (2, _, 5, 7, _): go(2);
            (3, 0xABCD, _, default, false): NoAction();
        }
    """)
    e = ir.EntryKey
    first, second, third = made.entries
    assert first.keys == (e(1), e(0x1200, mask=0xFF00), e(3, mask=0xF), e(10, high=20), e(1))
    assert second.keys == (e(2), e(None), e(5, mask=0xFFFFFFFF), e(7, high=7), e(None))
    assert third.keys == (e(3), e(0xABCD, mask=0xFFFF), e(None), e(None), e(0))
    assert [each.arguments for each in made.entries] == [(1,), (2,), ()]
    assert [each.priority for each in made.entries] == [3, 2, 1], "the first constant entry wins"
    assert made.entries_const


PRIORITIES = [
    ("", "1: go(1); priority = 40: 2: go(2); 3: go(3);", None),
    ("", "priority = 50: 1: go(1); 2: go(2); priority = 7: 3: go(3);", [50, 49, 7]),
    ("priority_delta = 10;", "1: go(1); 2: go(2); 3: go(3);", [21, 11, 1]),
    ("largest_priority_wins = false;", "priority = 5: 1: go(1); 2: go(2); priority = 9: 3: go(3);", [5, 4, 1]),
]


@pytest.mark.parametrize(("more", "entries", "expected"), PRIORITIES)
def test_priorities_continue_and_the_larger_wins(more: str, entries: str, expected: list[int] | None) -> None:
    body = f"key = {{ meta.small: ternary; }} actions = {{ go; NoAction; }} {more} entries = {{ {entries} }}"
    if expected is None:
        with pytest.raises(Exception, match="the first entry needs a priority"):
            table(body)
    else:
        assert [each.priority for each in table(body).entries] == expected


ANNOTATED = [
    ("1: go(1); 2: go(2); 3: go(3) @priority(0);", [2, 1, 3]),
    ("1: go(1) @priority(3); 2: go(2); 3: go(3) @priority(1);", [1, 2, 3]),
    ("1: go(1) @priority(7); 2: go(2); 3: go(3);", [1, 3, 2]),
    ("1: go(1) @priority(2); 2: go(2); 3: go(3) @priority(2);", [3, 2, 1]),
    ("1: go(1) @priority(x); 2: go(2);", "@priority takes a number"),
    ("priority = 3: 1: go(1) @priority(1);", "this entry has two priorities"),
]


@pytest.mark.parametrize(("entries", "expected"), ANNOTATED)
def test_the_smallest_annotated_priority_wins_and_then_the_first(entries: str, expected: list[int] | str) -> None:
    body = f"key = {{ meta.small: ternary; }} actions = {{ go; NoAction; }} const entries = {{ {entries} }}"
    if isinstance(expected, str):
        with pytest.raises(P4Error, match=expected):
            table(body)
    else:
        assert [each.priority for each in table(body).entries] == expected


def test_an_annotated_priority_gives_a_warning_about_bmv2() -> None:
    key = "key = { meta.small: %s; } actions = { go; NoAction; } const entries = { 1: go(1) @priority(2); }"
    (warning,) = program(locals=f"{ACTIONS} table t {{ {key % 'ternary'} }}", apply="t.apply();").warnings
    assert "@priority is not part of P4_16" in warning.message
    assert table(key % "exact").entries[0].priority == 0


def test_direct_resources_are_tied_to_the_table() -> None:
    made = table(
        "key = { meta.small: exact; } actions = { NoAction; } counters = hits; meters = rate;",
        "direct_counter(CounterType.packets_and_bytes) hits; direct_meter<bit<2>>(MeterType.bytes) rate;",
    )
    assert [(each.name, each.kind, each.arguments) for each in made.direct] == [
        ("MyIngress.hits", "direct_counter", (2,)),
        ("MyIngress.rate", "direct_meter", (1,)),
    ]
    assert made.direct[1].type_arguments == (Bits(2),)


def test_switches_and_hits() -> None:
    made = program(
        locals="action a() {} action b() {} table t { actions = { a; b; NoAction; } default_action = NoAction; }",
        apply="""
            switch (t.apply().action_run) { a: b: { meta.small = 1; } NoAction: { } default: { meta.small = 2; } }
            if (t.apply().hit) { meta.small = 3; } else if (t.apply().miss) { meta.small = 4; }
            switch (meta.small) { 1: { exit; } 2: 3: { return; } default: { } }
        """,
    )
    switch, condition, values = made.ingress.body.body
    assert isinstance(switch, ir.Switch)
    assert switch.subject is made.tables["MyIngress.t"]
    labels = [[each.name for each in case.labels if isinstance(each, ir.Action)] for case in switch.cases]
    assert labels == [["MyIngress.a", "MyIngress.b"], ["NoAction"], []]
    assert isinstance(condition, ir.If)
    assert isinstance(condition.condition, ir.TableHit)
    assert not condition.condition.miss
    assert isinstance(values, ir.Switch)
    assert [[each.value for each in case.labels if isinstance(each, ir.Literal)] for case in values.cases] == [
        [1],
        [2, 3],
        [],
    ]


def test_a_direct_counter_may_be_created_inside_the_table() -> None:
    made = table("key = { meta.small: exact; } actions = { NoAction; } counters = direct_counter(CounterType.bytes);")
    (counter,) = made.direct
    assert (counter.kind, counter.name, counter.arguments) == ("direct_counter", "MyIngress.t.counter", (1,))
    named = table('key = { meta.small: exact; } actions = { NoAction; } @name("seen") '
                  'counters = direct_counter(CounterType.bytes);')  # fmt: skip
    assert named.direct[0].name == "seen"  # without the control's name, as p4c


def test_a_direct_meter_is_declared_so_that_it_can_be_read() -> None:
    with pytest.raises(P4Error, match="meters must name a direct_meter") as caught:
        table("key = { meta.small: exact; } actions = { NoAction; } meters = direct_meter<bit<2>>(MeterType.bytes);")
    assert "so that actions can read it" in caught.value.hint


def test_a_key_with_an_index_at_run_time_is_named_by_its_expression() -> None:
    made = table(
        "key = { hdr.labels[meta.pair.first].ttl: exact; hdr.labels[8w1].ttl: exact; } actions = { NoAction; }"
    )
    assert [key.name for key in made.keys] == ["hdr.labels[meta.pair.first].ttl", "hdr.labels[1].ttl"]


def test_the_key_of_an_entry_may_be_a_list() -> None:
    made = table("key = { meta.small: exact; } actions = { NoAction; } const entries = { { 7 }: NoAction(); }")
    assert made.entries[0].keys == (ir.EntryKey(7),)


def test_an_entry_cannot_have_an_action_that_is_only_a_default() -> None:
    body = """
        key = { meta.small: exact; } actions = { @defaultonly NoAction; }
        default_action = NoAction; entries = { 1: NoAction(); }
    """
    with pytest.raises(P4Error, match="NoAction is @defaultonly, so no entry can have it") as caught:
        table(body)
    assert caught.value.place is not None
