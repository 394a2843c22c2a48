"""A journal of the entities that a session writes, which distinguishes them from those of other controllers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from finsy.proto import p4r

__all__ = ["Journal", "entity_key", "made_key", "undone"]


class Journal(Protocol):
    """Stores the keys (see `entity_key`) of the entities that a deployment's controllers wrote to a device."""

    def note(self, keys: Sequence[str]) -> Collection[str]:
        """Store keys before their entities are written, and return those that were not stored yet."""

    def kept(self) -> Collection[str]:
        """Return all keys that are stored."""

    def drop(self, keys: Collection[str] | None = None) -> None:
        """Remove the keys of entities that are no longer on the device; None removes all. Unknown keys are ignored."""


def entity_key(entity: p4r.Entity) -> str:
    """Return a key that identifies an entity on its device, independent of the padding of numbers.

    Returns "" for an entity that is only modified and never inserted, such as a register cell or a default action.
    """
    match entity.WhichOneof("entity"):
        case "table_entry":
            entry = entity.table_entry
            if entry.is_default_action:
                return ""
            fields = sorted(entry.match, key=lambda each: each.field_id)
            return " ".join(["table", str(entry.table_id), str(entry.priority), *map(_field, fields)])
        case "packet_replication_engine_entry":
            copies = entity.packet_replication_engine_entry
            if copies.HasField("multicast_group_entry"):
                return f"group {copies.multicast_group_entry.multicast_group_id}"
            return f"clone {copies.clone_session_entry.session_id}"
        case "action_profile_member":
            member = entity.action_profile_member
            return f"member {member.action_profile_id} {member.member_id}"
        case "action_profile_group":
            group = entity.action_profile_group
            return f"choice {group.action_profile_id} {group.group_id}"
        case "digest_entry":
            return f"digest {entity.digest_entry.digest_id}"
    return ""


def made_key(update: p4r.Update) -> str:
    """Return the key of the entity that an update inserts or modifies, or "" for a deletion."""
    return "" if update.type == p4r.Update.DELETE else entity_key(update.entity)


def undone(updates: Sequence[p4r.Update], refused: Collection[int], fresh: Collection[str]) -> list[str]:
    """Return the keys of the entities that a batch of updates, now sent, did not leave on the device.

    Those are the ones that it deleted, and those that are new but were rejected. `refused` are the positions of
    rejected updates, and `fresh` the keys that were new before the batch.
    """
    keys = []
    for at, each in enumerate(updates):
        key = entity_key(each.entity)
        if (at not in refused) if each.type == p4r.Update.DELETE else (at in refused and key in fresh):
            keys.append(key)
    return [key for key in keys if key]


def _field(match: p4r.FieldMatch) -> str:
    kind = match.WhichOneof("field_match_type") or ""
    value = getattr(match, kind)
    parts = [getattr(value, each.name) for each in value.DESCRIPTOR.fields]
    numbers = [int.from_bytes(each, "big") if isinstance(each, bytes) else each for each in parts]
    return f"{match.field_id}:{kind}:{','.join(map(str, numbers))}"
