"""Session of a controller with one device over P4Runtime: synchronous calls, and names instead of ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import overload

import numpy as np
import numpy.typing as npt
from finsy.proto import p4i, p4r
from google.protobuf.wrappers_pb2 import BoolValue

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.connection import Connection
from midflight.runtime.p4runtime.client.entities import Difference, created
from midflight.runtime.p4runtime.client.inband import InBand
from midflight.runtime.p4runtime.client.journal import entity_key
from midflight.runtime.p4runtime.client.link import RequestError
from midflight.runtime.p4runtime.client.matches import number
from midflight.runtime.p4runtime.client.messages import (
    action_message,
    bytes_for,
    cell_type,
    clone_message,
    entry_message,
    group_message,
    index_message,
    p4info_message,
    pipeline_action,
    read_digests,
    read_entry,
    read_replica,
    register_messages,
    signed,
)
from midflight.runtime.p4runtime.client.profiles import Choice, Profiles
from midflight.runtime.p4runtime.client.results import Count, Counts, DigestMessage, PacketIn, TableEntry
from midflight.runtime.p4runtime.client.valuesets import ValueSets
from midflight.runtime.p4runtime.packets import to_metadata
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.p4runtime.values import decode_data

__all__ = ["Count", "Counts", "DigestMessage", "PacketIn", "RequestError", "Session", "TableEntry"]


class Session(Connection):
    """A controller's session with one device; a context manager.

    address: "host:port" of the device's P4Runtime server; device_id: the device's id there
    role: the P4Runtime role; "" is the default role with full access
    election_id: 0 to 2**128 - 1; None means 1, or the highest id so far if the role has no primary now, so that the
        session becomes the primary unless the role has one. A session that is not the primary is a backup, which can
        only read (see `is_primary`). Two sessions of a role cannot have the same id at a time.
    timeout: for each request, in seconds
    journal: stores which entities this controller wrote, for `ours`
    observer: called after each request
    tls: TLS settings; None for an insecure channel
    death: returns an error that says how the device's process ended, None while it runs or if that is unknown

    The constructor connects to the device. It raises ValueError if `election_id` is out of range, DeviceError for an
    invalid address or if the device does not answer, and RequestError if the device rejects the session, as with an
    election id that another session of the role has.

    Methods take fully qualified names or aliases from the P4Info. They raise DeviceError for names and values that do
    not fit the pipeline, if the device does not answer, and after `close`. They raise its subclass RequestError if the
    device rejects a request, such as a write of a backup.
    """

    @property
    def p4info(self) -> p4i.P4Info:
        """The P4Info that this session loaded, otherwise that of the device's pipeline. DeviceError if it has none."""
        return self._schema.info

    def load(
        self,
        p4info: p4i.P4Info | str,
        config: bytes | str,
        *,
        cookie: int | None = None,
        action: str = "VERIFY_AND_COMMIT",
    ) -> None:
        """Push a pipeline to the device: its P4Info, as a message or in text format, and the device-specific config.

        cookie: a 64-bit number that the device stores with the pipeline; None for no cookie
        action: VERIFY, VERIFY_AND_SAVE, VERIFY_AND_COMMIT or RECONCILE_AND_COMMIT, as in P4Runtime

        Except with VERIFY, the session's digest subscriptions end; messages that have arrived by then are kept for
        `digests`. If the device rejects the pipeline, it keeps its previous one, and RequestError is raised.
        DeviceError if it does not answer, for another `action` or `cookie`, or for text that is not P4Info.
        """
        info = p4info_message(p4info) if isinstance(p4info, str) else p4info
        data = config.encode() if isinstance(config, str) else config
        message = p4r.ForwardingPipelineConfig(p4info=info, p4_device_config=data)
        if action != "VERIFY":
            self.keep()
        if cookie is not None:
            message.cookie.cookie = number(cookie, 64, "cookie")
        self._set_pipeline(p4r.SetForwardingPipelineConfigRequest(action=pipeline_action(action), config=message))
        if action != "VERIFY":
            self.subscriptions.clear()
            self._known = Schema(info)

    def commit(self) -> None:
        """Activate the pipeline that `load` with VERIFY_AND_SAVE has saved. RequestError if none is saved."""
        request = p4r.SetForwardingPipelineConfigRequest
        self._set_pipeline(request(action=request.COMMIT))

    @property
    def cookie(self) -> int | None:
        """The cookie of the device's pipeline, or None without one. Reading this property sends a request."""
        return self.read_cookie()

    def read_cookie(self, timeout: float | None = None) -> int | None:
        """Return the cookie of the device's pipeline, or None; `timeout` is in seconds, None for the session's."""
        try:
            config = self._get_pipeline(p4r.GetForwardingPipelineConfigRequest.COOKIE_ONLY, timeout).config
        except RequestError as error:
            if error.code in (Code.FAILED_PRECONDITION, Code.NOT_FOUND):
                return None
            raise
        return config.cookie.cookie if config.HasField("cookie") else None

    @property
    def ours(self) -> Collection[str]:
        """The keys of the entities that this controller wrote to the device, from its journal; empty without one."""
        return self._journal.kept() if self._journal is not None else ()

    # Tables

    def insert(
        self,
        table: str,
        match: Mapping[str, object],
        action: str | Choice,
        params: Mapping[str, object] | None = None,
        *,
        priority: int = 0,
        metadata: bytes = b"",
        rate: int = 0,
    ) -> None:
        """Add a table entry. RequestError if one with this match and priority already exists, or if the table is full.

        match: values by field name, in the forms of the module `matches`
        action: an action, or in a table with an action profile or selector a Member, a Group or a OneShot
        priority: at least 1 in tables with ternary, range or optional fields, where the largest wins; 0 in others
        metadata: bytes that the device stores with the entry
        rate: of the table's direct meter, in units per second, with a burst of a tenth of a second; 0 is no limit

        DeviceError for a name that the pipeline does not have, or a value that does not fit.
        """
        entry = entry_message(self._schema, table, match, priority, rate)
        entry.metadata = metadata
        entry.action.CopyFrom(action_message(self._schema, table, action, params or {}))
        self._write(p4r.Update.INSERT, p4r.Entity(table_entry=entry), f"insert into {table} {dict(match)}")

    def modify(
        self,
        table: str,
        match: Mapping[str, object],
        action: str | Choice,
        params: Mapping[str, object] | None = None,
        *,
        priority: int = 0,
        metadata: bytes = b"",
        rate: int = 0,
    ) -> None:
        """Replace action, metadata and rate of the table entry with this match and priority, in the forms of `insert`.

        RequestError if there is no such entry; DeviceError for an unknown name or a value that does not fit.
        """
        entry = entry_message(self._schema, table, match, priority, rate)
        entry.metadata = metadata
        entry.action.CopyFrom(action_message(self._schema, table, action, params or {}))
        self._write(p4r.Update.MODIFY, p4r.Entity(table_entry=entry), f"modify {table} {dict(match)}")

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        """Remove the table entry with this match and priority.

        RequestError if there is none, or if the program declares it const; DeviceError for an unknown name or a value
        that does not fit.
        """
        entity = p4r.Entity(table_entry=entry_message(self._schema, table, match, priority))
        self._write(p4r.Update.DELETE, entity, f"delete from {table} {dict(match)}")

    def holding(self) -> dict[str, p4r.Entity]:
        """Return all entities that controllers created on the device, by key.

        These are table entries, groups and members of action profiles, multicast groups, clone sessions and digest
        subscriptions, without the const entries of the program.
        """
        found = [each for entity in created(self.p4info) for each in self._find(entity)]
        return {key: each for each in found if (key := entity_key(each)) and not each.table_entry.is_const}

    def amend(self, difference: Difference) -> None:
        """Apply a difference to the device: insert missing entities, modify changed ones, then delete stale ones.

        A device may apply the updates of one request in any order. Entities of different types therefore go in separate
        requests, as one may depend on another, for example a table entry on a multicast group. RequestError for the
        first request with an update that the device rejects; those before it remain, and those after it are not sent.
        """
        updates = [(p4r.Update.INSERT, each) for each in difference.missing]
        updates += [(p4r.Update.MODIFY, each) for each in difference.changed]
        updates += [(p4r.Update.DELETE, each) for each in difference.stale]
        for _, run in groupby(updates, lambda each: (each[0], *entity_key(each[1]).split()[:2])):
            self._gather([(p4r.Update(type=kind, entity=each), entity_key(each)) for kind, each in run])

    def set_default(self, table: str, action: str, params: Mapping[str, object] | None = None) -> None:
        """Set the default action of a table, which runs if no entry matches, with its parameters by name.

        RequestError if the program declares it const; DeviceError for an unknown name or a value that does not fit.
        """
        entry = p4r.TableEntry(table_id=self._schema.tables.named(table).preamble.id, is_default_action=True)
        entry.action.CopyFrom(action_message(self._schema, table, action, params or {}))
        self._write(p4r.Update.MODIFY, p4r.Entity(table_entry=entry), f"default action of {table}")

    def reset_default(self, table: str) -> None:
        """Restore a table's default action as the program declares it. DeviceError for a table that is unknown, or
        whose default is const.
        """
        entry = p4r.TableEntry(table_id=self._schema.tables.named(table).preamble.id, is_default_action=True)
        self._write(p4r.Update.MODIFY, p4r.Entity(table_entry=entry), f"default action of {table}")

    def read_table(self, table: str) -> list[TableEntry]:
        """Return a table's entries, without the default action. DeviceError for an unknown table."""
        number = self._schema.tables.named(table).preamble.id
        found = self._read(p4r.Entity(table_entry=p4r.TableEntry(table_id=number)))
        return [read_entry(self._schema, each.table_entry) for each in found]

    def read_default(self, table: str) -> TableEntry:
        """Return a table's default action, as an entry without a match. DeviceError for an unknown table."""
        number = self._schema.tables.named(table).preamble.id
        (found,) = self._read(p4r.Entity(table_entry=p4r.TableEntry(table_id=number, is_default_action=True)))
        return read_entry(self._schema, found.table_entry)

    @cached_property
    def profiles(self) -> Profiles:
        """The members and groups of action profiles and selectors."""
        return Profiles(lambda: self._schema, self._write, self._read, action_message)

    @cached_property
    def value_sets(self) -> ValueSets:
        """The value sets of the parser."""
        return ValueSets(lambda: self._schema, self._write, self._read)

    # Replication

    def multicast(self, group: int, ports: Iterable[int | tuple[int, int]]) -> None:
        """Set the ports, or (port, instance) pairs, of a multicast group, 1 to 65535; without ports, remove it.

        A port alone has the instance 0. The group need not exist. DeviceError for a number out of its range.
        """
        engine = group_message(group, ports)
        self._put(engine, bool(engine.multicast_group_entry.replicas), f"multicast group {group}")

    def clone_session(self, number: int, ports: Iterable[int | tuple[int, int]]) -> None:
        """Set the ports, or (port, instance) pairs, of a clone session, 1 to 32767; without ports, remove it.

        A port alone has the instance 0. The session need not exist. DeviceError for a number out of its range.
        """
        engine = clone_message(number, ports)
        self._put(engine, bool(engine.clone_session_entry.replicas), f"clone session {number}")

    def read_multicast(self) -> dict[int, list[tuple[int, int]]]:
        """Return the (port, instance) pairs of every multicast group."""
        wanted = p4r.PacketReplicationEngineEntry(multicast_group_entry=p4r.MulticastGroupEntry())
        found = [
            each.packet_replication_engine_entry.multicast_group_entry
            for each in self._read(p4r.Entity(packet_replication_engine_entry=wanted))
        ]
        return {each.multicast_group_id: [read_replica(pair) for pair in each.replicas] for each in found}

    # State

    @overload
    def read_register(self, name: str) -> npt.NDArray[np.integer] | list[int]: ...
    @overload
    def read_register(self, name: str, index: int) -> int: ...
    def read_register(self, name: str, index: int | None = None) -> npt.NDArray[np.integer] | list[int] | int:
        """Return the cell at `index` of a register as an int, or all cells if it is None.

        All cells are an array of the smallest integer type that fits, or a list of int for more than 64 bits.
        DeviceError for an unknown register, one with structs, an index out of range, and from BMv2, which reads none.
        """
        info = self._schema.registers.named(name)
        entry = p4r.RegisterEntry(register_id=info.preamble.id)
        if index is not None:
            entry.index.CopyFrom(index_message(index))
        kind = cell_type(self._schema, info)
        values = [0] * (info.size if index is None else 1)
        for each in self._read(p4r.Entity(register_entry=entry)):
            cell = each.register_entry
            (value,) = decode_data(info.type_spec, self._schema.types, cell.data, name)
            values[cell.index.index if index is None else 0] = signed(value, kind.width) if kind.signed else value
        if index is not None:
            return values[0]
        if kind.width > 64:
            return values
        return np.array(values, dtype=np.dtype(f"{'i' if kind.signed else 'u'}{bytes_for(kind.width)}"))

    def write_register(
        self, name: str, values: int | Sequence[int] | npt.NDArray[np.integer], index: int | None = None
    ) -> None:
        """Set cells of a register. One number sets the cell at `index`, or all cells without an index.

        A sequence sets the cells from `index` on, or from 0 on without an index. DeviceError for an unknown register or
        a number that does not fit; RequestError for an index out of range, or from BMv2, which cannot write any.
        """
        entries = register_messages(self._schema, name, values, index)
        updates = [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(register_entry=each)) for each in entries]
        self._gather([(update, f"register {name}") for update in updates])

    @overload
    def read_counter(self, name: str) -> Counts: ...
    @overload
    def read_counter(self, name: str, index: int) -> Count: ...
    def read_counter(self, name: str, index: int | None = None) -> Counts | Count:
        """Return the cell at `index` of a counter, or all cells if it is None.

        DeviceError for an unknown counter; RequestError for an index out of range.
        """
        info = self._schema.counters.named(name)
        entry = p4r.CounterEntry(counter_id=info.preamble.id)
        if index is not None:
            entry.index.CopyFrom(index_message(index))
        found = [each.counter_entry for each in self._read(p4r.Entity(counter_entry=entry))]
        if index is not None:
            return Count(found[0].data.packet_count, found[0].data.byte_count)
        packets, octets = np.zeros(info.size, np.int64), np.zeros(info.size, np.int64)
        for each in found:
            packets[each.index.index], octets[each.index.index] = each.data.packet_count, each.data.byte_count
        return Counts(packets, octets)

    def write_counter(self, name: str, index: int | None = None, *, packets: int = 0, bytes: int = 0) -> None:
        """Set the cell at `index` of a counter, or all cells if it is None, to these packets and bytes.

        DeviceError for an unknown counter, an index out of range, or a count that is not 0 to 2**63 - 1.
        """
        entry = p4r.CounterEntry(counter_id=self._schema.counters.named(name).preamble.id)
        if index is not None:
            entry.index.CopyFrom(index_message(index))
        what = f"counter {name}"
        entry.data.CopyFrom(p4r.CounterData(packet_count=number(packets, 63, what), byte_count=number(bytes, 63, what)))
        self._write(p4r.Update.MODIFY, p4r.Entity(counter_entry=entry), what)

    def read_entry_counter(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> Count:
        """Return what the direct counter of the table entry with this match and priority has counted.

        RequestError if there is no such entry, or if the table has no direct counter; DeviceError for an unknown name
        or a value that does not fit.
        """
        place = entry_message(self._schema, table, match, priority)
        entity = p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(table_entry=place))
        (found,) = self._read(entity)
        return Count(found.direct_counter_entry.data.packet_count, found.direct_counter_entry.data.byte_count)

    # Packets and digests

    def packet_out(self, payload: bytes, **metadata: object) -> None:
        """Send a packet through the switch, and wait until the switch has processed or queued it.

        `metadata` are the values of all fields of its header. DeviceError if they do not fit it, or the switch refuses.
        """
        self.packets_out([payload], **metadata)
        self.flush()

    def packets_out(self, payloads: Iterable[bytes], **metadata: object) -> None:
        """Send packets through the switch without waiting. All have the same packet-out header.

        `metadata` are the values of all fields of that header. DeviceError if a field is missing or unknown, or if a
        value does not fit.
        """
        fields = self._schema.packet_out
        names = {each.name for each in fields}
        if names != metadata.keys():
            raise DeviceError(
                f"packet-out has the fields {', '.join(sorted(names)) or '(none)'}, not {', '.join(metadata)}"
            )
        values = {each.id: number(metadata[each.name], each.bitwidth, f"packet-out {each.name}") for each in fields}
        header = to_metadata(fields, values)
        self._link.send_all(
            [p4r.StreamMessageRequest(packet=p4r.PacketOut(payload=each, metadata=header)) for each in payloads]
        )

    def packets_in(self, timeout: float = 0.0) -> list[PacketIn]:
        """Remove and return the packet-ins that have arrived, oldest first. Waits up to `timeout` s for the first.

        DeviceError if the device does not answer; RequestError if it has rejected an earlier message on the stream.
        """
        self.flush()
        return [self._packet_in(each) for each in self._link.take(self._link.packets, timeout)]

    def pick_packets(self, wanted: Callable[[PacketIn], bool], timeout: float = 0.0) -> list[PacketIn]:
        """Remove and return the packet-ins for which `wanted` returns True; others stay for `packets_in`.

        Waits up to `timeout` seconds for the first. `wanted` may be called several times for a packet, and must not use
        the session. DeviceError if there is none and the connection has failed.
        """
        taken = self._link.pick(self._link.packets, lambda each: wanted(self._packet_in(each)), timeout)
        return [self._packet_in(each) for each in taken]

    @cached_property
    def inband(self) -> InBand:
        """The function that sends in-band requests to the switch's program and returns the answers; for `State`."""
        return InBand(self)

    def subscribe(self, digest: str) -> None:
        """Subscribe to a digest: the switch sends each of its messages at once, for `digests`. Idempotent.

        DeviceError for a digest that the program does not have; RequestError if another session has enabled it.
        """
        if digest in self.subscriptions and self._planned is None:
            return
        config = p4r.DigestEntry.Config(max_list_size=1)
        entry = p4r.DigestEntry(digest_id=self._schema.digests.named(digest).preamble.id, config=config)
        self._write(p4r.Update.INSERT, p4r.Entity(digest_entry=entry), f"subscribe to {digest}")
        self.subscriptions.add(digest)

    def unsubscribe(self, digest: str) -> None:
        """End the subscription to a digest. RequestError if there is none; DeviceError for an unknown digest."""
        entry = p4r.DigestEntry(digest_id=self._schema.digests.named(digest).preamble.id)
        self._write(p4r.Update.DELETE, p4r.Entity(digest_entry=entry), f"unsubscribe from {digest}")
        self.subscriptions.discard(digest)

    def digests(self, timeout: float = 0.0) -> list[DigestMessage]:
        """Remove, acknowledge and return the digest messages from the switch, oldest first.

        Waits up to `timeout` seconds for the first. DeviceError if the device does not answer; RequestError if it has
        rejected an earlier message on the stream.
        """
        self.flush()
        kept, self._kept = self._kept, []
        return kept + self._receive_digests(0.0 if kept else timeout)

    def keep(self) -> None:
        """Decode and store the pending digest messages, so that `digests` returns them after a change of pipeline.

        DeviceError if the device does not answer or has rejected a message. Does nothing without subscriptions.
        """
        if self.subscriptions:
            # They can be decoded and acknowledged only with the current pipeline.
            self._kept = self.digests()
            self.flush()

    def inherit(self, before: Session) -> None:
        """Adopt the digest messages that a previous session with the same device has stored by `keep`."""
        self._kept, before._kept = before._kept + self._kept, []

    def _receive_digests(self, timeout: float) -> list[DigestMessage]:
        messages: list[DigestMessage] = []
        for each in self._link.take(self._link.digests, timeout):
            messages += read_digests(self._schema, each)
            acknowledgement = p4r.DigestListAck(digest_id=each.digest_id, list_id=each.list_id)
            self._link.send(p4r.StreamMessageRequest(digest_ack=acknowledgement))
        return messages

    # Traces

    def trace(self, on: bool) -> None:
        """Start or stop tracing of every packet on the switch, for `traces`.

        Returns when the traces of earlier packets have arrived. RequestError if the session is not the primary of its
        role, or if the program runs as an XDP program; DeviceError for a switch that is not Midflight's.
        """
        if not self._echoes:
            raise DeviceError(f"the P4Runtime server at {self.address} does not trace packets")
        message = p4r.StreamMessageRequest()
        message.other.Pack(BoolValue(value=on))
        self._link.send(message)
        self.flush()

    def traces(self, timeout: float = 0.0) -> list[str]:
        """Remove and return the traces that have arrived, each of several lines. Waits up to `timeout` s for the
        first.
        """
        return self._link.take(self._link.traces, timeout)

    def _packet_in(self, message: p4r.PacketIn) -> PacketIn:
        fields = {each.id: each.name for each in self._schema.packet_in}
        values = {fields[one.metadata_id]: int.from_bytes(one.value, "big") for one in message.metadata}
        return PacketIn(message.payload, values)

    def _put(self, entry: p4r.PacketReplicationEngineEntry, wanted: bool, what: str) -> None:
        """Insert or modify a group or session, or delete it if it is not wanted. It need not exist."""
        entity = p4r.Entity(packet_replication_engine_entry=entry)
        there = bool(self._find(entity))
        if wanted:
            self._write(p4r.Update.MODIFY if there else p4r.Update.INSERT, entity, what)
        elif there:
            self._write(p4r.Update.DELETE, entity, what)

    def _find(self, entity: p4r.Entity) -> list[p4r.Entity]:
        try:
            return self._read(entity)
        except RequestError as error:
            if error.code == Code.NOT_FOUND:
                return []
            raise
