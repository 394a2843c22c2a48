"""Devices by name, each kind imported when it is first asked for."""

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
"""Each kind's module and class: the kinds that can be started."""

REMOTE = "grpc"


def open_device(name: str, source: str | None = None, **options: Any) -> Device:
    """Start a device of a kind, with a P4_16 program or without. DeviceError names the kinds there are.

    "grpc:ADDRESS" is one that runs already: nothing is started, and P4Runtime is spoken to it there.
    """
    kind, _, address = name.partition(":")
    if kind == REMOTE and address:
        from midflight.runtime.devices.remote import RemoteDevice

        return RemoteDevice(source, address=address, **options)
    device: Device = _class(name)(source, **options)
    return device


def capabilities(name: str) -> Capabilities:
    """Return the capability sheet of a kind, without starting one."""
    sheet: Capabilities = _class(name).capabilities
    return sheet


def _class(name: str) -> Any:
    if name not in KINDS:
        raise DeviceError(f"no device {name!r}", hint=f"there is {', '.join(sorted(KINDS))} and {REMOTE}:ADDRESS")
    module, kind = KINDS[name]
    return getattr(import_module(module), kind)
