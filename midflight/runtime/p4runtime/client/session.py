"""The controller's side of P4Runtime: one device, synchronous calls, names instead of ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import overload

import numpy as np
import numpy.typing as npt
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from google.protobuf.wrappers_pb2 import BoolValue

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.connection import Connection
from midflight.runtime.p4runtime.client.entities import Difference
from midflight.runtime.p4runtime.client.inband import InBand
from midflight.runtime.p4runtime.client.journal import entity_key
from midflight.runtime.p4runtime.client.link import RequestError
from midflight.runtime.p4runtime.client.matches import number
from midflight.runtime.p4runtime.client.messages import (
    action_message,
    bytes_for,
    cell_type,
    entry_message,
    read_entry,
    read_replica,
    register_messages,
    replica_messages,
    signed,
)
from midflight.runtime.p4runtime.client.results import Count, Counts, DigestMessage, PacketIn, TableEntry
from midflight.runtime.p4runtime.packets import to_metadata
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.p4runtime.values import decode_data, flat_names, flat_types

__all__ = ["Count", "Counts", "DigestMessage", "PacketIn", "RequestError", "Session", "TableEntry"]

Actions = p4r.SetForwardingPipelineConfigRequest


class Session(Connection):
    """A controller's session with one device; a context manager.

    Becomes the role's primary where nobody is: with `election_id` None it bids 1, or higher where a primary that
    has gone bid more. With an election id of its own it bids that, and may find itself a backup (`is_primary`),
    which can read and nothing else. With `tls` it talks TLS. Names are fully qualified names or aliases of the
    P4Info. Every method raises DeviceError, RequestError when the device itself refused.
    """

    # The pipeline

    @property
    def p4info(self) -> p4i.P4Info:
        """The P4Info of the device's pipeline: the one loaded here, or else the device's own."""
        return self._schema.info

    def load(
        self,
        p4info: p4i.P4Info | str,
        config: bytes | str,
        *,
        cookie: int | None = None,
        action: str = "VERIFY_AND_COMMIT",
    ) -> None:
        """Push a pipeline: its P4Info (as a message or text), and what the device takes as config.

        `action` is one of P4Runtime's: VERIFY, VERIFY_AND_SAVE, VERIFY_AND_COMMIT or RECONCILE_AND_COMMIT. Where the
        device refuses, it keeps what it had.
        """
        info = text_format.Parse(p4info, p4i.P4Info()) if isinstance(p4info, str) else p4info
        data = config.encode() if isinstance(config, str) else config
        message = p4r.ForwardingPipelineConfig(p4info=info, p4_device_config=data)
        if action != "VERIFY":
            self.keep()
        if cookie is not None:
            message.cookie.cookie = cookie
        self._set_pipeline(p4r.SetForwardingPipelineConfigRequest(action=_action(action), config=message))
        if action != "VERIFY":
            self.subscriptions.clear()
            self._known = Schema(info)

    def commit(self) -> None:
        """Put the pipeline in place that VERIFY_AND_SAVE saved."""
        self._set_pipeline(p4r.SetForwardingPipelineConfigRequest(action=Actions.COMMIT))

    @property
    def cookie(self) -> int | None:
        """The cookie that the device's pipeline was pushed with, or None."""
        return self.read_cookie()

    def read_cookie(self, timeout: float | None = None) -> int | None:
        """Return the cookie of the device's pipeline; None if it has none, or no pipeline at all."""
        try:
            config = self._get_pipeline(p4r.GetForwardingPipelineConfigRequest.COOKIE_ONLY, timeout).config
        except RequestError as error:
            if error.code in (Code.FAILED_PRECONDITION, Code.NOT_FOUND):
                return None
            raise
        return config.cookie.cookie if config.HasField("cookie") else None

    @property
    def ours(self) -> Collection[str]:
        """The keys of what this controller wrote to the device, as its journal has them; none without a journal."""
        return self._journal.kept() if self._journal is not None else ()

    # Tables

    def insert(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, object] | None = None,
        *,
        priority: int = 0,
        metadata: bytes = b"",
        rate: int = 0,
    ) -> None:
        """Add a table entry. What `match` may hold is told in `matches`; refused where the entry is there already.

        `rate` is that of its direct meter, in the meter's unit a second, with a tenth of a second's worth as burst; 0
        is no limit.
        """
        entry = entry_message(self._schema, table, match, priority, rate)
        entry.metadata = metadata
        entry.action.CopyFrom(action_message(self._schema, table, action, params or {}))
        self._write(p4r.Update.INSERT, p4r.Entity(table_entry=entry), f"insert into {table} {dict(match)}")

    def modify(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, object] | None = None,
        *,
        priority: int = 0,
        metadata: bytes = b"",
        rate: int = 0,
    ) -> None:
        """Change the action of a table entry that is there, and the rate of its direct meter."""
        entry = entry_message(self._schema, table, match, priority, rate)
        entry.metadata = metadata
        entry.action.CopyFrom(action_message(self._schema, table, action, params or {}))
        self._write(p4r.Update.MODIFY, p4r.Entity(table_entry=entry), f"modify {table} {dict(match)}")

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        """Remove a table entry that is there."""
        entity = p4r.Entity(table_entry=entry_message(self._schema, table, match, priority))
        self._write(p4r.Update.DELETE, entity, f"delete from {table} {dict(match)}")

    def holding(self) -> dict[str, p4r.Entity]:
        """Return all that controllers have made on the device, by key: entries, groups, clone sessions, digests.

        Entries that the program itself brings are not among them.
        """
        group, clone = p4r.MulticastGroupEntry(), p4r.CloneSessionEntry()
        wanted = [
            p4r.Entity(table_entry=p4r.TableEntry(table_id=each.preamble.id, meter_config=p4r.MeterConfig()))
            for each in self.p4info.tables
            if not each.is_const_table
        ]
        wanted += [
            p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(multicast_group_entry=group)),
            p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(clone_session_entry=clone)),
        ]
        wanted += [p4r.Entity(digest_entry=p4r.DigestEntry(digest_id=each.preamble.id)) for each in self.p4info.digests]
        found = [each for entity in wanted for each in self._find(entity)]
        return {key: each for each in found if (key := entity_key(each)) and not each.table_entry.is_const}

    def amend(self, difference: Difference) -> None:
        """Have the device hold what it shall: first what is missing or changed, then without what is stale.

        A device may take the updates of one request in any order. What depends on something else, such as an entry on
        a multicast group, is of another kind, and goes in a later request.
        """
        updates = [(p4r.Update.INSERT, each) for each in difference.missing]
        updates += [(p4r.Update.MODIFY, each) for each in difference.changed]
        updates += [(p4r.Update.DELETE, each) for each in difference.stale]
        for _, run in groupby(updates, lambda each: (each[0], *entity_key(each[1]).split()[:2])):
            self._gather([(p4r.Update(type=kind, entity=each), entity_key(each)) for kind, each in run])

    def set_default(self, table: str, action: str, params: Mapping[str, object] | None = None) -> None:
        """Set a table's default action."""
        entry = p4r.TableEntry(table_id=self._schema.tables.named(table).preamble.id, is_default_action=True)
        entry.action.CopyFrom(action_message(self._schema, table, action, params or {}))
        self._write(p4r.Update.MODIFY, p4r.Entity(table_entry=entry), f"default action of {table}")

    def reset_default(self, table: str) -> None:
        """Give a table back the default action that the program gives it."""
        entry = p4r.TableEntry(table_id=self._schema.tables.named(table).preamble.id, is_default_action=True)
        self._write(p4r.Update.MODIFY, p4r.Entity(table_entry=entry), f"default action of {table}")

    def read_table(self, table: str) -> list[TableEntry]:
        """Return a table's entries, the default action not among them."""
        number = self._schema.tables.named(table).preamble.id
        found = self._read(p4r.Entity(table_entry=p4r.TableEntry(table_id=number)))
        return [read_entry(self._schema, each.table_entry) for each in found]

    def read_default(self, table: str) -> TableEntry:
        """Return a table's default action, as an entry without a match."""
        number = self._schema.tables.named(table).preamble.id
        (found,) = self._read(p4r.Entity(table_entry=p4r.TableEntry(table_id=number, is_default_action=True)))
        return read_entry(self._schema, found.table_entry)

    # Replication

    def multicast(self, group: int, ports: Iterable[int | tuple[int, int]]) -> None:
        """Set the ports, or (port, instance) pairs, that a multicast group copies to; none removes the group."""
        entry = p4r.MulticastGroupEntry(multicast_group_id=group, replicas=replica_messages(ports))
        engine = p4r.PacketReplicationEngineEntry(multicast_group_entry=entry)
        self._put(engine, bool(entry.replicas), f"multicast group {group}")

    def clone_session(self, number: int, ports: Iterable[int | tuple[int, int]]) -> None:
        """Set the ports, or (port, instance) pairs, that a clone session copies to; none removes the session."""
        entry = p4r.CloneSessionEntry(session_id=number, replicas=replica_messages(ports))
        engine = p4r.PacketReplicationEngineEntry(clone_session_entry=entry)
        self._put(engine, bool(entry.replicas), f"clone session {number}")

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
        """Return one cell, or all: as an array of the narrowest type that fits, as a list of int above 64 bits."""
        info = self._schema.registers.named(name)
        entry = p4r.RegisterEntry(register_id=info.preamble.id)
        if index is not None:
            entry.index.index = index
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
        """Set cells: with one number a cell, or all without `index`; with a sequence those from `index`, or 0, on."""
        entries = register_messages(self._schema, name, values, index)
        updates = [p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(register_entry=each)) for each in entries]
        self._gather([(update, f"register {name}") for update in updates])

    @overload
    def read_counter(self, name: str) -> Counts: ...
    @overload
    def read_counter(self, name: str, index: int) -> Count: ...
    def read_counter(self, name: str, index: int | None = None) -> Counts | Count:
        """Return one cell of a counter, or all."""
        info = self._schema.counters.named(name)
        entry = p4r.CounterEntry(counter_id=info.preamble.id)
        if index is not None:
            entry.index.index = index
        found = [each.counter_entry for each in self._read(p4r.Entity(counter_entry=entry))]
        if index is not None:
            return Count(found[0].data.packet_count, found[0].data.byte_count)
        packets, octets = np.zeros(info.size, np.int64), np.zeros(info.size, np.int64)
        for each in found:
            packets[each.index.index], octets[each.index.index] = each.data.packet_count, each.data.byte_count
        return Counts(packets, octets)

    def write_counter(self, name: str, index: int | None = None, *, packets: int = 0, bytes: int = 0) -> None:
        """Set one cell of a counter, or all."""
        entry = p4r.CounterEntry(counter_id=self._schema.counters.named(name).preamble.id)
        if index is not None:
            entry.index.index = index
        entry.data.CopyFrom(p4r.CounterData(packet_count=packets, byte_count=bytes))
        self._write(p4r.Update.MODIFY, p4r.Entity(counter_entry=entry), f"counter {name}")

    def read_entry_counter(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> Count:
        """Return the direct counter of a table entry."""
        place = entry_message(self._schema, table, match, priority)
        entity = p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(table_entry=place))
        (found,) = self._read(entity)
        return Count(found.direct_counter_entry.data.packet_count, found.direct_counter_entry.data.byte_count)

    # Packets and digests

    def packet_out(self, payload: bytes, **metadata: object) -> None:
        """Send a packet out by the switch; `metadata` are the fields of its packet-out header, all of them.

        The switch has dealt with it when this returns, or, where it is busy, has it in its queue.
        """
        self.packets_out([payload], **metadata)
        self.flush()

    def packets_out(self, payloads: Iterable[bytes], **metadata: object) -> None:
        """Send packets out by the switch without waiting for it; they have one packet-out header."""
        fields = self._schema.packet_out
        names = {each.name for each in fields}
        if names != metadata.keys():
            raise DeviceError(
                f"packet-out takes the fields {', '.join(sorted(names)) or 'none'}, not {', '.join(metadata)}"
            )
        values = {each.id: number(metadata[each.name], each.bitwidth, f"packet-out {each.name}") for each in fields}
        header = to_metadata(fields, values)
        self._link.send_all(
            [p4r.StreamMessageRequest(packet=p4r.PacketOut(payload=each, metadata=header)) for each in payloads]
        )

    def packets_in(self, timeout: float = 0.0) -> list[PacketIn]:
        """Return the packets that the switch has sent here; waits up to `timeout` seconds for the first."""
        self.flush()
        return [self._packet_in(each) for each in self._link.take(self._link.packets, timeout)]

    def pick_packets(self, wanted: Callable[[PacketIn], bool], timeout: float = 0.0) -> list[PacketIn]:
        """Return those packets that the switch has sent here that are wanted; the others stay.

        Waits up to `timeout` seconds for the first.
        """
        taken = self._link.pick(self._link.packets, lambda each: wanted(self._packet_in(each)), timeout)
        return [self._packet_in(each) for each in taken]

    @cached_property
    def inband(self) -> InBand:
        """What takes packets to the switch's own CPU port and brings the answers: for `Program.state`."""
        return InBand(self)

    def subscribe(self, digest: str) -> None:
        """Have a digest's messages sent here, each of them, one at a time; they may be already."""
        if digest in self.subscriptions and self._planned is None:
            return
        config = p4r.DigestEntry.Config(max_list_size=1)
        entry = p4r.DigestEntry(digest_id=self._schema.digests.named(digest).preamble.id, config=config)
        self._write(p4r.Update.INSERT, p4r.Entity(digest_entry=entry), f"subscribe to {digest}")
        self.subscriptions.add(digest)

    def unsubscribe(self, digest: str) -> None:
        """Have no more of a digest's messages sent here."""
        entry = p4r.DigestEntry(digest_id=self._schema.digests.named(digest).preamble.id)
        self._write(p4r.Update.DELETE, p4r.Entity(digest_entry=entry), f"unsubscribe from {digest}")
        self.subscriptions.discard(digest)

    def digests(self, timeout: float = 0.0) -> list[DigestMessage]:
        """Return, and acknowledge, the digest messages sent here; waits up to `timeout` seconds for the first."""
        self.flush()
        heard, self._heard = self._heard, []
        return heard + self._told(0.0 if heard else timeout)

    def keep(self) -> None:
        """Have the digests sent here be heard by `digests` when another pipeline has taken the place of this one."""
        if self.subscriptions:
            # Only this pipeline explains them, and takes their acknowledgement.
            self._heard = self.digests()
            self.flush()

    def inherit(self, before: Session) -> None:
        """Hear what another session with the device has kept, and nobody has taken."""
        self._heard, before._heard = before._heard + self._heard, []

    def _told(self, timeout: float) -> list[DigestMessage]:
        messages = []
        for each in self._link.take(self._link.digests, timeout):
            info = self._schema.digests.of_id(each.digest_id)
            names = flat_names(info.type_spec, self._schema.types)
            kinds = flat_types(info.type_spec, self._schema.types)
            for data in each.data:
                values = decode_data(info.type_spec, self._schema.types, data, info.preamble.name)
                values = [
                    signed(one, kind.width) if kind.signed else one for one, kind in zip(values, kinds, strict=True)
                ]
                messages.append(DigestMessage(info.preamble.name, dict(zip(names, values, strict=True))))
            acknowledgement = p4r.DigestListAck(digest_id=each.digest_id, list_id=each.list_id)
            self._link.send(p4r.StreamMessageRequest(digest_ack=acknowledgement))
        return messages

    # Traces

    def trace(self, on: bool) -> None:
        """Have the switch tell every packet's way through its program, for `traces`, or no more.

        What has passed before is told when this returns. DeviceError for a switch that is not Midflight's own.
        """
        if not self._echoes:
            raise DeviceError(f"the P4Runtime server at {self.address} does not trace packets")
        message = p4r.StreamMessageRequest()
        message.other.Pack(BoolValue(value=on))
        self._link.send(message)
        self.flush()

    def traces(self, timeout: float = 0.0) -> list[str]:
        """Return the ways of packets, each as lines; waits up to `timeout` seconds for the first."""
        return self._link.take(self._link.traces, timeout)

    def _packet_in(self, message: p4r.PacketIn) -> PacketIn:
        fields = {each.id: each.name for each in self._schema.packet_in}
        values = {fields[one.metadata_id]: int.from_bytes(one.value, "big") for one in message.metadata}
        return PacketIn(message.payload, values)

    def _put(self, entry: p4r.PacketReplicationEngineEntry, wanted: bool, what: str) -> None:
        """Insert or change a group or session, or remove it where it is not wanted; whether it was there or not."""
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


def _action(name: str) -> Actions.Action.ValueType:
    actions = {
        "VERIFY": Actions.VERIFY,
        "VERIFY_AND_SAVE": Actions.VERIFY_AND_SAVE,
        "VERIFY_AND_COMMIT": Actions.VERIFY_AND_COMMIT,
        "RECONCILE_AND_COMMIT": Actions.RECONCILE_AND_COMMIT,
    }
    if name not in actions:
        raise DeviceError(f"no pipeline action {name!r}", hint=f"one of {', '.join(actions)}")
    return actions[name]
