"""Registers, counters, meters, digests and random numbers, over traces of many packets."""

from __future__ import annotations

import random

import numpy as np
import pytest

from midflight.errors import DeviceError
from midflight.p4.ir import EntryKey
from midflight.runtime.engine import CounterValue, Digest, Engine, Entry, MeterConfig
from tests.engine.build import bytes_of, engine, field, run, width_of

WIDTHS = "bit<1> int<8> bit<12> int<12> bit<64> bit<65> int<128> bit<200>"


@pytest.fixture(scope="module")
def registers() -> Engine:
    """Return a switch with a register of each kind. Packets select the register, the index, and a value to write."""
    kinds = WIDTHS.split()
    branches = (
        f"if (hdr.h.which == {i}) {{ if (hdr.h.write == 1) {{ r{i}.write((bit<32>)hdr.h.index, hdr.h.v{i}); }}"
        f" else {{ r{i}.read(hdr.h.v{i}, (bit<32>)hdr.h.index); }} }}"
        for i in range(len(kinds))
    )
    return engine(
        header="bit<8> write; bit<8> which; bit<16> index; " + " ".join(field(k, f"v{i}") for i, k in enumerate(kinds)),
        declarations=" ".join(f"register<{kind}>(300) r{i};" for i, kind in enumerate(kinds)),
        ingress=" ".join(branches),
    )


@pytest.mark.parametrize("kind", WIDTHS.split())
def test_registers_hold_values_of_any_width_on_both_sides(kind: str, registers: Engine) -> None:
    width, is_signed = width_of(kind), kind.startswith("int")
    kinds = WIDTHS.split()
    which = kinds.index(kind)
    before, behind = (bytes(sum(map(bytes_of, part))) for part in (kinds[:which], kinds[which + 1 :]))
    size = bytes_of(kind)
    register, rng = registers.registers[f"ingress.r{which}"], random.Random(width)

    def packet(write: int, index: int, value: int = 0) -> bytes:
        return bytes([write, which]) + index.to_bytes(2, "big") + before + value.to_bytes(size, "big") + behind

    def sent(*packets: bytes) -> list[int]:
        start = 4 + len(before)
        out = [data for _, data in run(registers, *packets)]
        return [int.from_bytes(data[start : start + size], "big") & mask for data in out if not data[0]]

    mask = (1 << width) - 1
    model = [0] * 300
    packets, expected = [], []
    for _ in range(800):
        write, index, value = rng.random() < 0.5, rng.randrange(330), rng.getrandbits(width)
        packets.append(packet(write, index, value))
        if write and index < 300:
            model[index] = value
        if not write:
            expected.append(model[index] if index < 300 else 0)
    assert sent(*packets) == expected

    def seen(value: int) -> int:
        return value - (1 << width) if is_signed and value >> (width - 1) else value

    assert [register.read(index) for index in range(300)] == [seen(each) for each in model]
    everything = register.read_all()
    if width <= 64:
        assert everything.tolist() == [seen(each) for each in model]
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, mask)
    register.write(7, low)
    register.write(8, high)
    assert sent(packet(0, 7), packet(0, 8)) == [low & mask, high & mask]
    for value in (low - 1, high + 1):
        with pytest.raises(DeviceError):
            register.write(7, value)
    register.write_all(everything)
    assert [register.read(index) for index in range(300)] == [seen(each) for each in model]
    register.clear()
    assert not register.read_all().any()
    for index in (-1, 300):
        with pytest.raises(DeviceError):
            register.read(index)
    with pytest.raises(DeviceError):
        register.write_all([1, 0])


def test_a_register_holds_members_of_an_enum() -> None:
    switch = engine(
        types="enum int<16> kind_t { low = -2, high = 0x800 }",
        header="bit<16> type; bit<8> answer;",
        declarations="register<kind_t>(2) r;",
        ingress="""
            kind_t last; r.read(last, 1); hdr.h.answer = last == kind_t.low ? 8w1 : (last == kind_t.high ? 8w2 : 3);
            r.write(1, (kind_t)(int<16>)hdr.h.type);
        """,
    )
    found = [data[2] for _, data in run(switch, b"\x08\0\0", b"\xff\xfe\0", b"\0\0\0", b"\xff\xfe\0")]
    assert found == [3, 2, 1, 3]
    assert switch.registers["ingress.r"].read(1) == -2


def test_a_register_changes_from_one_packet_to_the_next_within_a_batch() -> None:
    switch = engine(
        header="bit<32> v;",
        declarations="register<bit<32>>(1) total; bit<32> t;",
        ingress="total.read(t, 0); t = t |+| hdr.h.v; total.write(0, t); hdr.h.v = t;",
    )
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**24, 600)
    out = [int.from_bytes(data, "big") for _, data in run(switch, *(int(v).to_bytes(4, "big") for v in values))]
    assert out == np.minimum(np.cumsum(values), 2**32 - 1).tolist()


def test_counters_count_packets_and_their_bytes() -> None:
    switch = engine(
        header="bit<8> i;",
        declarations="counter(4, CounterType.packets_and_bytes) c;",
        ingress="c.count((bit<32>)hdr.h.i);",
    )
    rng = random.Random(2)
    packets = [bytes([rng.randrange(6)]) + bytes(rng.randrange(50)) for _ in range(500)]
    run(switch, *packets)
    counter = switch.counters["ingress.c"]
    mine = [[each for each in packets if each[0] == index] for index in range(4)]
    assert counter.packets.tolist() == [len(each) for each in mine]
    assert counter.bytes.tolist() == [sum(map(len, each)) for each in mine]
    counter.write(2, CounterValue(5, 6))
    assert counter.read(2) == CounterValue(5, 6)
    counter.clear()
    assert not counter.packets.any()
    with pytest.raises(DeviceError):
        counter.read(4)
    for wrong in (-1, 1 << 64):
        with pytest.raises(DeviceError, match="a count is 0 to"):
            counter.write(2, CounterValue(wrong, 0))
        with pytest.raises(DeviceError, match="a count is 0 to"):
            counter.write(2, CounterValue(0, wrong))
    assert counter.read(2) == CounterValue(0, 0)


def test_a_meter_colours_by_two_rates_and_the_time_that_passes() -> None:
    """Compared with RFC 2698 in Python, colour-blind, with fractions of tokens."""
    switch = engine(
        header="bit<8> i; bit<8> colour;",
        declarations="meter(2, MeterType.bytes) m; bit<8> c;",
        ingress="m.execute_meter<bit<8>>((bit<32>)hdr.h.i, c); hdr.h.colour = c;",
    )
    config = MeterConfig(cir=1000, cburst=300, pir=3000, pburst=500)
    switch.meters["ingress.m"].write(1, config)
    assert switch.meters["ingress.m"].read(1) == config
    assert switch.meters["ingress.m"].read(0) is None
    rng, now, tc, tp = random.Random(3), 0, 300 * 10**6, 500 * 10**6
    seen = set()
    for _ in range(500):
        later = now + rng.choice([0, 1000, 20_000, 90_000, 5_000_000])
        tc = min(300 * 10**6, tc + (later - now) * 1000)
        tp = min(500 * 10**6, tp + (later - now) * 3000)
        now = later
        packet = bytes([1, 9]) + bytes(rng.randrange(120))
        cost = len(packet) * 10**6
        if tp < cost:
            expected = 2
        elif tc < cost:
            expected, tp = 1, tp - cost
        else:
            expected, tp, tc = 0, tp - cost, tc - cost
        seen.add(expected)
        assert run(switch, packet, now=now)[0][1][1] == expected
        assert run(switch, bytes([0, 9]) + bytes(100), now=now)[0][1][1] == 0
    assert seen == {0, 1, 2}


def test_a_direct_meter_belongs_to_its_entry() -> None:
    switch = engine(
        header="bit<8> k; bit<8> colour;",
        metadata="bit<2> colour;",
        declarations="""
            direct_meter<bit<2>>(MeterType.packets) m;
            action a() { m.read(meta.colour); }
            table t { key = { hdr.h.k : exact; } actions = { a; NoAction; } meters = m; default_action = NoAction(); }
        """,
        ingress="t.apply(); hdr.h.colour = (bit<8>)meta.colour;",
    )
    table = switch.tables["ingress.t"]
    for key in (1, 2):
        table.insert(Entry((EntryKey(key),), "ingress.a"))
    table.direct_meters["ingress.m"].write(table.number((EntryKey(1),)), MeterConfig(1, 1, 1, 2))
    out = run(switch, *[b"\1\0"] * 4, b"\2\0", b"\3\0")
    assert [data[1] for _, data in out] == [0, 1, 2, 2, 0, 0]


def test_digests_arrive_in_order_with_the_values_at_the_call() -> None:
    switch = engine(
        types="struct seen_t { bit<8> a; bit<48> mac; int<16> level; } struct big_t { bit<100> wide; bool yes; }",
        header="bit<8> a; bit<48> mac; int<16> level;",
        ingress="""
            digest<seen_t>(1, { hdr.h.a, hdr.h.mac, hdr.h.level });
            if (hdr.h.a == 2) { digest<big_t>(2, { (bit<100>)hdr.h.mac << 50, true }); }
            hdr.h.a = 0;
        """,
    )
    packets = [bytes([number]) + bytes([9] * 6) + (-number).to_bytes(2, "big", signed=True) for number in range(4)]
    run(switch, *packets)
    mac = int.from_bytes(bytes([9] * 6), "big")
    assert switch.digests() == [
        Digest("seen_t", (0, mac, 0)),
        Digest("seen_t", (1, mac, -1)),
        Digest("seen_t", (2, mac, -2)),
        Digest("big_t", (mac << 50 & (1 << 100) - 1, 1)),
        Digest("seen_t", (3, mac, -3)),
    ]
    assert switch.digests() == []


def test_digests_beyond_the_buffer_are_lost_and_counted() -> None:
    switch = engine(types="struct d_t { bit<1024> a; }", ingress="digest<d_t>(1, { (bit<1024>)hdr.h.x });")
    run(switch, *[b"\1"] * 9_000)
    kept = len(switch.digests())
    assert 0 < kept < 9_000
    assert switch.stats.digests_lost == 9_000 - kept
    run(switch, b"\1")
    assert len(switch.digests()) == 1


def test_random_numbers_are_within_bounds_and_follow_the_seed() -> None:
    def numbers(seed: int) -> list[int]:
        switch = engine(
            seed=seed,
            header="bit<8> low; bit<8> high; bit<8> r;",
            ingress="random(hdr.h.r, hdr.h.low, hdr.h.high);",
        )
        return [data[2] for _, data in run(switch, *[b"\x0a\x13\0"] * 2000, b"\7\7\0", b"\x09\3\0")]

    first = numbers(1)
    assert set(first[:2000]) == set(range(10, 20))
    assert min(first[:2000].count(each) for each in range(10, 20)) > 120
    assert first[2000:] == [7, 9]
    assert first == numbers(1)
    assert first != numbers(2)


def test_failed_assertions_are_counted_and_logged() -> None:
    switch = engine(ingress="assert(hdr.h.x != 3); assume(hdr.h.x < 5);")
    assert len(run(switch, b"\1", b"\3", b"\7")) == 3
    assert switch.stats.assertions == 2
    one, other = switch.messages()
    assert (one.partition(" at ")[0], other.partition(" at ")[0]) == ("assert failed", "assume failed")
    assert switch.messages() == []


LOGGING = """
    log_msg("plain");
    log_msg("x={} wide={} signed={} and {}", { hdr.h.x, hdr.h.wide, (int<8>)hdr.h.x, hdr.h.x == 255 });
    log_msg("too few {}, {}", { hdr.h.x });
"""


def test_log_messages_have_their_values_in_order_and_leave_digests_alone() -> None:
    logged = ["plain", f"x=255 wide={(1 << 95) + 7} signed=-1 and 1", "too few 255, {}"]
    switch = engine(
        types="struct note_t { bit<8> x; }",
        header="bit<8> x; bit<96> wide;",
        ingress=LOGGING + "digest<note_t>(1, { hdr.h.x });",
    )
    packet = b"\xff" + ((1 << 95) + 7).to_bytes(12, "big")
    run(switch, packet)
    assert [each.values for each in switch.digests()] == [(255,)]
    assert switch.messages() == logged
    run(switch, packet)
    assert switch.messages() == logged
    assert [each.values for each in switch.digests()] == [(255,)]
    switch.trace(True)
    run(switch, packet)
    (trace,) = switch.traces()
    assert [how for what, how in trace.steps if what == "log"] == logged


def test_messages_beyond_the_buffer_are_counted() -> None:
    switch = engine(ingress='log_msg("seen {}", { hdr.h.x });')
    run(switch, *[b"\1"] * 50_000)
    assert 0 < switch.stats.messages_lost < 50_000
    assert set(switch.messages()) == {"seen 1"}


@pytest.mark.parametrize("width", [64, 128])
def test_lists_with_ints_on_both_sides_of_2_to_the_63_are_written_exactly(width: int) -> None:
    switch = engine(declarations=f"register<bit<{width}>>(2) r;", ingress="r.write(0, 0);")
    register = switch.registers["ingress.r"]
    register.write_all([1, 2**63 + 1])
    assert [register.read(0), register.read(1)] == [1, 2**63 + 1]
    with pytest.raises(DeviceError, match="holds integers"):
        register.write_all([1.5, 2.0])
    assert register.read(1) == 2**63 + 1
