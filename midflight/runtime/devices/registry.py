"""Devices by name. Each kind is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from midflight.errors import DeviceError
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.capabilities import Capabilities

__all__ = ["KINDS", "capabilities", "open_device"]

KINDS = {
    "bmv2": ("midflight.runtime.devices.bmv2", "Bmv2Device"),
    "host": ("midflight.runtime.devices.host", "HostDevice"),
}
"""The module and class of each kind of device that can be started."""

REMOTE = "grpc"


def open_device(name: str, source: str | None = None, **options: Any) -> Device:
    """Start a device by the name of its kind, with a P4_16 program or without.

    The name "grpc:ADDRESS" is a device that runs already, at that address. `options` are the arguments of the kind's
    class. Raises DeviceError for an unknown kind, or if the device does not start.
    """
    kind, _, address = name.partition(":")
    if kind == REMOTE and address:
        from midflight.runtime.devices.remote import RemoteDevice

        return RemoteDevice(source, address=address, **options)
    device: Device = _class(name)(source, **options)
    return device


def capabilities(name: str) -> Capabilities:
    """Return the capabilities of a kind without starting a device. Raises DeviceError for an unknown kind."""
    sheet: Capabilities = _class(name).capabilities
    return sheet


def _class(name: str) -> Any:
    if name not in KINDS:
        raise DeviceError(
            f"there is no device {name!r}", hint=f"the devices are {', '.join(sorted(KINDS))} and {REMOTE}:ADDRESS"
        )
    module, kind = KINDS[name]
    return getattr(import_module(module), kind)
