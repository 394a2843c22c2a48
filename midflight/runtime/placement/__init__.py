"""Placement: the decision which application of a program runs on which device, from capabilities and needs."""

from midflight.runtime.placement.plan import Decision, Placement, Refusal, place, reasons_against

__all__ = ["Decision", "Placement", "Refusal", "place", "reasons_against"]
