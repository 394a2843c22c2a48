"""Emits a program as one P4_16 file for v1model: common headers, parser, forwarding, and a control per kernel."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap

from midflight.primitives.emit.common import (
    ADMISSIBLE,
    CHECKSUM_FIELDS,
    CONSTANTS,
    FORWARDING,
    FROM_CONTROLLER,
    FROM_CONTROLLER_WITH_STATE,
    HEADERS,
    MALFORMED,
    PARSER,
    PSEUDO_HEADER,
    SCRAMBLE,
    START,
    STATE_CONSTANTS,
    STATE_HEADER,
)
from midflight.primitives.emit.declarations import about, item_headers, listed, member, message, stateful
from midflight.primitives.emit.kernel import KernelWriter, alerts_late, hashes
from midflight.primitives.emit.names import constant, spelled
from midflight.primitives.emit.stamps import stamping
from midflight.primitives.emit.steering import SteeringWriter
from midflight.primitives.emit.verdicts import Verdicts
from midflight.primitives.emit.writer import WIDTH, Writer
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.struct import Items
from midflight.primitives.steering import Steering

__all__ = ["emit"]


def emit(applications: Mapping[str, tuple[int, Primitive]], steering: Steering | None = None) -> Writer:
    """Return a writer with the P4 text of a whole program, and for each line the line of a kernel that it comes from.

    `applications` maps names to ids and primitives, in the order of the program; with `steering`, the program steers
    requests to instances. Raises KernelError for kernels that do not compile.
    """
    out = Writer()
    names = list(applications)
    steer = SteeringWriter(steering) if steering else None
    verdicts = Verdicts({name: primitive.kernel for name, (_, primitive) in applications.items()})
    out.line(f"// {listed(names)} on one switch: P4_16 for the v1model architecture.")
    out.line("// Written by Midflight from kernels in Python. Change those and compile again, rather than this file.")
    out.line()
    out.line("#include <core.p4>")
    out.line("#include <v1model.p4>")
    out.line()
    out.lines(CONSTANTS)
    if stateful(applications):
        out.lines(STATE_CONSTANTS)
    if steer:
        steer.constants(out)
    verdicts.constants(out)
    out.line()
    out.line("// The applications' ids in the common header.")
    for name, (number, _) in applications.items():
        out.line(f"const bit<16> {constant(name)} = {number};")
    out.line()
    verdicts.declare(out)
    out.line()
    out.lines(HEADERS)
    out.line()
    if steer:
        steer.headers(out)
    if stateful(applications):
        out.lines(STATE_HEADER)
        out.line()
    for name, (_, primitive) in applications.items():
        message(out, name, primitive)
    _structs(out, applications, verdicts, steer)
    _parser(out, applications, steer)
    _verify(out, applications, steer)
    if steer or any(hashes(primitive.kernel) for _, primitive in applications.values()):
        out.lines(SCRAMBLE)
        out.line()
    for name, (_, primitive) in applications.items():
        about(out, name, primitive)
        KernelWriter(name, primitive, out).write()
        out.line()
    if steer:
        steer.control(out)
    verdicts.kernels(out)
    _ingress(out, applications, verdicts, steer)
    verdicts.egress(out, "".join(stamping(name, primitive) for name, (_, primitive) in applications.items()))
    out.line()
    _checksums(out, applications, steer)
    _deparser(out, applications, steer)
    out.line("V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;")
    return out


def _headers(applications: Mapping[str, tuple[int, Primitive]], steer: SteeringWriter | None) -> list[tuple[str, str]]:
    """Return the names of all headers in deparsing order, with their types, without packet-in and packet-out."""
    holding = stateful(applications)
    state = ["state", *(f"{name}_state" for name in holding)] if holding else []
    outer, inner, tcp = (steer.OUTER, steer.INNER, steer.TCP) if steer else ({}, {}, ())
    names = ["ethernet", *outer, "ipv4", "ipv6", "udp", *inner, *tcp, "midflight", *state, *applications]
    return [(name, {**outer, **inner}.get(name, f"{name}_t")) for name in names]


def _structs(
    out: Writer,
    applications: Mapping[str, tuple[int, Primitive]],
    verdicts: Verdicts,
    steer: SteeringWriter | None,
) -> None:
    with out.block("struct headers_t"):
        out.line("packet_in_t packet_in;")
        out.line("packet_out_t packet_out;")
        for name, kind in _headers(applications, steer):
            out.line(f"{kind} {name};")
            if items := applications[name][1].layout.items if name in applications else None:
                for each in item_headers(name, items):
                    out.line(f"{name}_{items.name}_t {each};")
    out.line()
    with out.block("struct metadata_t"):
        out.line("bool admitted;   // the packet is computed on here")
        out.line("bit<2> colour;   // of its rate")
        out.line("bit<16> group;   // the multicast group of its members")
        out.line("bit<16> epoch;   // the life that the switch's state is in")
        out.line("bit<64> token;   // what its packets carry")
        out.line("bit<1> bound;   // whether only members may send them")
        out.line("bit<128> sender;  // the address that the packet comes from")
        out.line("bit<16> member;  // the number of the member that it names")
        out.line("bit<16> job;     // the number of its job")
        out.line("bit<128> address;  // of the member that a copy is for")
        out.line("bit<16> remainder;  // of the UDP checksum of a whole IPv6 packet: none")
        verdicts.metadata(out)
        if steer:
            steer.metadata(out)
        for name, (_, primitive) in applications.items():
            if primitive.kernel.alert:
                out.line(f"{name}_alert_t {name}_alert;")
                if alerts_late(primitive.kernel):
                    out.line(f"bool {name}_alerted;  // it is to be sent")
    out.line()


def _parser(out: Writer, applications: Mapping[str, tuple[int, Primitive]], steer: SteeringWriter | None) -> None:
    holding = stateful(applications)
    opening = "parser parse("
    pad = " " * len(opening)
    out.line(f"{opening}packet_in packet, out headers_t hdr, inout metadata_t meta,")
    with out.block(f"{pad}inout standard_metadata_t standard_metadata)"):
        out.lines(START)
        out.line()
        out.lines(FROM_CONTROLLER_WITH_STATE if holding else FROM_CONTROLLER)
        if holding:
            out.line()
            with out.block("state parse_state"):
                out.line("packet.extract(hdr.midflight);")
                out.line("packet.extract(hdr.state);")
                key = "hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application"
                with out.block(f"transition select({key})"):
                    for name in holding:
                        out.line(f"(VERSION, STATE, {constant(name)}): parse_{name}_state;")
                    out.line("default: accept;")
            for name in holding:
                _extract(out, f"{name}_state")
        out.line()
        out.lines(steer.parser(PARSER) if steer else PARSER)
        out.line()
        with out.block("state parse_midflight"):
            out.line("packet.extract(hdr.midflight);")
            with out.block("transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application)"):
                for name in applications:
                    out.line(f"(VERSION, REQUEST, {constant(name)}): parse_{name};")
                out.line("default: accept;")
        for name, (_, primitive) in applications.items():
            if primitive.layout.items is None:
                _extract(out, name)
            else:
                _extract_items(out, name, primitive.layout.items)
    out.line()


def _extract(out: Writer, header: str) -> None:
    out.line()
    with out.block(f"state parse_{header}"):
        out.line(f"packet.extract(hdr.{header});")
        out.line("transition accept;")


def _extract_items(out: Writer, name: str, items: Items) -> None:
    """Write the parser states that extract an application's header and then its items."""
    count = f"hdr.{name}.{spelled(items.counted.name)}"
    for place, header in enumerate((name, *item_headers(name, items))):
        out.line()
        with out.block(f"state parse_{header}"):
            out.line(f"packet.extract(hdr.{header});")
            if place == 0 and items.counted.kind.high > len(items):
                out.line(f"verify({count} <= {len(items)}, error.ParserInvalidArgument);")
            if place == len(items):
                out.line("transition accept;")
            else:
                with out.block(f"transition select({count})"):
                    out.line(f"{place}: accept;")
                    out.line(f"default: parse_{name}_{items.name}_{place};")


def _verify(out: Writer, applications: Mapping[str, tuple[int, Primitive]], steer: SteeringWriter | None) -> None:
    with out.block("control verify_checksums(inout headers_t hdr, inout metadata_t meta)"), out.block("apply"):
        _checksum(out, "verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,")
        if steer:
            _checksum(out, "verify_checksum(hdr.inner_ipv4.isValid() && hdr.inner_ipv4.ihl == 5,", "inner_ipv4")
        out.line("// With the checksum among them, the words of a packet add up to all ones.")
        over = "hdr.ipv6.isValid() && hdr.midflight.isValid()"
        _udp_checksum(out, f"verify_checksum_with_payload({over},", applications, "meta.remainder")
    out.line()


def _checksum(out: Writer, opening: str, header: str = "ipv4") -> None:
    out.line(opening)
    for each in CHECKSUM_FIELDS.replace("hdr.ipv4.", f"hdr.{header}.").strip().split("\n"):
        out.line("    " + each)
    out.line(f"    hdr.{header}.checksum, HashAlgorithm.csum16);")


def _udp_checksum(
    out: Writer,
    opening: str,
    applications: Mapping[str, tuple[int, Primitive]],
    checksum: str,
) -> None:
    """Write a UDP checksum over IPv6: of the pseudo-header and all headers that may follow."""
    headers = ["udp", "midflight"]
    for name, (_, primitive) in applications.items():
        headers += [name, *(item_headers(name, primitive.layout.items) if primitive.layout.items else ())]
    covered = ", ".join(f"hdr.{each}" for each in headers)
    out.line(opening)
    out.line("    {")
    for each in wrap(f"{PSEUDO_HEADER} {covered}", WIDTH - 24):
        out.line("        " + each)
    out.line("    },")
    out.line(f"    {checksum}, HashAlgorithm.csum16);")


def _ingress(
    out: Writer,
    applications: Mapping[str, tuple[int, Primitive]],
    verdicts: Verdicts,
    steer: SteeringWriter | None,
) -> None:
    if steer:
        steer.quiet(out)
    with out.block(
        "control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata)"
    ):
        out.lines(FORWARDING)
        out.line()
        dropping = [name for name, (_, each) in applications.items() if Verdict.DROP in each.kernel.verdicts]
        if dropping:
            out.line("// Packets that applications drop, by their place in the program.")
            out.line(f"counter({len(applications)}, CounterType.packets) dropped;")
            out.line()
        verdicts.actions(out)
        for name in applications:
            out.line(f"{name}_kernel() {name};")
        if steer:
            out.line("steering_control() steering;")
        out.line()
        with out.block("apply"):
            verdicts.enter(out)
            holding = stateful(applications)
            out.line("meta.verdict = FORWARD;")
            with out.block("if (hdr.packet_out.isValid())"):
                sent = "sent as it is; but a request for state goes to the application and back"
                out.line(f"// From the controller: {sent if holding else 'sent as it is'}.")
                out.line("standard_metadata.egress_spec = (bit<9>)hdr.packet_out.egress_port;")
                out.line("hdr.packet_out.setInvalid();")
                if holding:
                    with out.block("if (!hdr.state.isValid())"):
                        out.line("return;")
                    out.line("meta.admitted = true;")
                else:
                    out.line("return;")
            out.undo()
            first, *between, last = f"}} else if ({MALFORMED})".split("\n")
            out.lines("\n".join((first, *between)))
            with out.block(last):
                out.lines("malformed.count(0);\ndrop();\nreturn;")
            out.undo()
            with out.block(f"}} else if ({ADMISSIBLE})"):
                _admission(out, applications)
            out.line()
            out.line("// Compute.")
            with out.block("if (meta.admitted)"):
                out.line("hdr.udp.checksum = 0;  // none, as the payload may change; over IPv6 there is one in the end")
                with out.block("if (hdr.midflight.kind == RESULT_FOR_ALL)"):
                    out.line("meta.verdict = MULTICAST;")
                for number, (name, (_, primitive)) in enumerate(applications.items()):
                    out.undo()
                    asked = f" || hdr.{name}_state.isValid()" if name in holding else ""
                    with out.block(f"}} else if (hdr.{name}.isValid(){asked})"):
                        clock = ", standard_metadata" if primitive.kernel.timed else ""
                        out.line(f"{name}.apply(hdr, meta{clock});")
                        if steer and primitive.INSTANCE:
                            out.line(f"meta.instance = (bit<16>)hdr.{name}.{spelled(primitive.INSTANCE)};")
                        if name in dropping:
                            with out.block("if (meta.verdict == DROP)"):
                                out.line(f"dropped.count({number});")
                        if alerts_late(primitive.kernel):
                            with out.block(f"if (meta.{name}_alerted)"):
                                out.line(f"digest<{name}_alert_t>(1, meta.{name}_alert);")
            out.line()
            out.line("// Act on the verdict.")
            if holding:
                with out.block("if (hdr.state.isValid())"):
                    out.line("return;  // on its way back to the controller")
            verdicts.act(out, steer=steer is not None)
    out.line()


def _admission(out: Writer, applications: Mapping[str, tuple[int, Primitive]]) -> None:
    """Write the code that decides whether a request is computed on."""
    reasons = {
        "!admission.apply().hit": "NOT_ADMITTED",
        "hdr.midflight.token != meta.token": "WRONG_TOKEN",
        "meta.colour == RED": "TOO_FAST",
    }
    opening = "if"
    for condition, reason in reasons.items():
        out.line(f"{opening} ({condition}) {{")
        out.line(f"    refused.count({reason});")
        opening = "} else if"
    with out.block("} else"):
        out.line("meta.admitted = true;")
        with out.block("if (meta.bound == 1)"):
            out.line("meta.sender = (bit<128>)hdr.ipv4.source;")
            with out.block("if (hdr.ipv6.isValid())"):
                out.line("meta.sender = hdr.ipv6.source;")
            member(out, applications)
            with out.block("if (!membership.apply().hit)"):
                out.line("refused.count(NO_MEMBER);")
                out.line("meta.admitted = false;")


def _checksums(out: Writer, applications: Mapping[str, tuple[int, Primitive]], steer: SteeringWriter | None) -> None:
    with out.block("control compute_checksums(inout headers_t hdr, inout metadata_t meta)"), out.block("apply"):
        _checksum(out, f"update_checksum(hdr.ipv4.isValid(){' && !meta.steered' if steer else ''},")
        out.line("// Over IPv6 there must be one: what was computed on gets another. What would be 0 is all ones.")
        none = "hdr.ipv6.isValid() && hdr.midflight.isValid() && hdr.udp.checksum == 0"
        _udp_checksum(out, f"update_checksum_with_payload({none},", applications, "hdr.udp.checksum")
        out.line(f"update_checksum({none},")
        out.line("    { 16w0 }, hdr.udp.checksum, HashAlgorithm.csum16);")
        if steer:
            steer.checksums(out)
    out.line()


def _deparser(out: Writer, applications: Mapping[str, tuple[int, Primitive]], steer: SteeringWriter | None) -> None:
    with out.block("control deparse(packet_out packet, in headers_t hdr)"), out.block("apply"):
        for name in ("packet_in", *(each for each, _ in _headers(applications, steer))):
            out.line(f"packet.emit(hdr.{name});")
            if items := applications[name][1].layout.items if name in applications else None:
                for each in item_headers(name, items):
                    out.line(f"packet.emit(hdr.{each});")
    out.line()
