"""Devices on real links: veth pairs in a network namespace of their own, for conformance tests."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import subprocess
from contextlib import ExitStack

from midflight.errors import DeviceError
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.xdp import XdpDevice
from midflight.runtime.engine.ports.namespace import Namespace
from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.reached import ReachedDevice

__all__ = ["SHORTEST", "open_live", "passes_links"]

SHORTEST = 14
"""The bytes of the shortest frame that an Ethernet interface sends."""

_PORTS = (*MEMBERS, SERVER)
_SIOCETHTOOL, _ETHTOOL_SGRO = 0x8946, 0x2C


def passes_links(case: Case) -> bool:
    """Return whether every packet of a case has at least the 14 bytes that an Ethernet interface sends."""
    return all(len(each.packet) >= SHORTEST for each in case.steps)


def open_live(kind: str) -> PacketDevice:
    """Open a device of a kind whose ports 1 to 4 are the near ends of veth pairs; packets use the far ends.

    The namespace and its interfaces disappear when it is closed. DeviceError without root, or if the kind has no ports
    on Linux interfaces.
    """
    with ExitStack() as opened:
        namespace = opened.enter_context(Namespace())
        namespace.run(_lay_out)
        near, far = ({port: f"{end}{port}" for port in _PORTS} for end in "sh")
        device = opened.enter_context(open_device(kind, interfaces=near, netns=namespace.path))
        settle = device.settle if isinstance(device, XdpDevice) else None
        kept = ExitStack()
        reached = ReachedDevice(device, far, netns=namespace.path, settle=settle, opened=kept)
        kept.push(opened.pop_all())
        return reached


def _lay_out() -> None:
    lines = [f"link add s{port} type veth peer name h{port}" for port in _PORTS]
    lines += [f"link set {end}{port} up" for port in _PORTS for end in "sh"]
    try:
        with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as file:  # noqa: PTH123 - not a user's file
            file.write("1")
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)
    except FileNotFoundError:
        raise DeviceError("the command ip is not installed", hint="install the package iproute2") from None
    except subprocess.CalledProcessError as error:
        raise DeviceError(f"cannot make interfaces: {error.stderr.strip()}") from None
    for port in _PORTS:
        _turn_on_gro(f"h{port}")


def _turn_on_gro(interface: str) -> None:
    """Turn on generic receive offload: veth then takes packets that XDP redirects to the other end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_SGRO, 1))
        request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
        fcntl.ioctl(control, _SIOCETHTOOL, request)
