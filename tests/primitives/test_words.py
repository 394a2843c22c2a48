"""Fields with names that are keywords of P4, which authors of kernels need not know."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from midflight.errors import KernelError
from midflight.primitives import Header, Packet, Primitive, Program, Register, bit
from midflight.primitives.exports.dissector import dissector
from midflight.primitives.exports.scapy_layer import layers
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.rig import Sent


class Entry(Header):
    """An item."""

    key = bit[8]
    action = bit[8].array(2)


class Words(Primitive):
    """Count by key, with field names that are keywords of P4."""

    class Wire(Header):
        key = bit[8]
        table = bit[32]
        select = bit[16].array(2)
        header = Entry.struct()
        control = bit[8]
        apply = Entry.array(2, count="control")

    def setup(self) -> None:
        self.count = Register(bit[32], 256)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        state = wire.key + wire.apply[1].key
        action = self.count.update_fetch(state, lambda key: key + 1)
        wire.table = action
        wire.select[1] += bit[16](wire.header.key)
        if wire.apply[0].action[1] == 3:
            packet.alert(wire.key, wire.table)


def trace() -> tuple[Program, list[Sent]]:
    random = Random(6)

    def fields() -> dict[str, Any]:
        control = random.randrange(3)
        made: dict[str, Any] = {"key": random.randrange(3), "table": 7, "select": [1, random.getrandbits(16)]}
        made |= {"header_key": random.getrandbits(8), "header_action": [0, 1], "control": control}
        for place in range(2):
            there = place < control
            made[f"apply_{place}_key"] = random.randrange(2) * there
            made[f"apply_{place}_action"] = [0, random.choice((3, 4)) * there]
        return made

    return Program(Words("words")), [Sent("words", number, fields()) for number in range(60)]


def test_the_switch_handles_fields_named_like_p4_keywords() -> None:
    _, alerts = agree(*trace())
    assert alerts


@pytest.mark.bmv2
def test_bmv2_handles_fields_named_like_p4_keywords() -> None:
    agree_on_bmv2(*trace())


def test_fields_keep_their_names_outside_the_p4() -> None:
    program, _ = trace()
    described = program.schema()["applications"]["words"]
    assert [each["name"] for each in described["fields"]][:2] == ["key", "table"]
    assert [each["name"] for each in described["alert"]["fields"]] == ["key", "table"]
    assert {"key", "table"} <= {each.name for each in layers(program.schema()).applications["words"].fields_desc}
    assert "midflight.words.table" in dissector(program.schema())
    assert "bit<32> table_;" in program.p4()


def test_fields_that_clash_in_the_p4_are_rejected() -> None:
    class Clash(Primitive):
        class Wire(Header):
            table = bit[8]
            table_ = bit[8]

        def ingress(self, packet: Packet, wire: Wire) -> None:
            packet.forward()

    with pytest.raises(KernelError, match="two fields have the name 'table_' in the P4"):
        Program(Clash("clash"))
