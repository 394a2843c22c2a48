"""The wire format: our encoder and decoder compared with scapy's, and invalid bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import split_layers

from midflight.errors import WireError
from midflight.primitives import (
    Aggregate,
    GroupBy,
    Header,
    Message,
    Packet,
    Primitive,
    Program,
    Schema,
    Threshold,
    bit,
    int_,
)
from midflight.primitives.exports.scapy_layer import layers


class Odd(Primitive):
    """A header whose fields are not aligned to bytes."""

    class Wire(Header):
        a = bit[3]
        b = int_[7]
        c = bit[12].array(3)
        d = int_[32].array(2)
        e = bit[70]
        f = bit[100].array(2)
        g = bit[1]

    def ingress(self, packet: Packet, wire: Wire) -> None:
        packet.forward()


PROGRAM = Program(Aggregate("gradients", workers=4, lanes=5), Threshold("pressure", above=9, clear=5), Odd("odd"))
DESCRIPTION: dict[str, Any] = json.loads(json.dumps(PROGRAM.schema()))
SCHEMA = Schema(DESCRIPTION)
LAYERS = layers(DESCRIPTION)
BOTH = [Ether() / IP(dst="10.0.0.1"), Ether() / IPv6(dst="64:ff9b:1::a00:1")]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    application = draw(st.sampled_from(list(PROGRAM.applications.values())))
    fields: dict[str, Any] = {}
    for each in application.primitive.layout:
        number = st.integers(each.kind.low, each.kind.high)
        fields[each.name] = draw(number) if each.count is None else [draw(number) for _ in range(each.count)]
    sequence, payload = draw(st.integers(0, 2**32 - 1)), draw(st.binary(max_size=9))
    return Message(draw(st.integers(0, 255)), application.name, sequence, fields, payload)


@given(message=messages())
def test_messages_round_trip(message: Message) -> None:
    assert SCHEMA.decode(SCHEMA.encode(message)) == message


@given(message=messages())
def test_scapy_builds_the_same_bytes(message: Message) -> None:
    application = PROGRAM.applications[message.application]
    fields: dict[str, Any] = {}
    for name, value in message.fields.items():
        if isinstance(value, list) and message.application == "odd":
            fields |= {f"{name}_{lane}": each for lane, each in enumerate(value)}
        else:
            fields[name] = value
    packet = (
        LAYERS.common(kind=message.kind, application=application.id, sequence=message.sequence)
        / LAYERS.applications[message.application](**fields)
        / message.payload
    )
    assert bytes(packet) == SCHEMA.encode(message)
    taken_apart = LAYERS.common(SCHEMA.encode(message)).payload
    assert {name: getattr(taken_apart, name) for name in fields} == fields


def test_lanes_are_arrays_in_native_byte_order() -> None:
    values = np.array([1, -2, 3, 2**31 - 1, -(2**31)], dtype=np.int32)
    message = Message(
        1, "gradients", 7, {"slot": 1, "worker": 2, "flags": 0, "job": 5, "epoch": 6, "values": values}, token=0xBEEF
    )
    data = SCHEMA.encode(message)
    assert (
        data.hex()
        == "0201000100000007" + "000000000000beef" + "0001020000050006" + "00000001fffffffe000000037fffffff80000000"
    )
    decoded = SCHEMA.decode(data).fields["values"]
    assert isinstance(decoded, np.ndarray)
    assert decoded.dtype == np.dtype(np.int32)
    assert decoded.flags.writeable


def test_lanes_of_64_bits_accept_lists_of_all_numbers_that_fit() -> None:
    program = Program(GroupBy("words", workers=1, lanes=3))
    header: dict[str, Any] = {
        "command": 0,
        "worker": 0,
        "job": 0,
        "epoch": 0,
        "present": 7,
        "cell": 0,
        "values": [0, 0, 0],
    }
    schema = Schema(program.schema())
    for keys in ([0, 1, 2**64 - 1], [2**63, 2**53 + 1, 0]):
        message = Message(1, "words", 1, {**header, "keys": keys})
        assert schema.decode(schema.encode(message)) == message
    for keys in ([0, 1, 2**64], [2**63, -1, 0]):
        with pytest.raises(WireError, match=r"keys: .* does not fit bit"):
            schema.encode(Message(1, "words", 1, {**header, "keys": keys}))
    fractions: Any = [0.5, 2**63, 0]
    with pytest.raises(WireError, match="keys takes 3 integers"):
        schema.encode(Message(1, "words", 1, {**header, "keys": fractions}))


@given(data=st.binary(max_size=60))
def test_arbitrary_bytes_are_decoded_or_rejected(data: bytes) -> None:
    try:
        message = SCHEMA.decode(data)
    except WireError:
        return
    again = SCHEMA.encode(message)
    assert len(again) == len(data)
    assert SCHEMA.decode(again) == message


FIELDS: dict[str, Any] = {"slot": 1, "worker": 2, "flags": 0, "job": 5, "epoch": 6, "values": [0] * 5}


@pytest.mark.parametrize(
    ("message", "reported"),
    [
        (Message(1, "nobody", 1, {}), "no application 'nobody'"),
        (Message(256, "gradients", 1, FIELDS), "kind 256 does not fit"),
        (Message(1, "gradients", 2**32, FIELDS), "sequence 4294967296 does not fit"),
        (Message(1, "gradients", 1, FIELDS | {"slot": 65536}), "slot: 65536 does not fit bit\\[16\\]"),
        (Message(1, "gradients", 1, FIELDS | {"slot": -1}), "slot: -1 does not fit"),
        (Message(1, "gradients", 1, FIELDS | {"values": [0] * 4}), "values takes 5 integers"),
        (Message(1, "gradients", 1, FIELDS | {"values": [2**31, 0, 0, 0, 0]}), "values: 2147483648 does not fit"),
        (Message(1, "gradients", 1, FIELDS | {"values": np.zeros(5)}), "values takes 5 integers, not float64"),
        (Message(1, "gradients", 1, FIELDS | {"extra": 1}), "unknown extra"),
        (Message(1, "gradients", 1, {"slot": 1}), "missing epoch, flags, job, values, worker"),
        (Message(1, "gradients", 1, FIELDS | {"slot": [1]}), "slot cannot be"),
    ],
)
def test_messages_that_do_not_fit_are_rejected(message: Message, reported: str) -> None:
    with pytest.raises(WireError, match=reported):
        SCHEMA.encode(message)


@pytest.mark.parametrize(
    ("data", "reported"),
    [
        (b"", "too short"),
        (bytes(16), "the message has version 0; only version 2"),
        (b"\2\1\0\x09" + bytes(12), "no application has the id 9"),
        (b"\2\1\0\1" + bytes(12 + 23), "has 39 bytes, but needs 44"),
    ],
)
def test_bytes_that_are_not_a_message_are_rejected_by_the_decoder(data: bytes, reported: str) -> None:
    with pytest.raises(WireError, match=reported):
        SCHEMA.decode(data)


def test_an_invalid_schema_is_rejected() -> None:
    with pytest.raises(WireError, match="not a wire schema"):
        Schema({"applications": {"a": {"id": 1}}})


@pytest.mark.parametrize("stack", BOTH, ids=["IPv4", "IPv6"])
def test_bound_layers_are_found_after_udp(stack: Ether) -> None:
    message = Message(1, "pressure", 7, {"sensor": 3, "value": 8})
    frame = bytes(stack / UDP(sport=5000, dport=19782) / SCHEMA.encode(message))
    bound = layers(DESCRIPTION, bind=True)
    try:
        packet = Ether(frame)
        assert (packet[bound.common].sequence, packet[bound.applications["pressure"]].value) == (7, 8)
    finally:
        split_layers(UDP, bound.common)
