"""Emits table applications: key, lookup, direct counters and meters, then the action with the entry's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llvmlite import ir as ll

from midflight.p4 import ir
from midflight.runtime.engine.code import Applied, Code, Place, Unit, Value, integer
from midflight.runtime.engine.entrylayout import ACTION, NUMBER, EntryLayout, MemberLayout, actions_of
from midflight.runtime.engine.expressions import value
from midflight.runtime.engine.externs.counters import count_direct
from midflight.runtime.engine.externs.meters import execute_direct, forget_direct
from midflight.runtime.engine.layout import SCALARS, is_signed, scalar_width
from midflight.runtime.engine.lookup import direct_lookup, lookup_function
from midflight.runtime.engine.members import chosen_member, number_in
from midflight.runtime.engine.noting import Event, note, note_values
from midflight.runtime.engine.statements import bind, lower_all, run_frame
from midflight.stackless import run

__all__ = ["Tables"]


class Tables:
    """Emits the applications of a program's tables; holds each table's layout of entries and lookup function."""

    def __init__(self) -> None:
        self.layouts: dict[str, EntryLayout] = {}
        self.members: dict[str, MemberLayout] = {}
        self._lookups: dict[str, ll.Function] = {}

    def layout(self, unit: Unit, table: ir.Table) -> EntryLayout:
        """Return the layout of a table's entries, the same object each time. P4Error as for `EntryLayout`."""
        if table.name not in self.layouts:
            self.layouts[table.name] = EntryLayout(table, unit.layout)
        return self.layouts[table.name]

    def member_layout(self, unit: Unit, profile: ir.Instance) -> MemberLayout:
        """Return the layout of an action profile's or selector's members, the same object each time.

        Raises P4Error for a type of action data that the engine does not support.
        """
        if profile.name not in self.members:
            tables = [each for each in unit.program.tables.values() if each.implementation is profile]
            self.members[profile.name] = MemberLayout(tables, unit.layout)
        return self.members[profile.name]

    def apply(self, code: Code, table: ir.Table) -> Applied:
        """Emit one application of a table at the current position, and return its result.

        Raises P4Error for constructs that the engine does not support.
        """
        layout = self.layout(code.unit, table)
        b = code.b
        run(lower_all(code, table.before))
        default = code.slot_pointer(f"{table.name}.default")
        for instance in table.direct:
            if instance.kind == "direct_meter":
                forget_direct(code, instance)
        if layout.search == "none":
            entry, hit = default, code.constant(1, 0)
        else:
            keys = [value(code, each.expression) for each in table.keys]
            hit, found = self._look_up(code, table, layout, keys)
            entry = b.select(hit, found, default)
            if table.direct or table.idle_timeout:
                self._direct(code, table, entry, hit)
        if table.implementation is not None:
            members = self.member_layout(code.unit, table.implementation)
            entry = chosen_member(code, table, members, layout, entry, hit)
            action = number_in(code, table, members, code.load(code.at(entry, ACTION), 32))
            data = members.data
        else:
            action = code.load(code.at(entry, ACTION), 32)
            data = layout.data
        if code.unit.names is not None:
            how = code.i64(2) if layout.search == "none" else code.resize(hit, 64)
            note(code, Event.TABLE, table.name, b.or_(b.shl(how, code.i64(32)), code.resize(action, 64)))
            for each, found in zip(table.keys, keys, strict=True) if layout.search != "none" else ():
                kind = each.expression.type
                note_values(code, Event.KEY, each.name, [(found, scalar_width(kind), is_signed(kind))])
        self._run(code, table, data, entry, action)
        return Applied(hit, action)

    def contains(self, code: Code, value_set: ir.Table, values: Sequence[Value]) -> Value:
        """Emit a look-up in a parser's value set, and return whether it contains the values of its fields, as an i1.

        Raises P4Error for a match kind that the engine does not support.
        """
        hit, _ = self._look_up(code, value_set, self.layout(code.unit, value_set), values)
        return hit

    def _look_up(self, code: Code, table: ir.Table, layout: EntryLayout, keys: Sequence[Value]) -> tuple[Value, Value]:
        """Emit a search, and return whether it hit, and the entry's address, which is undefined if not."""
        key = code.constant(layout.width, 0)
        for each, field in zip(keys, layout.fields, strict=True):
            part = code.resize(each, layout.width)
            key = code.b.or_(key, code.b.shl(part, code.constant(layout.width, field.shift)))
        if layout.direct:
            return direct_lookup(code, table.name, layout, key)
        if table.name not in self._lookups:
            self._lookups[table.name] = lookup_function(code.unit, table.name, layout)
        found = code.b.call(self._lookups[table.name], [code.context, key])
        return code.b.icmp_unsigned("!=", code.b.ptrtoint(found, integer(64)), code.i64(0)), found

    def _direct(self, code: Code, table: ir.Table, entry: Value, hit: Value) -> None:
        with code.when(hit):
            number = code.load(code.at(entry, NUMBER), 32)
            for instance in table.direct:
                if instance.kind == "direct_counter":
                    count_direct(code, instance, number)
                elif instance.kind == "direct_meter":
                    execute_direct(code, instance, number)
            if table.idle_timeout:
                place = code.b.shl(code.resize(number, 64), code.i64(3))
                code.store(code.slot_value("now"), code.at(code.slot_pointer(f"{table.name}.hits"), place))

    def _run(
        self,
        code: Code,
        table: ir.Table,
        data: Mapping[ir.Action, tuple[int, ...]],
        entry: Value,
        action: Value,
    ) -> None:
        """Emit a switch over the actions. An action gets a copy of the entry's data, so that it cannot change it."""
        b, done = code.b, code.block("applied")
        # Entries hold only numbers of listed actions, so the last action can be the default case. An empty group has
        # no action.
        references = actions_of(table)
        blocks = [code.block(each.action.name) for each in references]
        indirect = table.implementation is not None
        chooser = b.switch(action, done if indirect else blocks[-1])
        for number, block in enumerate(blocks if indirect else blocks[:-1]):
            chooser.add_case(code.i32(number), block)
        for reference, block in zip(references, blocks, strict=True):
            b.position_at_end(block)
            run(lower_all(code, reference.before))
            directed = tuple(each for each in reference.action.parameters if each.direction is not ir.Direction.NONE)
            copy_outs = bind(code, directed, reference.bound, always_copy=True)
            for parameter, offset in zip(reference.action.data, data[reference.action], strict=True):
                home = code.temporary(parameter.variable.type)
                code.copy(home.pointer, code.at(entry, offset), code.layout.size(home.type))
                code.variables[parameter.variable] = Place(home.pointer, home.type)
                if code.unit.names is not None and isinstance(home.type, SCALARS):
                    form = scalar_width(home.type), is_signed(home.type)
                    note_values(code, Event.DATA, parameter.variable.name, [(code.read(home), *form)])
            run(run_frame(code, copy_outs, [reference.action.body]))
            code.go(done)
        b.position_at_end(done)
