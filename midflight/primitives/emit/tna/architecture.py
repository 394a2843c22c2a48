"""Tofino's architectures, and the limits of their stateful ALUs that decide what a register's update may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ARCHITECTURES", "RESERVED", "Architecture"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One of Tofino's architectures. The limits are those in specs/device.cpp of p4c's back end for Tofino.

    `comparisons` is how many comparisons an update of a register may make, `inputs` how many numbers of a packet it may
    use, `results` how many words of 32 bits it may return, `updates` how many different updates a register may have.
    `name` is the architecture's in P4 and `chip` the product's. `cpu_port` is the port of the controller, and
    `recirculation` the port at which a packet comes around again.
    """

    name: str
    chip: str
    comparisons: int
    results: int
    inputs: int = 2
    updates: int = 4
    cpu_port: int = 192
    recirculation: int = 68


ARCHITECTURES: Mapping[str, Architecture] = {
    each.name: each
    for each in (
        Architecture("tna", "Tofino", comparisons=2, results=1),
        Architecture("t2na", "Tofino 2", comparisons=4, results=4, cpu_port=2, recirculation=6),
    )
}
"""The architectures by name."""

_RESERVED = """
bridge around mirror pipe refuse no_member min max sizeInBits sizeInBytes invalidate is_validated funnel_shift_right
ig_intr_md ig_prsr_md ig_dprsr_md ig_tm_md eg_intr_md eg_prsr_md eg_dprsr_md eg_oport_md packet stored result
ipv4_checksum udp_checksum power_of_two egress_headers_t egress_metadata_t
"""

RESERVED = frozenset(_RESERVED.split())
"""Names that programs for Tofino use, besides those that every program uses."""
