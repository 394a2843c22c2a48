"""Minimal kernels that random tests found: the compiler once rejected them, or compiled them incorrectly."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from midflight.errors import KernelError
from midflight.primitives import Program
from tests.primitives.agreement import agree
from tests.primitives.rig import Sent
from tests.primitives.test_mistakes import lesson

HEAD = """\
from midflight.primitives import *


def weighed(value, other):
    match value + other:
        case 7 | 14:
            return other
        case 6:
            return bit[32](3)
    return value


class Lesson(Primitive):
    mode: int = 1

    class Wire(Header):
        key8 = bit[8]
        value = bit[32]
        other = bit[32]
        signed = int_[32]

    def setup(self):
        self.count = Register(bit[32], 16)
        self.total = Register(int_[32], 16)

    def ingress(self, packet, wire):
"""

FOUND = {
    "two_constants_compared": """\
if bit[8](3) < bit[8](4) and wire.value > 3:
    packet.drop()""",
    "magnitude_of_an_access": "wire.signed = abs(self.total.update(wire.key8, lambda old: old - wire.signed))",
    "least_of_several_constants": "wire.value = min(7, wire.value, 1000)",
    "least_of_constants_at_first": "wire.signed = max(-3, 5, wire.signed)",
    "helper_that_returns_from_a_match": "wire.value = weighed(wire.value, wire.other)",
    "two_matches_over_an_expression": """\
wire.value = weighed(wire.value, wire.other)
match wire.signed + 2:
    case 1 | 2:
        wire.other = 9""",
    "decided_return": """\
if self.mode == 1:
    wire.value = self.count.update(wire.key8, lambda old: old + 1)
    return
wire.value = self.count.update(wire.key8, lambda old: old + 2)""",
    "decided_return_in_a_loop": """\
for each in range(4):
    wire.value += 1
    if each == self.mode:
        return
packet.drop()""",
}


def requests(random: Random, application: str) -> list[Sent]:
    """Return a few requests with numbers of all sizes."""

    def fields() -> dict[str, Any]:
        value, other = (random.choice((0, 3, 7, 2**31, random.getrandbits(32))) for _ in range(2))
        return {"key8": random.randrange(18), "value": value, "other": other, "signed": random.randint(-9, 9)}

    return [Sent(application, number, fields()) for number in range(30)]


def test_kernels_that_once_failed() -> None:
    primitives = [lesson(f"found_{name}", body, HEAD)(name) for name, body in FOUND.items()]
    random = Random(3)
    seen, _ = agree(Program(*primitives), [each for name in FOUND for each in requests(random, name)])
    assert {each.verdict.name for each in seen} == {"FORWARD", "DROP"}


def test_an_access_in_a_chain_of_comparisons_must_be_unconditional() -> None:
    body = "if 3 < wire.value < self.count.update(wire.key8, lambda old: old + 1): packet.drop()"
    with pytest.raises(KernelError, match="`count` is accessed in an expression that is not evaluated for every"):
        Program(lesson("found_chain", body, HEAD)("lesson"))
    decided = "if 9 < 3 < self.count.update(wire.key8, lambda old: old + 1): packet.drop()"
    program = Program(lesson("found_no_chain", decided, HEAD)("lesson"))
    assert "count.write" not in program.p4()
