"""P4Info of a program (P4Runtime specification 1.5, section 6), as p4c writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from finsy.proto import p4i, p4t
from google.protobuf import text_format

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.calls import called_actions, digests
from midflight.p4.ids import Ids, number_in, numbered
from midflight.p4.types import (
    Bits,
    Bool,
    EnumType,
    ErrorType,
    Field,
    HeaderType,
    NewType,
    StackType,
    StructType,
    TupleType,
    Type,
    UnionType,
    Varbit,
    width_of,
)

__all__ = ["metadata_widths", "p4info", "to_bytes", "to_text"]

T = TypeVar("T")

MATCH_KINDS = {
    "exact": p4i.MatchField.EXACT,
    "lpm": p4i.MatchField.LPM,
    "ternary": p4i.MatchField.TERNARY,
    "range": p4i.MatchField.RANGE,
    "optional": p4i.MatchField.OPTIONAL,
}
COUNTER_UNITS = (p4i.CounterSpec.PACKETS, p4i.CounterSpec.BYTES, p4i.CounterSpec.BOTH)
METER_UNITS = (p4i.MeterSpec.PACKETS, p4i.MeterSpec.BYTES)

# These annotations have fields of their own in the message, so they are not repeated as text.
SPOKEN_FOR = frozenset(
    ["name", "id", "brief", "description", "max_group_size", "max_member_weight", "selector_size_semantics", "variant"]
)


def p4info(program: ir.Program) -> p4i.P4Info:
    """Return a program's P4Info, with objects in the order of the source.

    Raises P4Error for what P4Info cannot represent: an `@id` that is not a number, is used twice, also among the fields
    or parameters of an object, or has the prefix of another type; a size or weight in an annotation that is not a
    number; a match kind that P4Runtime does not define; or a type that it cannot describe.
    """
    return _Writer(program).write()


def to_text(info: p4i.P4Info) -> str:
    """Return P4Info in protobuf's text format, as p4c writes it to `.txtpb`. Equal messages give equal texts."""
    head = "# proto-file: p4/config/v1/p4info.proto\n# proto-message: p4.config.v1.P4Info\n\n"
    return head + str(text_format.MessageToString(info))


def to_bytes(info: p4i.P4Info) -> bytes:
    """Return P4Info in protobuf's binary format, with map entries sorted by key. Equal messages give equal bytes."""
    return bytes(info.SerializeToString(deterministic=True))


def metadata_widths(program: ir.Program) -> dict[str, dict[str, int]]:
    """Return the widths in bits of the fields of each controller header, by the header's name and the field's."""
    return {
        header.controller: {each.name: width_of(each.type) for each in _flat(header.fields)}
        for header in program.controller_headers
    }


def _annotate(message: Any, annotations: Mapping[str, str]) -> None:
    """Add annotations to a message: structured ones, whose names are in brackets, with their values."""
    for name, text in annotations.items():
        if not name.startswith("["):
            if name not in SPOKEN_FOR:
                message.annotations.append(f"@{name}({text})" if text else f"@{name}")
            continue
        added = message.structured_annotations.add(name=name[1:-1])
        for key, value in json.loads(text):
            pair = added.kv_pair_list.kv_pairs.add(key=key) if key else None
            target = added.expression_list.expressions.add() if pair is None else pair.value
            kind = "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "string"
            setattr(target, f"{kind}_value", value)


def _document(message: Any, annotations: Mapping[str, str]) -> None:
    if "brief" in annotations:
        message.doc.brief = _unquoted(annotations["brief"])
    if "description" in annotations:
        message.doc.description = _unquoted(annotations["description"])


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


class _Writer:
    """Writes the P4Info of one program."""

    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self.info = p4i.P4Info()
        self.ids = Ids()
        self.digests = digests(program)
        # As in p4c, an action that no table lists has no parameters for the control plane, and an action that only
        # other actions call is omitted.
        self.listed = {each.action.name for table in program.tables.values() for each in table.actions}
        shown = self.listed | called_actions(program)
        # Variants of an action have the same name and parameters.
        self.actions = list({each.name: each for each in program.actions.values() if each.name in shown}.values())
        # As in p4c, a direct resource that no table uses is omitted.
        used = {each for table in program.tables.values() for each in table.direct}
        instances = program.instances.values()
        self.instances = [each for each in instances if each in used or not each.kind.startswith("direct_")]
        prefix = p4i.P4Ids
        self.kinds: dict[str, int] = {
            "counter": prefix.COUNTER,
            "direct_counter": prefix.DIRECT_COUNTER,
            "meter": prefix.METER,
            "direct_meter": prefix.DIRECT_METER,
            "register": prefix.REGISTER,
            "action_profile": prefix.ACTION_PROFILE,
            "action_selector": prefix.ACTION_PROFILE,
        }

    def write(self) -> p4i.P4Info:
        program, ids = self.program, self.ids
        for table in program.tables.values():
            ids.add(p4i.P4Ids.TABLE, table.name, table.annotations, "table", table.place)
        for action in self.actions:
            ids.add(p4i.P4Ids.ACTION, action.name, action.annotations, "action", action.place)
        for each in program.value_sets.values():
            ids.add(p4i.P4Ids.VALUE_SET, each.name, each.annotations, "value set", each.place)
        for instance in self.instances:
            if instance.kind in self.kinds:
                ids.add(self.kinds[instance.kind], instance.name, instance.annotations, instance.kind, instance.place)
        for name in self.digests.values():
            ids.add(p4i.P4Ids.DIGEST, name, {}, "digest")
        for header in program.controller_headers:
            ids.add(p4i.P4Ids.CONTROLLER_HEADER, header.name, {}, "header")
        ids.settle()

        self._package()
        for table in program.tables.values():
            self._table(table)
        # As in p4c, objects outside of all controls come first.
        for action in sorted(self.actions, key=lambda each: "." in each.name):
            self._action(action)
        for instance in self.instances:
            self._instance(instance)
        for each in program.value_sets.values():
            self._value_set(each)
        for header in program.controller_headers:
            self._controller_header(header)
        for kind, name in self.digests.items():
            message = self.info.digests.add()
            self._preamble(message.preamble, p4i.P4Ids.DIGEST, name, {})
            message.type_spec.CopyFrom(self._type(kind))
        return self.info

    def _package(self) -> None:
        package, annotations = self.info.pkg_info, dict(self.program.annotations)
        package.arch = "v1model"
        for key, value in json.loads(annotations.pop("[pkginfo]", "[]")):
            if key in ("name", "version", "organization", "contact", "url", "arch") and isinstance(value, str):
                setattr(package, key, value)
        for key, value in json.loads(annotations.pop("[platform_property]", "[]")):
            if key in package.platform_properties.DESCRIPTOR.fields_by_name and isinstance(value, int):
                setattr(package.platform_properties, key, value)
        _annotate(package, annotations)

    def _preamble(self, preamble: p4i.Preamble, prefix: int, name: str, annotations: Mapping[str, str]) -> None:
        preamble.id, preamble.alias = self.ids.identity(prefix, name)
        preamble.name = name
        _annotate(preamble, annotations)
        _document(preamble, annotations)

    def _table(self, table: ir.Table) -> None:
        message = self.info.tables.add()
        self._preamble(message.preamble, p4i.P4Ids.TABLE, table.name, table.annotations)
        numbers = numbered(table.listed, lambda each: each.annotations, table.place)
        for number, key in zip(numbers, table.listed, strict=True):
            if key.kind == "selector":
                continue
            if key.kind not in MATCH_KINDS:
                raise P4Error(f"table {table.name}: match kind {key.kind} is not defined by P4Runtime")
            field = message.match_fields.add(
                id=number,
                name=key.name,
                match_type=MATCH_KINDS[key.kind],
            )
            self._value(field, key.expression.type)
            _annotate(field, key.annotations)
            _document(field, key.annotations)
        for listed in table.actions:
            reference = message.action_refs.add(id=self.ids(p4i.P4Ids.ACTION, listed.action.name))
            _annotate(reference, listed.annotations)
            if listed.table_only:
                reference.scope = p4i.ActionRef.TABLE_ONLY
            elif listed.default_only:
                reference.scope = p4i.ActionRef.DEFAULT_ONLY
        if table.idle_timeout:
            message.idle_timeout_behavior = p4i.Table.NOTIFY_CONTROL
        default = self.ids(p4i.P4Ids.ACTION, table.default.action.name)
        if table.default_const:
            message.const_default_action_id = default
        message.initial_default_action.action_id = default
        data = table.default.action.data
        for number, parameter, value in zip(
            self._parameter_ids(table.default.action), data, table.default_arguments, strict=True
        ):
            width = width_of(parameter.variable.type)
            message.initial_default_action.arguments.add(param_id=number, value=_padded(value, width))
        if table.implementation is not None:
            message.implementation_id = self.ids(p4i.P4Ids.ACTION_PROFILE, table.implementation.name)
        for instance in table.direct:
            message.direct_resource_ids.append(self.ids(self.kinds[instance.kind], instance.name))
        message.size = table.size
        message.is_const_table = table.entries_const
        message.has_initial_entries = bool(table.entries)

    def _value_set(self, table: ir.Table) -> None:
        message = self.info.value_sets.add(size=table.size)
        self._preamble(message.preamble, p4i.P4Ids.VALUE_SET, table.name, table.annotations)
        numbers = numbered(table.keys, lambda each: each.annotations, table.place)
        for number, key in zip(numbers, table.keys, strict=True):
            field = message.match.add(id=number, name=key.name, match_type=MATCH_KINDS[key.kind])
            self._value(field, key.expression.type)
            _annotate(field, key.annotations)
            _document(field, key.annotations)

    @staticmethod
    def _parameter_ids(action: ir.Action) -> list[int]:
        return numbered(action.data, lambda each: each.annotations, action.place)

    def _action(self, action: ir.Action) -> None:
        message = self.info.actions.add()
        self._preamble(message.preamble, p4i.P4Ids.ACTION, action.name, action.annotations)
        data = action.data if action.name in self.listed else ()
        for number, parameter in zip(self._parameter_ids(action)[: len(data)], data, strict=True):
            name = _unquoted(parameter.annotations.get("name", parameter.variable.name))
            added = message.params.add(id=number, name=name)
            self._value(added, parameter.variable.type)
            _annotate(added, parameter.annotations)

    def _instance(self, instance: ir.Instance) -> None:
        if instance.kind not in self.kinds:
            return
        prefix = self.kinds[instance.kind]
        # Any: the five messages share these fields, but have no common base class.
        message: Any
        match instance.kind:
            case "counter":
                message = self.info.counters.add(size=int(instance.arguments[0]))
                message.spec.unit = COUNTER_UNITS[int(instance.arguments[1])]
            case "direct_counter":
                message = self.info.direct_counters.add(direct_table_id=self._table_of(instance))
                message.spec.unit = COUNTER_UNITS[int(instance.arguments[0])]
            case "meter":
                message = self.info.meters.add(size=int(instance.arguments[0]))
                message.spec.unit = METER_UNITS[int(instance.arguments[1])]
            case "direct_meter":
                message = self.info.direct_meters.add(direct_table_id=self._table_of(instance))
                message.spec.unit = METER_UNITS[int(instance.arguments[0])]
            case "action_profile" | "action_selector":
                message = self._profile(instance)
            case _:
                message = self.info.registers.add(size=int(instance.arguments[0]))
                message.type_spec.CopyFrom(self._type(instance.type_arguments[0]))
        self._preamble(message.preamble, prefix, instance.name, instance.annotations)

    def _profile(self, instance: ir.Instance) -> p4i.ActionProfile:
        selects = instance.kind == "action_selector"
        size = int(instance.arguments[1 if selects else 0])
        message: p4i.ActionProfile = self.info.action_profiles.add(with_selector=selects, size=size)
        numbers = {
            name: number_in(instance.annotations[name], f"{instance.kind} {instance.name}", instance.place, name, 31)
            for name in ("max_group_size", "max_member_weight")
            if selects and name in instance.annotations
        }
        message.max_group_size = numbers.get("max_group_size", 0)
        match _unquoted(instance.annotations.get("selector_size_semantics", "")).lower() if selects else "":
            case "sum_of_weights":
                message.sum_of_weights.SetInParent()
            case "sum_of_members":
                message.sum_of_members.max_member_weight = numbers.get("max_member_weight", 0)
                message.sum_of_members.SetInParent()
        for table in self.program.tables.values():
            if table.implementation is instance:
                message.table_ids.append(self.ids(p4i.P4Ids.TABLE, table.name))
        return message

    def _table_of(self, instance: ir.Instance) -> int:
        table = next((each for each in self.program.tables.values() if instance in each.direct), None)
        return self.ids(p4i.P4Ids.TABLE, table.name) if table else 0

    def _controller_header(self, header: HeaderType) -> None:
        message = self.info.controller_packet_metadata.add()
        message.preamble.id = self.ids(p4i.P4Ids.CONTROLLER_HEADER, header.name)
        # A controller refers to the header by the name in its annotation, not by its type.
        message.preamble.name = message.preamble.alias = header.controller
        message.preamble.annotations.append(f'@controller_header("{header.controller}")')
        fields = list(_flat(header.fields))
        numbers = numbered(fields, lambda each: each.annotations)
        for number, each in zip(numbers, fields, strict=True):
            added = message.metadata.add(id=number, name=each.name)
            self._value(added, each.type)
            _annotate(added, each.annotations)

    def _value(self, message: Any, kind: Type) -> None:
        """Set the width and type name of a match field, a parameter or a field of packet metadata."""
        spec = self._type(kind) if isinstance(kind, EnumType) or (isinstance(kind, Bits) and kind.new) else None
        if isinstance(kind, ErrorType):
            self._type(kind)  # P4Runtime has no values of type error, so it has no width
            return
        if isinstance(kind, EnumType) and kind.underlying is None:
            message.type_name.name = kind.name
            return
        message.bitwidth = width_of(kind)
        if isinstance(kind, Bits) and kind.new is not None:
            assert spec is not None
            message.type_name.name = spec.new_type.name
            if kind.new.uri is not None:
                message.bitwidth = kind.new.width or 0

    def _type(self, kind: Type) -> p4t.P4DataTypeSpec:
        """Return a type's description, and add the structs, headers and enums that it names to `type_info`."""
        spec, known = p4t.P4DataTypeSpec(), self.info.type_info
        match kind:
            case Bits(new=NewType() as new):
                spec.new_type.name = new.name
                if new.name in known.new_types:
                    return spec
                made = known.new_types[new.name]
                _annotate(made, new.annotations)
                if new.uri is None:
                    made.original_type.bitstring.CopyFrom(_bitstring(kind))
                elif new.width is None:
                    made.translated_type.uri = new.uri
                    made.translated_type.sdn_string.SetInParent()
                else:
                    made.translated_type.uri = new.uri
                    made.translated_type.sdn_bitwidth = new.width
            case Bits() | Varbit():
                spec.bitstring.CopyFrom(_bitstring(kind))
            case Bool():
                spec.bool.SetInParent()
            case ErrorType():
                spec.error.SetInParent()
                known.error.ClearField("members")
                known.error.members.extend(self.program.errors)
            case EnumType(underlying=None):
                spec.enum.name = kind.name
                if kind.name not in known.enums:
                    known.enums[kind.name].members.extend(p4t.P4EnumTypeSpec.Member(name=name) for name in kind.members)
            case EnumType(underlying=Bits(width=width)):
                spec.serializable_enum.name = kind.name
                if kind.name not in known.serializable_enums:
                    listed = known.serializable_enums[kind.name]
                    listed.underlying_type.bitwidth = width
                    for name, value in zip(kind.members, kind.values, strict=True):
                        listed.members.add(name=name, value=_padded(value, width))
            case StructType():
                spec.struct.name = kind.name
                if kind.name not in known.structs:
                    members = [self._member(each) for each in kind.fields]
                    known.structs[kind.name].members.extend(members)
            case HeaderType():
                spec.header.name = kind.name
                if kind.name not in known.headers:
                    for each in kind.fields:
                        known.headers[kind.name].members.add(name=each.name, type_spec=_bitstring(each.type))
            case UnionType():
                spec.header_union.name = kind.name
                if kind.name not in known.header_unions:
                    union = known.header_unions[kind.name]
                    for each in kind.fields:
                        union.members.add(name=each.name, header=self._type(each.type).header)
            case StackType(element=UnionType() as element, size=size):
                self._type(element)
                spec.header_union_stack.header_union.name = element.name
                spec.header_union_stack.size = size
            case StackType(element=element, size=size):
                self._type(element)
                spec.header_stack.header.name = element.name
                spec.header_stack.size = size
            case TupleType(elements=elements):
                spec.tuple.members.extend(self._type(each) for each in elements)
            case _:
                raise P4Error(f"P4Info cannot describe the type {kind}")
        return spec

    def _member(self, each: Field) -> p4t.P4StructTypeSpec.Member:
        return p4t.P4StructTypeSpec.Member(name=each.name, type_spec=self._type(each.type))


def _flat(fields: Iterable[Field], prefix: str = "") -> Iterator[Field]:
    """Yield the fields of a header, those of a struct in it with dotted names."""
    for each in fields:
        if isinstance(each.type, StructType):
            yield from _flat(each.type.fields, f"{prefix}{each.name}.")
        else:
            yield Field(prefix + each.name, each.type, each.annotations)


def _bitstring(kind: Type) -> p4t.P4BitstringLikeTypeSpec:
    spec = p4t.P4BitstringLikeTypeSpec()
    match kind:
        case Bits(width=width, signed=True):
            spec.int.bitwidth = width
        case Varbit(width=width):
            spec.varbit.max_bitwidth = width
        case _:
            spec.bit.bitwidth = width_of(kind)
    return spec


def _padded(value: int, width: int) -> bytes:
    """Return a constant as p4c encodes it: in the bytes that the type's width takes, in two's complement if signed."""
    return (value & (1 << width) - 1).to_bytes((width + 7) // 8, "big")
