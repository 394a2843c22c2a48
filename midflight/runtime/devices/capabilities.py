"""Capabilities: the limits and features of a device, which placement and `fit` compare with the needs of a program.

Those of a kind of device are in a sheet, a TOML file; see `sheetfile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["ARCHITECTURES", "RESOURCES", "Capabilities"]

ARCHITECTURES = ("v1model", "tna", "t2na")
"""The P4 architectures for which Midflight writes programs."""

RESOURCES: Mapping[str, str] = MappingProxyType(
    {
        "table": "tables",
        "register": "register ALUs",
        "counter": "counter ALUs",
        "sram": "SRAM blocks",
        "tcam": "TCAM blocks",
        "exact_bytes": "bytes of exact match keys",
        "ternary_bytes": "bytes of ternary match keys",
        "hash_bits": "hash bits",
        "hash_units": "hash units",
        "actions": "actions",
    }
)
"""The resources of a stage in `Capabilities.per_stage`, with the words for them in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The limits and features of one device. None means no limit, or unknown. Limits refer to what a program declares.

    * `kind`: the kind of device; `architecture`: that of its programs, of `ARCHITECTURES`.
    * `ports`, `port_rate`: the number of ports, and the rate of each in bits a second; `latency`: the time of a packet
      in the empty pipeline, in nanoseconds; `power`: watts under full load; `table_write`: the time of one table write
      in nanoseconds; `packet_io`: packets a second between the device and its controller.
    * `register_arrays`, `register_bits`: the number of register arrays and their total size; `register_width`: the
      width of a cell; `register_accesses`: the accesses of one packet to one array.
    * `table_entries`: the total number of table entries; `key_bits`: the width of a key.
    * `header_bits`: the size of the headers that a program parses.
    * `parse_bits`: the bits from the start of a packet that the parser reaches; `parser_states`: its transitions.
    * `stages`: the number of pipeline stages; `per_stage`: the amount of each resource in a stage, see `RESOURCES`.
    * `blocks`: rows and bits of one memory block of a kind (`sram`, `tcam`).
    * `containers`: the number of containers of the header vector by their width in bits. The header vector carries
      headers and metadata through the stages.
    * `stateful_operations`: what a register's ALU computes, by the operators' P4 spelling.
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
    ports: int | None = None
    port_rate: int | None = None
    latency: int | None = None
    power: float | None = None
    table_write: int | None = None
    packet_io: float | None = None
    parse_bits: int | None = None
    parser_states: int | None = None
    blocks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    containers: Mapping[int, int] = field(default_factory=dict)
    stateful_operations: frozenset[str] | None = None
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By key of the sheet, where its value comes from; empty for a value without a source."""

    @property
    def header_vector_bits(self) -> int | None:
        """The bits of the header vector; None without a limit."""
        return sum(width * number for width, number in self.containers.items()) or None
