"""Check of a whole program against a pipeline profile: each kernel by itself, then all of it together."""

from __future__ import annotations

from midflight.errors import MidflightError
from midflight.primitives import PROFILES, Profile, Program
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.sheetfile import named_sheet
from midflight.runtime.fit import fit, reasons_against

__all__ = ["broken_rules", "sheet"]

_CHIPS = {"asic": "tofino"}
"""The sheets with the memory of a profile's stages."""


def broken_rules(program: Program, checked: CheckedProgram, profile: str) -> tuple[MidflightError, ...]:
    """Return the errors of a program under a pipeline profile, given by name; empty if it satisfies the profile.

    `checked` is the same program as P4. Violations by kernels are returned with their source lines. If there are none,
    one error lists the resources that the whole program needs and the pipeline lacks. Raises KernelError for an unknown
    profile.
    """
    broken = program.check(profile)
    if broken:
        return broken
    limits = sheet(PROFILES[profile])
    reasons = list(reasons_against(checked.footprint.total, limits))
    if limits.blocks:
        # Stages are compared with their lower bound above; the memory of one table or register is the same in any.
        found = fit(checked, limits).problems
        reasons += [str(each) for each in found if each.operation and each.resource != "stages"]
    if not reasons:
        return ()
    hint = "make it smaller, or move some applications to another switch"
    return (MidflightError(f"the program does not fit {profile}: {'; '.join(reasons)}", hint=hint),)


def sheet(profile: Profile) -> Capabilities:
    """Return the capabilities of a device that just satisfies a pipeline profile. What the profile leaves open is
    unlimited, except for the memory of `asic`, which is that of Tofino.
    """
    rooms = {"register": profile.registers_per_stage, "table": profile.tables_per_stage}
    chip = named_sheet(_CHIPS[profile.name]) if profile.name in _CHIPS else None
    memory = {kind: chip.per_stage[kind] for kind in chip.blocks} if chip is not None else {}
    return Capabilities(
        kind=profile.name,
        register_width=profile.register_width,
        register_accesses=1,
        key_bits=profile.key_bits,
        stages=profile.stages,
        per_stage={kind: room for kind, room in rooms.items() if room is not None} | memory,
        blocks=chip.blocks if chip is not None else {},
        match_kinds=frozenset({"exact", "lpm", "ternary", "range", "optional"}),
        recirculation=profile.recirculation,
        multiplication=profile.multiplication,
        registers_over_p4runtime=False,
    )
