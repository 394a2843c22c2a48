"""The egress side of a program for Tofino: parser, control and deparser."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.primitives.emit.stamps import stamped
from midflight.primitives.emit.tna.parts import Parts, checksum_externs, checksums, parse_applications
from midflight.primitives.emit.tna.text import EGRESS, EGRESS_PARSER
from midflight.primitives.emit.writer import Writer

__all__ = ["egress", "egress_deparser", "egress_parser"]

STAMPS: Mapping[str, str] = {
    "ingress_port": "meta.ingress_port",
    "egress_port": "eg_intr_md.egress_port",
    "queue_depth": "eg_intr_md.deq_qdepth",
    "queue_delay": "eg_intr_md.deq_timedelta",
    "ingress_time": "meta.ingress_time",
    "egress_time": "eg_prsr_md.global_tstamp[47:10]",
}
"""What egress writes for each stamp."""


def egress_parser(out: Writer, parts: Parts) -> None:
    """Write to `out` the parser of the egress pipeline, for packets from ingress and from the mirror."""
    opening = "parser egress_parse("
    pad = " " * len(opening)
    out.line(f"{opening}packet_in packet, out egress_headers_t hdr, out egress_metadata_t meta,")
    with out.block(f"{pad}out egress_intrinsic_metadata_t eg_intr_md)"):
        out.line("Checksum() udp_checksum;")
        out.line("bridge_t bridge;")
        if parts.mirrors:
            out.line("mirror_t mirror;")
        out.line()
        with out.block("state start"):
            out.line("packet.extract(eg_intr_md);")
            out.lines("meta.summed = false;\nmeta.rest = 0;\nmeta.address = 0;\nmeta.address_ipv6 = 0;")
            if parts.mirrors:
                with out.block("transition select(packet.lookahead<bit<8>>())"):
                    out.line("MIRRORED: parse_mirror;")
                    out.line("default: parse_bridge;")
            else:
                out.line("transition parse_bridge;")
        out.line()
        with out.block("state parse_bridge"):
            out.line("packet.extract(bridge);")
            out.line(f"meta.verdict = bridge.verdict[{parts.verdicts.width - 1}:0];")
            out.line("meta.ingress_port = bridge.ingress_port;")
            if parts.stamped:
                out.line("meta.ingress_time = bridge.ingress_time;")
            out.line("transition parse_ethernet;")
        out.line()
        if parts.mirrors:
            with out.block("state parse_mirror"):
                out.line("packet.extract(mirror);")
                out.line("meta.verdict = 0;")
                out.line("meta.ingress_port = mirror.ingress_port;")
                if parts.stamped:
                    out.line("meta.ingress_time = 0;")
                out.line("transition parse_ethernet;")
            out.line()
        out.lines(EGRESS_PARSER)
        out.line()
        parse_applications(out, parts, "REQUEST", parts.stamped)
    out.line()


def egress(out: Writer, parts: Parts) -> None:
    """Write to `out` the control of the egress pipeline, which addresses copies of multicasts and stamps packets."""
    opening = "control egress("
    pad = " " * len(opening)
    out.line(f"{opening}inout egress_headers_t hdr, inout egress_metadata_t meta,")
    out.line(f"{pad}in egress_intrinsic_metadata_t eg_intr_md,")
    out.line(f"{pad}in egress_intrinsic_metadata_from_parser_t eg_prsr_md,")
    out.line(f"{pad}inout egress_intrinsic_metadata_for_deparser_t eg_dprsr_md,")
    out.line(f"{pad}inout egress_intrinsic_metadata_for_output_port_t eg_oport_md) {{")
    head, body = EGRESS.split("    apply {\n")
    stamps = "".join(_stamps(parts, name) for name in parts.stamped)
    for each in f"{head}    apply {{\n{stamps}{body}".strip("\n").split("\n"):
        out.line(each)
    out.line("}")
    out.line()


def _stamps(parts: Parts, name: str) -> str:
    """Return the statements that stamp the packets of an application, at the hop that ingress has counted."""
    lines = stamped(name, parts.applications[name][1], STAMPS)
    return "\n".join([f"        if (hdr.{name}.isValid()) {{", *lines, "        }", ""])


def egress_deparser(out: Writer, parts: Parts) -> None:
    """Write to `out` the deparser of the egress pipeline, which updates checksums and writes headers."""
    opening = "control egress_deparse("
    out.line(f"{opening}packet_out packet, inout egress_headers_t hdr, in egress_metadata_t meta,")
    with out.block(f"{' ' * len(opening)}in egress_intrinsic_metadata_for_deparser_t eg_dprsr_md)"):
        checksum_externs(out)
        out.line()
        with out.block("apply"):
            checksums(out, parts, parts.stamped)
            out.line("packet.emit(hdr.packet_in);")
            for name, _ in parts.egress_headers():
                out.line(f"packet.emit(hdr.{name});")
    out.line()
