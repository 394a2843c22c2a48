"""A network that the file of another tool describes, and helpers for reading it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError, Place
from midflight.testbed.topology import LinkQuality, Topology
from midflight.userfiles import read_text

__all__ = ["Addresses", "Imported", "beside", "listed", "read_json", "usual_quality"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A network from the file of another tool.

    `programs` and `entries` are files by switch; a switch without a program is not in them. With `direct`, hosts send
    to each other's MAC addresses, as in one subnet, and not to the switch's. `notes` are messages about what the file
    has and the import does not take.
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
        """Set the addresses of a host; an empty text leaves one as it is. A prefix length, as in "10.0.1.1/24", is
        ignored.

        MidflightError for a text that is not an address.
        """
        try:
            if ip:
                self.ipv4[host] = IPv4Address(ip.partition("/")[0])
            if mac:
                octets = bytes.fromhex(mac.replace(":", ""))
                if len(octets) != 6:
                    raise ValueError(f"{mac!r} is not a MAC address")
                self.macs[host] = int.from_bytes(octets, "big")
        except ValueError as error:
            raise MidflightError(f"an address of {host}: {error}") from None


def read_json(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file.

    MidflightError if it cannot be read, is not JSON (with the place), or is not an object.
    """
    text = read_text(path)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1]
        raise MidflightError(error.msg, place=Place(str(path), error.lineno, error.colno, 1, line)) from None
    except RecursionError:
        raise MidflightError(f"{path}: it is nested too deeply") from None
    except ValueError as error:  # an integer with too many digits
        raise MidflightError(f"{path}: {error}") from None
    if not isinstance(found, Mapping):
        raise MidflightError(f"{path}: a JSON object is expected")
    return found


def listed(document: Mapping[str, Any], key: str, path: Path) -> Sequence[Any]:
    """Return the list at a key of `document`, or an empty list without the key.

    MidflightError, which names the file `path`, if the value is not a list.
    """
    found = document.get(key, [])
    if not isinstance(found, list):
        raise MidflightError(f"{path}: {key} is not a list")
    return found


def beside(name: str, path: Path) -> Path:
    """Return the file `name` that the file `path` names: relative to the folder of `path`, or to one of the two above.

    The tutorials name files relative to the folder of the exercise. MidflightError if none of the folders has it.
    """
    for folder in path.absolute().parents[:3]:
        if (folder / name).exists():
            return folder / name
    raise MidflightError(f"{path}: there is no file {name}", hint=f"it was searched in {path.parent} and above")


def usual_quality(delay: object = None, bandwidth: object = None, loss: object = None) -> LinkQuality:
    """Return the quality of a link from Mininet's options.

    `delay` is a text such as "5ms", with the unit ns, us, ms or s, or a number of ms. `bandwidth` is in Mbit/s, `loss`
    in percent, below 100. None means that of `LinkQuality()`. MidflightError for other values.
    """
    usual = LinkQuality()
    try:
        return LinkQuality(
            delay=usual.delay if delay is None else _nanoseconds(delay),
            rate=usual.rate if bandwidth is None else round(float(str(bandwidth)) * 1_000_000),
            loss=usual.loss if loss is None else float(str(loss)) / 100,
        )
    except (ValueError, OverflowError):
        raise MidflightError(f"a link has an unknown delay, bandwidth or loss: {delay}, {bandwidth}, {loss}") from None


def _nanoseconds(delay: object) -> int:
    text = str(delay)
    for unit, size in (("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)):
        if text.endswith(unit):
            return round(float(text.removesuffix(unit)) * size)
    return round(float(text) * 1_000_000)
