"""Network namespaces, the links between them, and work done inside them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from midflight.errors import DeviceError
from midflight.testbed.fabric.janitor import NETNS

__all__ = ["command", "inside", "mac", "offloads_off", "set_options"]

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000
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


def inside(netns: str, work: Callable[[], Result]) -> Result:
    """Return what `work()` returns when it is done by a thread in a network namespace.

    A socket that it opens stays in that namespace wherever it is used.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            place = os.open(NETNS / netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(place, _CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number), str(NETNS / netns))
            finally:
                os.close(place)
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter, name=f"in {netns}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


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
