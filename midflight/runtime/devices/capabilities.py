"""Capabilities: the limits and features of a device, which placement compares with the footprint of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Capabilities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The limits and features of one device. None means no limit. Limits refer to what a program declares.

    * `kind`: the kind of device; `architecture`: the architecture of its programs.
    * `register_arrays`, `register_bits`: the number of register arrays and their total size; `register_width`: the
      width of a cell; `register_accesses`: the accesses of one packet to one array.
    * `table_entries`: the total number of table entries; `key_bits`: the width of a key.
    * `header_bits`: the size of the headers that a program parses.
    * `stages`: the number of pipeline stages; `per_stage`: the operations of a kind (`register`, `table`) in a stage.
    * `match_kinds`, `externs`: the supported ones, by their names in v1model.
    * `multicast`, `clones`, `digests`: whether a controller can configure them.
    * `recirculation`: whether a packet may pass the pipeline more than once.
    * `multiplication`: whether two numbers that are not constants can be multiplied.
    * `registers_over_p4runtime`: whether P4Runtime can access registers; otherwise programs carry them in packets.
    * `repeated_digests`: whether a digest is sent even if it equals an unacknowledged one, which P4Runtime leaves open.
    * `prompt_digests`: whether the digests of a packet have been sent when its processing is complete.
    * `live_pipelines`: whether the program can change while the device runs; otherwise the device must be restarted.
    * `packets_per_second`: an order of magnitude, for small packets on one core.
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
