"""Encoding of integers: canonical byte strings and P4Data (P4Runtime specification 1.5, sections 8.4 and 8.5)."""

from __future__ import annotations

from finsy.proto import p4d, p4t

from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["ValueType", "decode", "decode_data", "encode", "encode_data", "flat_names", "flat_types"]


class ValueType:
    """The type of a scalar in P4Data: its width in bits, whether it is signed, and which field of P4Data holds it."""

    __slots__ = ("form", "members", "signed", "width")

    def __init__(self, width: int, *, signed: bool = False, form: str = "bits", members: tuple[str, ...] = ()) -> None:
        self.width = width
        self.signed = signed
        self.form = form
        self.members = members


def encode(value: int, width: int = 0, *, signed: bool = False) -> bytes:
    """Return the shortest big-endian byte string that represents a value.

    With `signed`, the value is an `int<width>`, as a negative number or as its two's complement pattern, and the string
    is sign-extended. Only signed values need `width`, in bits. OverflowError for a negative value without `signed`.
    """
    if not signed:
        return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    if value >> (width - 1) & 1:
        value |= -1 << width
    bits = (value if value >= 0 else ~value).bit_length() + 1
    return value.to_bytes(max(1, (bits + 7) // 8), "big", signed=True)


def decode(data: bytes, width: int, what: str = "value", *, signed: bool = False) -> int:
    """Return the value of a byte string of any length, which is negative for a negative `int<width>`.

    Raises Refusal with OUT_OF_RANGE for an empty string and for a value that does not fit `width` bits.
    """
    if not data:
        raise Refusal(Code.OUT_OF_RANGE, f"{what}: an empty byte string holds no value")
    value = int.from_bytes(data, "big", signed=signed)
    kind = "int" if signed else "bit"
    if (value if value >= 0 else ~value).bit_length() > width - signed:
        raise Refusal(Code.OUT_OF_RANGE, f"{what}: {value:#x} does not fit {kind}<{width}>")
    return value


def _original(kind: p4t.P4NewTypeSpec) -> p4t.P4DataTypeSpec:
    """Return the type of a new type's values: its own, or the controller's if they are translated numbers."""
    if kind.WhichOneof("representation") != "translated_type":
        return kind.original_type
    if kind.translated_type.WhichOneof("sdn_type") == "sdn_string":
        raise Refusal(Code.UNIMPLEMENTED, "registers and digests with translated strings are not supported")
    width = kind.translated_type.sdn_bitwidth
    return p4t.P4DataTypeSpec(bitstring=p4t.P4BitstringLikeTypeSpec(bit=p4t.P4BitTypeSpec(bitwidth=width)))


def flat_types(spec: p4t.P4DataTypeSpec, info: p4t.P4TypeInfo) -> list[ValueType]:
    """Return the scalars of a type in order, with structs and tuples flattened.

    Raises Refusal with UNIMPLEMENTED for a type that P4Data cannot carry here.
    """
    match spec.WhichOneof("type_spec"):
        case "bitstring":
            kind = spec.bitstring
            if kind.WhichOneof("type_spec") == "int":
                return [ValueType(kind.int.bitwidth, signed=True)]
            return [ValueType(kind.bit.bitwidth)]
        case "bool":
            return [ValueType(1, form="bool")]
        case "error":
            return [ValueType(32, form="error", members=tuple(info.error.members))]
        case "enum":
            members = tuple(each.name for each in info.enums[spec.enum.name].members)
            return [ValueType(32, form="enum", members=members)]
        case "serializable_enum":
            return [ValueType(info.serializable_enums[spec.serializable_enum.name].underlying_type.bitwidth)]
        case "new_type":
            return flat_types(_original(info.new_types[spec.new_type.name]), info)
        case "struct":
            members_of = info.structs[spec.struct.name].members
            return [kind for each in members_of for kind in flat_types(each.type_spec, info)]
        case "tuple":
            return [kind for each in spec.tuple.members for kind in flat_types(each, info)]
        case other:
            raise Refusal(Code.UNIMPLEMENTED, f"values of type {other} are not supported over P4Runtime")


def flat_names(spec: p4t.P4DataTypeSpec, info: p4t.P4TypeInfo, prefix: str = "") -> list[str]:
    """Return a name for each scalar in a value of type `spec`, in the order of `flat_types`.

    Names are those of struct members, or positions in tuples, joined with dots and after `prefix`: "point.x". A scalar
    itself has the name `prefix`. `info` has the named types. Refusal with UNIMPLEMENTED for translated strings.
    """
    match spec.WhichOneof("type_spec"):
        case "new_type":
            return flat_names(_original(info.new_types[spec.new_type.name]), info, prefix)
        case "struct":
            members = [(each.name, each.type_spec) for each in info.structs[spec.struct.name].members]
        case "tuple":
            members = [(str(number), each) for number, each in enumerate(spec.tuple.members)]
        case _:
            return [prefix]
    joined = f"{prefix}." if prefix else ""
    return [name for own, each in members for name in flat_names(each, info, joined + own)]


def encode_data(spec: p4t.P4DataTypeSpec, info: p4t.P4TypeInfo, values: list[int]) -> p4d.P4Data:
    """Return P4Data for the first scalars of `values`, as many as the type has (see `flat_types`), and remove them from
    it.

    Raises Refusal with UNIMPLEMENTED for a type that P4Data cannot carry here.
    """
    data = p4d.P4Data()
    match spec.WhichOneof("type_spec"):
        case "struct":
            data.struct.SetInParent()
            for each in info.structs[spec.struct.name].members:
                data.struct.members.append(encode_data(each.type_spec, info, values))
            return data
        case "tuple":
            data.tuple.SetInParent()
            for member in spec.tuple.members:
                data.tuple.members.append(encode_data(member, info, values))
            return data
        case "new_type":
            return encode_data(_original(info.new_types[spec.new_type.name]), info, values)
    (kind,) = flat_types(spec, info)
    value = values.pop(0)
    match kind.form:
        case "bool":
            data.bool = bool(value)
        case "enum":
            data.enum = kind.members[value]
        case "error":
            data.error = kind.members[value]
        case _ if spec.HasField("serializable_enum"):
            data.enum_value = encode(value)
        case _:
            data.bitstring = encode(value, kind.width, signed=kind.signed)
    return data


def decode_data(spec: p4t.P4DataTypeSpec, info: p4t.P4TypeInfo, data: p4d.P4Data, what: str) -> list[int]:
    """Return the scalars of P4Data, each as an unsigned number of its width.

    Refusal with INVALID_ARGUMENT if the shape does not match the type, with OUT_OF_RANGE if a value does not fit, and
    with UNIMPLEMENTED for a type that P4Data cannot carry here.
    """
    shape = spec.WhichOneof("type_spec")
    if shape == "new_type":
        return decode_data(_original(info.new_types[spec.new_type.name]), info, data, what)
    given = data.WhichOneof("data")
    wanted = {"serializable_enum": "enum_value"}.get(shape or "", shape)
    if given != wanted:
        raise Refusal(
            Code.INVALID_ARGUMENT, f"{what}: its type needs {wanted}, but the request has {given or 'nothing'}"
        )
    if shape in ("struct", "tuple"):
        if shape == "struct":
            specs = [each.type_spec for each in info.structs[spec.struct.name].members]
            members = list(data.struct.members)
        else:
            specs, members = list(spec.tuple.members), list(data.tuple.members)
        if len(specs) != len(members):
            raise Refusal(Code.INVALID_ARGUMENT, f"{what}: {len(members)} members, its type has {len(specs)}")
        pairs = zip(specs, members, strict=True)
        return [value for each, member in pairs for value in decode_data(each, info, member, what)]
    (kind,) = flat_types(spec, info)
    match kind.form:
        case "bool":
            return [int(data.bool)]
        case "enum" | "error":
            name = data.enum if kind.form == "enum" else data.error
            if name not in kind.members:
                raise Refusal(Code.INVALID_ARGUMENT, f"{what}: no member {name!r} among {', '.join(kind.members)}")
            return [kind.members.index(name)]
        case _:
            text = data.enum_value if given == "enum_value" else data.bitstring
            return [decode(text, kind.width, what, signed=kind.signed) & (1 << kind.width) - 1]
