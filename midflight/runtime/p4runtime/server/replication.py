"""Multicast groups and clone sessions (P4Runtime specification 1.5, section 9.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from finsy.proto import p4r

from midflight.runtime.engine.memory import BudgetError
from midflight.runtime.p4runtime.server.change import Change, Undo
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import decode, encode

__all__ = ["read", "write"]

T = TypeVar("T", p4r.MulticastGroupEntry, p4r.CloneSessionEntry)

PORT_WIDTH = 9
INSTANCE_WIDTH = 16
GROUP_WIDTH = 16
# The number of a clone session has 15 bits in BMv2.
SESSION_WIDTH = 15
# The approximate bytes of a replica, in the engine and as a message.
_REPLICA = 256


class Groups(Protocol):
    """The replication lists of an engine by number: those of its multicast groups, or of its clone sessions."""

    def set(self, group: int, replicas: Sequence[tuple[int, int]], /) -> None:
        """Set the (port, instance) pairs to which the group or session of this number copies a packet."""

    def delete(self, group: int, /) -> None:
        """Remove the replication list of the multicast group or clone session of this number."""


def write(pipeline: Pipeline, kind: p4r.Update.Type.ValueType, entry: p4r.PacketReplicationEngineEntry) -> Change:
    """Return the change that inserts, modifies or deletes a multicast group or a clone session, as `kind` says.

    Refusal if it is invalid, or if it asks for truncation or a class of service.
    """
    match entry.WhichOneof("type"):
        case "multicast_group_entry":
            group = entry.multicast_group_entry
            number, replicas = group.multicast_group_id, _replicas(group.replicas)
            if not 0 < number < 1 << GROUP_WIDTH:
                raise Refusal(Code.INVALID_ARGUMENT, f"the id of a multicast group is 1 to {(1 << GROUP_WIDTH) - 1}")
            stored = p4r.MulticastGroupEntry(multicast_group_id=number, metadata=group.metadata)
            stored.replicas.extend(_canonical(replicas))
            yield
            return _change(
                pipeline, kind, "multicast group", number, stored, pipeline.groups, replicas, pipeline.engine.multicast
            )
        case "clone_session_entry":
            session = entry.clone_session_entry
            number, replicas = session.session_id, _replicas(session.replicas)
            if not 0 < number < 1 << SESSION_WIDTH:
                raise Refusal(Code.INVALID_ARGUMENT, f"the id of a clone session is 1 to {(1 << SESSION_WIDTH) - 1}")
            if session.packet_length_bytes or session.class_of_service:
                raise Refusal(Code.UNIMPLEMENTED, "truncation and class of service of clones are not supported")
            kept = p4r.CloneSessionEntry(session_id=number, replicas=_canonical(replicas))
            yield
            return _change(
                pipeline, kind, "clone session", number, kept, pipeline.sessions, replicas, pipeline.engine.clones
            )
        case _:
            raise Refusal(Code.INVALID_ARGUMENT, "a packet replication entry is a multicast group or a clone session")


def read(pipeline: Pipeline, entry: p4r.PacketReplicationEngineEntry) -> Iterator[p4r.PacketReplicationEngineEntry]:
    """Yield the requested group or session, or all for id 0. Raises Refusal with NOT_FOUND for an unknown id."""
    match entry.WhichOneof("type"):
        case "multicast_group_entry":
            for group in _chosen("multicast group", entry.multicast_group_entry.multicast_group_id, pipeline.groups):
                yield p4r.PacketReplicationEngineEntry(multicast_group_entry=group)
        case "clone_session_entry":
            for session in _chosen("clone session", entry.clone_session_entry.session_id, pipeline.sessions):
                yield p4r.PacketReplicationEngineEntry(clone_session_entry=session)
        case _:
            raise Refusal(Code.INVALID_ARGUMENT, "the request must name multicast groups or clone sessions")


def _chosen(what: str, number: int, known: dict[int, T]) -> list[T]:
    if not number:
        return [known[each] for each in sorted(known)]
    if number not in known:
        raise Refusal(Code.NOT_FOUND, f"there is no {what} {number}")
    return [known[number]]


def _replicas(replicas: Sequence[p4r.Replica]) -> list[tuple[int, int]]:
    """Return (port, instance) pairs. Raises Refusal if a pair occurs twice or does not fit v1model's fields."""
    pairs = []
    for each in replicas:
        if each.backup_replicas:
            raise Refusal(Code.UNIMPLEMENTED, "backup replicas are not supported")
        old = each.WhichOneof("port_kind") == "egress_port"
        try:
            port = each.egress_port if old else decode(each.port, PORT_WIDTH, "replica port")
        except Refusal as refusal:
            raise Refusal(Code.INVALID_ARGUMENT, refusal.message) from None
        if port >> PORT_WIDTH or each.instance >> INSTANCE_WIDTH:
            raise Refusal(
                Code.INVALID_ARGUMENT, f"replica ({port}, {each.instance}): a port has 9 bits, an instance 16 bits"
            )
        pairs.append((port, each.instance))
    if len(set(pairs)) != len(pairs):
        raise Refusal(Code.INVALID_ARGUMENT, f"a pair of port and instance occurs twice in the replicas {pairs}")
    return pairs


def _canonical(replicas: list[tuple[int, int]]) -> list[p4r.Replica]:
    return [p4r.Replica(port=encode(port), instance=instance) for port, instance in replicas]


def _change(
    pipeline: Pipeline,
    kind: p4r.Update.Type.ValueType,
    what: str,
    number: int,
    stored: T,
    known: dict[int, T],
    replicas: list[tuple[int, int]],
    engine: Groups,
) -> Undo:
    before = known.get(number)
    if kind == p4r.Update.INSERT and before is not None:
        raise Refusal(Code.ALREADY_EXISTS, f"{what} {number} already exists")
    if kind != p4r.Update.INSERT and before is None:
        raise Refusal(Code.NOT_FOUND, f"there is no {what} {number}")
    cost = _REPLICA * (len(replicas) - (0 if before is None else len(before.replicas)))
    memory = pipeline.engine.memory
    if kind != p4r.Update.DELETE:
        try:
            memory.take(cost, f"{what} {number}")
        except BudgetError as error:
            raise Refusal(Code.RESOURCE_EXHAUSTED, error.message) from None
    elif before is not None:
        cost = -_REPLICA * len(before.replicas)
        memory.give(-cost)
    if kind == p4r.Update.DELETE:
        del known[number]
        engine.delete(number)
    else:
        known[number] = stored
        engine.set(number, replicas)

    def undo() -> None:
        memory.give(cost)
        if before is None:
            del known[number]
            engine.delete(number)
        else:
            known[number] = before
            engine.set(number, _replicas(before.replicas))

    return undo
