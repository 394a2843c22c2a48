"""Inlined functions give the same results as the same function in Python, for every packet of a trace."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from midflight.runtime.engine import Engine, Packets
from tests.p4.skeleton import program

MASK = 0xFFFF


def collatz(a: int, b: int) -> int:
    """Return early from nested branches."""
    if a % 2 == 0:
        if b > 100:
            return a >> 1
        b += 1
    elif a == 7:
        return 7
    return (3 * a + b) & MASK


def clamp(a: int, b: int) -> int:
    return min(max(a, 10), 20) + b & MASK


def chosen(a: int, _: int) -> int:
    return {1: 100, 2: 200, 3: 200}.get(a & 3, a)


@dataclass
class Counting:
    """A function with an inout parameter."""

    count: int = 0
    log: list[int] = field(default_factory=list)

    def bump(self, by: int) -> int:
        self.count = self.count + by & MASK
        return self.count


def in_order(a: int, b: int) -> int:
    counting = Counting(a)
    first = counting.count + counting.bump(b) & MASK
    return first ^ counting.count


def short_circuit(a: int, b: int) -> int:
    counting = Counting(a)
    both = a > b and counting.bump(1) > 5
    either = a > b or counting.bump(2) > 5
    return counting.count * 4 + both * 2 + either & MASK


def either_side(a: int, b: int) -> int:
    counting = Counting(a)
    value = counting.bump(3) if a > b else counting.bump(5) + 1
    return value ^ counting.count


FUNCTIONS = """
bit<16> collatz(in bit<16> a, in bit<16> b) {
    bit<16> c = b;
    if (a % 2 == 0) {
        if (b > 100) { return a >> 1; }
        c = c + 1;
    } else if (a == 7) { return 7; }
    return 3 * a + c;
}
T least<T>(in T a, in T b) { if (a < b) { return a; } else { return b; } }
T most<T>(in T a, in T b) { return a < b ? b : a; }
bit<16> clamp(in bit<16> a, in bit<16> b) { return least(most(a, 10), 20) + b; }
bit<16> chosen(in bit<16> a) {
    switch (a & 3) { 1: { return 100; } 2: 3: { return 200; } }
    return a;
}
bit<16> bump(inout bit<16> count, in bit<16> by) { count = count + by; return count; }
void reset(out bit<16> count) { count = 0; return; }
"""

BODIES: list[tuple[str, Callable[[int, int], int]]] = [
    ("r = collatz(a, b);", collatz),
    ("r = clamp(a = a, b = b);", clamp),
    ("r = chosen(a);", chosen),
    ("r = a; r = (r + bump(r, b)) ^ r;", in_order),
    (
        "bit<16> n = a; bool both = a > b && bump(n, 1) > 5; bool either = a > b || bump(n, 2) > 5;"
        "r = n * 4 + (bit<16>)(bit<1>)both * 2 + (bit<16>)(bit<1>)either;",
        short_circuit,
    ),
    ("bit<16> n = a; bit<16> v = a > b ? bump(n, 3) : bump(n, 5) + 1; r = v ^ n;", either_side),
    ("r = a; reset(r);", lambda _a, _b: 0),
]


@pytest.mark.parametrize(("body", "oracle"), BODIES, ids=[body for body, _ in BODIES])
def test_functions_compute_the_same_as_in_python(body: str, oracle: Callable[[int, int], int]) -> None:
    made = program(
        top=FUNCTIONS,
        apply=f"""
            bit<16> a = hdr.ethernet.destination[15:0]; bit<16> b = hdr.ethernet.destination[31:16]; bit<16> r = 0;
            {body}
            hdr.ethernet.type = r;
            standard_metadata.egress_spec = 1;
        """,
    )
    numbers = random.Random(7)
    values = [(numbers.choice([3, 7, 9, 50, 300]), numbers.choice([0, 4, 8, 99, 101])) for _ in range(50)]
    values += [(numbers.randrange(65536), numbers.randrange(65536)) for _ in range(50)]
    packets = [(0, b"\0\0" + b.to_bytes(2, "big") + a.to_bytes(2, "big") + bytes(8)) for a, b in values]
    results = [int.from_bytes(data[12:14], "big") for _, data in Engine(made).process(Packets.from_list(packets))]
    assert results == [oracle(a, b) for a, b in values]
