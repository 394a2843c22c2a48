"""Arrays of variable length: on the wire, in the reference, and on the switch."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from midflight.errors import KernelError, WireError
from midflight.primitives import REQUEST, Header, Message, Packet, Primitive, Program, Schema, bit, int_
from midflight.primitives.exports.scapy_layer import layers
from midflight.runtime.engine.packets import Packets
from tests.primitives import kernels
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.rig import SENDER, Sent, SwitchRig


def basket(count: int, *items: tuple[int, int], **fields: int) -> dict[str, Any]:
    """Return the fields of a basket with at most four items."""
    made: dict[str, Any] = {"count": count, "total": 0, "mark": 9} | fields
    for place in range(4):
        kind, price = items[place] if place < len(items) else (0, 0)
        made |= {f"items_{place}_kind": kind, f"items_{place}_price": price}
    return made


def basket_trace() -> tuple[Program, list[Sent]]:
    random = Random(8)
    trace = []
    for number in range(200):
        count = random.randrange(5)
        items = [(random.randrange(16), random.choice((0, 7, 1000, 1001, 2**32 - 1))) for _ in range(count)]
        trace.append(Sent("basket", number, basket(count, *items, mark=random.randrange(16))))
    return Program(kernels.Basket("basket")), trace


def test_switch_and_reference_agree_on_items() -> None:
    seen, _ = agree(*basket_trace())
    assert {each.verdict.name for each in seen} == {"FORWARD", "REPLY", "DROP"}


@pytest.mark.bmv2
def test_bmv2_agrees_on_items() -> None:
    agree_on_bmv2(*basket_trace())


def test_only_present_items_are_on_the_wire() -> None:
    program = Program(kernels.Basket("basket"))
    schema = Schema(program.schema())
    for count in range(5):
        items = [(place + 1, 1000 * place) for place in range(count)]
        message = Message(REQUEST, "basket", 7, basket(count, *items), b"after")
        data = schema.encode(message)
        assert len(data) == 16 + 6 + 5 * count + len(b"after")
        assert schema.decode(data) == message
        made = layers(program.schema())
        layer = made.applications["basket"](**message.fields)
        assert bytes(layer) == data[16:-5]
        parsed = made.common(data).payload
        assert parsed.items_3_price == (3000 if count == 4 else None)


def test_items_that_do_not_fit_are_rejected() -> None:
    schema = Schema(Program(kernels.Basket("basket")).schema())
    with pytest.raises(WireError, match="count is 5; at most 4 items fit"):
        schema.encode(Message(REQUEST, "basket", 1, basket(5)))
    with pytest.raises(WireError, match="items_1_price has a value, but there are only 1 items"):
        schema.encode(Message(REQUEST, "basket", 1, basket(1, (1, 1), (0, 5))))
    with pytest.raises(WireError, match="missing items_0_kind"):
        schema.encode(Message(REQUEST, "basket", 1, {"count": 1, "total": 0, "mark": 0, "items_0_price": 4}))
    data = schema.encode(Message(REQUEST, "basket", 1, basket(2, (1, 1), (2, 2))))
    with pytest.raises(WireError, match="has 31 bytes, but needs 32"):
        schema.decode(data[:-1])
    with pytest.raises(WireError, match="count is 9"):
        schema.decode(data[:16] + b"\x09" + data[17:])


def test_too_many_items_and_too_few_bytes_are_malformed() -> None:
    program = Program(kernels.Basket("basket"))
    rig = SwitchRig(program)
    frame = rig.frame(Sent("basket", 1, basket(3, (1, 1), (2, 2), (3, 3))))
    many = frame[:58] + b"\x05" + frame[59:]
    few = frame[:58] + b"\x04" + frame[59:]
    good = rig.engine.process(Packets.from_list([(SENDER, frame)]))
    assert len(list(good)) == 1
    assert len(list(rig.engine.process(Packets.from_list([(SENDER, many), (SENDER, few)])))) == 0
    assert rig.engine.counters["ingress.malformed"].read(0).packets == 2


def test_absent_items_read_as_0_in_the_reference() -> None:
    reference = kernels.Basket("basket").reference()
    outcome = reference.process(Message(REQUEST, "basket", 1, basket(2, (1, 5), (2, 2000))))
    assert outcome.message.fields["total"] == 2005
    assert outcome.message.fields["items_1_kind"] == 9
    assert outcome.message.fields["items_3_price"] == 0
    with pytest.raises(KernelError, match="5 items are too many: at most 4 fit"):
        reference.process(Message(REQUEST, "basket", 1, basket(5)))


def refuse(wire: type[Header], reported: str) -> None:
    class Bad(Primitive):
        Wire = wire

        def ingress(self, packet: Packet, wire: Any) -> None:
            packet.drop()

    with pytest.raises(KernelError, match=reported):
        Program(Bad("bad"))


def test_invalid_headers_are_rejected() -> None:
    class Item(Header):
        x = bit[8]

    class Nothing(Header):
        items = Item.array(4, count="count")

    class Signed(Header):
        count = int_[8]
        items = Item.array(4, count="count")

    class After(Header):
        count = bit[8]
        items = Item.array(4, count="count")
        more = bit[8]

    class Inside(Header):
        outer = After.struct()

    refuse(Nothing, "not an unsigned field before it")
    refuse(Signed, "not an unsigned field before it")
    refuse(After, "After.more follows an array of variable length")
    refuse(Inside, "a nested header cannot contain")
