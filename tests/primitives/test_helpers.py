"""Helpers: functions, methods and kernels of other primitives that a kernel calls."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from midflight.errors import KernelError
from midflight.primitives import Header, Packet, Primitive, Program, Register, bit
from midflight.primitives.kernel.types import Kind
from tests.primitives import kernels
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.rig import Sent


def layered_trace() -> tuple[Program, list[Sent]]:
    random = Random(4)
    edges = (0, 89, 90, 99, 100, 2**30, 2**31, 2**32 - 1)
    trace = [
        Sent("layered", number, {
            "index": random.randrange(16), "count": 0, "sensor": random.randrange(6),
            "value": random.choice((*edges, random.getrandbits(32))), "weight": random.getrandbits(8),
        })
        for number in range(300)
    ]  # fmt: skip
    return Program(kernels.Layered("layered", limit=14)), trace


def test_helpers_behave_as_in_python() -> None:
    seen, alerts = agree(*layered_trace())
    assert {each.verdict.name for each in seen} == {"FORWARD", "REPLY"}
    assert alerts


@pytest.mark.bmv2
def test_helpers_on_bmv2() -> None:
    agree_on_bmv2(*layered_trace())


def calls_trace() -> tuple[Program, list[Sent]]:
    random = Random(9)
    trace = [
        Sent("calls", number, {
            "code": random.choice((0, 1, 2, 3, 3, 4, 7, 255)), "index": random.choice((0, 1, 2, 199, 200, 255)),
            "value": random.choice((0, 1, 99, random.getrandbits(32))),
        })
        for number in range(300)
    ]  # fmt: skip
    return Program(kernels.Calls("calls")), trace


def test_matches_and_conditional_updates() -> None:
    seen, _ = agree(*calls_trace())
    assert {each.verdict.name for each in seen} == {"FORWARD", "REPLY", "MULTICAST", "DROP"}


@pytest.mark.bmv2
def test_matches_and_conditional_updates_on_bmv2() -> None:
    agree_on_bmv2(*calls_trace())


def nearest_trace() -> tuple[Program, list[Sent]]:
    random = Random(2)
    program = Program(kernels.Nearest("nearest"))
    layout = program.applications["nearest"].primitive.layout

    def value(kind: Kind) -> int:
        return random.choice((0, 1, random.randint(-9, 9) if kind.signed else 3, random.randint(kind.low, kind.high)))

    trace = [
        Sent("nearest", number, {
            each.name: value(each.kind) if each.count is None else [value(each.kind) for _ in range(each.count)]
            for each in layout
        })
        for number in range(200)
    ]  # fmt: skip
    return program, trace


def test_headers_inside_headers() -> None:
    program, trace = nearest_trace()
    assert [each["name"] for each in program.schema()["applications"]["nearest"]["fields"]][:8] == [
        "origin_x", "origin_y", "nearest", "distance", "tracks_0_tag", "tracks_0_place_x", "tracks_0_place_y",
        "tracks_0_past",
    ]  # fmt: skip
    seen, _ = agree(program, trace)
    assert {each.fields["nearest"] for each in seen if each.fields} == {0, 1, 2}


@pytest.mark.bmv2
def test_headers_inside_headers_on_bmv2() -> None:
    agree_on_bmv2(*nearest_trace())


def test_state_inside_a_primitive_belongs_to_it() -> None:
    outer = kernels.Layered("layered")
    assert list(outer.registers) == ["counts", "watch_armed", "heaviest"]
    references = [outer.reference() for _ in range(2)]
    fields = {"index": 1, "count": 0, "sensor": 1, "value": 200, "weight": 0}
    from midflight.primitives import REQUEST, Message

    message = Message(REQUEST, "layered", 1, fields)
    assert len(references[0].process(message).alerts) == 1
    assert len(references[0].process(message).alerts) == 0
    assert len(references[1].process(message).alerts) == 1


TOOLS = '''\
"""Helpers in a file of their own."""

from midflight.primitives import bit


def doubled(value, most=100):
    twice = value + value
    if twice > most:
        return most
    return twice


def mixed(value):
    wrong = value + bit[8](3)
    return wrong


def used_twice(register, index):
    register.write(index, 0)
    register.write(index, 1)
'''


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[ModuleType]:
    file = tmp_path / "tools_of_a_user.py"
    file.write_text(TOOLS)
    spec = importlib.util.spec_from_file_location("tools_of_a_user", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tools_of_a_user"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["tools_of_a_user"]


class User(Primitive):
    """Calls a given function."""

    class Wire(Header):
        value = bit[32]

    tool: object

    def setup(self) -> None:
        self.count = Register(bit[32], 4)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        wire.value = self.tool(wire.value)  # type: ignore[operator]


class Writer(User):
    """Calls a given function with its register."""

    def ingress(self, packet: Packet, wire: User.Wire) -> None:
        self.tool(self.count, 0)  # type: ignore[operator]


def test_a_mistake_in_a_helper_is_placed_in_its_own_file(tools: ModuleType) -> None:
    with pytest.raises(KernelError, match="`\\+` mixes widths: `value` is bit") as caught:
        Program(User("user", tool=tools.mixed))
    assert caught.value.place is not None
    assert Path(caught.value.place.file).name == "tools_of_a_user.py"
    assert caught.value.place.line == 14
    assert "    wrong = value + bit[8](3)" in str(caught.value)


def test_a_second_access_in_a_helper(tools: ModuleType) -> None:
    with pytest.raises(KernelError, match=r"a second access to register `count`.* the first is in line 19"):
        Program(Writer("user", tool=tools.used_twice))


def test_a_helper_may_be_a_value_of_the_primitive(tools: ModuleType) -> None:
    agree(
        Program(User("user", tool=tools.doubled)),
        [Sent("user", 1, {"value": each}) for each in (0, 3, 50, 51, 2**31, 2**32 - 1)],
    )


def test_the_p4_quotes_a_helpers_line(tools: ModuleType) -> None:
    class Once(User):
        def ingress(self, packet: Packet, wire: User.Wire) -> None:
            self.bump()

        def bump(self) -> None:
            self.count.update(0, lambda old: old + 1)

    assert "// self.count.update(0, lambda old: old + 1)" in Program(Once("user", tool=tools.doubled)).p4()


def test_attributes_whose_names_clash_are_rejected() -> None:
    class Clash(kernels.Layered):
        def setup(self) -> None:
            super().setup()
            self.watch_armed = Register(bit[8], 4)

    with pytest.raises(KernelError, match="two registers or tables have the name 'watch_armed'"):
        Program(Clash("clash"))
