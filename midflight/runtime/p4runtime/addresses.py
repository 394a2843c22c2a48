"""Addresses of P4Runtime servers, as gRPC takes them: "host:port", or "unix:" and the path of a socket."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path

from midflight.errors import DeviceError

__all__ = ["LONGEST_PATH", "check_address"]

LONGEST_PATH = 107
"""The bytes that the path of a unix socket may have."""
_PORTS = 65535


def check_address(address: str, *, listening: bool = False) -> None:
    """Raise DeviceError for an address that no P4Runtime server can have; it does not connect.

    gRPC itself accepts some of these: it takes a TCP port modulo 65536. `listening` is whether a server is to listen at
    the address: then port 0 is valid, for which the system chooses a port, and the folder of a Unix socket must exist.
    """
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not path:
            raise DeviceError(f"{address!r} has no path", hint="write unix:/path/of/socket")
        if len(path.encode(errors="surrogateescape")) > LONGEST_PATH:
            raise DeviceError(f"{address} is too long for a socket", hint=f"a path has at most {LONGEST_PATH} bytes")
        if listening and not Path(path).absolute().parent.is_dir():
            raise DeviceError(f"cannot listen on {address}", hint=f"there is no folder {Path(path).absolute().parent}")
        return
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isdecimal() or not port.isascii():
        raise DeviceError(f"{address!r} is not an address", hint='write "host:port" or "unix:/path"')
    with suppress(ValueError):
        IPv6Address(host)  # without brackets, gRPC takes its port as the last part of the address
        raise DeviceError(f"{address!r} is not an address", hint=f"write [{host}]:{port}")
    if not (0 if listening else 1) <= int(port[:6]) <= _PORTS:
        raise DeviceError(f"{address}: a port is {0 if listening else 1} to {_PORTS}, not {port[:20]}")
