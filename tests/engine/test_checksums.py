"""Checksums compared with a simple RFC 1071, and hashes compared with zlib, known vectors and Python code."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Engine, Packets
from tests.bmv2 import BMV2
from tests.engine.build import engine, run, source

FIELDS = (("a", 4), ("b", 12), ("c", 32), ("d", 48), ("e", 3), ("f", 13), ("g", 128), ("h", 1), ("i", 7))
HEADER = " ".join(f"bit<{width}> {name};" for name, width in FIELDS)
LIST = ", ".join(f"hdr.h.{name}" for name, _ in FIELDS)
SIZE = sum(width for _, width in FIELDS) // 8


def ones_complement(data: bytes) -> int:
    """RFC 1071, section 4.1, word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes((data[at : at + 2] + b"\0")[:2], "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def crc16(data: bytes) -> int:
    """CRC-16/ARC, bit by bit."""
    state = 0
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0xA001 if state & 1 else 0)
    return state


def xor16(data: bytes) -> int:
    result = 0
    for at in range(0, len(data), 2):
        result ^= int.from_bytes((data[at : at + 2] + b"\0")[:2], "big")
    return result


HASHES: dict[str, Callable[[bytes], int]] = {
    "crc16": crc16,
    "crc32": zlib.crc32,
    "csum16": ones_complement,
    "xor16": xor16,
    "identity": lambda data: int.from_bytes(data[:8], "big"),
}


@lru_cache
def updater(odd: bool = False) -> Engine:
    fields = LIST + (", hdr.h.i" if odd else "")
    return engine(
        header=HEADER + " bit<16> sum;",
        compute=f"update_checksum(hdr.h.isValid(), {{ {fields} }}, hdr.h.sum, HashAlgorithm.csum16);",
    )


@settings(max_examples=40)
@given(rows=st.lists(st.binary(min_size=SIZE, max_size=SIZE), min_size=1, max_size=40))
def test_the_checksum_of_fields_is_that_of_their_bits(rows: list[bytes]) -> None:
    out = run(updater(), *(row + b"\0\0" for row in rows))
    assert [int.from_bytes(data[-2:], "big") for _, data in out] == [ones_complement(row) for row in rows]


def test_zero_bits_fill_the_last_byte() -> None:
    row = bytes(range(100, 100 + SIZE))
    ((_, data),) = run(updater(odd=True), row + b"\0\0")
    assert int.from_bytes(data[-2:], "big") == ones_complement(row + bytes([(row[-1] & 0x7F) << 1]))


def test_fields_of_an_invalid_header_are_left_out() -> None:
    switch = engine(
        types="header pair_t { bit<16> a; bit<16> b; }",
        header="bit<16> x; bit<16> sum;",
        headers="pair_t pair;",
        parser="state start { packet.extract(hdr.h); packet.extract(hdr.pair); transition accept; }",
        ingress="if (hdr.h.x == 1) { hdr.pair.setInvalid(); }",
        compute="update_checksum(true, { hdr.h.x, hdr.pair.a, hdr.pair.b }, hdr.h.sum, HashAlgorithm.csum16);",
    )
    kept, gone = (data for _, data in run(switch, b"\0\2\0\0\7\7\1\1", b"\0\1\0\0\7\7\1\1"))
    assert int.from_bytes(kept[2:4], "big") == ones_complement(b"\0\2\7\7\1\1")
    assert int.from_bytes(gone[2:4], "big") == ones_complement(b"\0\1")


@pytest.mark.parametrize("row", [bytes(SIZE), b"\xff" * SIZE, b"\0" * (SIZE - 1) + b"\1"])
def test_all_zeros_and_all_ones_have_the_checksums_that_the_plain_sum_gives(row: bytes) -> None:
    ((_, data),) = run(updater(), row + b"\0\0")
    assert int.from_bytes(data[-2:], "big") == ones_complement(row)


def test_a_wrong_checksum_sets_checksum_error_if_condition_and_header_hold() -> None:
    switch = engine(
        header="bit<8> check; bit<8> bad; bit<32> value; bit<16> sum;",
        verify="verify_checksum(hdr.h.check == 1, { hdr.h.value }, hdr.h.sum, HashAlgorithm.csum16);",
        ingress="hdr.h.bad = (bit<8>)std.checksum_error;",
    )
    value = b"\x12\x34\xff\xee"
    good, wrong = ones_complement(value).to_bytes(2, "big"), b"\0\1"
    packets = [bytes([check, 9]) + value + each for check in (0, 1) for each in (good, wrong)]
    assert [data[1] for _, data in run(switch, *packets, packets[1])] == [0, 0, 0, 1, 0]


@settings(max_examples=40)
@given(payload=st.binary(max_size=80))
def test_the_payload_can_be_included(payload: bytes) -> None:
    ((_, data),) = run(with_payload(), b"\7\1\2" + b"\0\0\0" + payload)
    assert int.from_bytes(data[3:5], "big") == ones_complement(b"\7\1\2" + payload)
    assert data[5] == 0
    ((_, again),) = run(with_payload(), data)
    assert again[5] == 0
    ((_, broken),) = run(with_payload(), data[:3] + bytes([data[3] ^ 1]) + data[4:])
    assert broken[5] == 1


@lru_cache
def with_payload() -> Engine:
    fields = "{ hdr.h.a, hdr.h.b, hdr.h.c }"
    return engine(
        header="bit<8> a; bit<8> b; bit<8> c; bit<16> sum; bit<8> bad;",
        verify=f"verify_checksum_with_payload(hdr.h.sum != 0, {fields}, hdr.h.sum, HashAlgorithm.csum16);",
        ingress="hdr.h.bad = (bit<8>)std.checksum_error;",
        compute=f"update_checksum_with_payload(true, {fields}, hdr.h.sum, HashAlgorithm.csum16);",
    )


def test_checksums_include_the_present_part_of_a_varbit() -> None:
    switch = engine(
        types="header o_t { bit<8> kind; varbit<320> options; bit<16> sum; }",
        header="bit<8> bytes;",
        headers="o_t o;",
        parser="""
            state start { packet.extract(hdr.h); packet.extract(hdr.o, (bit<32>)hdr.h.bytes << 3); transition accept; }
        """,
        compute="update_checksum(hdr.o.isValid(), { hdr.o.kind, hdr.o.options }, hdr.o.sum, HashAlgorithm.csum16);",
    )
    for count in (0, 1, 2, 7, 40):
        body = b"\x05" + bytes(range(200, 200 + count))
        ((_, data),) = run(switch, bytes([count]) + body + b"\0\0")
        assert data == bytes([count]) + body + ones_complement(body).to_bytes(2, "big")


@lru_cache
def hasher(algorithm: str, base: int, most: int, result: int = 64) -> Engine:
    return engine(
        header=HEADER + f" bit<{result}> r;",
        ingress=f"hash(hdr.h.r, HashAlgorithm.{algorithm}, 64w{base}, {{ {LIST} }}, 64w{most});",
    )


@settings(max_examples=20)
@given(rows=st.lists(st.binary(min_size=SIZE, max_size=SIZE), min_size=1, max_size=40))
def test_the_hash_of_fields_is_that_of_their_bits(rows: list[bytes]) -> None:
    most = (1 << 64) - 1
    for row, (_, data) in zip(rows, run(hashers(), *(row + bytes(40) for row in rows)), strict=True):
        found = [int.from_bytes(data[at : at + 8], "big") for at in range(SIZE, SIZE + 40, 8)]
        assert found == [algorithm(row) % most for algorithm in HASHES.values()]


@lru_cache
def hashers() -> Engine:
    call = f"hash(hdr.h.$, HashAlgorithm.$, 64w0, {{ {LIST} }}, 64w0xffffffffffffffff);"
    return engine(
        header=HEADER + " ".join(f"bit<64> {name};" for name in HASHES),
        ingress=" ".join(call.replace("$", name) for name in HASHES),
    )


def test_known_vectors() -> None:
    """The check values of "123456789" from the catalogue of parametrised CRC algorithms."""
    switch = engine(
        header="bit<72> v; bit<16> r; bit<32> s;",
        ingress="hash(hdr.h.r, HashAlgorithm.crc16, 16w0, hdr.h.v, 32w0xffffffff); "
        "hash(hdr.h.s, HashAlgorithm.crc32, 32w0, { hdr.h.v }, 32w0xffffffff);",
    )
    ((_, data),) = run(switch, b"123456789" + bytes(6))
    assert data[9:].hex() == "bb3d" + "cbf43926"


def test_a_hash_lies_between_its_base_and_bound() -> None:
    switch = engine(
        header="bit<32> v; bit<8> base; bit<16> most; bit<32> r;",
        ingress="hash(hdr.h.r, HashAlgorithm.crc32, hdr.h.base, { hdr.h.v }, hdr.h.most);",
    )
    for base, most in ((0, 16), (10, 7), (5, 1), (9, 0), (255, 65535)):
        rows = [number.to_bytes(4, "big") for number in range(40)]
        out = run(switch, *(row + bytes([base]) + most.to_bytes(2, "big") + bytes(4) for row in rows))
        expected = [base + (zlib.crc32(row) % most if most else 0) for row in rows]
        assert [int.from_bytes(data[-4:], "big") for _, data in out] == expected


def test_the_random_hash_follows_the_seed() -> None:
    packets = [bytes(SIZE + 8)] * 50
    first = [data for _, data in run(hasher("random", 0, 1000), *packets)]
    assert len(set(first)) > 30


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_wide_results_and_custom_algorithms(device: str) -> None:
    """Only the low 64 bits of base and bound count, and the custom CRCs begin with the parameters of the others."""
    text = source(
        header="bit<72> base; bit<72> most; bit<72> r; bit<16> short; bit<32> long;",
        ingress="""
            std.egress_spec = 1;
            hash(hdr.h.r, HashAlgorithm.crc32, hdr.h.base, { hdr.h.base }, hdr.h.most);
            hash(hdr.h.short, HashAlgorithm.crc16_custom, 16w0, { hdr.h.base }, 32w0xffffffff);
            hash(hdr.h.long, HashAlgorithm.crc32_custom, 32w0, { hdr.h.base }, 64w0x100000000);
        """,
    )
    high = 1 << 64
    rows = [(3, 100), (high + 5, 100), (high - 1, 100), (0, high + 3), (0, high), (9, (1 << 72) - 1)]
    packets = [(1, b"".join(each.to_bytes(9, "big") for each in row) + bytes(15)) for row in rows]
    with open_device(device, text) as opened:
        assert isinstance(opened, PacketDevice)
        out = [data for _, data in opened.process(Packets.from_list(packets))]
    for (base, most), data in zip(rows, out, strict=True):
        fields = base.to_bytes(9, "big")
        total = (base + zlib.crc32(fields) % (most % high or 1)) % high
        assert data[18:].hex() == f"{total:018x}{crc16(fields):04x}{zlib.crc32(fields):08x}"


CHOICE = """\
state start {
    packet.extract(hdr.h);
    transition select(hdr.h.which) {
        0: accept;
        1: parse_odd;
        2: parse_even;
        default: parse_both;
    }
}
state parse_odd { packet.extract(hdr.odd); transition accept; }
state parse_even { packet.extract(hdr.even); transition accept; }
state parse_both { packet.extract(hdr.odd); packet.extract(hdr.word); packet.extract(hdr.even); transition accept; }
"""
SUMMED = "{ hdr.h.which, hdr.odd, hdr.word.first, hdr.word.second, hdr.even, 16w0x1234 }"


@lru_cache
def chooser() -> Engine:
    types = "bit<8> a; bit<13> b; bit<3> c;"
    return engine(
        types=f"header odd_t {{ {types} }} header even_t {{ bit<4> a; bit<12> b; bit<32> c; }}"
        " header word_t { bit<12> first; bit<12> second; }",
        header="bit<8> which; bit<16> sum;",
        headers="odd_t odd; word_t word; even_t even;",
        parser=CHOICE,
        compute=f"update_checksum_with_payload(hdr.h.isValid(), {SUMMED}, hdr.h.sum, HashAlgorithm.csum16);",
    )


@settings(max_examples=60)
@given(which=st.integers(0, 3), data=st.binary(min_size=12, max_size=40))
def test_checksums_leave_out_invalid_headers_and_move_later_fields_up(which: int, data: bytes) -> None:
    ((_, sent),) = run(chooser(), bytes([which, 0, 0]) + data)
    size = (0, 3, 6, 12)[which]
    whole = bytes([which]) + data[:size] + b"\x12\x34" + data[size:]
    assert int.from_bytes(sent[1:3], "big") == ones_complement(whole)
