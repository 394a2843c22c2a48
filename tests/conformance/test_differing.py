"""The texts about packets that differ from the expected ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from midflight.primitives import REQUEST, Aggregate, Message, Program
from midflight.primitives.wire import Schema
from midflight.testbed.conformance.differing import described, packet_differences
from midflight.testbed.conformance.network import Frame
from midflight.testbed.conformance.run import cases, check

SCHEMA = Schema(Program(Aggregate("app", workers=2, lanes=2)).schema())


def frame(first: int, sequence: int = 1, ipv6: bool = False) -> Frame:
    layout = Aggregate("app", workers=2, lanes=2).layout
    fields = {each.name: 0 for each in layout.fields} | {"values": [first, 7]}
    return Frame.request(1, SCHEMA.encode(Message(REQUEST, "app", sequence, fields)), ipv6=ipv6)


@pytest.mark.parametrize("ipv6", [False, True])
def test_fields_are_named_with_their_values(ipv6: bool) -> None:
    has, must = frame(13, ipv6=ipv6), frame(12, 2, ipv6=ipv6)
    found = packet_differences(SCHEMA, bytes(replace(has, ttl=9)), bytes(must))
    assert found[0] == ("hop limit is 9, must be 10" if ipv6 else "TTL is 9, must be 10")
    assert found[-2:] == ["sequence is 1, must be 2", "values[0] is 13, must be 12"]


def test_ports_and_drops() -> None:
    packet = bytes(frame(1))
    assert described(SCHEMA, [(1, packet)], [(1, packet)]) == []
    assert described(SCHEMA, [], [(3, packet)]) == ["the packet is dropped, must leave by port 3"]
    assert described(SCHEMA, [(3, packet), (4, packet)], []) == ["the packet leaves by ports 3, 4, must be dropped"]
    assert described(SCHEMA, [(2, packet)], [(3, packet)]) == ["leaves by port 2, must leave by port 3"]
    two = [(1, bytes(frame(5))), (2, packet)]
    assert described(SCHEMA, two, [(1, packet), (2, packet)]) == ["by port 1, values[0] is 5, must be 1"]


def test_bytes_that_are_no_frame() -> None:
    assert packet_differences(SCHEMA, b"abcd", b"abxd") == ["byte 2 is 0x63, must be 0x78"]
    packet = bytes(frame(1))
    assert packet_differences(SCHEMA, packet[:-1], packet)[0] == "the packet has 73 bytes, must have 74"


def test_a_failed_case_of_the_library_says_so() -> None:
    case = next(each for each in cases(["Aggregate"], count=0) if each.name == "aggregate-sums-once")
    place = next(number for number, step in enumerate(case.steps) if step.expect)
    port, packet = case.steps[place].expect[0]
    changed = packet[:-1] + bytes([packet[-1] ^ 1])
    step = replace(case.steps[place], expect=((port, changed), *case.steps[place].expect[1:]))
    wrong = replace(case, steps=(*case.steps[:place], step, *case.steps[place + 1 :]))
    (result,) = check("host", [wrong]).results
    assert result.case.name == wrong.name  # also when it was minimised
    assert "values[" in result.differences[0]
    assert " must be " in result.differences[0]
