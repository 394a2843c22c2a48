"""Which primitive runs on which device: what a device has, what a program asks for, and the decision."""

from midflight.runtime.placement.plan import Decision, Placement, Refusal, place, reasons_against

__all__ = ["Decision", "Placement", "Refusal", "place", "reasons_against"]
