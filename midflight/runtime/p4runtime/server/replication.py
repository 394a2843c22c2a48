"""Multicast groups and clone sessions (P4Runtime specification 1.5, section 9.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from finsy.proto import p4r

from midflight.runtime.engine.memory import BudgetError
from midflight.runtime.p4runtime.server.change import Change, Undo
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import decode, encode

__all__ = ["read", "write"]

Pair = tuple[int, int]

T = TypeVar("T", p4r.MulticastGroupEntry, p4r.CloneSessionEntry)

PORT_WIDTH = 9
INSTANCE_WIDTH = 16
GROUP_WIDTH = 16
# The number of a clone session has 15 bits in BMv2.
SESSION_WIDTH = 15
PRIORITY_WIDTH = 3
# No packet is longer, in bytes.
LONGEST = 1 << 20
# The approximate bytes of a replica, in the engine and as a message.
_REPLICA = 256


class Groups(Protocol):
    """The replication lists of an engine by number: those of its multicast groups, or of its clone sessions."""

    def set(
        self,
        group: int,
        replicas: Iterable[Pair],
        *,
        backups: Mapping[Pair, Sequence[Pair]] | None = None,
        priority: int = 0,
        length: int = 0,
    ) -> None:
        """Set the (port, instance) pairs to which the group or session of this number copies a packet, replacing
        earlier ones.

        `backups` has, by pair, those that replace it while its port is down: the first whose port is up, and none if
        all are down. `priority` (0 to 7) and `length` (bytes, 0 for no limit) are those of copies. TableError INVALID
        for a number out of its range.
        """

    def delete(self, group: int, /) -> None:
        """Remove the replication list of the multicast group or clone session of this number. TableError if there is
        none.
        """


def write(pipeline: Pipeline, kind: p4r.Update.Type.ValueType, entry: p4r.PacketReplicationEngineEntry) -> Change:
    """Return the change that inserts, modifies or deletes a multicast group or a clone session, as `kind` says.

    Refusal with INVALID_ARGUMENT for an id, replica, class or length out of range, and with UNIMPLEMENTED if the device
    has no classes and lengths of clones. The second step of the change raises Refusal if the group or session exists
    already or does not exist. The class of service of a clone session is the `priority` of its copies, 0 to 7.
    """
    match entry.WhichOneof("type"):
        case "multicast_group_entry":
            group = entry.multicast_group_entry
            number, replicas = group.multicast_group_id, _canonical(group.replicas)
            if not 0 < number < 1 << GROUP_WIDTH:
                raise Refusal(Code.INVALID_ARGUMENT, f"the id of a multicast group is 1 to {(1 << GROUP_WIDTH) - 1}")
            stored = p4r.MulticastGroupEntry(multicast_group_id=number, metadata=group.metadata)
            stored.replicas.extend(replicas)
            yield
            return _change(
                pipeline, kind, "multicast group", number, stored, pipeline.groups, pipeline.engine.multicast
            )
        case "clone_session_entry":
            session = entry.clone_session_entry
            number, replicas = session.session_id, _canonical(session.replicas)
            if not 0 < number < 1 << SESSION_WIDTH:
                raise Refusal(Code.INVALID_ARGUMENT, f"the id of a clone session is 1 to {(1 << SESSION_WIDTH) - 1}")
            if session.class_of_service >> PRIORITY_WIDTH:
                raise Refusal(Code.INVALID_ARGUMENT, "a class of service is 0 to 7, as a priority")
            if session.packet_length_bytes < 0:
                raise Refusal(Code.INVALID_ARGUMENT, "the length of cloned packets is 0 (unlimited) or more")
            asked = session.packet_length_bytes or session.class_of_service
            if asked and not pipeline.engine.clones.has_options:
                raise Refusal(Code.UNIMPLEMENTED, "clones have neither a class nor a length on this device")
            kept = p4r.CloneSessionEntry(
                session_id=number,
                replicas=replicas,
                class_of_service=session.class_of_service,
                packet_length_bytes=session.packet_length_bytes,
            )
            yield
            return _change(pipeline, kind, "clone session", number, kept, pipeline.sessions, pipeline.engine.clones)
        case _:
            raise Refusal(Code.INVALID_ARGUMENT, "a packet replication entry is a multicast group or a clone session")


def read(pipeline: Pipeline, entry: p4r.PacketReplicationEngineEntry) -> Iterator[p4r.PacketReplicationEngineEntry]:
    """Yield the requested group or session, or all for id 0.

    Refusal with NOT_FOUND for an unknown id, and with INVALID_ARGUMENT for an entry that is neither group nor session.
    """
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


def _pair(message: p4r.Replica | p4r.BackupReplica, port: int) -> Pair:
    if port >> PORT_WIDTH or message.instance >> INSTANCE_WIDTH:
        raise Refusal(
            Code.INVALID_ARGUMENT, f"replica ({port}, {message.instance}): a port has 9 bits, an instance 16 bits"
        )
    return port, message.instance


def _port(port: bytes) -> int:
    try:
        return decode(port, PORT_WIDTH, "replica port")
    except Refusal as refusal:
        raise Refusal(Code.INVALID_ARGUMENT, refusal.message) from None


def _canonical(replicas: Iterable[p4r.Replica]) -> list[p4r.Replica]:
    """Return replicas with ports in canonical form. Raises Refusal if one is invalid or occurs twice."""
    made, seen = [], []
    for each in replicas:
        old = each.WhichOneof("port_kind") == "egress_port"
        port, instance = _pair(each, each.egress_port if old else _port(each.port))
        one = p4r.Replica(port=encode(port), instance=instance)
        for backup in each.backup_replicas:
            port_of_backup, its_instance = _pair(backup, _port(backup.port))
            one.backup_replicas.add(port=encode(port_of_backup), instance=its_instance)
        made.append(one)
        seen.append((port, instance))
    if len(set(seen)) != len(seen):
        raise Refusal(Code.INVALID_ARGUMENT, f"a pair of port and instance occurs twice in the replicas {seen}")
    return made


def _set(engine: Groups, number: int, entry: p4r.MulticastGroupEntry | p4r.CloneSessionEntry) -> None:
    """Give the engine a group or session that was found to be valid."""
    pairs, backups = [], {}
    for each in entry.replicas:
        pair = int.from_bytes(each.port, "big"), each.instance
        pairs.append(pair)
        backups[pair] = [(int.from_bytes(backup.port, "big"), backup.instance) for backup in each.backup_replicas]
    if isinstance(entry, p4r.CloneSessionEntry):
        length = min(entry.packet_length_bytes, LONGEST)
        engine.set(number, pairs, backups=backups, priority=entry.class_of_service, length=length)
    else:
        engine.set(number, pairs, backups=backups)


def _cost(entry: p4r.MulticastGroupEntry | p4r.CloneSessionEntry) -> int:
    return _REPLICA * sum(1 + len(each.backup_replicas) for each in entry.replicas)


def _change(
    pipeline: Pipeline,
    kind: p4r.Update.Type.ValueType,
    what: str,
    number: int,
    stored: T,
    known: dict[int, T],
    engine: Groups,
) -> Undo:
    before = known.get(number)
    if kind == p4r.Update.INSERT and before is not None:
        raise Refusal(Code.ALREADY_EXISTS, f"{what} {number} already exists")
    if kind != p4r.Update.INSERT and before is None:
        raise Refusal(Code.NOT_FOUND, f"there is no {what} {number}")
    cost = _cost(stored) - (0 if before is None else _cost(before))
    memory = pipeline.engine.memory
    if kind != p4r.Update.DELETE:
        try:
            memory.take(cost, f"{what} {number}")
        except BudgetError as error:
            raise Refusal(Code.RESOURCE_EXHAUSTED, error.message) from None
    elif before is not None:
        cost = -_cost(before)
        memory.give(-cost)
    if kind == p4r.Update.DELETE:
        del known[number]
        engine.delete(number)
    else:
        known[number] = stored
        _set(engine, number, stored)

    def undo() -> None:
        memory.give(cost)
        if before is None:
            del known[number]
            engine.delete(number)
        else:
            known[number] = before
            _set(engine, number, before)

    return undo
