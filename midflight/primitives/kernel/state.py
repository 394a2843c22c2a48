"""The types of state that a primitive creates in its `setup`: registers, maps and lookups."""

from __future__ import annotations

from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.register import Register

__all__ = ["State"]

State = Register | Map | Lookup
"""A register, a map or a lookup."""
