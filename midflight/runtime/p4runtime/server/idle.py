"""Notifications about table entries that no packet has hit for their idle timeout (P4Runtime specification 1.5, 16.3).

Switches look for such entries once a second, and after each batch of packets where there are no live ports, so a
notification is never early, and may be late by that.
"""

from __future__ import annotations

from collections.abc import Iterator

from finsy.proto import p4r

from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.server.tables import encode_entry

__all__ = ["notifications"]


def notifications(pipeline: Pipeline, now: int) -> Iterator[p4r.IdleTimeoutNotification]:
    """Yield a notification for each table with entries that have been idle for their timeout, at `now` in microseconds.

    An entry is idle from its last hit, change and notification, so another notification follows after another timeout.
    """
    tables = {bound.name: bound for bound in pipeline.tables.values() if bound.table.idle_timeout}
    found: dict[str, p4r.IdleTimeoutNotification] = {}
    for key, note in pipeline.notes.items():
        name, keys, priority = key
        if not note.idle_timeout or keys is None or name not in tables:
            continue
        since = pipeline.idle_since.setdefault(key, now)
        last = max(since, pipeline.engine.tables[name].last_hit(keys, priority))
        if (now - last) * 1000 < note.idle_timeout:
            continue
        pipeline.idle_since[key] = now
        message = encode_entry(tables[name], pipeline.find(tables[name], keys, priority))
        message.ClearField("action")
        message.metadata, message.controller_metadata = note.metadata, note.controller_metadata
        message.idle_timeout_ns = note.idle_timeout
        notification = found.setdefault(name, p4r.IdleTimeoutNotification(timestamp=now * 1000))
        notification.table_entry.append(message)
    yield from found.values()
