"""Setup of network namespaces and links, by iproute2 and by options of the kernel."""

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
# ETHTOOL_STXCSUM, SSG, STSO, SGSO, SGRO: with these offloads, the kernel passes on packets without checksums, or
# several packets as one. A switch must see packets as they would be on a wire.
_OFFLOADS = (0x17, 0x19, 0x1F, 0x24, 0x2C)
_PATIENCE = 60.0


def command(lines: Iterable[str], *, netns: str = "") -> None:
    """Run lines of commands with `ip -batch`, and stop at the first that fails. Earlier lines remain in effect.

    `netns` is the name of a network namespace to run them in; empty means the current one. DeviceError, with iproute2's
    message, if a line fails or `ip` is not on PATH.
    """
    text = list(lines)
    arguments = ["ip", *(["-n", netns] if netns else []), "-batch", "-"]
    try:
        done = subprocess.run(
            arguments, input="".join(f"{line}\n" for line in text), capture_output=True, text=True, timeout=_PATIENCE
        )
    except FileNotFoundError:
        raise DeviceError("ip is not on PATH", hint="install the package iproute2") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise DeviceError(
            f"ip failed: {'; '.join(words)}", hint="`midflight clean` removes what an earlier run has left behind"
        )


def offloads_off(interfaces: Iterable[str]) -> None:
    """Turn off the offloads of these network interfaces, so that the kernel sends complete packets, with checksums,
    singly.

    OSError if checksum offload cannot be turned off; other offloads that a kernel does not support are ignored.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for interface in interfaces:
            for number in _OFFLOADS:
                value = ctypes.create_string_buffer(struct.pack("II", number, 0))
                request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
                try:
                    fcntl.ioctl(control, _SIOCETHTOOL, request)
                except OSError:  # an older kernel may not support all of them, but it must compute checksums
                    if number == _OFFLOADS[0]:
                        raise


def set_options(options: dict[str, str]) -> None:
    """Set options of the current namespace's network stack, by path below /proc/sys/net: `ipv6/conf/all/disable_ipv6`.

    Options that the kernel does not have are ignored. PermissionError without root.
    """
    for name, value in options.items():
        option = Path("/proc/sys/net", name)
        if option.exists():
            option.write_text(value)


def mac(number: int) -> str:
    """Return a 48-bit MAC address as text, such as 02:00:00:00:00:01."""
    return number.to_bytes(6, "big").hex(":")
