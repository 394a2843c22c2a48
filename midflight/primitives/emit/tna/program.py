"""Emits a program as one P4_16 file for one of Tofino's architectures: ingress, and then egress."""

from __future__ import annotations

from midflight.primitives.emit.common import HEADERS
from midflight.primitives.emit.declarations import about, listed, message
from midflight.primitives.emit.names import constant
from midflight.primitives.emit.tna.architecture import Architecture
from midflight.primitives.emit.tna.egress import egress, egress_deparser, egress_parser
from midflight.primitives.emit.tna.ingress import ingress, ingress_deparser, ingress_parser
from midflight.primitives.emit.tna.kernel import TnaKernelWriter
from midflight.primitives.emit.tna.parts import Applications, Parts
from midflight.primitives.emit.tna.text import BRIDGE, CONSTANTS, METADATA
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.packet import ROUNDS
from midflight.primitives.wire import FOR_HOST

__all__ = ["emit_tna"]

ORIGIN = "// Written by Midflight from kernels in Python. Change those and compile again, rather than this file."


def emit_tna(applications: Applications, architecture: Architecture) -> Writer:
    """Return a writer with the P4 text of a whole program, and for each line the line of a kernel that it comes from.

    Raises KernelError for kernels that do not compile, for a name that the architecture reserves, for more than 7
    applications with alerts, and for what the architecture cannot do, with its place.
    """
    parts, out = Parts(applications, architecture), Writer()
    name = parts.architecture.name
    out.line(f"// {listed(list(parts.applications))} on one switch: P4_16 for {parts.architecture.chip} ({name}).")
    out.line("// Written by Midflight from kernels in Python. Change those and compile again, rather than this file.")
    out.line()
    out.line("#include <core.p4>")
    out.line(f"#include <{name}.p4>")
    out.line()
    _constants(out, parts)
    out.lines(HEADERS)
    out.line()
    out.lines(BRIDGE)
    if parts.stamped:
        out.undo()
        out.line("    bit<48> ingress_time;  // in units of 1,024 ns")
        out.line("}")
    out.line()
    if parts.around:
        out.line("// In front of a packet that comes around again.")
        with out.block("header around_t"):
            out.lines("bit<8> round;  // how often it has done so\nbit<7> reserved;\nbit<9> ingress_port;")
        out.line()
    if parts.mirrors:
        out.line("// In front of a copy of a packet as it arrived.")
        with out.block("header mirror_t"):
            out.lines("bit<8> origin;\nbit<7> reserved;\nbit<9> ingress_port;")
        out.line()
    for each, (_, primitive) in parts.applications.items():
        message(out, each, primitive, state=False)
    _structs(out, parts)
    ingress_parser(out, parts)
    for each, (_, primitive) in parts.applications.items():
        about(out, each, primitive)
        TnaKernelWriter(each, primitive, parts.architecture, out).write()
        out.line()
    ingress(out, parts)
    ingress_deparser(out, parts)
    egress_parser(out, parts)
    egress(out, parts)
    egress_deparser(out, parts)
    out.line(
        "Pipeline(ingress_parse(), ingress(), ingress_deparse(), egress_parse(), egress(), egress_deparse()) pipe;"
    )
    out.line()
    out.line("Switch(pipe) main;")
    return out


def _constants(out: Writer, parts: Parts) -> None:
    architecture = parts.architecture
    out.line(f"const PortId_t CPU_PORT = {architecture.cpu_port};          // packets from and to the controller")
    if parts.around:
        out.line(f"const PortId_t AROUND_PORT = {architecture.recirculation};  // what leaves here enters again")
        out.line(f"const bit<8> LAST_ROUND = {ROUNDS - 1};          // a packet passes no kernel after this one")
    out.lines(CONSTANTS)
    if parts.fallback:
        out.line(f"const bit<8> FOR_HOST = {FOR_HOST};             // a request that a switch has left to the host")
    out.line()
    out.line("// The applications' ids in the common header.")
    for name, (number, _) in parts.applications.items():
        out.line(f"const bit<16> {constant(name)} = {number};")
    out.line()
    if parts.alerting:
        out.line("// What a packet tells the controller.")
        for number, name in enumerate(parts.alerting):
            out.line(f"const DigestType_t {name.upper()}_DIGEST = {number + 1};")
        out.line()
    if parts.mirrors:
        out.line("const bit<8> MIRRORED = 2;  // the first byte of a copy of a packet as it arrived")
        out.line("const MirrorType_t MIRROR = 1;")
        out.line()
    parts.verdicts.declare(out)
    out.line()


def _structs(out: Writer, parts: Parts) -> None:
    with out.block("struct headers_t"):
        out.line("bridge_t bridge;")
        if parts.around:
            out.line("around_t around;")
        out.line("packet_out_t packet_out;")
        for name, kind in parts.headers():
            out.line(f"{kind} {name};")
    out.line()
    with out.block("struct metadata_t"):
        out.lines(METADATA)
        out.line(f"bit<{parts.verdicts.width}> verdict;       // what the kernel decided")
        if parts.dropping and len(parts.applications) > 1:
            out.line("bit<8> place;         // of its application in the program")
        if parts.timed:
            out.line("bit<48> now;          // when it arrived, in units of 1,024 ns")
        if parts.around or parts.mirrors:
            out.line("bit<9> entered;       // the port that it came by at first")
        if parts.around:
            out.line("bit<8> round;         // how often it has come around")
        if parts.mirrors:
            out.line("MirrorId_t mirror_session;")
            out.line("bit<8> origin;")
            out.line("bit<7> reserved;")
        for name in parts.alerting:
            out.line(f"{name}_alert_t {name}_alert;")
    out.line()
    with out.block("struct egress_headers_t"):
        out.line("packet_in_t packet_in;")
        for name, kind in parts.egress_headers():
            out.line(f"{kind} {name};")
    out.line()
    with out.block("struct egress_metadata_t"):
        out.line(f"bit<{parts.verdicts.width}> verdict;        // what the kernel decided")
        out.line("bit<9> ingress_port;   // that the packet came by")
        if parts.stamped:
            out.line("bit<48> ingress_time;  // when it did, in units of 1,024 ns")
        out.line("bit<32> address;       // of the member that a copy is for, or")
        out.line("bit<128> address_ipv6;")
        out.line("bool summed;           // its UDP header has a checksum")
        out.line("bit<16> rest;          // of the UDP checksum: what it is without what may change")
    out.line()
