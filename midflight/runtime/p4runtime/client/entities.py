"""The difference between the entities (table entries, groups and so on) that a device holds and should hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from finsy.proto import p4i, p4r

from midflight.runtime.p4runtime.client.journal import entity_key
from midflight.runtime.p4runtime.client.messages import read_replica

__all__ = ["Difference", "created", "difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The updates that give a device the wanted entities, in the order in which they must be applied.

    `missing` entities are inserted, `changed` ones modified, and `stale` ones deleted. `foreign` is the number of
    entities on the device that are neither wanted nor ours. They are left alone. An object is true if there is anything
    to do.
    """

    missing: tuple[p4r.Entity, ...]
    changed: tuple[p4r.Entity, ...]
    stale: tuple[p4r.Entity, ...]
    foreign: int = 0

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.stale)

    def __str__(self) -> str:
        counts = {"missing": self.missing, "changed": self.changed, "stale": self.stale}
        shown = [f"{len(each)} {name}" for name, each in counts.items() if each]
        return ", ".join([*shown, *([f"{self.foreign} of others"] if self.foreign else [])]) or "no difference"


def difference(wanted: Collection[p4r.Entity], held: Mapping[str, p4r.Entity], ours: Collection[str]) -> Difference:
    """Compare the wanted entities with the entities on a device (`held`), by key.

    An entity that is wanted and held is changed if its actions with their parameters, its members, its replicas or the
    committed rate of its meter differ; other parts, such as metadata, are not compared. An entity on the device that is
    not wanted is stale if its key is in `ours`, and foreign otherwise. If several wanted entities have the same key,
    the last one counts.
    """
    last = {entity_key(each): each for each in wanted}
    beside = {key: each for key, each in held.items() if key not in last}
    return Difference(
        tuple(each for key, each in last.items() if key not in held),
        tuple(each for key, each in last.items() if key in held and _content(each) != _content(held[key])),
        tuple(each for key, each in beside.items() if key in ours),
        sum(key not in ours for key in beside),
    )


def created(info: p4i.P4Info) -> list[p4r.Entity]:
    """Return the entities to read for all that controllers can create with a pipeline, with the meters of entries."""
    group, clone = p4r.MulticastGroupEntry(), p4r.CloneSessionEntry()
    wanted = [
        p4r.Entity(table_entry=p4r.TableEntry(table_id=each.preamble.id, meter_config=p4r.MeterConfig()))
        for each in info.tables
        if not each.is_const_table
    ]
    if info.action_profiles:
        wanted.append(p4r.Entity(action_profile_group=p4r.ActionProfileGroup()))
        wanted.append(p4r.Entity(action_profile_member=p4r.ActionProfileMember()))
    wanted += [
        p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(multicast_group_entry=group)),
        p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(clone_session_entry=clone)),
    ]
    return wanted + [p4r.Entity(digest_entry=p4r.DigestEntry(digest_id=each.preamble.id)) for each in info.digests]


def _content(entity: p4r.Entity) -> object:
    """Return the contents of an entity other than its key, in a form that is independent of the padding of numbers."""
    match entity.WhichOneof("entity"):
        case "table_entry":
            entry = entity.table_entry
            if entry.action.WhichOneof("type") != "action":
                return _choice(entry.action), entry.meter_config.cir
            return *_call(entry.action.action), entry.meter_config.cir
        case "action_profile_member":
            return _call(entity.action_profile_member.action)
        case "action_profile_group":
            members = entity.action_profile_group.members
            return sorted((each.member_id, each.weight, each.watch_port) for each in members)
        case "packet_replication_engine_entry":
            copies = entity.packet_replication_engine_entry
            which = copies.multicast_group_entry if copies.HasField("multicast_group_entry") else None
            return sorted(map(read_replica, (which or copies.clone_session_entry).replicas))
    return None  # only whether a digest is subscribed to matters


def _call(action: p4r.Action) -> tuple[object, ...]:
    return action.action_id, sorted((each.param_id, int.from_bytes(each.value, "big")) for each in action.params)


def _choice(action: p4r.TableAction) -> object:
    if action.HasField("action_profile_action_set"):
        listed = action.action_profile_action_set.action_profile_actions
        return [(*_call(each.action), each.weight, each.watch_port) for each in listed]
    return action.SerializeToString(deterministic=True)
