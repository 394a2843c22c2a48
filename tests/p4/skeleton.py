"""A v1model program with gaps, so that tests contain only the relevant lines."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.p4.frontend import check

__all__ = ["assigned", "ingress_statements", "program", "skeleton"]

SKELETON = """\
#include <core.p4>
#include <v1model.p4>

header ethernet_t { bit<48> destination; bit<48> source; bit<16> type; }
header label_t { bit<20> value; bit<3> class; bit<1> last; bit<8> ttl; }
header options_t { bit<8> size; varbit<320> data; }
struct headers_t { ethernet_t ethernet; label_t[4] labels; options_t options; }
struct pair_t { bit<8> first; bit<16> second; }
struct metadata_t { bit<8> small; bit<16> medium; bit<32> wide; int<8> signed; bool flag; pair_t pair; }
%(top)s
parser MyParser(
    packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
%(parser_locals)s
    state start {
        packet.extract(hdr.ethernet);
%(state)s
        transition %(transition)s
    }
%(states)s
}
control MyVerify(inout headers_t hdr, inout metadata_t meta) { apply { %(verify)s } }
control MyIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
%(locals)s
    apply {
%(apply)s
    }
}
control MyEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) { apply { } }
control MyCompute(inout headers_t hdr, inout metadata_t meta) { apply { } }
control MyDeparser(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.ethernet); } }
V1Switch(MyParser(), MyVerify(), MyIngress(), MyEgress(), MyCompute(), MyDeparser()) main;
"""


def skeleton(**parts: str) -> str:
    """Return the program's text with filled gaps: top, locals, apply, verify, state, states, parser_locals."""
    gaps = dict.fromkeys(["top", "parser_locals", "state", "states", "verify", "locals", "apply"], "")
    return SKELETON % (gaps | {"transition": "accept;"} | parts)


def program(**parts: str) -> ir.Program:
    """Return the checked program."""
    return check(skeleton(**parts), "test.p4")


def ingress_statements(**parts: str) -> tuple[ir.Statement, ...]:
    """Return the checked statements of the ingress control's apply block."""
    return program(**parts).ingress.body.body


def assigned(expression: str, target: str = "meta.wide", **parts: str) -> ir.Expression:
    """Return the checked form of an expression that is assigned to a field."""
    statement = ingress_statements(apply=f"{target} = {expression};", **parts)[-1]
    assert isinstance(statement, ir.Assign)
    return statement.value
