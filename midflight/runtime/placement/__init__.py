"""Placement of applications on devices: capabilities, needs and the decision."""

from midflight.runtime.placement.plan import Decision, Placement, Refusal, place, reasons_against

__all__ = ["Decision", "Placement", "Refusal", "place", "reasons_against"]
