"""The rules of pipelines of stages: violations, reported with both lines, and valid kernels."""

from __future__ import annotations

import pytest

from midflight.errors import KernelError
from midflight.primitives import PROFILES, Profile, Program
from midflight.primitives.kernel.rules import violations
from tests.primitives.golden import check_golden
from tests.primitives.programs import PROGRAMS
from tests.primitives.test_mistakes import lesson

HEAD = """\
from midflight.primitives import *


class Lesson(Primitive):
    class Wire(Header):
        index = bit[8]
        value = bit[32]
        other = bit[32]
        long = bit[1024]
        address = bit[512]

    def setup(self):
        self.a = Register(bit[32], 256)
        self.b = Register(bit[32], 256)
        self.c = Register(bit[32], 256)
        self.wide = Register(bit[96], 256)
        self.lanes = Register(bit[32], 256, lanes=16)
        self.owner = Map((bit[1024], bit[8]), bit[32], size=16)
        self.range = Map((bit[512], bit[32]), bit[32], size=16, match=("exact", "range"))
        self.port = Map(bit[32], bit[8], size=16)

    def ingress(self, packet, wire):
"""

BROKEN = {
    "circle": """\
if wire.index == 0:
    first = self.a.read(wire.index)
    self.b.update(wire.index, lambda old: old + first)
else:
    second = self.b.read(wire.index)
    self.a.update(wire.index, lambda old: old + second)""",
    "circle_by_condition": """\
if wire.index == 0:
    if self.a.read(wire.index) > 3:
        self.b.write(wire.index, 1)
elif self.b.read(wire.index) > 3:
    self.a.write(wire.index, 1)""",
    "circle_by_return": """\
if wire.index == 0:
    first = self.a.read(0)
    if first == 1:
        return
    self.b.write(0, 1)
else:
    wire.value = self.b.read(0)
    if wire.value == 1:
        return
    self.a.write(0, 1)""",
    "circle_of_three": """\
if wire.index == 0:
    x = self.a.read(0)
    self.b.write(0, x)
elif wire.index == 1:
    y = self.b.read(0)
    self.c.write(0, y)
else:
    z = self.c.read(0)
    self.a.write(0, z)""",
    "chain": """\
index = wire.index
for lane in range(16):
    index = bit[8](self.lanes[lane].update(index, lambda old: old + 1))""",
    "product": "wire.value = wire.value * wire.other + 3",
    "product_in_update": "self.a.update(wire.index, lambda old: old * wire.value)",
    "wide_cell": "self.wide.update(wire.index, lambda old: old + 1)",
    "wide_key": "wire.value = self.owner.get((wire.long, wire.index), 0)",
    "wide_key_of_ranges": "wire.value = self.range.get((wire.address, wire.other), 0)",
}

KEPT = {
    "later_stage": """\
first = self.a.read(wire.index)
second = self.b.update(first, lambda old: old + first)
self.c.update(second, lambda old: old + 1)""",
    "independent_in_any_order": """\
if wire.index == 0:
    wire.value = self.a.read(0)
    wire.other = self.b.read(0)
else:
    wire.other = self.b.read(1)
    wire.value = self.a.read(1)""",
    "forgotten": """\
if wire.index == 0:
    wire.value = self.a.read(0)
    wire.value = 7
    self.b.write(0, wire.value)
else:
    wire.value = self.b.read(0)
    wire.value = 7
    self.a.write(0, wire.value)""",
    "constant_product": "wire.value = wire.value * 10",
    "own_value": "wire.value = self.a.update(wire.index, lambda old: old + old)",
}


def test_every_violation_is_reported_with_its_lines() -> None:
    reported = []
    for name, body in BROKEN.items():
        broken = Program(lesson(f"rules_{name}", body, HEAD)("lesson")).check("asic")
        assert len(broken) == 1, (name, broken)
        reported.append(f"--- {name}\n{broken[0]}\n")
        assert broken[0].place is not None
    check_golden("rules.txt", "\n".join(reported))


@pytest.mark.parametrize("name", KEPT)
def test_valid_kernels_have_no_violations(name: str) -> None:
    assert Program(lesson(f"rules_{name}", KEPT[name], HEAD)("lesson")).check("asic") == ()


def test_only_the_limits_of_a_profile_are_checked() -> None:
    lax = Profile(name="lax")
    for name, body in BROKEN.items():
        broken = violations(lesson(f"rules_{name}", body, HEAD)("lesson"), lax)
        assert bool(broken) == name.startswith("circle"), name


def test_a_profile_without_recirculation() -> None:
    broken = PROGRAMS["outputs"]().check(Profile(name="once", recirculation=False))
    assert [each.message for each in broken] == ['Walk("walk"): profile once: a packet cannot recirculate']
    assert PROGRAMS["outputs"]().check("asic") == ()


def test_an_unknown_profile_is_rejected() -> None:
    with pytest.raises(KernelError, match="no profile 'fpga'") as caught:
        PROGRAMS["filter"]().check("fpga")
    assert set(PROFILES) == {"asic"}
    assert "asic" in caught.value.hint
