"""Command lines of simple_switch_CLI, as steps for a switch.

Values are integers (decimal, 0x, 0b), IPv4 and IPv6 addresses and MAC addresses. A match field is `value`, `value/len`
(LPM), `value&&&mask` (ternary) or `low->high` (range). A priority follows the parameters of the action; the smallest
number wins, as in BMv2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature

from finsy.proto import p4i, p4r

from midflight.errors import MidflightError, Place
from midflight.runtime.p4runtime.client.matches import number
from midflight.runtime.p4runtime.client.messages import (
    action_message,
    clone_message,
    entry_message,
    register_messages,
)
from midflight.runtime.p4runtime.entryfiles.names import action_of, resolve
from midflight.runtime.p4runtime.entryfiles.profiles import ProfileCommands
from midflight.runtime.p4runtime.entryfiles.replication import Replication
from midflight.runtime.p4runtime.entryfiles.steps import Read, Step, Write
from midflight.runtime.p4runtime.schema import NEEDS_PRIORITY, Schema, match_fields

__all__ = ["Commands", "default_update", "read_commands"]

LOWEST = (1 << 24) - 1
"""The largest priority number of a command, which is turned into P4Runtime's smallest priority."""

MILLION = 1_000_000

# The parameters of each command, for its usage line.
USAGE = {
    "table_add": "TABLE ACTION MATCH... => [PARAMETER...] [PRIORITY]",
    "table_indirect_add": "TABLE MATCH... => MEMBER [PRIORITY]",
    "table_indirect_add_with_group": "TABLE MATCH... => GROUP [PRIORITY]",
    "table_set_default": "TABLE ACTION [PARAMETER...]",
    "table_reset_default": "TABLE",
    "table_modify": "TABLE ACTION HANDLE [=>] [PARAMETER...]",
    "table_delete": "TABLE HANDLE",
    "table_clear": "TABLE",
    "act_prof_create_member": "PROFILE ACTION [PARAMETER...]",
    "act_prof_modify_member": "PROFILE ACTION MEMBER [PARAMETER...]",
    "act_prof_delete_member": "PROFILE MEMBER",
    "act_prof_create_group": "PROFILE",
    "act_prof_delete_group": "PROFILE GROUP",
    "act_prof_add_member_to_group": "PROFILE MEMBER GROUP",
    "act_prof_remove_member_from_group": "PROFILE MEMBER GROUP",
    "mc_mgrp_create": "GROUP",
    "mc_mgrp_destroy": "GROUP",
    "mc_node_create": "INSTANCE PORT...",
    "mc_node_update": "NODE PORT...",
    "mc_node_destroy": "NODE",
    "mc_node_associate": "GROUP NODE",
    "mc_node_dissociate": "GROUP NODE",
    "mirroring_add": "SESSION PORT",
    "mirroring_add_mc": "SESSION GROUP",
    "mirroring_delete": "SESSION",
    "mirroring_get": "SESSION",
    "register_write": "REGISTER INDEX VALUE",
    "register_read": "REGISTER [INDEX]",
    "register_reset": "REGISTER",
    "counter_write": "COUNTER INDEX PACKETS BYTES",
    "counter_read": "COUNTER INDEX",
    "counter_reset": "COUNTER",
    "meter_set_rates": "METER INDEX RATE:BURST RATE:BURST",
    "meter_array_set_rates": "METER RATE:BURST RATE:BURST",
    "meter_get_rates": "METER INDEX",
}


def read_commands(text: str, file: str, schema: Schema) -> list[Step]:
    """Return the steps of a file with a command on each line. Empty lines, and lines after `#`, are ignored.

    Raises MidflightError with file and line for an unknown command, name or value.
    """
    commands = Commands(schema)
    steps: list[Step] = []
    for at, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            start = len(line) - len(line.lstrip())
            place = Place(file, at, start + 1, max(1, len(line.strip())), line)
            steps += commands.steps(words, place)
    return steps


class Commands:
    """Translates commands. It remembers what has handles: entries, the nodes of multicast groups, and the members and
    groups of action profiles.

    The handle of an entry is its number in its table, from 0, without the entries that the program declares.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.replication = Replication()
        self.profiles = ProfileCommands(schema)
        self.added: dict[int, list[p4r.TableEntry | None]] = {}

    def steps(self, words: Sequence[str], place: Place | None = None) -> list[Step]:
        """Return the steps of one command, given as its words. `place` is where it stands in a file, for errors; None
        if nowhere.

        Remembers nodes and handles for later commands. MidflightError for a mistake.
        """
        name, arguments = words[0], list(words[1:])
        try:
            if name not in USAGE:
                raise MidflightError(f"unknown command {name!r}", hint=f"the commands are {', '.join(USAGE)}")
            run: Callable[..., list[p4r.Update] | Step] = getattr(self, f"_{name}")
            try:
                signature(run).bind(*arguments)
            except TypeError:
                raise MidflightError(f"usage: {name} {USAGE[name]}") from None
            made = run(*arguments)
            if isinstance(made, (Read, Write)):
                steps: list[Step] = [made]
            else:
                steps = [Write(each, " ".join(words)) for each in made]
        except MidflightError as error:
            raise MidflightError(error.message, place=place, hint=error.hint) from None
        return [_placed(each, " ".join(words), place) for each in steps]

    # Tables

    def _table_add(self, table: str, action: str, *rest: str) -> list[p4r.Update]:
        info, entry, values = self._matched(table, rest)
        entry.action.CopyFrom(self._action(info, action, values))
        return [self.add(entry)]

    def _table_indirect_add(self, table: str, *rest: str) -> list[p4r.Update]:
        return self._indirect(table, rest, group=False)

    def _table_indirect_add_with_group(self, table: str, *rest: str) -> list[p4r.Update]:
        return self._indirect(table, rest, group=True)

    def _indirect(self, table: str, rest: Sequence[str], *, group: bool) -> list[p4r.Update]:
        info, entry, values = self._matched(table, rest)
        what = "group" if group else "member"
        if len(values) != 1:
            raise MidflightError(f"table {info.preamble.name}: one {what} follows the match, not {len(values)} values")
        entry.action.CopyFrom(self.profiles.reference(info, _count(values[0], what), group=group))
        return [self.add(entry)]

    def _matched(self, table: str, rest: Sequence[str]) -> tuple[p4i.Table, p4r.TableEntry, list[str]]:
        """Return a table, an entry of it without an action, and the words of a command between match and priority."""
        info = resolve("table", self.schema.tables, table)
        words = list(rest)
        fields = len(info.match_fields)
        arrow = words.index("=>") if "=>" in words else fields
        matches, values = words[:arrow], words[arrow + ("=>" in words) :]
        if len(matches) != fields:
            listed = ", ".join(f"{each.name} ({_kind(each)})" for each in info.match_fields)
            message = f"table {info.preamble.name} has {fields} match fields, not {len(matches)}"
            raise MidflightError(message, hint=listed)
        priority = 0
        if any(each.match_type in NEEDS_PRIORITY for each in info.match_fields):
            if not values:
                raise MidflightError(f"table {info.preamble.name}: an entry needs a priority after its parameters")
            rank = _count(values.pop(), "priority")
            if rank > LOWEST:
                raise MidflightError(f"priority {rank} is too large", hint=f"the largest is {LOWEST}")
            priority = LOWEST + 1 - rank
        named = zip(match_fields(info).items(), matches, strict=True)
        match = {name: field_value(each, text) for (name, each), text in named}
        return info, entry_message(self.schema, info.preamble.name, match, priority), values

    def add(self, entry: p4r.TableEntry) -> p4r.Update:
        """Return the update that adds an entry, which gets the next handle of its table."""
        self.added.setdefault(entry.table_id, []).append(entry)
        return p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(table_entry=entry))

    def _table_set_default(self, table: str, action: str, *values: str) -> list[p4r.Update]:
        info = resolve("table", self.schema.tables, table)
        words = [each for each in values if each != "=>"]
        return [default_update(info, self._action(info, action, words))]

    def _table_reset_default(self, table: str) -> list[p4r.Update]:
        return [default_update(resolve("table", self.schema.tables, table), None)]

    def _table_modify(self, table: str, action: str, handle: str, *values: str) -> list[p4r.Update]:
        info, entry = self._added(table, handle)
        entry.action.CopyFrom(self._action(info, action, [each for each in values if each != "=>"]))
        return [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(table_entry=entry))]

    def _table_delete(self, table: str, handle: str) -> list[p4r.Update]:
        info, entry = self._added(table, handle)
        self.added[info.preamble.id][_count(handle, "handle")] = None
        return [p4r.Update(type=p4r.Update.DELETE, entity=p4r.Entity(table_entry=entry))]

    def _table_clear(self, table: str) -> list[p4r.Update]:
        return self.clear(resolve("table", self.schema.tables, table).preamble.id)

    def clear(self, table: int) -> list[p4r.Update]:
        """Return the updates that remove all entries that were added to the table of this id, and forget their handles.

        The handles of the table count from 0 again.
        """
        entries = self.added.pop(table, [])
        kind = p4r.Update.DELETE
        return [p4r.Update(type=kind, entity=p4r.Entity(table_entry=each)) for each in entries if each is not None]

    def _added(self, table: str, handle: str) -> tuple[p4i.Table, p4r.TableEntry]:
        info = resolve("table", self.schema.tables, table)
        entries, at = self.added.get(info.preamble.id, []), _count(handle, "handle")
        entry = entries[at] if at < len(entries) else None
        if entry is None:
            raise MidflightError(
                f"table {info.preamble.name} has no entry {at}", hint="handles count from 0, in the order of table_add"
            )
        return info, entry

    def _action(self, table: p4i.Table, action: str, values: Sequence[str]) -> p4r.TableAction:
        info = action_of(self.schema, table, action)
        names = [each.name for each in info.params]
        if len(values) != len(names):
            takes = f"takes {', '.join(names)}" if names else "takes no parameters"
            raise MidflightError(f"action {info.preamble.name} {takes}, not {len(values)} values")
        return action_message(
            self.schema, table.preamble.name, info.preamble.name, dict(zip(names, values, strict=True))
        )

    # Action profiles

    def _act_prof_create_member(self, profile: str, action: str, *values: str) -> list[p4r.Update]:
        return self.profiles.create_member(profile, action, values)

    def _act_prof_modify_member(self, profile: str, action: str, member: str, *values: str) -> list[p4r.Update]:
        return self.profiles.modify_member(profile, action, _count(member, "member"), values)

    def _act_prof_delete_member(self, profile: str, member: str) -> list[p4r.Update]:
        return self.profiles.delete_member(profile, _count(member, "member"))

    def _act_prof_create_group(self, profile: str) -> list[p4r.Update]:
        return self.profiles.create_group(profile)

    def _act_prof_delete_group(self, profile: str, group: str) -> list[p4r.Update]:
        return self.profiles.delete_group(profile, _count(group, "group"))

    def _act_prof_add_member_to_group(self, profile: str, member: str, group: str) -> list[p4r.Update]:
        return self.profiles.add_member(profile, _count(member, "member"), _count(group, "group"))

    def _act_prof_remove_member_from_group(self, profile: str, member: str, group: str) -> list[p4r.Update]:
        return self.profiles.remove_member(profile, _count(member, "member"), _count(group, "group"))

    # Replication

    def _mc_mgrp_create(self, group: str) -> list[p4r.Update]:
        return self.replication.create_group(_count(group, "group"))

    def _mc_mgrp_destroy(self, group: str) -> list[p4r.Update]:
        return self.replication.destroy_group(_count(group, "group"))

    def _mc_node_create(self, instance: str, *ports: str) -> list[p4r.Update]:
        return self.replication.create_node(_count(instance, "instance"), [_count(each, "port") for each in ports])

    def _mc_node_update(self, node: str, *ports: str) -> list[p4r.Update]:
        return self.replication.update_node(_count(node, "node"), [_count(each, "port") for each in ports])

    def _mc_node_destroy(self, node: str) -> list[p4r.Update]:
        return self.replication.destroy_node(_count(node, "node"))

    def _mc_node_associate(self, group: str, node: str) -> list[p4r.Update]:
        return self.replication.associate(_count(group, "group"), _count(node, "node"))

    def _mc_node_dissociate(self, group: str, node: str) -> list[p4r.Update]:
        return self.replication.dissociate(_count(group, "group"), _count(node, "node"))

    def _mirroring_add(self, session: str, port: str) -> list[p4r.Update]:
        return self.replication.mirror(_count(session, "session"), _count(port, "port"))

    def _mirroring_add_mc(self, session: str, group: str) -> list[p4r.Update]:
        return self.replication.mirror_to_group(_count(session, "session"), _count(group, "group"))

    def _mirroring_delete(self, session: str) -> list[p4r.Update]:
        return self.replication.unmirror(_count(session, "session"))

    def _mirroring_get(self, session: str) -> Step:
        engine = clone_message(_count(session, "session"), [])
        return Read(p4r.Entity(packet_replication_engine_entry=engine), "")

    # Registers, counters and meters

    def _register_write(self, register: str, index: str, value: str) -> list[p4r.Update]:
        info = resolve("register", self.schema.registers, register)
        try:
            cell = int(value, 0)
        except ValueError:
            raise MidflightError(f"{value!r} is not a number") from None
        return self._registers(info, cell, _count(index, "index"))

    def _register_reset(self, register: str) -> list[p4r.Update]:
        return self._registers(resolve("register", self.schema.registers, register), 0, None)

    def _registers(self, info: p4i.Register, value: int, index: int | None) -> list[p4r.Update]:
        entries = register_messages(self.schema, info.preamble.name, value, index)
        return [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(register_entry=each)) for each in entries]

    def _register_read(self, register: str, index: str | None = None) -> Step:
        entry = p4r.RegisterEntry(register_id=resolve("register", self.schema.registers, register).preamble.id)
        if index is not None:
            entry.index.index = _count(index, "index")
        return Read(p4r.Entity(register_entry=entry), "")

    def _counter_write(self, counter: str, index: str, packets: str, octets: str) -> list[p4r.Update]:
        entity = self.counter(counter, index)
        data = p4r.CounterData(packet_count=_count(packets, "packets"), byte_count=_count(octets, "bytes"))
        if entity.HasField("counter_entry"):
            entity.counter_entry.data.CopyFrom(data)
        else:
            entity.direct_counter_entry.data.CopyFrom(data)
        return [p4r.Update(type=p4r.Update.MODIFY, entity=entity)]

    def _counter_read(self, counter: str, index: str) -> Step:
        return Read(self.counter(counter, index), "")

    def _counter_reset(self, counter: str) -> list[p4r.Update]:
        info = resolve("counter", self.schema.counters, counter)
        entry = p4r.CounterEntry(counter_id=info.preamble.id, data=p4r.CounterData())
        return [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(counter_entry=entry))]

    def counter(self, name: str, index: str) -> p4r.Entity:
        """Return the cell of an indirect counter, or the direct counter of the entry with this handle, to be read.

        `index` is the cell's index or the handle, as text. MidflightError for an unknown counter or a wrong index.
        """
        info = resolve("counter", [*self.schema.counters, *self.schema.direct_counters], name)
        if isinstance(info, p4i.DirectCounter):
            table = self.schema.tables.of_id(info.direct_table_id)
            _, entry = self._added(table.preamble.name, index)
            key = p4r.TableEntry(table_id=entry.table_id, match=entry.match, priority=entry.priority)
            return p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(table_entry=key))
        cell = p4r.CounterEntry(counter_id=info.preamble.id, index=p4r.Index(index=_count(index, "index")))
        return p4r.Entity(counter_entry=cell)

    def _meter_set_rates(self, meter: str, index: str, *rates: str) -> list[p4r.Update]:
        info = resolve("meter", [*self.schema.meters, *self.schema.direct_meters], meter)
        if isinstance(info, p4i.DirectMeter):
            table = self.schema.tables.of_id(info.direct_table_id)
            _, added = self._added(table.preamble.name, index)
            key = p4r.TableEntry(table_id=added.table_id, match=added.match, priority=added.priority)
            direct = p4r.DirectMeterEntry(table_entry=key, config=_rates(rates))
            return [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(direct_meter_entry=direct))]
        entry = p4r.MeterEntry(meter_id=info.preamble.id, config=_rates(rates))
        entry.index.index = _count(index, "index")
        return [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(meter_entry=entry))]

    def _meter_array_set_rates(self, meter: str, *rates: str) -> list[p4r.Update]:
        info = resolve("meter", self.schema.meters, meter)
        entry = p4r.MeterEntry(meter_id=info.preamble.id, config=_rates(rates))
        return [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(meter_entry=entry))]

    def _meter_get_rates(self, meter: str, index: str) -> Step:
        info = resolve("meter", self.schema.meters, meter)
        entry = p4r.MeterEntry(meter_id=info.preamble.id, index=p4r.Index(index=_count(index, "index")))
        return Read(p4r.Entity(meter_entry=entry), "")


def default_update(table: p4i.Table, action: p4r.TableAction | None) -> p4r.Update:
    """Return the update that sets a table's default action, or with None restores the program's."""
    entry = p4r.TableEntry(table_id=table.preamble.id, is_default_action=True)
    if action is not None:
        entry.action.CopyFrom(action)
    return p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(table_entry=entry))


def field_value(field: p4i.MatchField, text: str) -> object:
    """Return the value of a match field for `encode_match`. Bits beyond a prefix or a mask are cleared, as in BMv2.

    Raises MidflightError if the text is not a value of the field's kind.
    """
    width, what = field.bitwidth, f"{field.name} ({_kind(field)})"
    match field.match_type:
        case p4i.MatchField.LPM:
            base, slash, length = text.rpartition("/")
            if not slash:
                raise MidflightError(f"{what}: {text!r} has no prefix length", hint="write value/length")
            bits = _count(length, f"{what}, prefix length")
            value = number(base, width, what)
            gone = max(0, width - bits)
            return value >> gone << gone, bits
        case p4i.MatchField.TERNARY:
            base, separator, mask = text.partition("&&&")
            if not separator:
                raise MidflightError(f"{what}: {text!r} has no mask", hint="write value&&&mask")
            ones = number(mask, width, f"{what}, mask")
            return number(base, width, what) & ones, ones
        case p4i.MatchField.RANGE:
            low, separator, high = text.partition("->")
            if not separator:
                raise MidflightError(f"{what}: {text!r} is not a range", hint="write low->high")
            return number(low, width, what), number(high, width, what)
        case _:
            return {"true": 1, "false": 0}.get(text.lower(), text)


def _kind(field: p4i.MatchField) -> str:
    name: str = p4i.MatchField.MatchType.Name(field.match_type)
    return name.lower()


def _rates(rates: Sequence[str]) -> p4r.MeterConfig:
    """Return a meter's configuration. BMv2's rates are in units per microsecond."""
    found = []
    for each in rates:
        rate, _, burst = each.partition(":")
        try:
            found.append((number(round(float(rate) * MILLION), 63, f"rate {rate}"), _count(burst, "burst")))
        except (ValueError, OverflowError):
            raise MidflightError(f"{each!r} is not RATE:BURST") from None
    if len(found) == 1:
        found.append(found[0])
    if len(found) != 2:
        raise MidflightError(f"a meter has a committed and a peak rate, not {len(found)} rates")
    (cir, cburst), (pir, pburst) = found
    return p4r.MeterConfig(cir=cir, cburst=cburst, pir=pir, pburst=pburst)


def _count(text: str, what: str) -> int:
    """Return a number that is not negative. Raises MidflightError for anything else."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 63:
        raise MidflightError(f"{what}: {text!r} is not a number")
    return value


def _placed(step: Step, what: str, place: Place | None) -> Step:
    if isinstance(step, Write):
        return Write(step.update, what, place)
    return Read(step.entity, what, place)
