"""What a session writes down of its own writes, so that what it wrote can be told from what others did."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from finsy.proto import p4r

__all__ = ["Journal", "entity_key", "made_key", "undone"]


class Journal(Protocol):
    """Keeps the keys, as `entity_key` makes them, of what a session has written to its device."""

    def note(self, keys: Sequence[str]) -> Collection[str]:
        """Keep these before they are written, and return those that were not kept before."""

    def kept(self) -> Collection[str]:
        """Return all that are kept."""

    def drop(self, keys: Collection[str] | None = None) -> None:
        """Forget these, which are not on the device any more; without any, all."""


def entity_key(entity: p4r.Entity) -> str:
    """Return what tells an entity from all others of its device; the same however its numbers are padded.

    Empty for what is changed in place and never made, such as a register's cell or a default action.
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
        case "digest_entry":
            return f"digest {entity.digest_entry.digest_id}"
    return ""


def made_key(update: p4r.Update) -> str:
    """Return the key of what an update makes or changes; empty for one that removes something."""
    return "" if update.type == p4r.Update.DELETE else entity_key(update.entity)


def undone(updates: Sequence[p4r.Update], refused: Collection[int], fresh: Collection[str]) -> list[str]:
    """Return the keys that are not on the device after these updates: removed, or new (`fresh`) and refused."""
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
