"""What a primitive makes in its `setup` and a kernel works with."""

from __future__ import annotations

from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.register import Register

__all__ = ["State"]

State = Register | Map | Lookup
"""What outlives the packet: written by packets, by the controller, or by nobody."""
