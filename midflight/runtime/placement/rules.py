"""A whole program held to the rules of a kind of pipeline: its kernels by their lines, and all of it together."""

from __future__ import annotations

from midflight.errors import MidflightError
from midflight.primitives import PROFILES, Profile, Program
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.placement.plan import reasons_against

__all__ = ["broken_rules", "sheet"]


def broken_rules(program: Program, checked: CheckedProgram, profile: str) -> tuple[MidflightError, ...]:
    """Return every rule of a profile that a program breaks, `checked` being its P4; MidflightError for an unknown one.

    What its kernels break is told by their lines. Where they keep the rules, what the program needs all together and
    the pipeline does not have is told in one error.
    """
    broken = program.check(profile)
    if broken:
        return broken
    reasons = reasons_against(checked.footprint.total, sheet(PROFILES[profile]))
    if not reasons:
        return ()
    hint = "make it smaller, or put some of its applications on another switch"
    return (MidflightError(f"the program does not fit {profile}: {'; '.join(reasons)}", hint=hint),)


def sheet(profile: Profile) -> Capabilities:
    """Return the sheet of a device that is as a profile says, and without a limit where the profile says none."""
    rooms = {"register": profile.registers_per_stage, "table": profile.tables_per_stage}
    return Capabilities(
        kind=profile.name,
        register_width=profile.register_width,
        register_accesses=1,
        key_bits=profile.key_bits,
        stages=profile.stages,
        per_stage={kind: room for kind, room in rooms.items() if room is not None},
        match_kinds=frozenset({"exact", "lpm", "ternary", "range", "optional"}),
        recirculation=profile.recirculation,
        multiplication=profile.multiplication,
        registers_over_p4runtime=False,
    )
