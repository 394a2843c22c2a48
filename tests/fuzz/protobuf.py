"""Mutations of P4Runtime messages by their structure, with the ids of a program."""

from __future__ import annotations

import random
from typing import Any

from finsy.proto import p4i, p4r
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["changed", "examples"]

_EDGES = [
    0,
    1,
    2,
    7,
    255,
    256,
    509,
    510,
    65535,
    65536,
    2**31 - 1,
    -1,
    -(2**31),
    2**63 - 1,
    -(2**63),
    2**32 - 1,
    2**64 - 1,
]
_DEEPEST = 8
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _ids(info: p4i.P4Info) -> list[int]:
    parts = (info.tables, info.actions, info.counters, info.direct_counters, info.meters, info.direct_meters,
             info.registers, info.digests)  # fmt: skip
    return [each.preamble.id for part in parts for each in part]


def examples(info: p4i.P4Info) -> list[bytes]:
    """Return a request for each kind of entity, with the ids of a program."""
    found: list[p4r.Entity] = []
    for table in info.tables:
        entry = p4r.TableEntry(table_id=table.preamble.id)
        for field in table.match_fields:
            match = entry.match.add(field_id=field.id)
            value = b"\1"
            kinds = p4i.MatchField
            if field.match_type == kinds.EXACT:
                match.exact.value = value
            elif field.match_type == kinds.LPM:
                match.lpm.value, match.lpm.prefix_len = value, field.bitwidth
            elif field.match_type == kinds.TERNARY:
                match.ternary.value, match.ternary.mask = value, value
                entry.priority = 1
            elif field.match_type == kinds.RANGE:
                match.range.low, match.range.high = value, value
                entry.priority = 1
            else:
                match.optional.value = value
                entry.priority = 1
        for reference in table.action_refs:
            action = next(each for each in info.actions if each.preamble.id == reference.id)
            made = p4r.TableEntry()
            made.CopyFrom(entry)
            made.action.action.action_id = reference.id
            for parameter in action.params:
                made.action.action.params.add(param_id=parameter.id, value=b"\1")
            found.append(p4r.Entity(table_entry=made))
        found.append(p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(table_entry=entry)))
        found.append(p4r.Entity(direct_meter_entry=p4r.DirectMeterEntry(table_entry=entry)))
    for counter in info.counters:
        found.append(p4r.Entity(counter_entry=p4r.CounterEntry(counter_id=counter.preamble.id)))
    for meter in info.meters:
        config = p4r.MeterConfig(cir=1, cburst=1, pir=2, pburst=2)
        found.append(p4r.Entity(meter_entry=p4r.MeterEntry(meter_id=meter.preamble.id, config=config)))
    for register in info.registers:
        entry_ = p4r.RegisterEntry(register_id=register.preamble.id)
        entry_.index.index = 1
        entry_.data.bitstring = b"\1"
        found.append(p4r.Entity(register_entry=entry_))
    for digest in info.digests:
        found.append(p4r.Entity(digest_entry=p4r.DigestEntry(digest_id=digest.preamble.id)))
    groups = p4r.PacketReplicationEngineEntry()
    groups.multicast_group_entry.multicast_group_id = 1
    groups.multicast_group_entry.replicas.add(egress_port=1, instance=1)
    sessions = p4r.PacketReplicationEngineEntry()
    sessions.clone_session_entry.session_id = 1
    sessions.clone_session_entry.replicas.add(egress_port=1)
    found += [p4r.Entity(packet_replication_engine_entry=each) for each in (groups, sessions)]
    requests = [p4r.WriteRequest(updates=[p4r.Update(type=p4r.Update.INSERT, entity=each)]) for each in found]
    requests += [p4r.WriteRequest(updates=[p4r.Update(type=p4r.Update.MODIFY, entity=each)]) for each in found]
    return [each.SerializeToString() for each in requests]


def changed(message: p4r.WriteRequest, info: p4i.P4Info, draw: random.Random) -> p4r.WriteRequest:
    """Return a changed copy of a request."""
    copy = p4r.WriteRequest()
    copy.CopyFrom(message)
    ids = _ids(info)
    for _ in range(1 << draw.randrange(4)):
        _change(copy, ids, draw, 0)
    del copy.updates[20:]
    return copy


def _change(message: Message, ids: list[int], draw: random.Random, depth: int) -> None:
    """Change one field, here or further down."""
    there = [each for each, _ in message.ListFields()]
    below = [each for each in there if each.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE]
    if below and draw.random() < 0.8:
        field = draw.choice(below)
        value: Any = getattr(message, field.name)
        if field.is_repeated and field.message_type.GetOptions().map_entry:
            return
        if field.is_repeated and draw.random() < 0.3:
            match draw.randrange(3):
                case 0:
                    del value[draw.randrange(len(value))]
                case 1:
                    value.add().CopyFrom(draw.choice(value))
                case _:
                    value.add()
            return
        _change(draw.choice(value) if field.is_repeated else value, ids, draw, depth + 1)
        return
    fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return
    field = draw.choice(there if there and draw.random() < 0.5 else fields)
    if draw.random() < 0.2:
        message.ClearField(field.name)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if not field.is_repeated and depth < _DEEPEST:
            getattr(message, field.name).SetInParent()
    elif field.is_repeated:
        getattr(message, field.name).append(_scalar(field, ids, draw))
    else:
        setattr(message, field.name, _scalar(field, ids, draw))


def _scalar(field: FieldDescriptor, ids: list[int], draw: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw.randbytes(draw.choice([0, 1, 1, 2, 4, 6, 16, 17, 300]))
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return draw.random() < 0.5
        case FieldDescriptor.CPPTYPE_STRING:
            return draw.choice(["", "x", "ingress.t", "é", "\0", "x" * 1000])
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return draw.choice([0.0, -1.0, float("nan"), float("inf"), 1e300])
        case FieldDescriptor.CPPTYPE_ENUM:
            return draw.choice([*(each.number for each in field.enum_type.values), 99])
    low, high = _RANGES[field.cpp_type]
    return min(high, max(low, draw.choice(ids if draw.random() < 0.4 else _EDGES)))
