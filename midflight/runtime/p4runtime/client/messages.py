"""Conversion between a session's arguments and results and P4Runtime messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from finsy.proto import p4i, p4r
from google.protobuf import text_format

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.matches import decode_match, encode_match, encoded, number
from midflight.runtime.p4runtime.client.profiles import Choice, choice_message, read_choice
from midflight.runtime.p4runtime.client.results import DigestMessage, TableEntry
from midflight.runtime.p4runtime.schema import NEEDS_PRIORITY, Schema
from midflight.runtime.p4runtime.values import ValueType, decode_data, encode, encode_data, flat_names, flat_types

__all__ = [
    "action_message", "bytes_for", "cell_type", "clone_message", "entry_message", "group_message", "index_message",
    "p4info_message", "pipeline_action",
    "read_digests", "read_entry", "read_replica", "register_messages", "replica_messages", "signed",
]  # fmt: skip


Actions = p4r.SetForwardingPipelineConfigRequest


def p4info_message(text: str) -> p4i.P4Info:
    """Return the P4Info in protobuf's text format. DeviceError, with line and column, if the text is not P4Info."""
    info = p4i.P4Info()
    try:
        text_format.Parse(text, info)
        return info
    except text_format.ParseError as error:
        raise DeviceError(f"the P4Info cannot be read: {error}") from None


def pipeline_action(name: str) -> Actions.Action.ValueType:
    """Return the value of a pipeline action of P4Runtime, except COMMIT. DeviceError for another name."""
    actions = {
        "VERIFY": Actions.VERIFY,
        "VERIFY_AND_SAVE": Actions.VERIFY_AND_SAVE,
        "VERIFY_AND_COMMIT": Actions.VERIFY_AND_COMMIT,
        "RECONCILE_AND_COMMIT": Actions.RECONCILE_AND_COMMIT,
    }
    if name not in actions:
        raise DeviceError(f"there is no pipeline action {name!r}", hint=f"use one of {', '.join(actions)}")
    return actions[name]


def read_digests(schema: Schema, message: p4r.DigestList) -> list[DigestMessage]:
    """Return the digest messages in a list from the device.

    Refusal, a DeviceError, for a digest that the schema does not have, or data that does not fit its type.
    """
    info = schema.digests.of_id(message.digest_id)
    names, kinds = flat_names(info.type_spec, schema.types), flat_types(info.type_spec, schema.types)
    found = []
    for data in message.data:
        values = decode_data(info.type_spec, schema.types, data, info.preamble.name)
        values = [signed(one, kind.width) if kind.signed else one for one, kind in zip(values, kinds, strict=True)]
        found.append(DigestMessage(info.preamble.name, dict(zip(names, values, strict=True))))
    return found


def entry_message(
    schema: Schema, table: str, match: Mapping[str, object], priority: int, rate: int = 0
) -> p4r.TableEntry:
    """Return a message with an entry's table, match, priority and meter.

    A `rate` other than 0 configures the direct meter: it is the rate of both buckets in units per second, and each
    bucket holds a tenth of a second. DeviceError, with the allowed values, for an unknown table, a match or a rate that
    does not fit, and for a priority of 0 where one is needed, another one where none is needed, or one above 2**31 - 1.
    """
    info = schema.tables.named(table)
    name = info.preamble.name
    needed = any(each.match_type in NEEDS_PRIORITY for each in info.match_fields)
    if needed and priority <= 0:
        raise DeviceError(f"table {name}: an entry needs a priority", hint="at least 1; the largest wins")
    if priority and not needed:
        raise DeviceError(f"table {name}: its entries have no priority", hint="it has only exact and lpm fields")
    number(priority, 31, f"table {name}, priority")
    message = p4r.TableEntry(table_id=info.preamble.id, match=encode_match(info, match), priority=priority)
    if number(rate, 63, f"table {name}, rate"):
        burst = max(1, rate // 10)
        message.meter_config.CopyFrom(p4r.MeterConfig(cir=rate, cburst=burst, pir=rate, pburst=burst))
    return message


def action_message(schema: Schema, table: str, action: str | Choice, params: Mapping[str, object]) -> p4r.TableAction:
    """Return the message for an action of a table with its parameters by name, or for a reference to a member or group.

    Raises DeviceError, with the allowed values, for an unknown table, or an action or parameters that do not fit.
    """
    info = schema.tables.named(table)
    if not isinstance(action, str):
        return choice_message(action, lambda name, values: action_message(schema, table, name, values))
    known = schema.actions
    allowed = [known.of_id(each.id) for each in info.action_refs]
    chosen = next((each for each in allowed if action in (each.preamble.name, each.preamble.alias)), None)
    if chosen is None:
        listed = ", ".join(each.preamble.name for each in allowed)
        raise DeviceError(f"table {info.preamble.name} has no action {action!r}", hint=f"it has {listed}")
    name = chosen.preamble.name
    names = [each.name for each in chosen.params]
    if set(params) != set(names):
        takes = ", ".join(f"{each.name} (bit<{each.bitwidth}>)" for each in chosen.params) or "nothing"
        raise DeviceError(f"action {name} takes {takes}, not {', '.join(params) or 'nothing'}")
    message = p4r.TableAction()
    message.action.action_id = chosen.preamble.id
    for each in chosen.params:
        value = encoded(params[each.name], each.bitwidth, f"action {name}, {each.name}")
        message.action.params.add(param_id=each.id, value=value)
    return message


def read_entry(schema: Schema, entry: p4r.TableEntry) -> TableEntry:
    """Return a table entry that the device sent, with names of fields, actions and parameters instead of ids.

    Refusal, a DeviceError, for the id of a table or an action that the schema does not have.
    """
    info = schema.tables.of_id(entry.table_id)
    choice = read_choice(schema, entry.action)
    if choice is not None:
        match = decode_match(info, list(entry.match))
        name = info.preamble.name
        return TableEntry(name, match, "", {}, entry.priority, entry.metadata, entry.is_const, choice)
    action = schema.actions.of_id(entry.action.action.action_id)
    names = {each.id: each.name for each in action.params}
    return TableEntry(
        info.preamble.name,
        decode_match(info, list(entry.match)),
        action.preamble.name,
        {names[each.param_id]: int.from_bytes(each.value, "big") for each in entry.action.action.params},
        entry.priority,
        entry.metadata,
        entry.is_const,
    )


def replica_messages(ports: Iterable[int | tuple[int, int]]) -> list[p4r.Replica]:
    """Return P4Runtime's replicas for ports of the switch, or for (port, instance) pairs; the instance of a port alone
    is 0.

    DeviceError for a negative number, or one of more than 32 bits. The device may accept only smaller ones.
    """
    pairs = [(each, 0) if isinstance(each, int) else each for each in ports]
    return [
        p4r.Replica(port=encode(number(port, 32, "port")), instance=number(instance, 32, "instance"))
        for port, instance in pairs
    ]


def group_message(group: int, ports: Iterable[int | tuple[int, int]]) -> p4r.PacketReplicationEngineEntry:
    """Return the message for a multicast group of this number. `ports` and DeviceError are as in `replica_messages`."""
    entry = p4r.MulticastGroupEntry(
        multicast_group_id=number(group, 32, "multicast group"), replicas=replica_messages(ports)
    )
    return p4r.PacketReplicationEngineEntry(multicast_group_entry=entry)


def index_message(index: int) -> p4r.Index:
    """Return the message for a cell's index. DeviceError for one of more than 63 bits; the device checks others."""
    number(abs(index), 63, "index")
    return p4r.Index(index=index)


def clone_message(session: int, ports: Iterable[int | tuple[int, int]]) -> p4r.PacketReplicationEngineEntry:
    """Return the message for a clone session of this number. `ports` and DeviceError are as in `replica_messages`."""
    entry = p4r.CloneSessionEntry(session_id=number(session, 32, "clone session"), replicas=replica_messages(ports))
    return p4r.PacketReplicationEngineEntry(clone_session_entry=entry)


def read_replica(replica: p4r.Replica) -> tuple[int, int]:
    """Return the port and the instance of a P4Runtime replica, a copy that a multicast group or clone session makes."""
    old = replica.WhichOneof("port_kind") == "egress_port"
    return (replica.egress_port if old else int.from_bytes(replica.port, "big")), replica.instance


def cell_type(schema: Schema, info: p4i.Register) -> ValueType:
    """Return the type of a register's cells.

    DeviceError for cells with several members, or of a type that P4Data cannot carry here.
    """
    kinds = flat_types(info.type_spec, schema.types)
    if len(kinds) != 1:
        raise DeviceError(f"register {info.preamble.name} has cells with {len(kinds)} members, which is not supported")
    return kinds[0]


def signed(value: int, width: int) -> int:
    """Return the signed number whose two's complement in `width` bits is the unsigned `value`."""
    return value - (1 << width) if value >> (width - 1) else value


def bytes_for(width: int) -> int:
    """Return the size in bytes, 1, 2, 4 or 8, of the smallest machine integer with at least `width` bits (up to 64)."""
    return next(size for size in (1, 2, 4, 8) if width <= 8 * size)


def register_messages(
    schema: Schema, name: str, values: int | Sequence[int] | npt.NDArray[np.integer], index: int | None
) -> list[p4r.RegisterEntry]:
    """Return entries that set one cell, all cells (one number, no index), or consecutive cells from an index on.

    `name` is the register's. Without an index (None), a sequence sets the cells from 0 on. DeviceError for an unknown
    register, cells with several members, a value that does not fit the cells, or an index of more than 63 bits; other
    indexes are not checked.
    """
    info = schema.registers.named(name)
    kind = cell_type(schema, info)
    single = isinstance(values, (int, np.integer))
    listed = [int(values)] if isinstance(values, (int, np.integer)) else [int(each) for each in values]
    low, high = (-(1 << kind.width - 1), 1 << kind.width - 1) if kind.signed else (0, 1 << kind.width)
    entries = []
    index_message((index or 0) + len(listed))
    for cell, value in enumerate(listed, index or 0):
        if not low <= value < high:
            raise DeviceError(f"register {name}: {value} does not fit", hint=f"its cells hold {low} to {high - 1}")
        entry = p4r.RegisterEntry(register_id=info.preamble.id)
        entry.data.CopyFrom(encode_data(info.type_spec, schema.types, [value]))
        if not single or index is not None:
            entry.index.index = cell
        entries.append(entry)
    return entries
