"""The Write RPC: a batch of updates with the requested atomicity (P4Runtime specification 1.5, section 12)."""

from __future__ import annotations

from collections.abc import Sequence

from finsy.proto import p4r, rpc_status

from midflight.runtime.p4runtime.server import arrays, direct, entries, meters, profiles, replication, valuesets
from midflight.runtime.p4runtime.server.arbitration import Role
from midflight.runtime.p4runtime.server.change import Change, Undo, apply
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Code, Refusal, batch_status

__all__ = ["commit", "prepare"]


def prepare(pipeline: Pipeline, request: p4r.WriteRequest, role: Role) -> list[Change | Refusal]:
    """Check and decode the updates of a batch. Return, in order, the change of each, or the Refusal for it, without
    raising.

    This is the greater part of the work of a Write, and needs no lock. It depends on nothing but the request, the
    pipeline's program and what the role may write.
    """
    permitted = role.writable
    return [_prepared(pipeline, update, role.name, permitted) for update in request.updates]


def commit(changes: Sequence[Change | Refusal], *, atomic: bool) -> rpc_status.Status | None:
    """Apply a batch in order. Returns None if all updates succeeded, otherwise a status with a detail per update.

    With `atomic`, the first error ends the batch and rolls back the earlier updates. The caller holds the switch's
    lock, so in either case no packet sees a part of a batch.
    """
    outcomes: list[Refusal | None] = []
    undos: list[Undo] = []
    for each in changes:
        try:
            if isinstance(each, Refusal):
                raise each
            undos.append(apply(each))
            outcomes.append(None)
        except Refusal as refusal:
            outcomes.append(refusal)
            if atomic:
                break
    if all(outcome is None for outcome in outcomes):
        return None
    if atomic:
        for undo in reversed(undos):
            undo()
        aborted = Refusal(Code.ABORTED, "undone: another update of the batch was refused")
        cause = outcomes[-1]
        status = batch_status([aborted] * len(undos) + [cause] + [aborted] * (len(changes) - len(outcomes)), "")
        status.message = f"the batch was undone: {cause}"
        return status
    return batch_status(outcomes, "updates")


def _prepared(pipeline: Pipeline, update: p4r.Update, role: str, permitted: frozenset[int] | None) -> Change | Refusal:
    try:
        change = _change(pipeline, update, role, permitted)
        next(change)
    except Refusal as refusal:
        return refusal
    return change


def _change(pipeline: Pipeline, update: p4r.Update, role: str, permitted: frozenset[int] | None) -> Change:
    kind, entity = update.type, update.entity
    if kind not in (p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE):
        raise Refusal(Code.INVALID_ARGUMENT, "an update is an INSERT, a MODIFY or a DELETE")

    def permit(number: int) -> None:
        if permitted is not None and number not in permitted:
            raise Refusal(Code.PERMISSION_DENIED, f"role {role!r} may not write to {number:#010x}")

    which = entity.WhichOneof("entity")
    match which:
        case "table_entry":
            permit(entity.table_entry.table_id)
            return entries.write_entry(pipeline, kind, entity.table_entry)
        case "action_profile_member":
            permit(entity.action_profile_member.action_profile_id)
            return profiles.write_member(pipeline, kind, entity.action_profile_member)
        case "action_profile_group":
            permit(entity.action_profile_group.action_profile_id)
            return profiles.write_group(pipeline, kind, entity.action_profile_group)
        case "register_entry":
            permit(entity.register_entry.register_id)
            _demand_modify(kind, which)
            return arrays.write_register(pipeline, entity.register_entry)
        case "counter_entry":
            permit(entity.counter_entry.counter_id)
            _demand_modify(kind, which)
            return arrays.write_counter(pipeline, entity.counter_entry)
        case "direct_counter_entry":
            permit(entity.direct_counter_entry.table_entry.table_id)
            _demand_modify(kind, which)
            return direct.write_counter(pipeline, entity.direct_counter_entry)
        case "meter_entry":
            permit(entity.meter_entry.meter_id)
            _demand_modify(kind, which)
            return meters.write_meter(pipeline, entity.meter_entry)
        case "direct_meter_entry":
            permit(entity.direct_meter_entry.table_entry.table_id)
            _demand_modify(kind, which)
            return direct.write_meter(pipeline, entity.direct_meter_entry)
        case "packet_replication_engine_entry":
            return replication.write(pipeline, kind, entity.packet_replication_engine_entry)
        case "value_set_entry":
            permit(entity.value_set_entry.value_set_id)
            _demand_modify(kind, which)
            return valuesets.write(pipeline, entity.value_set_entry)
        case "digest_entry":
            permit(entity.digest_entry.digest_id)
            return _write_digest(pipeline, kind, entity.digest_entry)
        case None:
            raise Refusal(Code.INVALID_ARGUMENT, "an update has no entity")
        case _:
            raise Refusal(Code.UNIMPLEMENTED, f"{which} is not supported")


def _demand_modify(kind: p4r.Update.Type.ValueType, which: str) -> None:
    if kind != p4r.Update.MODIFY:
        raise Refusal(Code.INVALID_ARGUMENT, f"{which} can only be modified")


def _write_digest(pipeline: Pipeline, kind: p4r.Update.Type.ValueType, entry: p4r.DigestEntry) -> Change:
    number, book = entry.digest_id, pipeline.digests
    yield
    before = book.configs.get(number)
    match kind:
        case p4r.Update.INSERT:
            book.insert(number, entry.config)
        case p4r.Update.MODIFY:
            book.modify(number, entry.config)
        case _:
            book.delete(number)

    def undo() -> None:
        if before is None:
            book.configs.pop(number, None)
        else:
            book.configs[number] = before

    return undo
