"""Which primitive runs on which device: what a program asks for, what a device has, and the decision."""

from midflight.runtime.placement.footprint import Demand, Footprint, footprint
from midflight.runtime.placement.operations import Operation
from midflight.runtime.placement.plan import Decision, Placement, Refusal, place, reasons_against

__all__ = [
    "Decision",
    "Demand",
    "Footprint",
    "Operation",
    "Placement",
    "Refusal",
    "footprint",
    "place",
    "reasons_against",
]
