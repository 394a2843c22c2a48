"""The switches of a fabric as a controller sees them."""

from __future__ import annotations

from midflight.errors import MidflightError
from midflight.runtime.devices.base import Device
from midflight.runtime.p4runtime.client.session import Session
from midflight.testbed.fabric.base import Fabric, Switchable

__all__ = ["FabricEndpoint"]


class FabricEndpoint:
    """The switch `name` of a fabric, as a controller reaches it (a `SwitchEndpoint`)."""

    def __init__(self, fabric: Fabric, name: str) -> None:
        self.name = name
        self._fabric = fabric

    @property
    def device(self) -> Device:
        """The fabric's current device for this switch. It is another object after the switch was turned off and on."""
        return self._fabric.devices[self.name]

    def session(self) -> Session:
        """Open a P4Runtime session with the switch, which the caller closes. DeviceError if it does not answer."""
        return self.device.session()

    def power(self, *, on: bool) -> None:
        """Turn the switch off (`on` False) or on. MidflightError if this fabric's switches cannot be turned off."""
        if not isinstance(self._fabric, Switchable):
            raise MidflightError("the switches of this fabric cannot be turned off", hint="use the fabric sim or netns")
        self._fabric.power(self.name, on=on)
