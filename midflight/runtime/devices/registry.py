"""Devices by the name of their kind. The module of a kind is imported on first use.

Another package adds kinds of devices with entry points of the group `midflight.devices`: the name is that of the kind,
and the object is a class like those of this package (see `Device`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from midflight.errors import DeviceError
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.capabilities import Capabilities

__all__ = ["GROUP", "KINDS", "capabilities", "kinds", "open_device"]

KINDS: Mapping[str, tuple[str, str]] = {
    "bmv2": ("midflight.runtime.devices.bmv2", "Bmv2Device"),
    "host": ("midflight.runtime.devices.host", "HostDevice"),
    "xdp": ("midflight.runtime.devices.xdp", "XdpDevice"),
}
"""By name, the module and class of each kind of device that comes with Midflight."""

GROUP = "midflight.devices"
"""The group of the entry points of other packages' kinds of devices."""

REMOTE = "grpc"


def kinds() -> tuple[str, ...]:
    """Return the names of all kinds of devices that `open_device` can start, those of other packages included."""
    return tuple(sorted({*KINDS, *(each.name for each in entry_points(group=GROUP))}))


def open_device(name: str, source: str | None = None, **options: Any) -> Device:
    """Start a device of the kind `name`, one of `kinds`, and return it.

    The name "grpc:ADDRESS" connects to a switch that runs already, at that P4Runtime address. `source` is the P4_16
    program to run; None waits for a controller to load one. `options` are further arguments of the kind's class.
    DeviceError for an unknown kind, or if the device does not start; P4Error for an invalid program; UnsupportedError
    for a valid program that the device cannot run.
    """
    kind, _, address = name.partition(":")
    if kind == REMOTE and address:
        from midflight.runtime.devices.remote import RemoteDevice

        return RemoteDevice(source, address=address, **options)
    device: Device = _class(name)(source, **options)
    return device


def capabilities(name: str) -> Capabilities:
    """Return the capability sheet of a kind of device, one of `kinds`, without starting one.

    DeviceError for an unknown kind, and for "grpc:ADDRESS".
    """
    sheet: Capabilities = _class(name).capabilities
    return sheet


def _class(name: str) -> Any:
    if name in KINDS:
        module, kind = KINDS[name]
        return getattr(import_module(module), kind)
    for each in entry_points(group=GROUP):
        if each.name == name:
            try:
                return each.load()
            except Exception as error:
                raise DeviceError(f"the device {name!r} of {each.value} cannot be imported: {error}") from error
    raise DeviceError(f"there is no device {name!r}", hint=f"the devices are {', '.join(kinds())} and {REMOTE}:ADDRESS")
