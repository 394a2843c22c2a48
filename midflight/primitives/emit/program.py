"""A whole program as one P4_16 file for v1model: common headers, parser, forwarding, and a control for each kernel."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

from midflight.primitives.emit.expressions import p4_type
from midflight.primitives.emit.kernel import KernelWriter, alerts_late
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.primitive import Primitive

__all__ = ["emit"]

CONSTANTS = """
const bit<9> CPU_PORT = 510;           // packets from and to the controller
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<8> PROTOCOL_UDP = 17;
const bit<16> MIDFLIGHT_PORT = 19782;  // 0x4D46, "MF"
const bit<8> VERSION = 1;
const bit<8> REQUEST = 1;              // to be computed on
const bit<8> RESULT = 2;               // only forwarded
const bit<8> RESULT_FOR_ALL = 3;       // from the switch above: goes to all members
"""

VERDICTS = """
// What a kernel decides about its packet. The ingress control acts on it afterwards.
const bit<2> FORWARD = 0;
const bit<2> DROP = 1;
const bit<2> REPLY = 2;      // back to the sender, as a result
const bit<2> MULTICAST = 3;  // to all members of the application, as a result
"""

HEADERS = """
header ethernet_t {
    bit<48> destination;
    bit<48> source;
    bit<16> ether_type;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<8> tos;
    bit<16> length;
    bit<16> identification;
    bit<1> reserved;
    bit<1> dont_fragment;
    bit<1> more_fragments;
    bit<13> fragment_offset;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    bit<32> source;
    bit<32> destination;
}

header udp_t {
    bit<16> source;
    bit<16> destination;
    bit<16> length;
    bit<16> checksum;
}

// Common to all applications. Says which one's header follows.
header midflight_t {
    bit<8> version;
    bit<8> kind;
    bit<16> application;
    bit<32> sequence;
}

// In front of a packet that the switch hands to the controller.
@controller_header("packet_in")
header packet_in_t {
    bit<16> ingress_port;
}

// In front of a packet that the controller has the switch send.
@controller_header("packet_out")
header packet_out_t {
    bit<16> egress_port;
}
"""

PARSER = """
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }

    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition parse_ethernet;
    }

    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            default: accept;
        }
    }

    // Packets with options and fragments are not computed on: what follows is not, or not surely, a UDP header.
    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0, 0, PROTOCOL_UDP): parse_udp;
            default: accept;
        }
    }

    state parse_udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.destination) {
            MIDFLIGHT_PORT: parse_midflight;
            default: accept;
        }
    }
"""

CHECKSUM_FIELDS = """
{
    hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
    hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
    hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
},
"""

FORWARDING = """
// Malformed packets are counted and dropped: cut short, of another version, or with a wrong checksum.
counter(1, CounterType.packets) malformed;
// Packets for which there is no way.
counter(1, CounterType.packets) unroutable;

action drop() {
    mark_to_drop(standard_metadata);
}

action unreachable() {
    unroutable.count(0);
    mark_to_drop(standard_metadata);
}

action to_port(bit<9> port, bit<48> mac) {
    standard_metadata.egress_spec = port;
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ethernet.destination = mac;
    hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
}

table route {
    key = {
        hdr.ipv4.destination: lpm;
    }
    actions = {
        to_port;
        unreachable;
    }
    default_action = unreachable();
    size = 4096;
}

action admit(bit<16> group, bit<16> epoch) {
    meta.admitted = true;
    meta.group = group;
    meta.epoch = epoch;
}

// The applications that compute here, with the multicast group of their members and the epoch: the controller
// raises it when the switch has lost its state. Others pass by.
table admission {
    key = {
        hdr.midflight.application: exact;
    }
    actions = {
        admit;
        NoAction;
    }
    default_action = NoAction();
    size = 1024;
}

// Turn the packet around: what is its destination becomes its source.
action reply() {
    bit<48> mac = hdr.ethernet.source;
    bit<32> address = hdr.ipv4.source;
    bit<16> udp_port = hdr.udp.source;
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ethernet.destination = mac;
    hdr.ipv4.source = hdr.ipv4.destination;
    hdr.ipv4.destination = address;
    hdr.ipv4.ttl = 64;
    hdr.udp.source = hdr.udp.destination;
    hdr.udp.destination = udp_port;
    hdr.midflight.kind = RESULT;
    standard_metadata.egress_spec = standard_metadata.ingress_port;
}

// The copies get their destinations in egress. They come from the address that the request was sent to.
action multicast() {
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ipv4.source = hdr.ipv4.destination;
    hdr.ipv4.ttl = 64;
    hdr.udp.source = MIDFLIGHT_PORT;
    hdr.midflight.kind = RESULT;
    standard_metadata.mcast_grp = meta.group;
}
"""

MALFORMED = """standard_metadata.parser_error != error.NoError
    || standard_metadata.checksum_error == 1
    || (hdr.midflight.isValid() && hdr.midflight.version != VERSION)"""

ADMISSION = """
if (hdr.midflight.isValid() && (hdr.midflight.kind == REQUEST || hdr.midflight.kind == RESULT_FOR_ALL)) {
    admission.apply();
}
"""

EGRESS = """
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    action to_host(bit<48> mac, bit<32> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        hdr.ipv4.destination = address;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
    }

    // A switch below has members of its own.
    action to_switch(bit<48> mac) {
        hdr.ethernet.destination = mac;
        hdr.midflight.kind = RESULT_FOR_ALL;
    }

    // Who listens to an application's results behind which port.
    table deliver {
        key = {
            hdr.midflight.application: exact;
            standard_metadata.egress_port: exact;
        }
        actions = {
            to_host;
            to_switch;
            NoAction;
        }
        default_action = NoAction();
        size = 1024;
    }

    apply {
        if (meta.verdict == MULTICAST) {
            deliver.apply();
        }
        if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;
        }
    }
}
"""


def emit(applications: Mapping[str, tuple[int, Primitive]]) -> str:
    """Return the P4 of a program: applications by name, each with its id."""
    out = Writer()
    names = list(applications)
    out.line(f"// {_listed(names)} on one switch: P4_16 for the v1model architecture.")
    out.line("// Written by Midflight from kernels in Python. Change those and compile again, rather than this file.")
    out.line()
    out.line("#include <core.p4>")
    out.line("#include <v1model.p4>")
    out.line()
    out.lines(CONSTANTS)
    out.line()
    out.line("// The applications' ids in the common header.")
    for name, (number, _) in applications.items():
        out.line(f"const bit<16> {_constant(name)} = {number};")
    out.line()
    out.lines(VERDICTS)
    out.line()
    out.lines(HEADERS)
    out.line()
    for name, (_, primitive) in applications.items():
        _header(out, name, primitive)
    _structs(out, applications)
    _parser(out, names)
    _verify(out)
    for name, (_, primitive) in applications.items():
        _about(out, name, primitive)
        KernelWriter(name, primitive.kernel, primitive.registers, out).write()
        out.line()
    _ingress(out, applications)
    out.lines(EGRESS)
    out.line()
    _checksums(out, names)
    out.line("V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;")
    return str(out)


def _constant(name: str) -> str:
    """Return the name of an application's id."""
    return f"{name.upper()}_ID"


def _listed(names: list[str]) -> str:
    if not names:
        return "Forwarding"
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:]


def _summary(primitive: Primitive) -> str:
    """Return the first sentence of a primitive's docstring."""
    return (inspect.getdoc(type(primitive)) or "").split("\n\n")[0].replace("\n", " ").strip()


def _settings(primitive: Primitive) -> str:
    """Return the parameters as the user would write them."""
    return ", ".join(
        f"{name}={value!r}" for name, value in primitive.parameters.items() if isinstance(value, (int, str, bool))
    )


def _about(out: Writer, name: str, primitive: Primitive) -> None:
    file = Path(primitive.kernel.file).name
    settings = _settings(primitive)
    out.comment(
        f"The kernel of {name}: {type(primitive).__name__}.ingress in {file}{', with' if settings else ''}"
        f" {settings}".rstrip()
        + "."
    )
    if summary := _summary(primitive):
        out.comment(summary)


def _header(out: Writer, name: str, primitive: Primitive) -> None:
    summary = _summary(primitive)
    out.comment(f"What {name} sends. {type(primitive).__name__}{': ' + summary if summary else ''}")
    with out.block(f"header {name}_t"):
        for field in primitive.layout:
            if field.count is None:
                out.line(f"{p4_type(field.kind)} {field.name};")
            else:
                for lane in range(field.count):
                    out.line(f"{p4_type(field.kind)} {field.name}_{lane};")
        if padding := primitive.layout.padding:
            out.line(f"bit<{padding}> reserved;  // up to a whole byte")
    out.line()
    if primitive.kernel.alert:
        out.line(f"// What {name} tells the controller.")
        with out.block(f"struct {name}_alert_t"):
            for field_name, kind in primitive.kernel.alert:
                out.line(f"{p4_type(kind)} {field_name};")
        out.line()


def _structs(out: Writer, applications: Mapping[str, tuple[int, Primitive]]) -> None:
    with out.block("struct headers_t"):
        for name in ("packet_in", "packet_out", "ethernet", "ipv4", "udp", "midflight", *applications):
            out.line(f"{name}_t {name};")
    out.line()
    with out.block("struct metadata_t"):
        out.line("bool admitted;   // the packet's application computes here")
        out.line("bit<16> group;   // the multicast group of its members")
        out.line("bit<16> epoch;   // the life that the switch's state is in")
        out.line("bit<2> verdict;  // what the kernel decided")
        for name, (_, primitive) in applications.items():
            if primitive.kernel.alert:
                out.line(f"{name}_alert_t {name}_alert;")
                if alerts_late(primitive.kernel):
                    out.line(f"bool {name}_alerted;  // it is to be sent")
    out.line()


def _parser(out: Writer, names: list[str]) -> None:
    opening = "parser parse("
    pad = " " * len(opening)
    out.line(f"{opening}packet_in packet, out headers_t hdr, inout metadata_t meta,")
    with out.block(f"{pad}inout standard_metadata_t standard_metadata)"):
        out.lines(PARSER)
        out.line()
        with out.block("state parse_midflight"):
            out.line("packet.extract(hdr.midflight);")
            with out.block("transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application)"):
                for name in names:
                    out.line(f"(VERSION, REQUEST, {_constant(name)}): parse_{name};")
                out.line("default: accept;")
        for name in names:
            out.line()
            with out.block(f"state parse_{name}"):
                out.line(f"packet.extract(hdr.{name});")
                out.line("transition accept;")
    out.line()


def _verify(out: Writer) -> None:
    with out.block("control verify_checksums(inout headers_t hdr, inout metadata_t meta)"), out.block("apply"):
        _checksum(out, "verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,")
    out.line()


def _checksum(out: Writer, opening: str) -> None:
    out.line(opening)
    for each in CHECKSUM_FIELDS.strip().split("\n"):
        out.line("    " + each)
    out.line("    hdr.ipv4.checksum, HashAlgorithm.csum16);")


def _ingress(out: Writer, applications: Mapping[str, tuple[int, Primitive]]) -> None:
    with out.block(
        "control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata)"
    ):
        out.lines(FORWARDING)
        out.line()
        for name in applications:
            out.line(f"{name}_kernel() {name};")
        out.line()
        with out.block("apply"):
            out.line("if (hdr.packet_out.isValid()) {")
            out.line("    // From the controller: sent as it is.")
            out.line("    standard_metadata.egress_spec = (bit<9>)hdr.packet_out.egress_port;")
            out.line("    hdr.packet_out.setInvalid();")
            out.line("    return;")
            out.line("}")
            out.lines(f"if ({MALFORMED}) {{\n    malformed.count(0);\n    drop();\n    return;\n}}")
            out.line()
            out.line("// Compute.")
            out.line("meta.verdict = FORWARD;")
            out.lines(ADMISSION)
            with out.block("if (meta.admitted)"):
                with out.block("if (hdr.midflight.kind == RESULT_FOR_ALL)"):
                    out.line("meta.verdict = MULTICAST;")
                for name, (_, primitive) in applications.items():
                    out.undo()
                    with out.block(f"}} else if (hdr.{name}.isValid())"):
                        out.line(f"{name}.apply(hdr, meta);")
                        if alerts_late(primitive.kernel):
                            with out.block(f"if (meta.{name}_alerted)"):
                                out.line(f"digest<{name}_alert_t>(1, meta.{name}_alert);")
                        out.line("hdr.udp.checksum = 0;  // none: the payload may have changed")
            out.line()
            out.line("// Act on the verdict.")
            out.lines(
                """
if (meta.verdict == DROP) {
    drop();
} else if (meta.verdict == REPLY) {
    reply();
} else if (meta.verdict == MULTICAST) {
    multicast();
} else if (hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1) {
    route.apply();
} else {
    unreachable();
}
"""
            )
    out.line()


def _checksums(out: Writer, names: list[str]) -> None:
    with out.block("control compute_checksums(inout headers_t hdr, inout metadata_t meta)"), out.block("apply"):
        _checksum(out, "update_checksum(hdr.ipv4.isValid(),")
    out.line()
    with out.block("control deparse(packet_out packet, in headers_t hdr)"), out.block("apply"):
        for name in ("packet_in", "ethernet", "ipv4", "udp", "midflight", *names):
            out.line(f"packet.emit(hdr.{name});")
    out.line()
