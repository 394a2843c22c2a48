"""The footprint of a checked program: what it needs from a device, independent of the kind of device."""

from midflight.runtime.footprint.demand import Demand, Footprint, footprint
from midflight.runtime.footprint.operations import Operation

__all__ = ["Demand", "Footprint", "Operation", "footprint"]
