"""The limits of a sheet that concern a whole program: sums, features, and what it does not support."""

from __future__ import annotations

from collections.abc import Iterable

from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.footprint import Demand

__all__ = ["reasons_against"]

CLONES = frozenset({"clone", "clone3", "clone_preserving_field_list"})
AROUND = frozenset({"recirculate", "recirculate_preserving_field_list", "resubmit", "resubmit_preserving_field_list"})


def reasons_against(demand: Demand, capabilities: Capabilities) -> tuple[str, ...]:
    """Return, as texts, all reasons why a demand does not fit on a device; empty if it fits."""
    stages = demand.stages_on(capabilities.per_stage)
    amounts: list[tuple[int, int | None, str]] = [
        (demand.register_arrays, capabilities.register_arrays, "register arrays"),
        (demand.register_bits, capabilities.register_bits, "bits of registers"),
        (demand.register_width, capabilities.register_width, "bits in one register cell"),
        (demand.table_entries, capabilities.table_entries, "table entries"),
        (demand.key_bits, capabilities.key_bits, "bits in one match key"),
        (demand.header_bits, capabilities.header_bits, "bits of headers"),
        (stages, capabilities.stages, "stages"),
    ]
    reasons = [
        f"needs {need:,} {what}, has {limit:,}" for need, limit, what in amounts if limit is not None and need > limit
    ]
    if capabilities.register_accesses is not None:
        reasons += [
            f"one packet may access {name} {count} times, the limit is {capabilities.register_accesses}"
            for name, count in demand.accesses.items()
            if count > capabilities.register_accesses
        ]
    if capabilities.stages is not None:
        reasons += [f"{_list(circle)} depend on each other, so no stage can be first" for circle in demand.circles]
    reasons += _unknown(demand.match_kinds, capabilities.match_kinds, "match kind")
    reasons += _unknown(demand.externs, capabilities.externs, "extern")
    features = [
        (demand.multicast, capabilities.multicast, "multicast"),
        (not CLONES.isdisjoint(demand.externs), capabilities.clones, "clone"),
        (not AROUND.isdisjoint(demand.externs), capabilities.recirculation, "recirculate"),
        (demand.products, capabilities.multiplication, "multiply two numbers of a packet"),
        ("digest" in demand.externs, capabilities.digests, "send digests"),
    ]
    reasons += [f"cannot {what}" for needed, there, what in features if needed and not there]
    return tuple(reasons)


def _unknown(needs: Iterable[str], known: frozenset[str] | None, what: str) -> list[str]:
    missing = sorted(set(needs) - known) if known is not None else []
    return [f"does not support the {what}{'s' if len(missing) > 1 else ''} {_list(missing)}"] if missing else []


def _list(names: Iterable[str]) -> str:
    *front, last = names
    return f"{', '.join(front)} and {last}" if front else last
