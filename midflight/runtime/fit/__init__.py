"""Costs: whether a checked program fits a device, stage by stage, and what it takes of each resource."""

from midflight.runtime.fit.fit import Fit, Placed, Problem, fit
from midflight.runtime.fit.limits import reasons_against

__all__ = ["Fit", "Placed", "Problem", "fit", "reasons_against"]
