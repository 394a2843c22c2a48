"""Tables: native lookups compared with a naive matcher during random changes, and rejected requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.p4.ir import EntryKey
from midflight.runtime.engine import CounterValue, Default, Engine, Entry, Reason, TableError
from tests.engine.build import engine, field, run

KINDS: dict[str, tuple[tuple[str, int], ...]] = {
    "exact": (("exact", 12), ("exact", 5)),
    "short exact": (("exact", 9), ("exact", 7)),
    "wide exact": (("exact", 128), ("exact", 48)),
    "lpm": (("lpm", 8),),
    "exact and lpm": (("lpm", 7), ("exact", 3)),
    "wide lpm": (("exact", 2), ("lpm", 128)),
    "ternary": (("ternary", 6), ("ternary", 4)),
    "ternary and lpm": (("exact", 2), ("ternary", 5), ("lpm", 4)),
    "range": (("range", 6),),
    "two ranges": (("range", 5), ("exact", 2), ("range", 70)),
    "optional": (("optional", 3), ("optional", 3), ("ternary", 2)),
}

Model = dict[tuple[tuple[EntryKey, ...], int], int]


@lru_cache
def fixture(name: str) -> Engine:
    """Return an engine whose table writes the data of the matching entry to the packet, or 0xffff on a miss."""
    fields = KINDS[name]
    keys = " ".join(f"hdr.h.k{number} : {kind};" for number, (kind, _) in enumerate(fields))
    return engine(
        header=" ".join(field(f"bit<{width}>", f"k{number}") for number, (_, width) in enumerate(fields))
        + " bit<16> r;",
        declarations=f"""
            action found(bit<16> data) {{ hdr.h.r = data; }}
            action missed() {{ hdr.h.r = 0xffff; }}
            table t {{ key = {{ {keys} }} actions = {{ found; missed; }} default_action = missed(); size = 64; }}
        """,
        ingress="t.apply();",
    )


def look_up(switch: Engine, fields: Sequence[tuple[str, int]], keys: list[tuple[int, ...]]) -> list[int]:
    sizes = [-(-width // 8) for _, width in fields]
    packets = [
        b"".join(part.to_bytes(size, "big") for part, size in zip(key, sizes, strict=True)) + b"\0\0" for key in keys
    ]
    return [int.from_bytes(data[-2:], "big") for _, data in run(switch, *packets)]


def matches(kind: str, width: int, key: EntryKey, value: int) -> bool:
    """Return whether one field matches, by the language's definition."""
    if key.value is None:
        return True
    if kind == "range":
        return key.value <= value <= (key.value if key.high is None else key.high)
    mask = (1 << width) - 1 if key.mask is None else key.mask
    return value & mask == key.value & mask


def winners(fields: Sequence[tuple[str, int]], model: Model, value: tuple[int, ...]) -> set[int]:
    """Return the data of all entries that may win: those with the largest priority or the longest prefix."""
    best, found = -1, {0xFFFF}
    by_priority = any(kind in ("ternary", "range", "optional") for kind, _ in fields)
    for (keys, priority), data in model.items():
        if all(matches(kind, width, key, v) for (kind, width), key, v in zip(fields, keys, value, strict=True)):
            prefix = next((key.mask or 0 for (kind, _), key in zip(fields, keys, strict=True) if kind == "lpm"), 0)
            rank = priority if by_priority else prefix.bit_count()
            if rank > best:
                best, found = rank, set()
            if rank == best:
                found.add(data)
    return found


def random_key(rng: random.Random, kind: str, width: int) -> EntryKey:
    ones = (1 << width) - 1
    # Few distinct values, so that entries overlap.
    value = rng.choice([rng.getrandbits(width), rng.randrange(4) << max(0, width - 2), rng.randrange(min(8, ones + 1))])
    if kind == "exact":
        return EntryKey(value)
    if rng.random() < 0.15:
        return EntryKey(None)
    match kind:
        case "lpm":
            mask = ones ^ ((1 << rng.randrange(width)) - 1)
            return EntryKey(value & mask, mask)
        case "ternary":
            mask = rng.choice([ones, rng.getrandbits(width), 1, ones - 1]) or ones
            return EntryKey(value & mask, mask)
        case "range":
            other = rng.choice([value, rng.getrandbits(width), min(value + 3, ones)])
            return EntryKey(min(value, other), high=max(value, other))
        case _:
            return EntryKey(value)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_lookups_agree_with_a_naive_matcher_during_changes(name: str, seed: int) -> None:
    fields, switch, rng = KINDS[name], fixture(name), random.Random(seed)
    table = switch.tables["ingress.t"]
    for entry in table.entries():
        table.delete(entry.keys, entry.priority)
    model: Model = {}
    needs_priority = any(kind in ("ternary", "range", "optional") for kind, _ in fields)
    for _ in range(4):
        for _ in range(12):
            keys = tuple(random_key(rng, kind, width) for kind, width in fields)
            priority = rng.randrange(1, 5) if needs_priority else 0
            data = rng.randrange(0xFFFF)
            entry = Entry(keys, "ingress.found", (data,), priority)
            known = [e for e in table.entries() if rng.random() < 0.3]
            if known and rng.random() < 0.5:
                old = known[0]
                identity = next(i for i in model if _same(table.get(i[0], i[1]), old))
                if rng.random() < 0.5:
                    table.delete(old.keys, old.priority)
                    del model[identity]
                else:
                    table.modify(Entry(old.keys, "ingress.found", (data,), old.priority))
                    model[identity] = data
                continue
            if any(_same_match(fields, keys, priority, known) for known in model):
                with pytest.raises(TableError, match="already"):
                    table.insert(entry)
            else:
                table.insert(entry)
                model[keys, priority] = data
        assert len(table) == len(model)
        values = [
            tuple(
                rng.choice([rng.getrandbits(width), random_key(rng, "exact", width).value or 0]) for _, width in fields
            )
            for _ in range(60)
        ]
        for value, found in zip(values, look_up(switch, fields, values), strict=True):
            assert found in winners(fields, model, value), value


def _same_match(
    fields: Sequence[tuple[str, int]],
    keys: tuple[EntryKey, ...],
    priority: int,
    other: tuple[tuple[EntryKey, ...], int],
) -> bool:
    """Return whether two sets of keys are equivalent. A range of all values is equivalent to no range."""

    def plain(key: EntryKey, kind: str, width: int) -> tuple[int, int]:
        ones = (1 << width) - 1
        if kind == "range":
            return (0, ones) if key.value is None else (key.value, key.value if key.high is None else key.high)
        return (0, 0) if key.value is None else (key.value, ones if key.mask is None else key.mask)

    mine, theirs = (
        [plain(key, kind, width) for (kind, width), key in zip(fields, each, strict=True)] for each in (keys, other[0])
    )
    return mine == theirs and priority == other[1]


def _same(one: Entry, other: Entry) -> bool:
    return (one.keys, one.priority) == (other.keys, other.priority)


@pytest.mark.parametrize("name", KINDS)
def test_a_table_without_entries_always_misses(name: str) -> None:
    fields = KINDS[name]
    switch = Engine(fixture(name).program)
    keys = [tuple(0 for _ in fields), tuple((1 << width) - 1 for _, width in fields)]
    assert look_up(switch, fields, keys) == [0xFFFF, 0xFFFF]


def test_thousands_of_entries_are_inserted_and_removed() -> None:
    """Long probe sequences, growth and removal in the hash table, compared with a dict."""
    switch = engine(
        header="bit<32> k; bit<32> r;",
        declarations="""
            action found(bit<32> data) { hdr.h.r = data; }
            table t { key = { hdr.h.k : exact; } actions = { found; } size = 5000;
                      default_action = found(0xffffffff); }
        """,
        ingress="t.apply();",
    )
    table, rng, model = switch.tables["ingress.t"], random.Random(4), dict[int, int]()
    for round_ in range(3):
        while len(model) < 4000:
            key = rng.randrange(20000)
            if key not in model:
                model[key] = rng.getrandbits(31)
                table.insert(Entry((EntryKey(key),), "ingress.found", (model[key],)))
        probes = list(range(0, 20000, 3))
        out = run(switch, *(key.to_bytes(4, "big") + bytes(4) for key in probes))
        found = [int.from_bytes(data[4:], "big") for _, data in out]
        assert found == [model.get(key, 0xFFFFFFFF) for key in probes], round_
        for key in rng.sample(sorted(model), 2500):
            table.delete((EntryKey(key),))
            del model[key]


FOUND = "ingress.found"


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("exact", Entry((EntryKey(1),), FOUND, (1,))),
        ("exact", Entry((EntryKey(1), EntryKey(32)), FOUND, (1,))),
        ("exact", Entry((EntryKey(None), EntryKey(1)), FOUND, (1,))),
        ("exact", Entry((EntryKey(-1), EntryKey(1)), FOUND, (1,))),
        ("exact", Entry((EntryKey(1, mask=1), EntryKey(1)), FOUND, (1,))),
        ("exact", Entry((EntryKey(1), EntryKey(1)), FOUND, (1,), 3)),
        ("exact", Entry((EntryKey(1), EntryKey(1)), FOUND, (1 << 16,))),
        ("exact", Entry((EntryKey(1), EntryKey(1)), FOUND, ())),
        ("exact", Entry((EntryKey(1), EntryKey(1)), FOUND, (1, 2))),
        ("exact", Entry((EntryKey(1), EntryKey(1)), "ingress.nobody", ())),
        ("lpm", Entry((EntryKey(1, mask=0xF1),), FOUND, (1,))),
        ("lpm", Entry((EntryKey(1, mask=0x1FF),), FOUND, (1,))),
        ("lpm", Entry((EntryKey(1, high=3),), FOUND, (1,))),
        ("ternary", Entry((EntryKey(1, mask=1), EntryKey(None)), FOUND, (1,), 0)),
        ("ternary", Entry((EntryKey(1, mask=1), EntryKey(None)), FOUND, (1,), -1)),
        ("range", Entry((EntryKey(5, high=4),), FOUND, (1,), 1)),
        ("range", Entry((EntryKey(5, high=64),), FOUND, (1,), 1)),
        ("range", Entry((EntryKey(5, mask=7),), FOUND, (1,), 1)),
        ("optional", Entry((EntryKey(1, mask=1), EntryKey(None), EntryKey(None)), FOUND, (1,), 1)),
    ],
)
def test_entries_that_do_not_fit_are_invalid_and_change_nothing(name: str, entry: Entry) -> None:
    table = fixture(name).tables["ingress.t"]
    before = table.entries()
    with pytest.raises(TableError) as caught:
        table.insert(entry)
    assert caught.value.reason is Reason.INVALID
    assert table.entries() == before


def test_entries_are_kept_in_canonical_form() -> None:
    switch = engine(
        header="bit<8> a; bit<8> b; bit<8> c;",
        declarations="""
            action found() {}
            table t { key = { hdr.h.a : ternary; hdr.h.b : lpm; hdr.h.c : range; } actions = { found; } }
        """,
        ingress="t.apply();",
    )
    table = switch.tables["ingress.t"]
    table.insert(Entry((EntryKey(0xFF, 0x0F), EntryKey(0xAB, 0xF0), EntryKey(7)), FOUND, (), 9))
    table.insert(Entry((EntryKey(0xFF, 0), EntryKey(3, 0), EntryKey(0, high=255)), FOUND, (), 8))
    assert table.entries() == [
        Entry((EntryKey(0x0F, 0x0F), EntryKey(0xA0, 0xF0), EntryKey(7, high=7)), FOUND, (), 9),
        Entry((EntryKey(None), EntryKey(None), EntryKey(None)), FOUND, (), 8),
    ]
    with pytest.raises(TableError) as caught:
        table.insert(Entry((EntryKey(0x1F, 0x0F), EntryKey(0xA0, 0xF0), EntryKey(7, high=7)), FOUND, (), 9))
    assert caught.value.reason is Reason.EXISTS


def test_a_full_table_rejects_entries_until_one_is_removed() -> None:
    table = small().tables["ingress.t"]
    for number in range(4):
        table.insert(Entry((EntryKey(number),), "ingress.a", (number,)))
    with pytest.raises(TableError) as caught:
        table.insert(Entry((EntryKey(9),), "ingress.a", (9,)))
    assert caught.value.reason is Reason.FULL
    table.delete((EntryKey(2),))
    table.insert(Entry((EntryKey(9),), "ingress.a", (9,)))
    assert [entry.arguments for entry in table.entries()] == [(0,), (1,), (3,), (9,)]


def small(**options: str) -> Engine:
    properties = options.get("properties", "default_action = b();")
    return engine(
        header="bit<8> k; bit<8> r;",
        declarations=f"""
            direct_counter(CounterType.packets_and_bytes) hits;
            action a(bit<8> data) {{ hdr.h.r = data; }}
            action b() {{ hdr.h.r = 99; }}
            action c() {{ hdr.h.r = 98; }}
            table t {{
                key = {{ hdr.h.k : exact; }} actions = {{ a; @defaultonly b; @tableonly c; }} size = 4; counters = hits;
                {properties}
            }}
        """,
        ingress="t.apply();",
    )


def test_missing_entries_cannot_be_changed() -> None:
    table = small().tables["ingress.t"]
    attempts: list[Callable[[], object]] = [
        lambda: table.modify(Entry((EntryKey(1),), "ingress.a", (1,))),
        lambda: table.delete((EntryKey(1),)),
        lambda: table.get((EntryKey(1),)),
    ]
    for attempt in attempts:
        with pytest.raises(TableError) as caught:
            attempt()
        assert caught.value.reason is Reason.NOT_FOUND


def test_the_default_action_can_be_set_and_reset() -> None:
    switch = small()
    table = switch.tables["ingress.t"]
    assert table.default == Default("ingress.b")
    assert run(switch, b"\1\0") == [(0, b"\1\x63")]
    table.set_default("ingress.a", (7,))
    assert table.default == Default("ingress.a", (7,))
    assert run(switch, b"\1\0") == [(0, b"\1\7")]
    with pytest.raises(TableError) as caught:
        table.set_default("ingress.c")
    assert caught.value.reason is Reason.INVALID
    with pytest.raises(TableError):
        table.set_default("ingress.a", (256,))
    assert table.default == Default("ingress.a", (7,))
    table.reset_default()
    assert run(switch, b"\1\0") == [(0, b"\1\x63")]


def test_default_only_and_table_only_actions_are_enforced() -> None:
    switch = small()
    table = switch.tables["ingress.t"]
    with pytest.raises(TableError) as caught:
        table.insert(Entry((EntryKey(1),), "ingress.b"))
    assert caught.value.reason is Reason.INVALID
    table.insert(Entry((EntryKey(1),), "ingress.c"))
    assert run(switch, b"\1\0") == [(0, b"\1\x62")]


def test_const_entries_and_const_defaults_cannot_be_changed() -> None:
    switch = small(properties="const default_action = b(); const entries = { 5 : a(55); 6 : a(66); }")
    table = switch.tables["ingress.t"]
    assert run(switch, b"\5\0", b"\6\0", b"\7\0") == [(0, b"\5\x37"), (0, b"\6\x42"), (0, b"\7\x63")]
    attempts: list[Callable[[], object]] = [
        lambda: table.insert(Entry((EntryKey(1),), "ingress.a", (1,))),
        lambda: table.modify(Entry((EntryKey(5),), "ingress.a", (1,))),
        lambda: table.delete((EntryKey(5),)),
        lambda: table.set_default("ingress.a", (1,)),
    ]
    for attempt in attempts:
        with pytest.raises(TableError) as caught:
            attempt()
        assert caught.value.reason is Reason.CONSTANT
    assert run(switch, b"\5\0") == [(0, b"\5\x37")]


def test_entries_of_the_program_win_in_source_order() -> None:
    switch = engine(
        header="bit<8> k; bit<8> r;",
        declarations="""
            action a(bit<8> data) { hdr.h.r = data; }
            table t {
                key = { hdr.h.k : ternary; } actions = { a; }
                const entries = { 0x10 &&& 0xf0 : a(1); 0x11 : a(2); _ : a(3); }
            }
        """,
        ingress="t.apply();",
    )
    assert [data[1] for _, data in run(switch, b"\x11\0", b"\x12\0", b"\x21\0")] == [1, 1, 3]


def test_direct_counters_follow_their_entry() -> None:
    switch = small()
    table = switch.tables["ingress.t"]
    counter = table.direct_counters["ingress.hits"]
    for key in range(3):
        table.insert(Entry((EntryKey(key),), "ingress.a", (key,)))
    run(switch, b"\1\0", b"\1\0xyz", b"\2\0", b"\7\0")
    assert counter.read(table.number((EntryKey(0),))) == CounterValue(0, 0)
    assert counter.read(table.number((EntryKey(1),))) == CounterValue(2, 7)
    table.modify(Entry((EntryKey(1),), "ingress.a", (9,)))
    assert counter.read(table.number((EntryKey(1),))) == CounterValue(2, 7)
    table.delete((EntryKey(1),))
    table.insert(Entry((EntryKey(1),), "ingress.a", (9,)))
    assert counter.read(table.number((EntryKey(1),))) == CounterValue(0, 0)


def test_action_data_of_any_width_is_complete() -> None:
    switch = engine(
        header="bit<8> k; bit<1> a; bit<7> b; bit<128> c; int<16> d; bit<200> e;",
        declarations="""
            action set(bit<1> a, bit<7> b, bit<128> c, int<16> d, bit<200> e) {
                hdr.h.a = a; hdr.h.b = b; hdr.h.c = c; hdr.h.d = d; hdr.h.e = e;
            }
            table t { key = { hdr.h.k : exact; } actions = { set; NoAction; } default_action = NoAction(); }
        """,
        ingress="t.apply();",
    )
    values = (1, 77, 2**128 - 5, -3, 2**199 + 12345)
    switch.tables["ingress.t"].insert(Entry((EntryKey(1),), "ingress.set", values))
    ((_, data),) = run(switch, bytes([1]) + bytes(44))
    expected = (1 << 7 | 77).to_bytes(1, "big") + values[2].to_bytes(16, "big")
    expected += values[3].to_bytes(2, "big", signed=True) + values[4].to_bytes(25, "big")
    assert data[1:] == expected


def test_hit_miss_and_action_run_control_the_program() -> None:
    switch = engine(
        header="bit<8> k; bit<8> hit; bit<8> run;",
        declarations="""
            action a() {} action b() {}
            table t { key = { hdr.h.k : exact; } actions = { a; b; } default_action = b(); }
            table u { key = { hdr.h.k : exact; } actions = { a; b; } default_action = a(); }
        """,
        ingress="""
            if (t.apply().hit) { hdr.h.hit = 1; } else { hdr.h.hit = 2; }
            switch (u.apply().action_run) {
                a: { hdr.h.run = 10; }
                b: { hdr.h.run = 20; }
            }
        """,
    )
    switch.tables["ingress.t"].insert(Entry((EntryKey(1),), "ingress.a"))
    switch.tables["ingress.u"].insert(Entry((EntryKey(2),), "ingress.b"))
    assert [data for _, data in run(switch, b"\1\0\0", b"\2\0\0")] == [b"\1\1\x0a", b"\2\2\x14"]


def test_a_table_without_keys_runs_its_default_and_rejects_entries() -> None:
    switch = engine(
        header="bit<8> r;",
        declarations="action a(bit<8> v) { hdr.h.r = v; } table t { actions = { a; } default_action = a(4); }",
        ingress="t.apply();",
    )
    assert run(switch, b"\0") == [(0, b"\4")]
    with pytest.raises(TableError) as caught:
        switch.tables["ingress.t"].insert(Entry((), "ingress.a", (1,)))
    assert caught.value.reason is Reason.INVALID
    switch.tables["ingress.t"].set_default("ingress.a", (8,))
    assert run(switch, b"\0") == [(0, b"\x08")]


def test_a_key_may_be_an_error() -> None:
    switch = engine(
        header="bit<16> x;",
        declarations="""
            action go(bit<9> port) { std.egress_spec = port; }
            table t {
                key = { std.parser_error: exact; }
                actions = { go; NoAction; }
                const entries = { error.NoError: go(1); error.PacketTooShort: go(2); }
            }
        """,
        ingress="t.apply();",
    )
    assert [port for port, _ in run(switch, b"\1\2", b"\1")] == [1, 2]
