"""Network namespaces and the links between them: what iproute2 does, and what the kernel is told besides."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from midflight.errors import DeviceError

__all__ = ["command", "mac", "offloads_off", "set_options"]

_SIOCETHTOOL = 0x8946
# ETHTOOL_STXCSUM, SSG, STSO, SGSO, SGRO: what makes the kernel hand on packets that are not whole yet, or several in
# one. A switch that takes packets as they are must not see such.
_OFFLOADS = (0x17, 0x19, 0x1F, 0x24, 0x2C)
_PATIENCE = 60.0


def command(lines: Iterable[str], *, netns: str = "") -> None:
    """Run lines of iproute2's, all of them or up to the first that fails, in a namespace or outside of any.

    DeviceError with its words where one fails.
    """
    text = list(lines)
    arguments = ["ip", *(["-n", netns] if netns else []), "-batch", "-"]
    try:
        done = subprocess.run(
            arguments, input="".join(f"{line}\n" for line in text), capture_output=True, text=True, timeout=_PATIENCE
        )
    except FileNotFoundError:
        raise DeviceError("ip is needed and not on PATH", hint="install the package iproute2") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise DeviceError(f"ip refuses: {'; '.join(words)}", hint="see `midflight clean` for what an earlier run left")


def offloads_off(interfaces: Iterable[str]) -> None:
    """Have the kernel send packets by these interfaces as they are on a wire: checksummed, one by one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for interface in interfaces:
            for number in _OFFLOADS:
                value = ctypes.create_string_buffer(struct.pack("II", number, 0))
                request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
                try:
                    fcntl.ioctl(control, _SIOCETHTOOL, request)
                except OSError:  # an older kernel may not know the one or the other, but checksums it must
                    if number == _OFFLOADS[0]:
                        raise


def set_options(options: dict[str, str]) -> None:
    """Set options of the kernel's network stack, such as `ipv6/conf/all/disable_ipv6`; those it lacks are left."""
    for name, value in options.items():
        option = Path("/proc/sys/net", name)
        if option.exists():
            option.write_text(value)


def mac(number: int) -> str:
    """Return a MAC as iproute2 takes it."""
    return number.to_bytes(6, "big").hex(":")
