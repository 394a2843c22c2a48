"""The public names for writing primitives: base classes, state, types, and checks of parameters."""

from midflight.primitives.kernel.header import Header
from midflight.primitives.kernel.limits import one_of, power_of_two, within
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.packet import Packet
from midflight.primitives.kernel.primitive import Primitive, parameter
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.types import bit, int_

__all__ = [
    "Header",
    "Lookup",
    "Map",
    "Packet",
    "Primitive",
    "Register",
    "bit",
    "int_",
    "one_of",
    "parameter",
    "power_of_two",
    "within",
]
