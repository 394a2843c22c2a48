"""What a port is joined to, as users write it: an interface's name, or pcap files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from midflight.errors import DeviceError

__all__ = ["FilePort", "InterfacePort", "PortSpec", "parse_port", "parse_ports"]

PREFIX = "pcap:"
LAST = 511


@dataclass(frozen=True, slots=True)
class InterfacePort:
    """A Linux interface."""

    name: str


@dataclass(frozen=True, slots=True)
class FilePort:
    """A capture whose packets come in, and one to write what goes out; None where there is nothing of the kind."""

    source: Path | None
    target: Path | None


PortSpec = InterfacePort | FilePort


def parse_port(text: str) -> PortSpec:
    """Read `veth0`, or `pcap:IN,OUT`, of which one may be left empty. DeviceError for anything else."""
    if not text.startswith(PREFIX):
        if not text or "/" in text or len(text.encode()) > 15:
            raise DeviceError(f"{text!r} is no interface's name", hint="an interface, or pcap:in.pcap,out.pcap")
        return InterfacePort(text)
    source, _, target = text.removeprefix(PREFIX).partition(",")
    if not (source or target) or "," in target:
        raise DeviceError(f"{text!r} names no files", hint="pcap:in.pcap,out.pcap, of which one may be left out")
    return FilePort(Path(source) if source else None, Path(target) if target else None)


def parse_ports(texts: list[str]) -> dict[int, str]:
    """Read `1@veth0` and the like into names by port. DeviceError for a number out of range or given twice."""
    found: dict[int, str] = {}
    for text in texts:
        number, at, name = text.partition("@")
        if not at or not number.isdecimal() or not int(number) < LAST:
            raise DeviceError(f"{text!r} is no port", hint=f"PORT@INTERFACE, as 1@veth0, with ports up to {LAST - 1}")
        if int(number) in found:
            raise DeviceError(f"port {int(number)} is given twice")
        parse_port(name)
        found[int(number)] = name
    return found
