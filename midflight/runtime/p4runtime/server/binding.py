"""Binding of a pushed P4Info to the program by names, so that the P4Info may use any ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from finsy.proto import p4i, p4t

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.p4runtime.schema import NEEDS_PRIORITY, Described, Names, Schema, match_fields
from midflight.runtime.p4runtime.server.translation import Codec, Strings, codec_of
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import flat_types

__all__ = ["BoundAction", "BoundTable", "bind", "bind_value_sets", "without_removed"]

T = TypeVar("T", bound=Described)


@dataclass(frozen=True, slots=True)
class BoundAction:
    """An action of one table: its P4Info, its parameters and their forms in the program's order, and its scope."""

    info: p4i.Action
    params: tuple[p4i.Action.Param, ...]
    codecs: tuple[Codec, ...]
    scope: int

    @property
    def name(self) -> str:
        """The action's fully qualified name."""
        return str(self.info.preamble.name)


@dataclass(frozen=True, slots=True)
class BoundTable:
    """A table: its P4Info with the match fields in the program's order, and its actions by id and by name."""

    info: p4i.Table
    table: ir.Table
    fields: tuple[p4i.MatchField, ...]
    codecs: tuple[Codec, ...]
    by_id: dict[int, BoundAction]
    by_name: dict[str, BoundAction]

    @property
    def name(self) -> str:
        """The table's fully qualified name."""
        return self.table.name

    @property
    def needs_priority(self) -> bool:
        """Whether entries carry a priority: some field is ternary, range or optional."""
        return any(field.match_type in NEEDS_PRIORITY for field in self.fields)


def bind(
    schema: Schema, ours: Schema, program: ir.Program, strings: dict[str, Strings], *, loose: bool = False
) -> dict[int, BoundTable]:
    """Return the tables of a P4Info, by id, bound to the program, and add the types that are strings to `strings`.

    `schema` is a controller's P4Info, and `ours` that of the program. Raises Refusal with INVALID_ARGUMENT if the
    former has an object that the program does not have, or that differs there. It may omit objects, which the
    controller then cannot access; the specification allows that.

    Set `loose` for a program from BMv2's JSON, which lacks some of what P4Info has: actions that no table has, names of
    members, controller headers, tables that no packet reaches, and optional match fields, which are ternary there.
    """
    tables = {}
    for info in schema.tables:
        if loose and info.preamble.name not in program.tables:
            continue  # p4c removes tables that no packet reaches from the JSON, but not from P4Info
        own = _same("table", info, ours.tables)
        table = program.tables[own.preamble.name]
        tables[info.preamble.id] = _table(schema, ours, info, own, table, strings, loose)
    for action in () if loose else schema.actions:
        _same("action", action, ours.actions)
    for counter in schema.counters:
        known = _same("counter", counter, ours.counters)
        _demand(counter.size == known.size, f"counter {known.preamble.name} has {known.size} cells")
    for meter in schema.meters:
        known_meter = _same("meter", meter, ours.meters)
        _demand(meter.size == known_meter.size, f"meter {known_meter.preamble.name} has {known_meter.size} cells")
    for register in schema.registers:
        cells = _same("register", register, ours.registers)
        name = cells.preamble.name
        _demand(register.size == cells.size, f"register {name} has {cells.size} cells")
        alike = _alike_scalars(schema, register, ours, cells) if loose else _alike(register.type_spec, cells.type_spec)
        _demand(alike, f"register {name} has cells of another type")
    for digest in schema.digests:
        message = _same("digest", digest, ours.digests)
        if loose:
            alike = _alike_scalars(schema, digest, ours, message)
            _demand(alike, f"digest {message.preamble.name} has members of other widths")
            continue
        _demand(_alike(digest.type_spec, message.type_spec), f"digest {message.preamble.name} has another type")
        if digest.type_spec.HasField("struct"):
            name = digest.type_spec.struct.name
            same = schema.types.structs[name] == ours.types.structs[name]
            _demand(same, f"struct {name} has other members")
    for profile in schema.profiles:
        own_profile = _same("action profile", profile, ours.profiles)
        name, selects = profile.preamble.name, own_profile.with_selector
        _demand(profile.with_selector == selects, f"{name} is an action {'selector' if selects else 'profile'}")
        _demand(profile.size == own_profile.size, f"action profile {name} has size {own_profile.size}")
    for direct in (*schema.direct_counters, *schema.direct_meters):
        if loose and direct.direct_table_id not in tables:
            continue
        if isinstance(direct, p4i.DirectCounter):
            _same("direct counter", direct, ours.direct_counters)
        else:
            _same("direct meter", direct, ours.direct_meters)
    for theirs, own_fields, what in (
        (schema.packet_in, ours.packet_in, "packet_in"),
        (schema.packet_out, ours.packet_out, "packet_out"),
    ):
        layout = [(each.name, each.bitwidth) for each in own_fields]
        given = [(each.name, each.bitwidth) for each in theirs]
        _demand(loose or not given or given == layout, f"controller header {what} has the fields {layout}")
    return tables


def without_removed(info: p4i.P4Info, ours: Schema) -> p4i.P4Info:
    """Return a copy of a controller's P4Info without what p4c has removed from BMv2's JSON, but not from the P4Info.

    These are the action profiles, value sets and digests that no packet reaches. `ours` is the P4Info of the JSON.
    """
    kept = p4i.P4Info()
    kept.CopyFrom(info)
    for listed, known in (
        (kept.action_profiles, ours.profiles),
        (kept.value_sets, ours.value_sets),
        (kept.digests, ours.digests),
    ):
        for each in list(listed):
            if each.preamble.name not in known.by_name:
                listed.remove(each)
    return kept


def bind_value_sets(
    schema: Schema, ours: Schema, program: ir.Program, strings: dict[str, Strings], *, loose: bool = False
) -> dict[int, BoundTable]:
    """Return the value sets of a P4Info, by id, bound to the program's as tables without actions.

    Types that are strings are added to `strings`. BMv2's JSON has no names of fields, so they may differ if `loose`.
    Refusal with INVALID_ARGUMENT as for `bind`.
    """
    found = {}
    for info in schema.value_sets:
        own = _same("value set", info, ours.value_sets)
        name = own.preamble.name
        fields = [("" if loose else each.name, each.bitwidth, each.match_type) for each in own.match]
        given = [("" if loose else each.name, each.bitwidth, each.match_type) for each in info.match]
        _demand(given == fields, f"value set {name} has other fields")
        _demand(info.size == own.size, f"value set {name} has size {own.size}")
        table = program.value_sets[name]
        codecs = tuple(
            codec_of(key.expression.type, each.bitwidth, strings)
            for key, each in zip(table.keys, info.match, strict=True)
        )
        shown = p4i.Table(preamble=info.preamble, match_fields=info.match)
        found[info.preamble.id] = BoundTable(shown, table, tuple(info.match), codecs, {}, {})
    return found


def _demand(holds: bool, truth: str) -> None:
    if not holds:
        raise Refusal(Code.INVALID_ARGUMENT, f"the P4Info does not fit the program: {truth} there")


def _same(what: str, info: Described, ours: Names[T]) -> T:
    name = info.preamble.name
    try:
        return ours.named(name)
    except DeviceError as error:
        raise Refusal(
            Code.INVALID_ARGUMENT, f"the P4Info does not fit the program: no {what} {name}; {error.hint}"
        ) from None


def _alike(theirs: p4t.P4DataTypeSpec, ours: p4t.P4DataTypeSpec) -> bool:
    return bool(theirs == ours)


def _alike_scalars(
    schema: Schema, info: p4i.Register | p4i.Digest, ours: Schema, own: p4i.Register | p4i.Digest
) -> bool:
    """Return whether two types consist of numbers of the same widths. BMv2's JSON does not say which are signed."""
    theirs = flat_types(info.type_spec, schema.types)
    known = flat_types(own.type_spec, ours.types)
    return [each.width for each in theirs] == [each.width for each in known]


def _table(
    schema: Schema,
    ours: Schema,
    info: p4i.Table,
    own: p4i.Table,
    table: ir.Table,
    strings: dict[str, Strings],
    loose: bool,
) -> BoundTable:
    given = match_fields(info)
    truth = {name: (field.bitwidth, field.match_type) for name, field in match_fields(own).items()}
    keys = ", ".join(f"{name}: {p4i.MatchField.MatchType.Name(kind).lower()}" for name, (_, kind) in truth.items())
    kinds = {name: (field.bitwidth, field.match_type) for name, field in given.items()}
    if loose:
        kinds = {
            name: (width, p4i.MatchField.TERNARY if kind == p4i.MatchField.OPTIONAL else kind)
            for name, (width, kind) in kinds.items()
        }
    _demand(kinds == truth, f"table {table.name} has the key ({keys})")
    _demand(
        loose or info.is_const_table == own.is_const_table,
        f"table {table.name} is {'' if own.is_const_table else 'not '}const",
    )
    by_id, by_name = {}, {}
    listed = {reference.action.name: reference for reference in table.actions}
    for reference in info.action_refs:
        action = schema.actions.of_id(reference.id)
        name = action.preamble.name
        _demand(name in listed, f"table {table.name} has the actions {', '.join(listed)}, not {name};")
        params = {each.name: each for each in action.params}
        wanted = {each.name: each.bitwidth for each in ours.actions.named(name).params}
        _demand({key: each.bitwidth for key, each in params.items()} == wanted, f"action {name} takes {wanted}")
        data = zip(listed[name].action.data, wanted.values(), strict=False)
        codecs = tuple(codec_of(each.variable.type, width, strings) for each, width in data)
        bound = BoundAction(action, tuple(params[key] for key in wanted), codecs, reference.scope)
        by_id[reference.id] = by_name[name] = bound
    fields = tuple(given[name] for name in truth)
    codecs = tuple(
        codec_of(key.expression.type, each.bitwidth, strings) for key, each in zip(table.keys, fields, strict=True)
    )
    return BoundTable(info, table, fields, codecs, by_id, by_name)
