"""The decision which device runs which application, with the reasons against the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.fit import fit
from midflight.runtime.fit.limits import reasons_against
from midflight.runtime.footprint import Footprint

__all__ = [
    "Decision", "Placement", "Refusal", "place", "reasons_against", "reasons_against_applications",
]  # fmt: skip


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
    applications share and for those placed on it before. For a `CheckedProgram`, a device with memory blocks in its
    sheet is costed stage by stage, by `fit`. An application that fits on no device is left to the hosts, so that
    placement always succeeds. P4Error if the program is invalid.
    """
    needs = program.footprint if isinstance(program, CheckedProgram) else program
    loads = dict.fromkeys(candidates, needs.shared)
    decisions: list[Decision] = []
    for application, demand in needs.applications.items():
        refusals: list[Refusal] = []
        for device, capabilities in candidates.items():
            together = loads[device] + demand
            if isinstance(program, CheckedProgram) and capabilities.blocks:
                names = [each.application for each in decisions if each.device == device]
                reasons = reasons_against_applications(program, capabilities, [*names, application])
            else:
                reasons = reasons_against(together, capabilities)
            if reasons:
                refusals.append(Refusal(device, reasons))
            else:
                loads[device] = together
                decisions.append(Decision(application, device, tuple(refusals)))
                break
        else:
            decisions.append(Decision(application, None, tuple(refusals)))
    return Placement(tuple(decisions))


def reasons_against_applications(
    program: CheckedProgram, capabilities: Capabilities, applications: Iterable[str]
) -> tuple[str, ...]:
    """Return all reasons why some applications of a program, by name, do not fit on a device together, as texts.

    Names that the program does not have are ignored; without any others, there are no reasons. A device with memory
    blocks in its sheet is costed by `fit`. P4Error if the program is invalid.
    """
    needs = program.footprint
    chosen = [each for each in needs.applications if each in set(applications)]
    if not chosen:
        return ()
    if capabilities.blocks:
        return tuple(str(each) for each in fit(program, capabilities, applications=chosen).problems)
    return reasons_against(sum((needs.applications[each] for each in chosen), needs.shared), capabilities)
