"""Kernels deeper than Python's stack: long sums, chains of branches, helpers with many returns."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from midflight.errors import KernelError
from midflight.primitives import Header, Packet, Primitive, Program, Register, bit
from midflight.primitives.kernel.header import Layout
from midflight.primitives.wire import REQUEST, Message
from tests.primitives.test_mistakes import lesson

HEAD = """\
from midflight.primitives import *


class Lesson(Primitive):
    class Wire(Header):
        key = bit[16]
        value = bit[32]

    def setup(self):
        self.count = Register(bit[32], 1024)

    def ingress(self, packet, wire):
"""
MANY = 1000
DEEP = 3000

BODIES = {
    "elif": "if wire.key == 0:\n    wire.value = 7\n"
    + "".join(f"elif wire.key == {each}:\n    wire.value = {each}\n" for each in range(1, MANY)),
    "match": "match wire.key:\n" + "".join(f"    case {each}:\n        wire.value = {each}\n" for each in range(MANY)),
    "sum": "wire.value = " + " + ".join(["wire.value"] * MANY),
    "and": "if " + " and ".join(f"wire.key != {each}" for each in range(MANY)) + ":\n    packet.drop()",
    "choice": "wire.value = " + "".join(f"{each} if wire.key == {each} else " for each in range(700)) + "wire.value",
    "hash": "wire.value = hash_(" + " + ".join(["wire.value"] * MANY) + ")",
    "lines": "".join(f"x{each} = wire.value + {each}\n" for each in range(MANY)),
    "update": "self.count.update(0, lambda old: " + " + ".join(["old"] * MANY) + ")",
}
RETURNS = (
    "".join(f"    if key == {each}:\n        return value + {each}\n" for each in range(MANY)) + "    return value\n"
)


def program(name: str, body: str, before: str = "") -> Program:
    return Program(lesson(f"deep_{name}", body, HEAD.replace("class Lesson", f"{before}\n\nclass Lesson"))("lesson"))


@pytest.mark.parametrize("name", BODIES)
def test_a_thousand_nested_constructs_compile(name: str) -> None:
    made = program(name, BODIES[name])
    assert "lesson" in made.p4()
    assert made.check("asic") == ()
    kernel = made.applications["lesson"].primitive.kernel
    assert kernel.body == replace(kernel).body
    assert repr(kernel.body)
    assert hash(kernel.body) == hash(replace(kernel).body)


def test_all_of_a_thousand_terms_and_branches_are_computed() -> None:
    assert program("sum", BODIES["sum"]).p4().count("hdr.lesson.value + ") == MANY - 1
    assert len(re.findall(r"else if \(hdr.lesson.key == ", program("elif", BODIES["elif"]).p4())) == MANY - 1


@pytest.mark.parametrize(
    "call", ["wire.value = many(wire.key, wire.value)", "self.count.update(0, lambda old: many(wire.key, old))"]
)
def test_a_helper_may_return_in_a_thousand_places(call: str) -> None:
    made = program("returns", call, f"def many(key, value):\n{RETURNS}")
    reference = made.applications["lesson"].primitive.reference()
    reference.process(Message(REQUEST, "lesson", 0, {"key": 998, "value": 1}))
    assert made.p4().count("+ 998") == 1


def test_the_minimum_of_many_numbers_repeats_none_of_them_often() -> None:
    text = program("least", "wire.value = min(" + ", ".join(f"wire.value + {each}" for each in range(200)) + ")").p4()
    assert text.count("+ 57;") + text.count("+ 57)") <= 2


def test_exponential_growth_by_inlining_is_rejected() -> None:
    doubled = "def doubled(value):\n" + "    value = value + value\n" * 40 + "    return value\n"
    with pytest.raises(KernelError, match="expression has more than 65536 terms") as caught:
        program("doubled", "self.count.update(0, lambda old: doubled(old))", doubled)
    assert caught.value.place is not None


def test_a_mistake_in_a_deep_expression_is_quoted_in_part() -> None:
    with pytest.raises(KernelError, match=r"`wire.value \+ .*\.\.\.` is bit\[32\], `wire.key` is bit\[16\]") as caught:
        program("mixed", BODIES["sum"] + " + wire.key")
    assert len(caught.value.message) < 200


def test_code_that_python_cannot_parse_is_reported_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    made = lesson("unparsed", "wire.value = 3", HEAD)

    def parse(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("ast.parse", parse)
    with pytest.raises(KernelError, match="Python cannot parse this function") as caught:
        Program(made("lesson"))
    assert caught.value.place is not None
    assert caught.value.place.file == "lesson_unparsed.py"


def nested(leaf: type[Header], depth: int) -> type[Header]:
    """Return a header with `depth` levels of nested headers, the innermost of which is `leaf`."""
    for _ in range(depth):
        leaf = type("Nest", (Header,), {"i": leaf.struct()})
    return leaf


class Leaf(Header):
    x = bit[16]
    y = bit[16]


class Holder(Primitive):
    """Count packets; optionally hold another primitive."""

    inner: Primitive | None = None

    class Wire(Header):
        key = bit[16]

    def setup(self) -> None:
        if self.inner is None:
            self.count = Register(bit[32], 16)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        if wire.key == 1:
            packet.drop()


def test_headers_nest_deeper_than_the_stack() -> None:
    class Deep(Primitive):
        Wire = nested(Leaf, DEEP)

        def ingress(self, packet: Packet, wire: Header) -> None:
            packet.drop()

    program = Program(Deep("deep"))
    assert f"bit<16> {'i_' * DEEP}y;" in program.p4()
    assert [each["name"][-1] for each in program.schema()["applications"]["deep"]["fields"]] == ["x", "y"]


def test_deep_headers_are_compared_field_by_field() -> None:
    class Other(Header):
        x = bit[16]
        y = bit[8]

    one, same, other = (Layout.of(nested(each, DEEP), {}) for each in (Leaf, Leaf, Other))
    assert Layout.union({"one": one, "same": same}).fields == one.fields
    with pytest.raises(KernelError, match="field `i` is declared twice with different types"):
        Layout.union({"one": one, "other": other})


def test_primitives_hold_others_deeper_than_the_stack() -> None:
    held = Holder("innermost")
    for _ in range(DEEP):
        held = Holder("holder", inner=held)
    assert list(held.registers) == ["inner_" * DEEP + "count"]
    reference = held.reference()
    reference.process(Message(REQUEST, "holder", 0, {"key": 1}))
    register = next(iter(reference.registers.values()))
    assert register is not next(iter(held.registers.values()))  # The reference works on a copy.
