"""Tests of the lab "Calculator". The oracle computes with Python's unbounded integers."""

from __future__ import annotations

from pathlib import Path
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_mac, packet_order
from midflight.labs.mutants import own_tests
from midflight.labs.packets import ETHERNET, Layout, header, join

__all__ = ["TESTS"]

NAME = "calculator.p4"
TYPE, MAGIC = 0x88B6, 0x4D46
CALC = header("calc", "magic:16 version:8 op:8 status:8 a:32 b:32 result:32", "op a b")
LAYOUT = Layout(ETHERNET, {ETHERNET: ("type", {TYPE: CALC})})
TOP = (1 << 32) - 1


class Calculator:
    """The oracle: a calculator on a switch, with `computed`, the number of requests that it has answered with a
    result.
    """

    def __init__(self) -> None:
        self.computed = 0

    def results(self, op: int, a: int, b: int) -> int | None:
        """Return the result of an operation on two operands, below 2^32, and count it. None for an unknown operation,
        which is not counted.
        """
        if op not in range(1, 9):
            return None
        self.computed += 1
        return {
            1: (a + b) % (TOP + 1),
            2: max(0, a - b),
            3: a & b,
            4: a | b,
            5: a ^ b,
            6: max(a, b),
            7: (a << min(b, 64)) % (TOP + 1),
            8: self.computed,
        }[op]

    def reply(self, packet: Packet) -> list[Packet]:
        """Return the packets that answer a packet: one, by the port that it arrived on, or none if it is not a valid
        request.

        The answer has the MAC addresses exchanged, and status 1 with the result or status 2 for an unknown operation.
        """
        port, data = packet
        parts, payload = LAYOUT.parse(data)
        if len(parts) < 2:
            return []
        (_, ethernet), (_, calc) = parts
        if calc["magic"] != MAGIC or calc["version"] != 1 or calc["status"] != 0:
            return []
        result = self.results(calc["op"], calc["a"], calc["b"])
        calc.update(status=2 if result is None else 1, result=result or 0)
        ethernet.update(dst=ethernet["src"], src=ethernet["dst"])
        return [(port, join(parts, payload))]


def request(random: Random, op: int, a: int, b: int, **changed: int) -> bytes:
    """Return the bytes of a request with random MAC addresses and payload. `changed` are other fields of the header
    `calc`, by name.
    """
    outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": TYPE}
    inner = {"magic": MAGIC, "version": 1, "op": op, "a": a, "b": b, **changed}
    return join([(ETHERNET, outer), (CALC, inner)], draw_bytes(random, 0, 20))


def operand(random: Random) -> int:
    """Return an operand, often one near a limit."""
    return random.choice([0, 1, 2, TOP, TOP - 1, 1 << 31, random.getrandbits(8), random.getrandbits(32)])


def play(bench: Bench, requests: list[tuple[str, bytes]]) -> None:
    """Send requests, given as pairs of a note for the student and bytes, to a new switch by random ports.

    Incorrect if an answer differs from the oracle's; the reason quotes the note.
    """
    sent = [(bench.random.randrange(1, 30), data) for _, data in requests]
    oracle = Calculator()
    wanted = [oracle.reply(each) for each in sent]
    got = bench.switch(NAME).send(sent).by_source(len(sent))
    compare(LAYOUT, sent, wanted, got, [note for note, _ in requests])


def operations(bench: Bench, numbers: tuple[int, ...]) -> None:
    """Test operations: requests with their numbers, drawn at random, and operands that are often near a limit.
    Incorrect as by `play`.
    """
    drawn = [(bench.random.choice(numbers), operand(bench.random), operand(bench.random)) for _ in range(80)]
    if 7 in numbers:
        drawn += [(7, bench.random.getrandbits(32), each) for each in (31, 32, 33, 63, 1 << 16)]
    play(bench, [(f"op {op}", request(bench.random, op, a, b)) for op, a, b in drawn])


def unknown(bench: Bench) -> None:
    """Test that requests for unknown operations are answered with status 2. Incorrect as by `play`."""
    numbers = [0, 9, 10, 128, 255, 1, 1, 0]
    drawn = [request(bench.random, each, operand(bench.random), operand(bench.random)) for each in numbers]
    notes = [f"op {op}" if op == 1 else f"unknown op {op}" for op in numbers]
    play(bench, [*zip(notes, drawn, strict=True)])


def others(bench: Bench) -> None:
    """Test that packets that are not requests of version 1 are dropped. Incorrect as by `play`."""
    random, made = bench.random, []
    for kind in packet_order(random, {"op 1": 8, "wrong pattern": 6, "wrong version": 6, "an answer": 6, "other": 6}):
        a, b = operand(random), operand(random)
        match kind:
            case "wrong pattern":
                data = request(random, 1, a, b, magic=random.choice([MAGIC ^ 1, MAGIC ^ 0x100, 0]))
            case "wrong version":
                data = request(random, 1, a, b, version=random.choice([0, 2, 255]))
            case "an answer":
                data = request(random, 1, a, b, status=random.choice([1, 2, 128]))
            case "other":
                data = join([(ETHERNET, {"dst": draw_mac(random), "type": 0x0800})], request(random, 1, a, b)[14:])
            case _:
                data = request(random, 1, a, b)
        made.append((kind, data))
    play(bench, made)


def counting(bench: Bench) -> None:
    """Test that operation 8 returns the number of results, and counts neither unknown operations nor answers. Incorrect
    as by `play`.
    """
    random, made = bench.random, []
    for kind in packet_order(random, {"op 8": 20, "op 5": 20, "unknown op 9": 10, "an answer": 10}):
        op = 5 if kind == "an answer" else int(kind.split()[-1])
        status = 1 if kind == "an answer" else 0
        made.append((kind, request(random, op, operand(random), operand(random), status=status)))
    play(bench, made)


TESTS = [
    GradedTest("add", 10, "Addition, modulo 2^32", lambda bench: operations(bench, (1,))),
    GradedTest("subtract", 10, "Subtraction, not below 0", lambda bench: operations(bench, (2,))),
    GradedTest("bits", 15, "Bitwise operations and the larger number", lambda bench: operations(bench, (3, 4, 5, 6))),
    GradedTest("shift", 10, "Shifts, also by more than 31", lambda bench: operations(bench, (7,))),
    GradedTest("unknown", 10, "Unknown operations are answered with status 2", unknown),
    GradedTest("others", 15, "Other packets, and answers, are dropped", others),
    GradedTest("count", 15, "Operation 8 counts results over a long trace", counting),
    *own_tests(Path(__file__).parent, "tests.stf", first=5, points=3),
]
