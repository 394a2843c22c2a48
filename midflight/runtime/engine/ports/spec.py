"""The notation of ports on the command line: an interface's name, a UDP address, or pcap files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from midflight.errors import DeviceError

__all__ = ["FilePort", "InterfacePort", "PortSpec", "UdpPort", "check_ports", "parse_port", "parse_ports"]

PREFIX = "pcap:"
UDP_PREFIX = "udp:"
LAST = 511


@dataclass(frozen=True, slots=True)
class InterfacePort:
    """The description of a switch port that is a Linux network interface, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class FilePort:
    """The description of a switch port that consists of captures.

    `source` is the file with incoming packets, and `target` the one for outgoing packets. None if there is none.
    """

    source: Path | None
    target: Path | None


@dataclass(frozen=True, slots=True)
class UdpPort:
    """The description of a switch port that carries each frame in a UDP datagram between processes.

    `address` is the IPv4 address and UDP port of the switch's side, `peer` that of the other side. Without a peer, it
    is where the latest datagram came from.
    """

    address: tuple[str, int]
    peer: tuple[str, int] | None = None


PortSpec = InterfacePort | FilePort | UdpPort


def parse_port(text: str) -> PortSpec:
    """Return the port that a text describes.

    It is `veth0`, `udp:ADDRESS:PORT` or `udp:ADDRESS:PORT,ADDRESS:PORT` with the peer's address, or `pcap:IN,OUT`,
    where one file may be left out. Whether interface, address or files exist is not checked. DeviceError if the text is
    malformed.
    """
    if text.startswith(UDP_PREFIX):
        own, comma, peer = text.removeprefix(UDP_PREFIX).partition(",")
        return UdpPort(_udp_address(own, text), _udp_address(peer, text) if comma else None)
    if not text.startswith(PREFIX):
        if not text or "/" in text or len(text.encode()) > 15:
            raise DeviceError(
                f"{text!r} is not the name of an interface",
                hint="write an interface, udp:127.0.0.1:7001, or pcap:in.pcap,out.pcap",
            )
        return InterfacePort(text)
    source, _, target = text.removeprefix(PREFIX).partition(",")
    if not (source or target) or "," in target:
        raise DeviceError(f"{text!r} names no files", hint="write pcap:in.pcap,out.pcap; one of them may be left out")
    return FilePort(Path(source) if source else None, Path(target) if target else None)


def _udp_address(text: str, whole: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    try:
        IPv4Address(address)
    except AddressValueError:
        port = ""
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise DeviceError(
            f"{whole!r} is not a UDP port", hint="write udp:127.0.0.1:7001, or udp:127.0.0.1:7001,127.0.0.1:8001"
        )
    return address, int(port)


def check_ports(numbers: Iterable[int], cpu_port: int) -> None:
    """Raise DeviceError unless all port numbers are 0 to 510 and other than that of the CPU port."""
    for each in numbers:
        if not 0 <= each < LAST:
            raise DeviceError(f"ports are 0 to {LAST - 1}, not {each}")
        if each == cpu_port:
            raise DeviceError(f"port {cpu_port} is the CPU port", hint="choose another number for the CPU port")


def parse_ports(texts: list[str]) -> dict[int, str]:
    """Return the port descriptions (the texts for `parse_port`) of texts like `1@veth0`, by port number.

    DeviceError if a text is malformed, or a number is above 510 or given twice.
    """
    found: dict[int, str] = {}
    for text in texts:
        number, at, name = text.partition("@")
        if not at or not number.isdecimal() or not int(number) < LAST:
            raise DeviceError(
                f"{text!r} is not a port", hint=f"write PORT@INTERFACE, such as 1@veth0, with ports up to {LAST - 1}"
            )
        if int(number) in found:
            raise DeviceError(f"port {int(number)} is given twice")
        parse_port(name)
        found[int(number)] = name
    return found
