"""What a device can hold and do: the sheet that a program is costed against before it is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Capabilities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """One device's limits. None means that there is none worth counting; quantities are what a program declares.

    `kind` names the kind of device. Of register arrays it holds `register_arrays`, with `register_bits` in all and
    cells of at most `register_width` bits, and one packet reaches each at most `register_accesses` times. Its
    tables have `table_entries` in all and keys of at most `key_bits`; its packets carry `header_bits` of headers
    that a program parses. `stages` is the length of its pipeline, and `per_stage` how many operations of a kind
    (`register`, `table`) one stage holds. `match_kinds` and `externs` are what it knows by v1model's names.

    `architecture` is the one that its programs are written for. `multicast`, `clones` and `digests` tell what a
    controller can set up, `recirculation` whether a packet may pass the pipeline more than once, `multiplication`
    whether it multiplies numbers none of which is a constant, and `registers_over_p4runtime` whether the controller
    reads and writes registers directly; else a program has to carry them in packets. `repeated_digests` tells whether a
    digest that is like one not yet acknowledged is sent all the same, which P4Runtime leaves open, and
    `prompt_digests` whether a packet's digests are on their way to the controller by the time it is dealt with.
    `live_pipelines` tells whether it takes another program while it runs; else it has to be switched off and on for it.
    `packets_per_second` is an order of magnitude, for small packets on one core.
    """

    kind: str
    register_arrays: int | None = None
    register_bits: int | None = None
    register_width: int | None = None
    register_accesses: int | None = None
    table_entries: int | None = None
    key_bits: int | None = None
    header_bits: int | None = None
    stages: int | None = None
    per_stage: Mapping[str, int] = field(default_factory=dict)
    match_kinds: frozenset[str] | None = None
    externs: frozenset[str] | None = None
    architecture: str = "v1model"
    multicast: bool = True
    clones: bool = True
    recirculation: bool = True
    multiplication: bool = True
    digests: bool = True
    registers_over_p4runtime: bool = True
    repeated_digests: bool = True
    prompt_digests: bool = True
    live_pipelines: bool = True
    packets_per_second: float | None = None
