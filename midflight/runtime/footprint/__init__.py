"""What a checked program asks of a device, whichever device that is."""

from midflight.runtime.footprint.demand import Demand, Footprint, footprint
from midflight.runtime.footprint.operations import Operation

__all__ = ["Demand", "Footprint", "Operation", "footprint"]
