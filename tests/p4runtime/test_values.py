"""Byte strings and P4Data: the tables of the specification (section 8.4), and round trips."""

from __future__ import annotations

import pytest
from finsy.proto import p4d, p4t
from hypothesis import given
from hypothesis import strategies as st

from midflight.runtime.p4runtime.status import Refusal
from midflight.runtime.p4runtime.values import decode, decode_data, encode, encode_data, flat_names, flat_types


@pytest.mark.parametrize(
    ("width", "signed", "value", "text", "canonical"),
    [
        (8, False, 99, b"\x63", True),
        (16, False, 99, b"\x00\x63", False),
        (16, False, 99, b"\x63", True),
        (16, False, 12388, b"\x30\x64", True),
        (16, False, 12388, b"\x00\x30\x64", False),
        (12, False, 99, b"\x00\x00\x63", False),
        (8, True, 99, b"\x63", True),
        (8, True, -99, b"\x9d", True),
        (8, True, -99, b"\xff\x9d", False),
        (12, True, -739, b"\xfd\x1d", True),
        (16, True, 0, b"\x00\x00", False),
        (16, True, 0, b"\x00", True),
        (16, True, 128, b"\x00\x80", True),
        (1, False, 1, b"\x01", True),
        (1, True, -1, b"\xff", True),
    ],
)
def test_valid_byte_strings(width: int, signed: bool, value: int, text: bytes, canonical: bool) -> None:
    assert decode(text, width, signed=signed) == value
    assert (encode(value, width, signed=signed) == text) == canonical


@pytest.mark.parametrize(
    ("width", "signed", "text"),
    [
        (8, False, b"\x01\x63"),
        (8, False, b""),
        (16, False, b"\x01\x00\x63"),
        (12, False, b"\x10\x63"),
        (12, False, b"\x01\x00\x63"),
        (12, False, b"\x00\x40\x63"),
        (8, True, b"\x00\x9d"),
        (12, True, b"\x8d\x1d"),
        (16, True, b""),
        (9, False, b"\x02\x00"),
    ],
)
def test_invalid_byte_strings_are_out_of_range(width: int, signed: bool, text: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        decode(text, width, "the field", signed=signed)
    assert refused.value.code.name == "OUT_OF_RANGE"
    assert "the field" in refused.value.message


@given(st.data(), st.integers(1, 300))
def test_unsigned_values_round_trip_in_the_shortest_form(data: st.DataObject, width: int) -> None:
    value = data.draw(st.integers(0, (1 << width) - 1))
    text = encode(value)
    assert decode(b"\0" * data.draw(st.integers(0, 3)) + text, width) == value
    assert len(text) == 1 or text[0] != 0


@given(st.data(), st.integers(1, 300))
def test_signed_values_round_trip_from_numbers_and_patterns(data: st.DataObject, width: int) -> None:
    value = data.draw(st.integers(-(1 << width - 1), (1 << width - 1) - 1))
    text = encode(value, width, signed=True)
    assert text == encode(value % (1 << width), width, signed=True)
    assert decode(text, width, signed=True) == value
    assert len(text) == 1 or int.from_bytes(text[1:], "big", signed=True) != value


@given(st.integers(1, 64), st.binary(max_size=12))
def test_decoding_agrees_with_pythons_integers(width: int, text: bytes) -> None:
    value = int.from_bytes(text, "big")
    if text and value < 1 << width:
        assert decode(text, width) == value
    else:
        with pytest.raises(Refusal):
            decode(text, width)


def _spec() -> tuple[p4t.P4DataTypeSpec, p4t.P4TypeInfo]:
    """struct outer { bit<9> port; inner { int<8> level; bool up; } deep; error why; mode_t mode; code_t code; }"""
    info = p4t.P4TypeInfo()
    info.error.members.extend(["NoError", "PacketTooShort"])
    info.enums["mode_t"].members.extend([p4t.P4EnumTypeSpec.Member(name=name) for name in ("off", "on")])
    info.serializable_enums["code_t"].underlying_type.bitwidth = 16
    inner = info.structs["inner"].members
    inner.add(name="level").type_spec.bitstring.int.bitwidth = 8
    inner.add(name="up").type_spec.bool.SetInParent()
    outer = info.structs["outer"].members
    outer.add(name="port").type_spec.bitstring.bit.bitwidth = 9
    outer.add(name="deep").type_spec.struct.name = "inner"
    outer.add(name="why").type_spec.error.SetInParent()
    outer.add(name="mode").type_spec.enum.name = "mode_t"
    outer.add(name="code").type_spec.serializable_enum.name = "code_t"
    spec = p4t.P4DataTypeSpec()
    spec.struct.name = "outer"
    return spec, info


@given(
    st.tuples(
        st.integers(0, 511), st.integers(0, 255), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1),
        st.integers(0, 65535),
    )
)  # fmt: skip
def test_structs_round_trip(values: tuple[int, ...]) -> None:
    spec, info = _spec()
    assert flat_names(spec, info) == ["port", "deep.level", "deep.up", "why", "mode", "code"]
    assert [kind.width for kind in flat_types(spec, info)][:3] == [9, 8, 1]
    assert decode_data(spec, info, encode_data(spec, info, list(values)), "it") == list(values)


def test_a_struct_is_encoded_as_specified() -> None:
    spec, info = _spec()
    data = encode_data(spec, info, [300, 0xFF, 1, 1, 0, 7])
    members = data.struct.members
    assert members[0].bitstring == b"\x01\x2c"
    assert members[1].struct.members[0].bitstring == b"\xff"
    assert members[1].struct.members[1].bool is True
    assert members[2].error == "PacketTooShort"
    assert members[3].enum == "off"
    assert members[4].enum_value == b"\x07"


@pytest.mark.parametrize(
    "data",
    [
        p4d.P4Data(),
        p4d.P4Data(bitstring=b"\x01"),
        p4d.P4Data(struct=p4d.P4StructLike(members=[p4d.P4Data(bitstring=b"\x01")])),
    ],
)
def test_data_of_another_shape_is_an_invalid_argument(data: p4d.P4Data) -> None:
    spec, info = _spec()
    with pytest.raises(Refusal) as refused:
        decode_data(spec, info, data, "it")
    assert refused.value.code.name == "INVALID_ARGUMENT"
