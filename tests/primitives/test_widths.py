"""Constants take their width from operands and annotations, and then Python and P4 compute the same."""

from __future__ import annotations

import itertools

import pytest

from midflight.errors import KernelError
from midflight.primitives import Filter, Header, Packet, Primitive, Program, Threshold, bit
from midflight.primitives.wire import REQUEST, Message
from tests.primitives.agreement import agree
from tests.primitives.rig import Sent
from tests.primitives.test_mistakes import lesson

HEAD = """\
from midflight.primitives import *

TABLE = [3, 1, 4]
POWERS = (1, 2, 4, 8)


class Inner(Primitive):
    class Wire(Header):
        key = bit[8]
        value = bit[32]

    def setup(self):
        self.owner = Map(bit[8], bit[32], size=4, entries={3: 77})

    def ingress(self, packet, wire):
        match wire.key:
            case 1:
                if wire.value > 5:
                    return
                wire.value += 1
            case 2:
                wire.value += 2
        wire.value = self.owner.get(wire.key, wire.value)
        if not self.owner.hit:
            return
        packet.reply()


class Lesson(Primitive):
    bound: int = 256
    weights: tuple = (5, 6, 7)

    class Wire(Header):
        key = bit[8]
        value = bit[32]
        signed = int_[16]

    def setup(self):
        self.count = Register(bit[32], 16)
        self.inner = Inner("inner")

    def clamped(self, value):
        if value > 100:
            return 100
        return value

    def ingress(self, packet, wire):
"""

RIGHT = {
    "least": "x = min(wire.value, 15)\nwire.value = x + wire.value",
    "least_and_on": "x = min(wire.value, 15)\ny = x + 1\nif y == 16:\n    packet.reply()\nwire.value = y << 2",
    "annotated": "x: bit[32] = 7\nif wire.key > 3:\n    x = 9\nwire.value = x",
    "annotated_choice": "x: bit[32] = 1 if wire.key == 3 else 0\nwire.value = x + wire.value",
    "annotated_once": "rounds: bit[8] = 3\nfor each in range(rounds):\n    wire.key += rounds",
    "later_constant": "x = wire.value\nif wire.key == 1:\n    x = 12\nwire.value = x * 2 if wire.key == 2 else x",
    "signed": "x = max(wire.signed, -3)\nwire.signed = -x if wire.key == 1 else abs(x)",
    "shifted": "x = min(wire.value, 12)\nwire.value = (x >> 1) + x // 4 + x % 8 + (x & 6) + (x | 1)",
    "helper": "x = self.clamped(wire.value)\nwire.value = x + 1",
    "passed_on": "wire.value = self.clamped(min(wire.value, 300)) + wire.value",
    "loop": "x: bit[32] = 0\nfor each in range(4):\n    x = x + each\nwire.value = x",
    "index": "self.count.update(min(wire.key, 15), lambda old: old + 1)",
    "bound_beyond": "if wire.key >= self.bound or not wire.key < self.bound or self.bound <= wire.key:\n"
    "    packet.drop()",
    "map_after_a_return_in_a_case": "self.inner.ingress(packet, wire)\nwire.signed = 4",
}


def made(name: str, body: str) -> Program:
    return Program(lesson(f"widths_{name}", body, HEAD)("lesson"))


@pytest.mark.parametrize("name", RIGHT)
def test_python_and_the_switch_agree(name: str) -> None:
    values = itertools.product((0, 1, 2, 3, 9, 255), (0, 3, 14, 15, 16, 101, 2**32 - 1), (-(2**15), -3, 0, 7))
    trace = [
        Sent("lesson", number, {"key": key, "value": value, "signed": signed})
        for number, (key, value, signed) in enumerate(values)
    ]
    agree(made(name, RIGHT[name]), trace)


WRONG = {
    "would not wrap in Python": ("x: bit[8] = 255\nwire.key = x + 1", "`x` has no width here", "bit[8](x)"),
    "below zero": ("x = min(wire.value, 15)\nwire.value = x - 16", "`x` has no width here", "bit[32](x)"),
    "hashed": ("x = min(wire.value, 15)\nwire.value = hash_(x)", "`x` has no width here", "bit[32](x)"),
    "of another kind": ("x: bit[32] = wire.key", "`x` is bit[32], but `wire.key` is bit[8]", "bit[32](wire.key)"),
    "of another kind than a register": (
        "x: bit[8] = self.count.read(0)",
        "`x` is bit[8], but `self.count.read(0)` is bit[32]",
        "bit[8](self.count.read(0))",
    ),
    "beyond": ("x: bit[8] = 256", "256 does not fit bit[8]", "use a wider type"),
    "two beyond the largest": ("if wire.key >= 257:\n    packet.drop()", "257 does not fit bit[8]", "use a wider type"),
    "a list of the module": ("wire.value = TABLE[wire.key]", "`TABLE` is a Python list", "Lookup(bit[3], TABLE)"),
    "a tuple of the module": (
        "wire.value = POWERS[wire.key]",
        "which of the constants must be known",
        "`self.powers = Lookup(bit[4], POWERS)` in setup, and `self.powers.read(index)` here",
    ),
    "a parameter": ("wire.value = self.weights[wire.key]", "which of the constants", "Lookup(bit[3], self.weights)"),
    "a list in a variable": (
        "values = [1, -2]\nwire.value = values[wire.key]",
        "does not support lists",
        "Lookup(int_[2], [1, -2])",
    ),
    "a list on the line": ("wire.value = [1, -2][wire.key]", "does not support lists", "Lookup(int_[2], [1, -2])"),
    "a second access": (
        "x = self.count.read(0)\nself.count.write(0, x + wire.value)",
        "a second access to register `count`",
        "`packet.recirculate()`",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_code_without_a_defined_meaning_is_reported_with_a_fix(name: str) -> None:
    body, message, hint = WRONG[name]
    with pytest.raises(KernelError) as caught:
        made(name.split()[0], body)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_the_rest_of_a_helper_is_emitted_once() -> None:
    text = made("map_after_a_return_in_a_case", RIGHT["map_after_a_return_in_a_case"]).p4()
    assert text.count("inner_owner.apply()") == 1


def test_a_missing_kernel_is_reported_with_its_class() -> None:
    kind = lesson("forgotten", "pass", HEAD.replace("ingress(self, packet, wire):\n", "ingres(self, packet, wire):\n"))
    with pytest.raises(KernelError, match=r'Lesson\("lesson"\) has no kernel: `ingress` is missing') as caught:
        Program(kind("lesson"))
    assert "rename `ingres` to `ingress`" in caught.value.hint


def test_a_held_primitive_without_a_kernel_is_named_at_the_call() -> None:
    class Bare(Primitive):
        class Wire(Header):
            key = bit[16]

        def ingres(self, packet: Packet, wire: Wire) -> None:
            packet.drop()

    class Outer(Primitive):
        Wire = Bare.Wire

        def setup(self) -> None:
            self.inner = Bare("inner")

        def ingress(self, packet: Packet, wire: Header) -> None:
            self.inner.ingress(packet, wire)

    with pytest.raises(KernelError, match=r'`self.inner.ingress`: Bare\("inner"\) has no kernel') as caught:
        Program(Outer("outer"))
    assert caught.value.place is not None
    assert "self.inner.ingress(packet, wire)" in caught.value.place.text
    assert "rename `ingres` to `ingress`" in caught.value.hint


def test_super_without_a_kernel_in_the_base_class_is_rejected() -> None:
    class Alone(Primitive):
        class Wire(Header):
            key = bit[16]

        def ingress(self, packet: Packet, wire: Wire) -> None:
            super().ingress(packet, wire)

    with pytest.raises(KernelError, match=r"`super\(\).ingress`: no base class has a kernel"):
        Program(Alone("alone"))


def test_a_held_chain_is_called_like_any_other_primitive() -> None:
    class Outer(Primitive):
        Wire = Threshold.Wire

        def setup(self) -> None:
            self.inner = Filter("hot", keep="value >= 100") >> Threshold("high", above=900, clear=850)

        def ingress(self, packet: Packet, wire: Header) -> None:
            self.inner.ingress(packet, wire)

    process = Outer("outer").reference().process
    outcomes = [process(Message(REQUEST, "outer", 0, {"sensor": 7, "value": value})) for value in (99, 900, 901)]
    assert [(each.verdict.name, each.alerts) for each in outcomes] == [
        ("DROP", ()),
        ("FORWARD", ((7, 900),)),
        ("FORWARD", ()),
    ]
