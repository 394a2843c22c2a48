"""Devices by the name of their kind. The module of a kind is imported on first use."""

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
    "xdp": ("midflight.runtime.devices.xdp", "XdpDevice"),
}
"""By name, the module and class of each kind of device that `open_device` can start."""

REMOTE = "grpc"


def open_device(name: str, source: str | None = None, **options: Any) -> Device:
    """Start a device of the kind `name`, "host", "bmv2" or "xdp", and return it.

    The name "grpc:ADDRESS" connects to a switch that runs already, at that P4Runtime address. `source` is the P4_16
    program to run; None waits for a controller to load one. `options` are further arguments of the kind's class.
    DeviceError for an unknown kind, or if the device does not start; P4Error for an invalid program.
    """
    kind, _, address = name.partition(":")
    if kind == REMOTE and address:
        from midflight.runtime.devices.remote import RemoteDevice

        return RemoteDevice(source, address=address, **options)
    device: Device = _class(name)(source, **options)
    return device


def capabilities(name: str) -> Capabilities:
    """Return the capability sheet of a kind of device, "host", "bmv2" or "xdp", without starting one.

    DeviceError for an unknown kind.
    """
    sheet: Capabilities = _class(name).capabilities
    return sheet


def _class(name: str) -> Any:
    if name not in KINDS:
        raise DeviceError(
            f"there is no device {name!r}", hint=f"the devices are {', '.join(sorted(KINDS))} and {REMOTE}:ADDRESS"
        )
    module, kind = KINDS[name]
    return getattr(import_module(module), kind)
