"""Encoding and decoding of Ethernet frames with UDP over IPv4 or IPv6, for hosts without a kernel network stack."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from midflight.errors import WireError
from midflight.runtime.steering import IPAddress

__all__ = ["Datagram", "UdpFlow", "decode"]

_FRAME = struct.Struct("!6s6sH BBHHHBBH II HHHH")
_FRAME_IPV6 = struct.Struct("!6s6sH IHBB 16s16s HHHH")
_ETHERNET, _IPV4, _IPV6, _UDP = 14, 20, 40, 8
_HEADERS = _ETHERNET + _IPV4 + _UDP
_HEADERS_IPV6 = _ETHERNET + _IPV6 + _UDP
_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPE_IPV6 = 0x86DD
_VERSION_6 = 6 << 28  # followed by a traffic class and a flow label of 0
_PROTOCOL_UDP = 17
_DO_NOT_FRAGMENT = 0x4000
_LARGEST = 0xFFFF - _IPV4 - _UDP
_LARGEST_IPV6 = 0xFFFF - _UDP


def _checksum(total: int) -> int:
    """Return the Internet checksum (RFC 1071) of data whose 16-bit words add up to `total` modulo 0xFFFF."""
    return 0xFFFE - (total - 1) % 0xFFFF  # the sum of data with a non-zero byte folds to 1..0xFFFF, never to 0


def _words(data: bytes) -> int:
    """Return the sum of the data's 16-bit words modulo 0xFFFF, up to congruence: the data read as one number."""
    return int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big")


@dataclass(frozen=True, slots=True)
class Datagram:
    """A received UDP datagram. Addresses are the integers of the IP header: 32 bits, or 128 bits if `version` is 6.

    `source_port` and `destination_port` are UDP ports.
    """

    source: int
    source_port: int
    destination: int
    destination_port: int
    payload: bytes
    version: int = 4


class UdpFlow:
    """Encodes the frames of one UDP flow. The parts that all frames share are computed once.

    MAC addresses are 48-bit integers, ports are UDP ports, `ttl` is the time to live or hop limit, `ecn` the ECN field
    (RFC 3168), 0 to 3. WireError if source and destination are of different IP versions.
    """

    def __init__(
        self,
        *,
        source_mac: int,
        destination_mac: int,
        source: IPAddress,
        destination: IPAddress,
        source_port: int,
        destination_port: int,
        ttl: int = 64,
        ecn: int = 0,
    ) -> None:
        if source.version != destination.version:
            raise WireError(f"no packet goes from {source} to {destination}: they are of different IP versions")
        self._ipv6 = (source.packed, destination.packed) if isinstance(source, IPv6Address) else None
        self._macs = destination_mac.to_bytes(6, "big"), source_mac.to_bytes(6, "big")
        self._addresses = int(source), int(destination)
        self._ports = source_port, destination_port
        self._ttl, self._ecn = ttl, ecn
        ends = _words(source.packed) + _words(destination.packed)
        self._ip_sum = ends + _words(struct.pack("!BBHHBBH", 0x45, 0, 0, _DO_NOT_FRAGMENT, ttl, _PROTOCOL_UDP, 0))
        self._udp_sum = ends + _words(struct.pack("!HHH", _PROTOCOL_UDP, *self._ports))

    def encode(self, payload: bytes) -> bytes:
        """Return the complete Ethernet frame for a UDP payload, with correct lengths and checksums.

        WireError if the payload is longer than UDP allows: 65,507 bytes over IPv4, or 65,527 over IPv6.
        """
        largest = _LARGEST_IPV6 if self._ipv6 else _LARGEST
        if len(payload) > largest:
            over = "IPv6" if self._ipv6 else "IPv4"
            raise WireError(f"{len(payload)} bytes do not fit a UDP datagram over {over}, which holds {largest}")
        length = _UDP + len(payload)
        checksum = (
            _checksum(self._udp_sum + 2 * length + _words(payload)) or 0xFFFF
        )  # 0 would mean that there is no checksum
        if self._ipv6:
            fixed = _VERSION_6 | self._ecn << 20, length, _PROTOCOL_UDP, self._ttl, *self._ipv6
            return _FRAME_IPV6.pack(*self._macs, _ETHERTYPE_IPV6, *fixed, *self._ports, length, checksum) + payload
        return (
            _FRAME.pack(
                *self._macs,
                _ETHERTYPE_IPV4,
                0x45,
                self._ecn,
                _IPV4 + length,
                0,  # the identification is unused in a datagram that may not be fragmented (RFC 6864)
                _DO_NOT_FRAGMENT,
                self._ttl,
                _PROTOCOL_UDP,
                _checksum(self._ip_sum + _IPV4 + length),
                *self._addresses,
                *self._ports,
                length,
                checksum,
            )
            + payload
        )


def decode(frame: bytes) -> Datagram:
    """Return the UDP datagram in an Ethernet frame.

    WireError, with the reason, if the frame contains no UDP over IPv4 or IPv6, has IP options or fragments, is cut
    short, or has a wrong checksum.
    """
    if frame[12:14] == b"\x86\xdd":
        return _decode_ipv6(frame)
    if len(frame) < _HEADERS:
        raise WireError(f"a frame of {len(frame)} bytes is too short for UDP over IPv4")
    (_, _, ethertype, version, _, total, _, fragment, _, protocol, _, source, destination, *udp) = _FRAME.unpack_from(
        frame
    )
    source_port, destination_port, length, checksum = udp
    if ethertype != _ETHERTYPE_IPV4 or version != 0x45:
        raise WireError("the frame does not contain an IPv4 packet without options")
    if _words(frame[_ETHERNET : _ETHERNET + _IPV4]) % 0xFFFF:
        raise WireError("the IPv4 header's checksum is wrong")
    if protocol != _PROTOCOL_UDP or fragment & 0x3FFF:
        raise WireError("the packet is not a whole UDP datagram")
    if total > len(frame) - _ETHERNET or length < _UDP or length > total - _IPV4:
        raise WireError("the frame is shorter than its headers say")
    payload = frame[_HEADERS : _HEADERS + length - _UDP]
    if checksum:
        pseudo = struct.pack("!IIHH", source, destination, _PROTOCOL_UDP, length)
        if (_words(pseudo) + _words(frame[_ETHERNET + _IPV4 : _ETHERNET + _IPV4 + length])) % 0xFFFF:
            raise WireError("the UDP checksum is wrong")
    return Datagram(source, source_port, destination, destination_port, payload)


def _decode_ipv6(frame: bytes) -> Datagram:
    if len(frame) < _HEADERS_IPV6:
        raise WireError(f"a frame of {len(frame)} bytes is too short for UDP over IPv6")
    (_, _, _, first, total, following, _, source, destination, *udp) = _FRAME_IPV6.unpack_from(frame)
    source_port, destination_port, length, checksum = udp
    if first >> 28 != 6 or following != _PROTOCOL_UDP:
        raise WireError("the frame does not contain an IPv6 packet with UDP after its header")
    if total > len(frame) - _ETHERNET - _IPV6 or not _UDP <= length <= total:
        raise WireError("the frame is shorter than its headers say")
    datagram = frame[_ETHERNET + _IPV6 : _ETHERNET + _IPV6 + length]
    sums = _words(source) + _words(destination) + _PROTOCOL_UDP + length + _words(datagram)
    if not checksum or sums % 0xFFFF:
        raise WireError("the UDP checksum is wrong")
    ends = int.from_bytes(source, "big"), source_port, int.from_bytes(destination, "big"), destination_port
    return Datagram(*ends, datagram[_UDP:], 6)
