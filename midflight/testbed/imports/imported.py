"""A network that the file of another tool describes, and helpers for reading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError, Place
from midflight.testbed.topology import LinkQuality, Topology
from midflight.userfiles import read_text

__all__ = ["Addresses", "Imported", "beside", "read_json", "usual_quality"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A network from the file of another tool.

    `programs` and `entries` are files by switch. With `direct`, hosts send to each other's MAC addresses, as in one
    subnet, and not to the switch's. `notes` name what the file has and the import does not take.
    """

    topology: Topology
    programs: dict[str, Path] = field(default_factory=dict)
    entries: dict[str, list[Path]] = field(default_factory=dict)
    direct: bool = False
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Addresses:
    """Addresses of hosts while a file is read: IPv4 and MAC addresses by host."""

    ipv4: dict[str, IPv4Address] = field(default_factory=dict)
    macs: dict[str, int] = field(default_factory=dict)

    def set(self, host: str, ip: str = "", mac: str = "") -> None:
        """Set the addresses of a host that are given; of "10.0.1.1/24", the address counts.

        MidflightError for text that is not an address.
        """
        try:
            if ip:
                self.ipv4[host] = IPv4Address(ip.partition("/")[0])
            if mac:
                self.macs[host] = int.from_bytes(bytes.fromhex(mac.replace(":", "")), "big")
        except ValueError as error:
            raise MidflightError(f"an address of {host}: {error}") from None


def read_json(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file. MidflightError, with the place, if it cannot be read or is not an object."""
    text = read_text(path)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if text else ""
        raise MidflightError(error.msg, place=Place(str(path), error.lineno, error.colno, 1, line)) from None
    except RecursionError:
        raise MidflightError(f"{path}: it is nested too deeply") from None
    if not isinstance(found, Mapping):
        raise MidflightError(f"{path}: a JSON object is expected")
    return found


def beside(name: str, path: Path) -> Path:
    """Return the file that another file names: relative to its folder, or to one of the two folders above.

    MidflightError if there is none; the tutorials name files relative to the folder of the exercise.
    """
    for folder in path.absolute().parents[:3]:
        if (folder / name).exists():
            return folder / name
    raise MidflightError(f"{path}: there is no file {name}", hint=f"it was searched in {path.parent} and above")


def usual_quality(delay: object = None, bandwidth: object = None, loss: object = None) -> LinkQuality:
    """Return the quality of a link in Mininet's terms: a delay such as "5ms" or a number of ms, Mbit/s, percent.

    None leaves the usual value. MidflightError for other values.
    """
    usual = LinkQuality()
    try:
        return LinkQuality(
            delay=usual.delay if delay is None else _nanoseconds(delay),
            rate=usual.rate if bandwidth is None else round(float(str(bandwidth)) * 1_000_000),
            loss=usual.loss if loss is None else float(str(loss)) / 100,
        )
    except ValueError:
        raise MidflightError(f"a link has an unknown delay, bandwidth or loss: {delay}, {bandwidth}, {loss}") from None


def _nanoseconds(delay: object) -> int:
    text = str(delay)
    for unit, size in (("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)):
        if text.endswith(unit):
            return round(float(text.removesuffix(unit)) * size)
    return round(float(text) * 1_000_000)
