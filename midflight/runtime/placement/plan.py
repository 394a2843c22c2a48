"""The decision which device runs which application, with the reasons against the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.footprint import Demand, Footprint

__all__ = ["Decision", "Placement", "Refusal", "place", "reasons_against"]

CLONES = frozenset({"clone", "clone3", "clone_preserving_field_list"})
AROUND = frozenset({"recirculate", "recirculate_preserving_field_list", "resubmit", "resubmit_preserving_field_list"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device on which an application does not fit, by name, with all reasons as texts."""

    device: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The name of the device that runs an application; None if no device fits and the hosts compute instead.

    `refusals` are the devices that were tried before and on which it does not fit.
    """

    application: str
    device: str | None
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """A decision for each application of a program, in the program's order."""

    decisions: tuple[Decision, ...]

    def device_of(self, application: str) -> str | None:
        """Return the name of the device that runs an application, or None for the hosts. KeyError for an unknown
        application.
        """
        return {each.application: each.device for each in self.decisions}[application]

    def on(self, device: str | None) -> tuple[str, ...]:
        """Return the names of the applications that run on a device, in the program's order; None stands for
        the hosts.
        """
        return tuple(each.application for each in self.decisions if each.device == device)

    def explain(self) -> str:
        """Return the decisions as readable text, with the reasons against other devices below each."""
        lines = []
        for each in self.decisions:
            lines.append(f"{each.application}: {each.device or 'no device fits, so the hosts compute it'}")
            lines += [f"    not {refusal.device}: {'; '.join(refusal.reasons)}" for refusal in each.refusals]
        return "\n".join(lines)


def place(program: CheckedProgram | Footprint, candidates: Mapping[str, Capabilities]) -> Placement:
    """Place each application, in the program's order, on the first candidate that has room for it.

    `candidates` are capability sheets by device name, in order of preference. A device also needs room for what all
    applications share and for those placed on it before. An application that fits on no device is left to the hosts, so
    that placement always succeeds. P4Error if the program is invalid.
    """
    needs = program.footprint if isinstance(program, CheckedProgram) else program
    loads = dict.fromkeys(candidates, needs.shared)
    decisions = []
    for application, demand in needs.applications.items():
        refusals: list[Refusal] = []
        for device, capabilities in candidates.items():
            together = loads[device] + demand
            if reasons := reasons_against(together, capabilities):
                refusals.append(Refusal(device, reasons))
            else:
                loads[device] = together
                decisions.append(Decision(application, device, tuple(refusals)))
                break
        else:
            decisions.append(Decision(application, None, tuple(refusals)))
    return Placement(tuple(decisions))


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
