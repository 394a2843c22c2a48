"""Lookup of P4Info objects by id and by name, for server and client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from finsy.proto import p4i, p4t

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["NEEDS_PRIORITY", "Described", "Names", "Schema", "match_fields"]

NEEDS_PRIORITY = frozenset({p4i.MatchField.TERNARY, p4i.MatchField.RANGE, p4i.MatchField.OPTIONAL})


def match_fields(table: p4i.Table) -> dict[str, p4i.MatchField]:
    """Return the match fields of a table by name, in the table's order.

    P4 allows several keys with one name. They get numbers: `hdr.h.a#1` is the first key named `hdr.h.a`, and so on.
    """
    times = Counter(each.name for each in table.match_fields)
    seen: Counter[str] = Counter()
    fields = {}
    for each in table.match_fields:
        seen[each.name] += 1
        fields[each.name if times[each.name] == 1 else f"{each.name}#{seen[each.name]}"] = each
    return fields


class Described(Protocol):
    """An object that P4Info describes, such as a table or a register."""

    @property
    def preamble(self) -> p4i.Preamble:
        """The object's id, name and alias."""


T = TypeVar("T", bound=Described)


class Names(Generic[T]):
    """The objects of one kind in a P4Info, by id, by fully qualified name and by alias. `what` is the kind in
    messages.
    """

    def __init__(self, what: str, objects: Iterable[T]) -> None:
        self.what = what
        listed = list(objects)
        self.by_id: dict[int, T] = {each.preamble.id: each for each in listed}
        self.by_name: dict[str, T] = {each.preamble.alias: each for each in listed}
        # A full name has precedence over another object's alias.
        self.by_name.update({each.preamble.name: each for each in listed})

    def __iter__(self) -> Iterator[T]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def of_id(self, number: int) -> T:
        """Return the object with this id, which a client has sent. Refusal with INVALID_ARGUMENT for an unknown id."""
        if number not in self.by_id:
            raise Refusal(Code.INVALID_ARGUMENT, f"the pipeline has no {self.what} of id {number:#010x}")
        return self.by_id[number]

    def named(self, name: str) -> T:
        """Return the object with a full name or alias. DeviceError, which lists the known names, if there is none."""
        if name not in self.by_name:
            known = sorted({each.preamble.name for each in self.by_id.values()})
            hint = f"it has {', '.join(known)}" if known else f"it has no {self.what}"
            raise DeviceError(f"the pipeline has no {self.what} {name!r}", hint=hint)
        return self.by_name[name]


class Schema:
    """The objects that a P4Info describes, by kind: tables, actions, counters and so on, each by name and by id."""

    def __init__(self, info: p4i.P4Info) -> None:
        self.info = info
        self.tables: Names[p4i.Table] = Names("table", info.tables)
        self.actions: Names[p4i.Action] = Names("action", info.actions)
        self.counters: Names[p4i.Counter] = Names("counter", info.counters)
        self.direct_counters: Names[p4i.DirectCounter] = Names("direct counter", info.direct_counters)
        self.meters: Names[p4i.Meter] = Names("meter", info.meters)
        self.direct_meters: Names[p4i.DirectMeter] = Names("direct meter", info.direct_meters)
        self.registers: Names[p4i.Register] = Names("register", info.registers)
        self.digests: Names[p4i.Digest] = Names("digest", info.digests)
        self.profiles: Names[p4i.ActionProfile] = Names("action profile", info.action_profiles)
        self.value_sets: Names[p4i.ValueSet] = Names("value set", info.value_sets)
        headers = {each.preamble.name: list(each.metadata) for each in info.controller_packet_metadata}
        self.packet_in: list[p4i.ControllerPacketMetadata.Metadata] = headers.get("packet_in", [])
        self.packet_out: list[p4i.ControllerPacketMetadata.Metadata] = headers.get("packet_out", [])

    @property
    def types(self) -> p4t.P4TypeInfo:
        """The named types that registers and digests refer to."""
        return self.info.type_info

    def profile_of(self, table: p4i.Table) -> p4i.ActionProfile | None:
        """Return the action profile or selector of a table, or None."""
        return self.profiles.by_id.get(table.implementation_id)

    def counter_of(self, table: p4i.Table) -> p4i.DirectCounter | None:
        """Return the direct counter of a table, or None."""
        known = self.direct_counters.by_id
        return next((known[each] for each in table.direct_resource_ids if each in known), None)

    def meter_of(self, table: p4i.Table) -> p4i.DirectMeter | None:
        """Return the direct meter of a table, or None."""
        known = self.direct_meters.by_id
        return next((known[each] for each in table.direct_resource_ids if each in known), None)
