"""RECONCILE_AND_COMMIT: transfer of forwarding state to a new pipeline (P4Runtime specification 1.5, section 14)."""

from __future__ import annotations

from midflight.runtime.engine import TableError
from midflight.runtime.engine.tables import Table
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["carry_over"]


def carry_over(old: Pipeline, new: Pipeline) -> None:
    """Copy the state that controllers write to a new pipeline.

    That is entries, default actions, members and groups, value sets, registers, counters, replication and digests.
    Objects are matched by name, as the new P4Info may have other ids. Registers of another size or type and counters
    of another size keep their initial contents, as do meters and direct counters. Refusal with INVALID_ARGUMENT if
    the state of a table, an action profile or a value set does not fit the new pipeline, which is then of no use; the
    old one is unchanged.
    """
    for name, strings in new.strings.items():
        if name in old.strings and old.strings[name].width == strings.width:
            strings.adopt(old.strings[name])
    _carry_profiles(old, new)
    for name, table in old.engine.tables.items():
        kept = [each for each in table.entries() if (each.keys, each.priority) not in old.const[name]]
        if name in new.engine.tables:
            _refill(old, new, name, new.engine.tables[name])
        elif kept:
            raise Refusal(Code.INVALID_ARGUMENT, f"the new program does not have table {name} with {len(kept)} entries")
    for name, members in old.engine.value_sets.items():
        kept = members.entries()
        if name not in new.engine.value_sets:
            if kept:
                raise Refusal(Code.INVALID_ARGUMENT, f"the new program does not have the value set {name}")
            continue
        try:
            for entry in kept:
                new.engine.value_sets[name].insert(entry)
        except TableError as error:
            raise Refusal(Code.INVALID_ARGUMENT, f"the members of {name} do not fit: {error.message}") from None
    for name, cells in old.engine.registers.items():
        other = new.engine.registers.get(name)
        if other is not None and (other.size, other.width, other.signed) == (cells.size, cells.width, cells.signed):
            other.write_all(cells.read_all())
    for name, counter in old.engine.counters.items():
        if name in new.engine.counters and new.engine.counters[name].size == counter.size:
            for cell in range(counter.size):
                new.engine.counters[name].write(cell, counter.read(cell))
    new.groups.update(old.groups)
    new.engine.multicast.adopt(old.engine.multicast, old.groups)
    new.sessions.update(old.sessions)
    new.engine.clones.adopt(old.engine.clones, old.sessions)
    names = {each.preamble.name: each.preamble.id for each in new.schema.digests}
    for number, config in old.digests.configs.items():
        name = old.schema.digests.of_id(number).preamble.name
        if name in names:
            new.digests.configs[names[name]] = config
    new.notes.update(old.notes)


def _carry_profiles(old: Pipeline, new: Pipeline) -> None:
    """Copy members and groups, which the entries refer to."""
    for name, profile in old.engine.profiles.items():
        members, groups = profile.members, profile.groups
        fresh = new.engine.profiles.get(name)
        if fresh is None:
            if members or groups:
                raise Refusal(Code.INVALID_ARGUMENT, f"the new program does not have the action profile {name}")
            continue
        try:
            for number, member in members.items():
                fresh.insert_member(number, member)
            for number, group in groups.items():
                fresh.insert_group(number, group)
        except TableError as error:
            raise Refusal(Code.INVALID_ARGUMENT, f"the state of {name} does not fit: {error.message}") from None
    new.group_sizes.update(old.group_sizes)


def _refill(old: Pipeline, new: Pipeline, name: str, table: Table) -> None:
    """Copy the writable entries and the default action of an old table to the new one."""
    source = old.engine.tables[name]
    try:
        for entry in table.entries():
            if (entry.keys, entry.priority) not in new.const[name]:
                table.delete(entry.keys, entry.priority)
        for entry in source.entries():
            if (entry.keys, entry.priority) not in old.const[name]:
                table.insert(entry)
        given = old.checked.program.tables[name]
        default = source.default
        if (default.action, default.arguments) != (given.default.action.name, given.default_arguments):
            table.set_default(default.action, default.arguments)
    except TableError as error:
        raise Refusal(Code.INVALID_ARGUMENT, f"the state of table {name} does not fit: {error.message}") from None
