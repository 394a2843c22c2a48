"""Error messages for mistakes with maps, lookups and outputs."""

from __future__ import annotations

import pytest

from midflight.errors import KernelError
from midflight.primitives import Program
from tests.primitives.golden import check_golden
from tests.primitives.test_mistakes import lesson

HEAD = """\
from midflight.primitives import *


class Lesson(Primitive):
    class Wire(Header):
        key8 = bit[8]
        value = bit[32]
        signed = int_[32]

    def setup(self):
        self.owner = Map(bit[32], bit[16], size=16)
        self.pair = Map((bit[32], bit[8]), bit[16], size=16)
        self.log2 = Lookup(bit[8], (0, 0, 1, 1))
        self.count = Register(bit[32], 1024)

    def ingress(self, packet, wire):
"""

MISTAKES = {
    "map_twice": """\
if wire.value > 3:
    wire.key8 = bit[8](self.owner.get(wire.value, 0))
else:
    wire.key8 = bit[8](self.owner.get(wire.value, 1))""",
    "map_in_loop": """\
for lane in range(2):
    value = self.owner.get(wire.value, 0)""",
    "map_sometimes": "big = wire.value > 3 and self.owner.get(wire.value, 0) > 2",
    "map_not_asked": "if self.owner.hit: packet.drop()",
    "map_maybe_asked": """\
if wire.value > 3:
    value = self.owner.get(wire.value, 0)
if self.owner.hit: packet.drop()""",
    "map_written": "self.owner[wire.value] = 3",
    "map_insert": "self.owner.insert(wire.value, 3)",
    "map_key_kind": "value = self.owner.get(wire.key8, 0)",
    "map_keys": "value = self.pair.get(wire.value, 0)",
    "map_one_key": "value = self.owner.get((wire.value, wire.key8), 0)",
    "map_default": "value = self.owner.get(wire.value, wire.value)",
    "map_no_default": "value = self.owner.get(wire.value)",
    "map_unused": "self.owner.get(wire.value, 0)",
    "lookup_signed": "wire.key8 = self.log2.read(wire.signed)",
    "lookup_negative": "wire.key8 = self.log2.read(-1)",
    "lookup_subscript": "wire.key8 = self.log2[wire.key8]",
    "lookup_get": "wire.key8 = self.log2.get(wire.key8)",
    "lookup_of_old": "self.count.update(0, lambda old: bit[32](self.log2.read(old)))",
}


def test_every_mistake_is_explained() -> None:
    reported = []
    for name, body in MISTAKES.items():
        with pytest.raises(KernelError) as caught:
            Program(lesson(f"state_{name}", body, HEAD)("lesson"))
        reported.append(f"--- {name}\n{caught.value}\n")
        assert caught.value.place is not None, name
        assert caught.value.hint, name
    check_golden("state_mistakes.txt", "\n".join(reported))
