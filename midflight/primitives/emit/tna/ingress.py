"""The ingress side of a program for Tofino: parser, control and deparser."""

from __future__ import annotations

from midflight.primitives.emit.common import ADMISSIBLE
from midflight.primitives.emit.declarations import member
from midflight.primitives.emit.names import spelled
from midflight.primitives.emit.tna.parts import Parts, checksum_externs, checksums, parse_applications
from midflight.primitives.emit.tna.text import FORWARDING, MALFORMED, PARSER, START
from midflight.primitives.emit.writer import Writer

__all__ = ["ingress", "ingress_deparser", "ingress_parser"]


def ingress_parser(out: Writer, parts: Parts) -> None:
    """Write to `out` the parser of the ingress pipeline, for packets that arrive, recirculate or come from the
    controller.
    """
    opening = "parser ingress_parse("
    pad = " " * len(opening)
    out.line(f"{opening}packet_in packet, out headers_t hdr, out metadata_t meta,")
    with out.block(f"{pad}out ingress_intrinsic_metadata_t ig_intr_md)"):
        out.line("Checksum() ipv4_checksum;")
        out.line("Checksum() udp_checksum;")
        out.line()
        out.lines(START)
        if parts.around:
            out.line("    meta.round = 0;")
        if parts.mirrors:
            out.line("    meta.origin = MIRRORED;")
            out.line("    meta.reserved = 0;")
        with out.inside(), out.block("transition select(ig_intr_md.ingress_port)"):
            out.line("CPU_PORT: parse_packet_out;")
            if parts.around:
                out.line("AROUND_PORT: parse_around;")
            out.line("default: parse_ethernet;")
        out.line("}")
        out.line()
        if parts.around:
            with out.block("state parse_around"):
                out.line("packet.extract(hdr.around);")
                out.line("meta.round = hdr.around.round;")
                out.line("transition parse_ethernet;")
            out.line()
        out.lines(PARSER)
        out.line()
        parse_applications(out, parts, "REQUEST", list(parts.applications))
    out.line()


def ingress(out: Writer, parts: Parts) -> None:
    """Write to `out` the control of the ingress pipeline, which admits packets, runs kernels, and acts on their
    verdicts.
    """
    opening = "control ingress("
    pad = " " * len(opening)
    out.line(f"{opening}inout headers_t hdr, inout metadata_t meta, in ingress_intrinsic_metadata_t ig_intr_md,")
    out.line(f"{pad}in ingress_intrinsic_metadata_from_parser_t ig_prsr_md,")
    out.line(f"{pad}inout ingress_intrinsic_metadata_for_deparser_t ig_dprsr_md,")
    with out.block(f"{pad}inout ingress_intrinsic_metadata_for_tm_t ig_tm_md)"):
        out.lines(parts.entered_by(FORWARDING))
        out.line()
        if parts.dropping:
            out.line("// Packets that applications drop, by their place in the program.")
            index = max(1, (len(parts.applications) - 1).bit_length())
            out.line(f"Counter<bit<32>, bit<{index}>>({len(parts.applications)}, CounterType_t.PACKETS) dropped;")
            out.line()
        if parts.recirculates:
            out.line("// Packets whose kernel would have them come around for ever.")
            out.line("Counter<bit<32>, bit<1>>(1, CounterType_t.PACKETS) endless;")
            out.line()
            with out.block("action again()"):
                out.lines(
                    "hdr.around.setValid();\nhdr.around.round = meta.round + 1;\nhdr.around.reserved = 0;\n"
                    "hdr.around.ingress_port = meta.entered;\n"
                    "ig_tm_md.ucast_egress_port = AROUND_PORT;\nig_tm_md.bypass_egress = 1;"
                )
            out.line()
        with out.block("action bridge()"):
            out.line("hdr.bridge.setValid();")
            out.line("hdr.bridge.origin = BRIDGED;")
            out.line("hdr.bridge.verdict = (bit<8>)meta.verdict;")
            out.line("hdr.bridge.reserved = 0;")
            out.line(parts.entered_by("hdr.bridge.ingress_port = ig_intr_md.ingress_port;"))
            if parts.stamped:
                out.line("hdr.bridge.ingress_time = (bit<48>)ig_prsr_md.global_tstamp[47:10];")
        out.line()
        for name in parts.applications:
            out.line(f"{name}_kernel() {name};")
        out.line()
        with out.block("apply"):
            _apply(out, parts)
    out.line()


def _apply(out: Writer, parts: Parts) -> None:
    out.line("meta.verdict = FORWARD;")
    if parts.timed:
        out.line("meta.now = (bit<48>)ig_prsr_md.global_tstamp[47:10];")
    if parts.around or parts.mirrors:
        out.line("meta.entered = ig_intr_md.ingress_port;")
    if parts.around:
        with out.block("if (hdr.around.isValid())"):
            out.line("meta.entered = hdr.around.ingress_port;")
            out.line("hdr.around.setInvalid();")
    with out.block("if (hdr.packet_out.isValid())"):
        out.line("// From the controller: sent as it is.")
        out.line("ig_tm_md.ucast_egress_port = (PortId_t)hdr.packet_out.egress_port;")
        out.line("hdr.packet_out.setInvalid();")
        out.line("bridge();")
    out.undo()
    *before, last = f"}} else if ({MALFORMED})".split("\n")
    out.lines("\n".join(before))
    with out.block(last):
        out.lines("malformed.count(0);\ndrop();")
    out.undo()
    with out.block("} else"):
        with out.block(f"if ({ADMISSIBLE})"):
            _admission(out, parts)
        with out.block("if (meta.refused)"):
            out.line("refused.count(meta.reason);")
        out.line()
        out.line("// Compute.")
        with out.block("if (meta.admitted)"):
            with out.block("if (hdr.udp.checksum != 0)"):
                out.line("meta.summed = true;")
            with out.block("if (hdr.midflight.kind == RESULT_FOR_ALL)"):
                out.line("meta.verdict = MULTICAST;")
            for number, (name, (_, primitive)) in enumerate(parts.applications.items()):
                sends = bool(primitive.kernel.alert) or primitive.kernel.mirrors
                out.undo()
                with out.block(f"}} else if (hdr.{name}.isValid())"):
                    if parts.dropping and len(parts.applications) > 1:
                        out.line(f"meta.place = {number};")
                    out.line(f"{name}.apply(hdr, meta{', ig_dprsr_md' if sends else ''});")
        out.line()
        out.line("// Act on the verdict.")
        if parts.fallback:
            with out.block("if (meta.verdict == FALLBACK)"):
                out.line("hdr.midflight.kind = FOR_HOST;")
        steps = [("meta.verdict == DROP", [*_count(parts), "drop();"]), ("meta.verdict == REPLY", _turned("reply"))]
        steps.append(("meta.verdict == MULTICAST", _turned("multicast")))
        if parts.recirculates:
            stop = ["endless.count(0);", "drop();"]
            steps.append(("meta.verdict == RECIRCULATE && meta.round >= LAST_ROUND", stop))
            steps.append(("meta.verdict == RECIRCULATE", ["again();"]))
        steps.append(("hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1", ["route.apply();"]))
        steps.append(("hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1", ["route_ipv6.apply();"]))
        opening = "if"
        for test, lines in steps:
            out.line(f"{opening} ({test}) {{")
            for line in lines:
                out.line(f"    {line}")
            opening = "} else if"
        out.lines("} else {\n    unreachable();\n}")
        with out.block("if (meta.unroutable)"):
            out.line("unroutable.count(0);")
        if parts.recirculates:
            with out.block("if (!hdr.around.isValid())"):
                out.line("bridge();")
        else:
            out.line("bridge();")


def _turned(action: str) -> list[str]:
    """Return the calls of an action, and of the one for the IP header that the packet has."""
    return [
        f"{action}();",
        "if (hdr.ipv4.isValid()) {",
        f"    {action}_ipv4();",
        "} else {",
        f"    {action}_ipv6();",
        "}",
    ]


def _count(parts: Parts) -> list[str]:
    if not parts.dropping:
        return []
    index = max(1, (len(parts.applications) - 1).bit_length())
    return [f"dropped.count({'0' if len(parts.applications) == 1 else f'meta.place[{index - 1}:0]'});"]


def _admission(out: Writer, parts: Parts) -> None:
    out.line("// Before `admission`, so that these do not wait for it: `membership` then follows in the next stage.")
    with out.block("if (hdr.ipv6.isValid())"):
        out.line("meta.sender = hdr.ipv6.source;")
    out.undo()
    with out.block("} else"):
        out.line("meta.sender = (bit<128>)hdr.ipv4.source;")
    member(out, parts.applications)
    out.line("admission.apply();")
    out.line("if (meta.refused) {")
    out.line("    meta.reason = NOT_ADMITTED;")
    # A gateway compares 32 bits, so the token is tested in halves.
    wrong = [("meta.token[63:32] != 0", "WRONG_TOKEN"), ("meta.token[31:0] != 0", "WRONG_TOKEN")]
    for condition, reason in (*wrong, ("meta.colour == RED", "TOO_FAST")):
        out.line(f"}} else if ({condition}) {{")
        out.line("    meta.refused = true;")
        out.line(f"    meta.reason = {reason};")
    with out.block("} else"):
        out.line("meta.admitted = true;")
        with out.block("if (meta.bound == 1)"):
            out.line("membership.apply();")


def ingress_deparser(out: Writer, parts: Parts) -> None:
    """Write to `out` the deparser of the ingress pipeline, which also sends digests and mirrors packets."""
    opening = "control ingress_deparse("
    pad = " " * len(opening)
    out.line(f"{opening}packet_out packet, inout headers_t hdr, in metadata_t meta,")
    with out.block(f"{pad}in ingress_intrinsic_metadata_for_deparser_t ig_dprsr_md)"):
        checksum_externs(out)
        for name in parts.alerting:
            out.line(f"Digest<{name}_alert_t>() {name}_digest;")
        if parts.mirrors:
            out.line("Mirror() mirror;")
        out.line()
        with out.block("apply"):
            for name in parts.alerting:
                fields = ", ".join(
                    f"meta.{name}_alert.{spelled(field)}" for field, _ in parts.applications[name][1].kernel.alert
                )
                with out.block(f"if (ig_dprsr_md.digest_type == {name.upper()}_DIGEST)"):
                    out.long(f"{name}_digest.pack({{ {fields} }});")
            if parts.mirrors:
                with out.block("if (ig_dprsr_md.mirror_type == MIRROR)"):
                    out.line(
                        "mirror.emit<mirror_t>(meta.mirror_session, { meta.origin, meta.reserved, meta.entered });"
                    )
            checksums(out, parts, list(parts.applications))
            out.line("packet.emit(hdr.bridge);")
            if parts.around:
                out.line("packet.emit(hdr.around);")
            for name, _ in parts.headers():
                out.line(f"packet.emit(hdr.{name});")
    out.line()
