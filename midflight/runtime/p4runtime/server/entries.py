"""Writing and reading table entries and default actions (P4Runtime specification 1.5, section 9.1)."""

from __future__ import annotations

from collections.abc import Iterator

from finsy.proto import p4r

from midflight.p4 import ir
from midflight.runtime.engine import Entry, TableError
from midflight.runtime.engine.memory import BudgetError
from midflight.runtime.engine.tables import Table
from midflight.runtime.p4runtime.server import direct
from midflight.runtime.p4runtime.server.binding import BoundTable
from midflight.runtime.p4runtime.server.change import Change, refusal_of
from midflight.runtime.p4runtime.server.pipeline import Note, Pipeline
from midflight.runtime.p4runtime.server.tables import (
    decode_action,
    decode_choice,
    decode_keys,
    decode_priority,
    encode_action,
    encode_entry,
)
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["read_entries", "write_entry"]

METADATA = 1 << 12
"""The maximum bytes of metadata in an entry."""


def write_entry(pipeline: Pipeline, kind: p4r.Update.Type.ValueType, message: p4r.TableEntry) -> Change:
    """Return the change that inserts, modifies or deletes a table entry, or sets a default action, as `kind` says.

    Refusal with INVALID_ARGUMENT if the entry is malformed or does not fit the table, PERMISSION_DENIED for const
    entries and default actions, UNIMPLEMENTED for a member or group as default action and for an excess burst,
    ALREADY_EXISTS or NOT_FOUND if the entry exists or not, and RESOURCE_EXHAUSTED if the
    table is full or the metadata exceeds a limit.
    """
    bound = pipeline.table(message.table_id)
    if len(message.metadata) > METADATA:
        raise Refusal(Code.RESOURCE_EXHAUSTED, f"table {bound.name}: an entry has at most {METADATA} bytes of metadata")
    if message.is_const:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {bound.name}: only the switch sets is_const")
    if message.idle_timeout_ns < 0:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {bound.name}: an idle timeout is 0 or more")
    if message.idle_timeout_ns and (message.is_default_action or not bound.table.idle_timeout):
        raise Refusal(Code.INVALID_ARGUMENT, f"table {bound.name} has no idle timeout")
    direct.check(pipeline, bound, message)
    if message.is_default_action:
        return (yield from _write_default(pipeline, bound, kind, message))
    if not bound.fields:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {bound.name} has no key: it has only a default action")
    keys = decode_keys(bound, list(message.match))
    priority = decode_priority(bound, message.priority)
    table = pipeline.engine.tables[bound.name]
    return (yield from _write_keyed(pipeline, bound, table, kind, message, Entry(keys, "", (), priority)))


def read_entries(pipeline: Pipeline, message: p4r.TableEntry) -> Iterator[p4r.TableEntry]:
    """Yield the table entries that a read request selects (P4Runtime specification, section 9.1.6).

    `message` is the table entry in the request; without a table id, it selects the entries of all tables. Refusal if
    the table does not exist or the request is invalid.
    """
    if message.table_id:
        yield from _read_table(pipeline, pipeline.table(message.table_id), message)
        return
    everything = p4r.TableEntry()
    if message.HasField("counter_data"):
        everything.counter_data.SetInParent()
    if message.HasField("meter_config"):
        everything.meter_config.SetInParent()
    if message.HasField("meter_counter_data"):
        everything.meter_counter_data.SetInParent()
    if message.HasField("time_since_last_hit"):
        everything.time_since_last_hit.SetInParent()
    for bound in pipeline.tables.values():
        yield from _read_table(pipeline, bound, everything)


def _write_default(
    pipeline: Pipeline, bound: BoundTable, kind: p4r.Update.Type.ValueType, message: p4r.TableEntry
) -> Change:
    name, table = bound.name, pipeline.engine.tables[bound.name]
    if kind != p4r.Update.MODIFY:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {name}: the default action is modified, not inserted or deleted")
    if message.match or message.priority:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {name}: the default action has neither match nor priority")
    if bound.table.default_const:
        raise Refusal(Code.PERMISSION_DENIED, f"table {name}: the default action is const")
    wanted = decode_action(bound, message.action, default=True) if message.HasField("action") else None
    yield
    before, note = table.default, pipeline.notes.get((name, None, 0))
    if wanted is not None:
        _afford(pipeline, (name, None, 0), message)
        table.set_default(wanted[0].name, wanted[1])
        _note(pipeline, (name, None, 0), message)
    else:
        table.reset_default()
        _restore(pipeline, (name, None, 0), None)

    def undo() -> None:
        table.set_default(before.action, before.arguments)
        _restore(pipeline, (name, None, 0), note)

    return undo


def _write_keyed(
    pipeline: Pipeline,
    bound: BoundTable,
    table: Table,
    kind: p4r.Update.Type.ValueType,
    message: p4r.TableEntry,
    place: Entry,
) -> Change:
    """Write one entry with the keys and the priority of `place`."""
    key = bound.name, place.keys, place.priority
    fixed = bound.table.entries_const or (place.keys, place.priority) in pipeline.const[bound.name]
    if fixed and (kind != p4r.Update.MODIFY or message.HasField("action")):
        raise Refusal(Code.PERMISSION_DENIED, f"table {bound.name}: const entries cannot be changed")
    fresh, fault = _decoded(pipeline, bound, message, place)
    try:
        if kind == p4r.Update.INSERT:
            if fault is not None:
                raise fault
            if fresh is None:
                raise Refusal(Code.INVALID_ARGUMENT, f"table {bound.name}: a new entry needs an action")
            prepared = table.prepare(fresh)
            yield
            note = pipeline.notes.get(key)
            table.insert(prepared)
            try:
                _afford(pipeline, key, message)
            except Refusal:
                table.delete(place.keys, place.priority)
                raise
            direct.store(pipeline, bound, message, fresh)
            _note(pipeline, key, message)

            def undo() -> None:
                table.delete(place.keys, place.priority)
                _restore(pipeline, key, note)

            return undo

        yield
        note = pipeline.notes.get(key)
        before = pipeline.find(bound, place.keys, place.priority)
        restore = direct.snapshot(pipeline, bound, before)
        if kind == p4r.Update.DELETE:
            table.delete(place.keys, place.priority)
            _restore(pipeline, key, None)
        else:
            if fault is not None:
                raise fault
            if fresh is not None:
                _afford(pipeline, key, message)
                table.modify(fresh)
                _note(pipeline, key, message)
            direct.store(pipeline, bound, message, before)
    except TableError as error:
        raise refusal_of(error) from None

    def put_back() -> None:
        if kind == p4r.Update.DELETE:
            table.insert(before)
        elif not fixed:
            table.modify(before)
        restore()
        _restore(pipeline, key, note)

    return put_back


def _decoded(
    pipeline: Pipeline, bound: BoundTable, message: p4r.TableEntry, place: Entry
) -> tuple[Entry | None, Refusal | None]:
    """Return the entry that a message describes, None without an action, or what is wrong with its action."""
    if not message.HasField("action"):
        return None, None
    try:
        if (profile := pipeline.schema.profile_of(bound.info)) is not None:
            choice = decode_choice(bound, profile, message.action)
            return Entry(place.keys, "", (), place.priority, choice), None
        action, arguments = decode_action(bound, message.action, default=False)
    except Refusal as refusal:
        return None, refusal
    return Entry(place.keys, action.name, arguments, place.priority), None


def _afford(pipeline: Pipeline, key: tuple[str, ir.Keyset | None, int], message: p4r.TableEntry) -> None:
    """Refusal if there is no memory for an entry's metadata. Reserves nothing: `_restore` does, with the note."""
    cost, memory = len(message.metadata) - _size(pipeline.notes.get(key)), pipeline.engine.memory
    try:
        memory.take(cost, "the metadata of an entry")
    except BudgetError as error:
        raise Refusal(Code.RESOURCE_EXHAUSTED, error.message) from None
    memory.give(cost)


def _note(pipeline: Pipeline, key: tuple[str, ir.Keyset | None, int], message: p4r.TableEntry) -> None:
    _restore(pipeline, key, Note(message.metadata, message.controller_metadata, message.idle_timeout_ns))


def _restore(pipeline: Pipeline, key: tuple[str, ir.Keyset | None, int], note: Note | None) -> None:
    before = pipeline.notes.get(key)
    if note is not None and note.idle_timeout:
        pipeline.idle_since[key] = pipeline.now
    else:
        pipeline.idle_since.pop(key, None)
    if note is None or note == Note():
        pipeline.notes.pop(key, None)
    else:
        pipeline.notes[key] = note
    pipeline.engine.memory.give(_size(before) - _size(note))


def _size(note: Note | None) -> int:
    return 0 if note is None else len(note.metadata)


def _read_table(pipeline: Pipeline, bound: BoundTable, wanted: p4r.TableEntry) -> Iterator[p4r.TableEntry]:
    table = pipeline.engine.tables[bound.name]
    if wanted.is_default_action:
        message = p4r.TableEntry(table_id=bound.info.preamble.id, is_default_action=True)
        message.action.CopyFrom(encode_action(bound, table.default.action, table.default.arguments))
        message.is_const = bound.table.default_const
        _annotate(message, pipeline.notes.get((bound.name, None, 0)))
        yield message
        return
    if wanted.match:
        keys = decode_keys(bound, list(wanted.match))
        entries = [pipeline.find(bound, keys, decode_priority(bound, wanted.priority))]
    else:
        entries = table.entries()
    for entry in entries:
        message = encode_entry(bound, entry)
        _annotate(message, pipeline.notes.get((bound.name, entry.keys, entry.priority)))
        if _passes(message, wanted):
            message.is_const = (entry.keys, entry.priority) in pipeline.const[bound.name]
            direct.fill(pipeline, bound, wanted, message, entry)
            if wanted.HasField("time_since_last_hit") and bound.table.idle_timeout:
                idle_for = pipeline.now - table.last_hit(entry.keys, entry.priority)
                message.time_since_last_hit.elapsed_ns = max(0, idle_for) * 1000
            yield message


def _passes(message: p4r.TableEntry, wanted: p4r.TableEntry) -> bool:
    """Return whether an entry passes the filters of a wildcard read. Each field that is set is a filter."""
    return (
        wanted.priority in (0, message.priority)
        and wanted.metadata in (b"", message.metadata)
        and wanted.controller_metadata in (0, message.controller_metadata)
        and (not wanted.HasField("action") or _same_action(message.action, wanted.action))
    )


def _same_action(found: p4r.TableAction, wanted: p4r.TableAction) -> bool:
    if wanted.WhichOneof("type") == "action":
        return found.action.action_id == wanted.action.action_id
    return bool(found == wanted)


def _annotate(message: p4r.TableEntry, note: Note | None) -> None:
    if note is not None:
        message.metadata, message.controller_metadata = note.metadata, note.controller_metadata
        message.idle_timeout_ns = note.idle_timeout
