"""The Read RPC: entities by key or by wildcard (P4Runtime specification 1.5, section 13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Self

from finsy.proto import p4r, rpc_status

from midflight.runtime.p4runtime.server import arrays, direct, entries, meters, profiles, replication, valuesets
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Code, Refusal, batch_status

__all__ = ["CHUNK", "Reading"]

CHUNK = 512
"""The maximum number of entities in one response."""

CHUNK_BYTES = 2 << 20
"""The size in bytes after which a response gets no more entities, below gRPC's usual limit of 4 MB."""


class Reading:
    """The answer to a Read in parts: an iterator over lists of entities, each collected while `lock` is held.

    The lock is free between two parts, so an entity that changes meanwhile appears in its state before or after the
    change. After the last part, `status` is the status of the batch, or None if no entity was rejected.
    """

    def __init__(self, pipeline: Pipeline, request: p4r.ReadRequest, lock: AbstractContextManager[object]) -> None:
        self.status: rpc_status.Status | None = None
        self._lock = lock
        self._outcomes: list[Refusal | None] = []
        self._entities = self._all(pipeline, request)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[p4r.Entity]:
        part: list[p4r.Entity] = []
        size = 0
        with self._lock:
            for entity in self._entities:
                part.append(entity)
                size += entity.ByteSize()
                if len(part) == CHUNK or size >= CHUNK_BYTES:
                    break
        if not part:
            if any(self._outcomes):
                self.status = batch_status(self._outcomes, "requests")
            raise StopIteration
        return part

    def _all(self, pipeline: Pipeline, request: p4r.ReadRequest) -> Iterator[p4r.Entity]:
        for entity in request.entities:
            try:
                yield from _read(pipeline, entity)
                self._outcomes.append(None)
            except Refusal as refusal:
                self._outcomes.append(refusal)


def _read(pipeline: Pipeline, entity: p4r.Entity) -> Iterator[p4r.Entity]:
    match entity.WhichOneof("entity"):
        case "table_entry":
            for entry in entries.read_entries(pipeline, entity.table_entry):
                yield p4r.Entity(table_entry=entry)
        case "register_entry":
            for register in arrays.read_register(pipeline, entity.register_entry):
                yield p4r.Entity(register_entry=register)
        case "counter_entry":
            for counter in arrays.read_counter(pipeline, entity.counter_entry):
                yield p4r.Entity(counter_entry=counter)
        case "direct_counter_entry":
            for count in direct.read_counters(pipeline, entity.direct_counter_entry):
                yield p4r.Entity(direct_counter_entry=count)
        case "meter_entry":
            for meter in meters.read_meter(pipeline, entity.meter_entry):
                yield p4r.Entity(meter_entry=meter)
        case "direct_meter_entry":
            for rate in direct.read_meters(pipeline, entity.direct_meter_entry):
                yield p4r.Entity(direct_meter_entry=rate)
        case "packet_replication_engine_entry":
            for copies in replication.read(pipeline, entity.packet_replication_engine_entry):
                yield p4r.Entity(packet_replication_engine_entry=copies)
        case "digest_entry":
            number = entity.digest_entry.digest_id
            for each in [number] if number else sorted(pipeline.digests.configs):
                config = pipeline.digests.read(each)
                yield p4r.Entity(digest_entry=p4r.DigestEntry(digest_id=each, config=config))
        case "action_profile_member":
            for member in profiles.read_members(pipeline, entity.action_profile_member):
                yield p4r.Entity(action_profile_member=member)
        case "action_profile_group":
            for group in profiles.read_groups(pipeline, entity.action_profile_group):
                yield p4r.Entity(action_profile_group=group)
        case "value_set_entry":
            for values in valuesets.read(pipeline, entity.value_set_entry):
                yield p4r.Entity(value_set_entry=values)
        case None:
            raise Refusal(Code.INVALID_ARGUMENT, "the read request has an entity without contents")
        case which:
            raise Refusal(Code.UNIMPLEMENTED, f"{which} is not supported")
