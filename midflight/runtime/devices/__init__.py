"""Devices: one file for each kind of hardware, behind one small interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from midflight.runtime.devices.base import Device, PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.registry import capabilities, kinds, open_device
from midflight.runtime.devices.sheetfile import load_sheet

if TYPE_CHECKING:
    from midflight.runtime.devices.bmv2 import Bmv2Device
    from midflight.runtime.devices.host import HostDevice

__all__ = [
    "Bmv2Device", "Capabilities", "Device", "HostDevice", "PipelineConfig", "capabilities", "kinds", "load_sheet",
    "open_device",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a kind of device on first use, because each imports a compiler or a driver."""
    if name == "Bmv2Device":
        from midflight.runtime.devices.bmv2 import Bmv2Device

        return Bmv2Device
    if name == "HostDevice":
        from midflight.runtime.devices.host import HostDevice

        return HostDevice
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
