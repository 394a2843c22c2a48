"""The raw metrics that Midflight's agents measure: their units, and the category of level 1 that each belongs to.

The draft leaves raw metrics to implementations (section 4.4.1); the names follow its manner. Metrics with other names
may be exchanged too, and are ignored by whoever does not know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from midflight.runtime.steering.metrics.levels import Category, RawMetric, Source, Statistics

__all__ = ["KINDS", "Kind", "raw"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of raw metric: its unit, its category, and the source of its values by default."""

    unit: str
    category: Category
    source: Source = Source.MEASURED


_COMPUTING, _SERVICE, _NETWORK = Category.COMPUTING, Category.SERVICE, Category.COMMUNICATION

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "compute_cpu_utilization": Kind("none", _COMPUTING),
        "compute_cpu_cores": Kind("none", _COMPUTING, Source.NOMINAL),
        "compute_memory_free": Kind("byte", _COMPUTING),
        "compute_memory_size": Kind("byte", _COMPUTING, Source.NOMINAL),
        "compute_load": Kind("none", _COMPUTING),
        "compute_operations_rate": Kind("hz", _COMPUTING, Source.NOMINAL),
        "compute_slots_free": Kind("none", _COMPUTING),
        "compute_stages_free": Kind("none", _COMPUTING),
        "compute_register_bits_free": Kind("bit", _COMPUTING),
        "compute_table_entries_free": Kind("none", _COMPUTING),
        "compute_energy_per_operation": Kind("joule", _COMPUTING, Source.NOMINAL),
        "compute_carbon_per_operation": Kind("gram", _COMPUTING, Source.ESTIMATION),
        "service_available": Kind("none", _SERVICE),
        "service_queue_length": Kind("none", _SERVICE),
        "service_concurrency": Kind("none", _SERVICE),
        "service_time": Kind("second", _SERVICE),
        "service_request_rate": Kind("hz", _SERVICE),
        "service_hit_rate": Kind("none", _SERVICE),
        "network_delay": Kind("second", _NETWORK, Source.ESTIMATION),
        "network_loss": Kind("none", _NETWORK),
        "network_queue": Kind("byte", _NETWORK, Source.ESTIMATION),
        "network_queue_depth": Kind("packet", _NETWORK),
        "network_queue_delay": Kind("second", _NETWORK),
        "network_switch_delay": Kind("second", _NETWORK),
        "network_rate": Kind("bps", _NETWORK),
        "network_utilization": Kind("none", _NETWORK),
        "service_workers": Kind("none", _SERVICE, Source.NOMINAL),
    }
)
"""The known types of raw metrics. Utilisations, losses and hit rates are shares from 0 to 1.

Their order numbers them in the binary form of updates, so new ones are added at the end.
"""


def raw(kind: str, value: float, statistics: Statistics = Statistics.CURRENT) -> RawMetric:
    """Return a raw metric of a known type with the type's unit and source. KeyError if the type is not in `KINDS`.

    MidflightError if the value is not finite.
    """
    known = KINDS[kind]
    return RawMetric(kind, value, known.unit, known.source, statistics)
