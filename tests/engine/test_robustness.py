"""Robustness: random bytes, control writes during batches, and many engines at once."""

from __future__ import annotations

import random
import threading
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.p4.ir import EntryKey
from midflight.runtime.engine import Engine, Entry, Packets
from midflight.runtime.engine.pipeline import lower_program
from midflight.runtime.engine.records import LOG
from tests.engine.build import engine, run


@lru_cache
def everything() -> Engine:
    """Return a program with a stack, a varbit, lookahead, checksums over payload, clones and copies."""
    switch = engine(
        types="""
            header label_t { bit<20> value; bit<3> class; bit<1> bottom; bit<8> ttl; }
            header options_t { bit<8> kind; varbit<120> body; bit<16> sum; }
        """,
        header="bit<4> kind; bit<4> words; bit<16> note;",
        headers="label_t[4] labels; options_t options;",
        metadata="@field_list(1) bit<8> rounds;",
        parser="""
            state start { packet.extract(hdr.h); transition select(hdr.h.kind, packet.lookahead<bit<8>>()) {
                (1, _) : labels; (2, _) : options; (3, 0x80 &&& 0x80) : skip; (_, 10..20) : labels;
                default : accept; } }
            state labels { packet.extract(hdr.labels.next);
                transition select(hdr.labels.last.bottom) { 1 : options; default : labels; } }
            state options { packet.extract(hdr.options, (bit<32>)hdr.h.words << 3); transition accept; }
            state skip { packet.advance((bit<32>)hdr.h.note); transition labels; }
        """,
        verify="""
            verify_checksum_with_payload(hdr.options.isValid(), { hdr.options.kind, hdr.options.body },
                                         hdr.options.sum, HashAlgorithm.csum16);
        """,
        declarations="""
            register<bit<128>>(7) big;
            bit<128> b;
            action port(bit<9> p) { std.egress_spec = p; }
            table t { key = { hdr.h.note : ternary; hdr.labels[0].ttl : range; } actions = { port; NoAction; }
                      default_action = NoAction(); }
        """,
        ingress="""
            std.egress_spec = (bit<9>)hdr.h.note;
            t.apply();
            big.read(b, (bit<32>)hdr.h.note); big.write((bit<32>)hdr.h.words, b + (bit<128>)hdr.options.kind);
            hdr.labels[hdr.h.words].ttl = hdr.labels[hdr.h.words].ttl - 1;
            if (hdr.h.kind == 5) { std.mcast_grp = hdr.h.note; }
            if (hdr.h.kind == 6) { clone_preserving_field_list(CloneType.I2E, (bit<32>)hdr.h.note, 1); }
            if (hdr.h.kind == 7) { truncate((bit<32>)hdr.h.note); }
            if (hdr.h.kind == 8) { hdr.labels.push_front(2); hdr.labels[1].setValid(); }
            if (hdr.h.kind == 9) { meta.rounds = meta.rounds + 1; resubmit_preserving_field_list(1); }
        """,
        egress="""
            if (hdr.h.words == 15 && std.instance_type != 4) { recirculate_preserving_field_list(1); }
            if (hdr.h.words == 14 && std.instance_type == 0) { clone(CloneType.E2E, 2); }
        """,
        compute="""
            update_checksum_with_payload(hdr.options.isValid(), { hdr.options.kind, hdr.options.body },
                                         hdr.options.sum, HashAlgorithm.csum16);
        """,
    )
    switch.multicast.set(3, [(1, 1), (2, 2)])
    switch.clones.set(2, [(5, 9)])
    switch.tables["ingress.t"].insert(
        Entry((EntryKey(1, 1), EntryKey(3, high=200)), "ingress.port", (4,), 1),
    )
    return switch


# Bytes that reach every branch, followed by random bytes.
PACKETS = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda kind, words, note, rest: bytes([kind << 4 | words]) + note.to_bytes(2, "big") + rest,
            st.integers(0, 15),
            st.integers(0, 15),
            st.sampled_from([0, 1, 2, 3, 7, 8, 16, 510, 511, 0xFFFF]),
            st.binary(max_size=60),
        ),
    ),
    max_size=30,
)


@settings(max_examples=100)
@given(packets=PACKETS)
def test_the_engine_never_accesses_memory_outside_a_packet(packets: list[bytes]) -> None:
    """The result for a packet depends neither on other packets nor on the memory around it."""
    switch = everything()

    def fresh() -> None:
        for register in switch.registers.values():
            register.clear()

    fresh()
    together = [(source, port, data) for source, (port, data) in _outputs(switch, packets, b"")]
    fresh()
    surrounded = [(source, port, data) for source, (port, data) in _outputs(switch, packets, b"\xa5" * 64)]
    assert together == surrounded
    assert switch.stats.dropped["memory"] == 0


def _outputs(switch: Engine, packets: list[bytes], gap: bytes) -> list[tuple[int, tuple[int, bytes]]]:
    """Process packets with `gap` between them in memory."""
    data = gap + gap.join(packets) + gap
    lengths = np.array([len(each) for each in packets], np.uint32)
    starts = np.array([len(gap) + sum(len(each) + len(gap) for each in packets[:n]) for n in range(len(packets))])
    batch = Packets(
        np.frombuffer(data, np.uint8),
        starts.astype(np.uint32),
        lengths,
        np.ones(len(packets), np.uint16),
        np.arange(len(packets), dtype=np.uint32),
    )
    out = switch.process(batch)
    return list(zip(out.sources.tolist(), out, strict=True))


def test_an_empty_batch_gives_an_empty_batch() -> None:
    assert len(engine().process(Packets.from_list([]))) == 0


def test_packets_in_use_are_not_overwritten() -> None:
    switch = engine(ingress="hdr.h.x = hdr.h.x + 1;")
    first = switch.process(Packets.from_list([(1, bytes([number])) for number in range(9)]))
    held = first.data[:3]
    before = list(first)
    del first
    for number in range(100, 104):
        run(switch, *[bytes([number])] * 9)
    assert held.tobytes() == b"".join(data for _, data in before[:3])


def test_jumbo_packets_pass_whole() -> None:
    payload = random.Random(1).randbytes(200_000)
    assert run(engine(), b"\1" + payload) == [(0, b"\1" + payload)]


def test_control_writes_are_atomic_with_respect_to_batches() -> None:
    """Two registers and an entry change together between batches. No batch may see a part of a change."""
    switch = engine(
        header="bit<8> k; bit<32> a; bit<32> b;",
        declarations="""
            action set(bit<32> a, bit<32> b) { hdr.h.a = a; hdr.h.b = b; }
            table t { key = { hdr.h.k : exact; } actions = { set; NoAction; } default_action = NoAction(); }
        """,
        ingress="t.apply();",
    )
    table = switch.tables["ingress.t"]
    table.insert(Entry((EntryKey(1),), "ingress.set", (0, 0)))
    batch = Packets.from_list([(1, b"\1" + bytes(8))] * 20_000)
    failures: list[str] = []
    done = threading.Event()

    def traffic() -> None:
        for _ in range(40):
            rows = switch.process(batch).data.reshape(-1, 9)
            value = bytes(rows[0])
            if np.any(rows != rows[0]):
                failures.append("several values in one batch")
            elif value[1:5] != value[5:]:
                failures.append(f"half a change: {value.hex()}")
        done.set()

    thread = threading.Thread(target=traffic)
    thread.start()
    number = 0
    while not done.is_set():
        number += 1
        table.modify(Entry((EntryKey(1),), "ingress.set", (number, number)))
        if number < 250:
            table.insert(Entry((EntryKey(number + 2),), "ingress.set", (1, 2)))
        switch.multicast.set(1, [(1, number % 100)])
    thread.join()
    assert failures == []
    ((_, data),) = run(switch, b"\1" + bytes(8))
    assert int.from_bytes(data[1:5], "big") == number


def test_other_threads_run_python_while_a_batch_is_in_native_code() -> None:
    switch = engine(header="bit<32> v;", ingress="hdr.h.v = hdr.h.v + 1;")
    batch = Packets.from_list([(1, bytes(4))] * 300_000)
    steps, most, done = 0, 0, threading.Event()

    def traffic() -> None:
        nonlocal most
        for _ in range(100):
            before = steps
            switch.process(batch)
            most = max(most, steps - before)
            if most > 10_000:
                break
        done.set()

    thread = threading.Thread(target=traffic)
    thread.start()
    while not done.is_set():
        steps += 1
    thread.join()
    assert most > 10_000


def test_engines_compiled_in_several_threads_do_not_disturb_each_other() -> None:
    results: dict[int, list[tuple[int, bytes]]] = {}

    def build(number: int) -> None:
        results[number] = run(engine(ingress=f"hdr.h.x = hdr.h.x + {number};"), b"\0")

    threads = [threading.Thread(target=build, args=(number,)) for number in range(1, 5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert results == {number: [(0, bytes([number]))] for number in range(1, 5)}


def test_packets_outside_the_data_are_rejected() -> None:
    one = np.array([0], np.uint32)
    for offset, length in ((0, 11), (11, 0), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(ValueError, match="outside"):
            Packets(
                np.zeros(10, np.uint8), one + np.uint32(offset), one + np.uint32(length), one.astype(np.uint16), one
            )
    with pytest.raises(ValueError, match="uint16"):
        Packets(np.zeros(10, np.uint8), one, one, one.astype(np.int64), one)


def test_the_code_of_a_shift_does_not_grow_with_its_stack() -> None:
    def size(elements: int) -> int:
        built = engine(
            types="header one_t { bit<8> x; }",
            headers=f"one_t[{elements}] stack;",
            ingress="hdr.stack.push_front(3); hdr.stack.pop_front(2);",
            deparser="packet.emit(hdr.h);",
        )
        return len(str(lower_program(built.compiled.program).unit.module))

    assert size(1000) - size(10) < 1000


def test_log_messages_that_nobody_reads_are_counted_when_they_are_dropped() -> None:
    subject = engine(ingress='std.egress_spec = 2; log_msg("seen {}", { hdr.h.x });')
    for _ in range(5):
        subject.process(Packets.from_list([(1, bytes([7]))] * 4000))
        assert subject.digests() == []  # takes the messages out of native memory
    assert subject.stats.messages_lost == 5 * 4000 - LOG
    assert subject.messages() == ["seen 7"] * LOG
