"""The resource model: what computes, how much of it is left, and the energy and carbon of its work.

CPUs, GPUs, FPGAs and switch pipelines are described alike, so that a path selector can compare them. Only a switch
pipeline has a `Room`: it computes at line rate or not at all, and its limits are slots, stages and memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from midflight.errors import MidflightError
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.footprint import Demand
from midflight.runtime.steering.metrics.catalogue import raw
from midflight.runtime.steering.metrics.levels import RawMetric

__all__ = ["Energy", "Processor", "Resource", "Room"]

_JOULES_PER_KILOWATT_HOUR = 3.6e6


class Processor(StrEnum):
    """The kinds of processor that compute for services."""

    CPU = "cpu"
    GPU = "gpu"
    FPGA = "fpga"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Energy:
    """The energy of a unit of work, and the carbon of the energy.

    `joules_per_operation` is what an operation adds to the idle power of the machine. `grams_per_kilowatt_hour` is the
    carbon intensity of the site's electricity, in grams of CO2 equivalent. MidflightError if one of them is negative.
    """

    joules_per_operation: float = 0.0
    grams_per_kilowatt_hour: float = 0.0

    def __post_init__(self) -> None:
        if not (self.joules_per_operation >= 0 and self.grams_per_kilowatt_hour >= 0):
            raise MidflightError(f"energy {self} is negative")

    def joules(self, operations: float) -> float:
        """Return the energy of some operations in joules."""
        return operations * self.joules_per_operation

    def grams(self, operations: float) -> float:
        """Return the carbon of some operations in grams of CO2 equivalent."""
        return self.joules(operations) / _JOULES_PER_KILOWATT_HOUR * self.grams_per_kilowatt_hour


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a switch pipeline, or what a request class needs there. None is no limit, or no need.

    `slots` are those of a primitive's protocol, such as the shadow copies of an aggregation; the others are pipeline
    stages, bits of registers and table entries.
    """

    slots: int | None = None
    stages: int | None = None
    register_bits: int | None = None
    table_entries: int | None = None

    @classmethod
    def left(cls, capabilities: Capabilities, used: Demand, slots: int | None = None) -> Room:
        """Return what a device's capability sheet leaves beside a program's demand, never below 0.

        `slots` are the free slots of a primitive, which a sheet does not have; None if that is not known.
        """

        def less(limit: int | None, need: int) -> int | None:
            return None if limit is None else max(0, limit - need)

        return cls(
            slots,
            less(capabilities.stages, used.stages_on(capabilities.per_stage)),
            less(capabilities.register_bits, used.register_bits),
            less(capabilities.table_entries, used.table_entries),
        )

    def lacks(self, need: Room) -> tuple[str, ...]:
        """Return, as texts, what of a need does not fit here; empty if all of it does."""
        amounts = [
            (need.slots, self.slots, "slots"),
            (need.stages, self.stages, "stages"),
            (need.register_bits, self.register_bits, "bits of registers"),
            (need.table_entries, self.table_entries, "table entries"),
        ]
        return tuple(
            f"needs {wanted:,} {what}, has {free:,}"
            for wanted, free, what in amounts
            if wanted is not None and free is not None and wanted > free
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One processor, or several of a kind, of one instance.

    * `rate`: operations a second of one unit, above 0; `units`: how many work in parallel (cores, GPUs), at least 1.
    * `memory`: free bytes; None is no limit. `busy`: the share of the time that units work, 0 to 1.
    * `latency`: seconds, at least 0, that a request takes apart from its operations, such as a transfer to the GPU.
    * `energy`: what operations cost in energy.
    * `tenants`: who may use it; None is everybody. `primitives`: the names of the primitives that it computes; None is
      any code.
    * `room`: what is left of a switch pipeline; None for other processors.

    MidflightError if `rate`, `units`, `busy` or `latency` is out of its range; the other values are not checked.
    """

    processor: Processor
    rate: float
    units: int = 1
    memory: int | None = None
    busy: float = 0.0
    latency: float = 0.0
    energy: Energy = field(default_factory=Energy)
    tenants: frozenset[str] | None = None
    primitives: frozenset[str] | None = None
    room: Room | None = None

    def __post_init__(self) -> None:
        if not self.rate > 0 or self.units < 1 or not 0 <= self.busy <= 1 or not self.latency >= 0:
            raise MidflightError(
                f"{self.processor}: rate {self.rate} and units {self.units} must be positive, busy {self.busy} from 0 "
                f"to 1, and latency {self.latency} not negative"
            )

    @property
    def spare(self) -> float:
        """The operations per second of all units that are left, beyond what keeps them `busy` now."""
        return self.rate * self.units * (1 - self.busy)

    def time(self, operations: float) -> float:
        """Return the expected seconds of a request with this many operations; infinite if all units are busy.

        A unit shares its time evenly between requests, so their service time is divided by the idle share (processor
        sharing: Kleinrock, Queueing Systems, volume 2, section 4.4). A pipeline does not queue.
        """
        if self.processor is Processor.SWITCH:
            return self.latency
        if self.busy == 1:
            return float("inf")
        return self.latency + operations / self.rate / (1 - self.busy)

    def raw(self) -> tuple[RawMetric, ...]:
        """Return the resource as raw metrics: the rate of all units, the share of them that is in use, and, as far as
        they are known, free memory, energy and carbon of an operation, and free room.
        """
        found = [raw("compute_operations_rate", self.rate * self.units), raw("compute_cpu_utilization", self.busy)]
        if self.memory is not None:
            found.append(raw("compute_memory_free", self.memory))
        if self.energy.joules_per_operation:
            found.append(raw("compute_energy_per_operation", self.energy.joules_per_operation))
            found.append(raw("compute_carbon_per_operation", self.energy.grams(1)))
        if self.room is not None:
            free = {
                "compute_slots_free": self.room.slots,
                "compute_stages_free": self.room.stages,
                "compute_register_bits_free": self.room.register_bits,
                "compute_table_entries_free": self.room.table_entries,
            }
            found += [raw(kind, value) for kind, value in free.items() if value is not None]
        return tuple(found)
