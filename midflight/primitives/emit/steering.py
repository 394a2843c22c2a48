"""Emits compute-aware forwarding: the headers, parser states, control and checksums of a program with `Steering`."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent

from midflight.primitives.emit.steering_text import (
    ACTIONS,
    APPLY,
    CHECKSUMS,
    CONSTANTS,
    HEADERS,
    METADATA,
    PARSER,
)
from midflight.primitives.emit.writer import Writer
from midflight.primitives.steering import FLOW_MULTIPLIER, Steering

__all__ = ["SteeringWriter"]


class SteeringWriter:
    """Writes the parts of a program's P4 that steer. `steering` has the sizes of the tables."""

    OUTER: Mapping[str, str] = {
        "outer_ipv4": "outer_ipv4_t",
        "outer_ipv6": "ipv6_t",
        "outer_udp": "outer_udp_t",
        "icmp": "icmp_t",
    }
    """The headers that steering puts in front of a packet's IP header, with their types, in the order of the packet."""
    INNER: Mapping[str, str] = {"inner_ipv4": "ipv4_t", "inner_ipv6": "ipv6_t"}
    """The headers behind that of UDP in a packet from another forwarder, with their types."""
    TCP = ("tcp",)
    """The header beside that of UDP."""

    def __init__(self, steering: Steering) -> None:
        self._numbers = {
            "services": steering.services,
            "rules": steering.rules,
            "entries": steering.pools * steering.buckets,
            "instances": steering.instances,
            "counted": steering.instances + 1,
            "room": steering.mtu - 28,
            "room_ipv6": steering.mtu - 48,
            "pool_bits": steering.pools.bit_length(),
            "bucket_bits": steering.buckets.bit_length() - 1,
            "lowest": 33 - steering.buckets.bit_length(),
            "multiplier": FLOW_MULTIPLIER,
            "fold": 0x0064_FF9B ^ 0x0001_0000,  # the words before a mapped IPv4 address
        }

    def constants(self, out: Writer) -> None:
        """Write the P4 constants that steering needs, such as UDP ports and protocol numbers, to `out`."""
        out.lines(CONSTANTS)

    def headers(self, out: Writer) -> None:
        """Write the types of the headers that only steering parses and emits (tunnels, TCP, ICMP errors), to `out`."""
        out.lines(HEADERS)
        out.line()

    def metadata(self, out: Writer) -> None:
        """Write the fields that steering adds to the struct of the program's metadata, to `out`."""
        out.lines(METADATA)

    def parser(self, text: str) -> str:
        """Return the parser states `text` that all programs share, with those for packets between forwarders and for
        TCP added.
        """
        for udp in ("(5, 0, 0, PROTOCOL_UDP): parse_udp;", "            PROTOCOL_UDP: parse_udp;"):
            assert udp in text
            text = text.replace(udp, f"{udp}\n            {udp.strip().replace('UDP', 'TCP').replace('udp', 'tcp')}")
        midflight = "            MIDFLIGHT_PORT: parse_midflight;"
        assert midflight in text
        text = text.replace(midflight, f"{midflight}\n            TUNNEL_PORT: parse_inner;")
        return text + "\n" + indent(PARSER.strip("\n"), "    ")

    def checksums(self, out: Writer) -> None:
        """Write the updates of the checksums of ICMP errors that steering sends, to `out`."""
        out.lines(CHECKSUMS)

    @staticmethod
    def quiet(out: Writer) -> None:
        """Write the annotation of a control in which p4c would warn about headers that steering makes invalid.

        A packet has one of the two IP headers, and assignments to the other have no effect.
        """
        out.line('@noWarn("invalid-header")')

    def control(self, out: Writer) -> None:
        """Write the P4 control `steering_control` to `out`: it sends a request to the instance that serves it."""
        out.line("// Compute-aware forwarding (RFC 10053): a request to a service goes to one of its instances.")
        self.quiet(out)
        opening = "control steering_control("
        out.line(f"{opening}inout headers_t hdr, inout metadata_t meta,")
        with out.block(f"{' ' * len(opening)}inout standard_metadata_t standard_metadata)"):
            out.lines(ACTIONS % self._numbers)
            out.line()
            with out.block("apply"):
                out.lines(APPLY % self._numbers)
        out.line()
