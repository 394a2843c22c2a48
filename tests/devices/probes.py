"""Small pieces of P4 on BMv2 and on the embedded switch, with the same packets and the same controller.

All pieces of a test are in one program, because p4c is slow. The first byte of a packet selects the piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session

__all__ = ["Outcome", "compare", "on_both", "packet", "packets", "program"]

EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 100, 255, 256, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF)

TEMPLATE = """
#include <core.p4>
#include <v1model.p4>

header probe_t { bit<8> piece; bit<8> n; bit<16> a; bit<16> b; int<16> s; int<16> t; bit<64> w; bit<64> r; }
header option_t { bit<8> x; bit<16> y; }
header item_t { bit<8> v; }
struct headers_t { probe_t h; option_t o; option_t o2; item_t[3] k; }
struct metadata_t { @field_list(1) bit<16> kept; bit<16> lost; bit<8> mark; }
struct told_t { bit<16> first; bit<16> second; }

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    state start { packet.extract(hdr.h); transition %(start)s }
    %(states)s
}
control checksums(inout headers_t hdr, inout metadata_t meta) { apply { } }
control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    %(declarations)s
    apply {
        standard_metadata.egress_spec = 2;
        if (!hdr.h.isValid()) { return; }
        %(ingress)s
    }
}
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply {
        if (!hdr.h.isValid()) { return; }
        %(egress)s
    }
}
control deparse(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.h); packet.emit(hdr.o); packet.emit(hdr.o2); packet.emit(hdr.k); }
}
V1Switch(parse(), checksums(), ingress(), egress(), checksums(), deparse()) main;
"""

Arrivals = Sequence[tuple[int, bytes]]
Outcome = tuple[dict[int, list[tuple[int, bytes]]], Any]
"""The packets (port, packet) that leave for each arrival, and the other requested results."""


def program(
    pieces: Sequence[str],
    egress: Mapping[int, str] | None = None,
    *,
    declarations: str = "",
    start: str = "accept;",
    states: str = "",
) -> str:
    """Return a program with pieces of ingress, and optional pieces of egress."""

    def chosen(each: Mapping[int, str]) -> str:
        return "\n        ".join(f"if (hdr.h.piece == {number}) {{ {text} }}" for number, text in each.items())

    return TEMPLATE % {
        "ingress": chosen(dict(enumerate(pieces))),
        "egress": chosen(egress or {}),
        "declarations": declarations,
        "start": start,
        "states": states,
    }


def packet(
    piece: int, n: int = 0, a: int = 0, b: int = 0, s: int = 0, t: int = 0, w: int = 0, r: int = 0, rest: bytes = b""
) -> bytes:
    """Return a packet for a piece."""
    words = b"".join((each & 0xFFFF).to_bytes(2, "big") for each in (a, b, s, t))
    return bytes([piece, n]) + words + w.to_bytes(8, "big") + r.to_bytes(8, "big") + rest


def packets(piece: int, random: Random, count: int) -> list[bytes]:
    """Draw packets for a piece, with many values at the limits."""

    def draw() -> int:
        return random.choice(EDGES) if random.random() < 0.7 else random.getrandbits(16)

    drawn = []
    for _ in range(count):
        n = random.choice((0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 200, 255))
        w = random.choice((0, 1, 2**63, 2**64 - 1, random.getrandbits(64)))
        rest = random.randbytes(random.choice((0, 1, 2, 3, 5, 10)))
        drawn.append(packet(piece, n, draw(), draw(), draw(), draw(), w, random.getrandbits(64), rest))
    return drawn


def on_both(
    source: str,
    arrivals: Arrivals,
    *,
    prepare: Callable[[Session], object] = lambda _: None,
    ask: Callable[[Session], object] = lambda _: None,
) -> tuple[Outcome, Outcome]:
    """Process packets on the embedded switch and on BMv2. `prepare` fills tables; `ask` reads results to compare."""
    outcomes: list[Outcome] = []
    for kind in ("host", "bmv2"):
        with open_device(kind) as device, device.session() as session:
            assert isinstance(device, PacketDevice)
            pipeline = device.compile(CheckedProgram(source))
            session.load(pipeline.p4info, pipeline.config)
            prepare(session)
            out = device.process(Packets.from_list(list(arrivals)))
            left: dict[int, list[tuple[int, bytes]]] = {}
            for number, each in zip(out.sources.tolist(), out, strict=True):
                left.setdefault(number, []).append(each)
            outcomes.append((left, ask(session)))
    host, bmv2 = outcomes
    return host, bmv2


def compare(source: str, pieces: Sequence[str], arrivals: Arrivals, **options: Any) -> Outcome:
    """Check that both give the same outcome, and return it."""
    (host, answer), (bmv2, also) = on_both(source, arrivals, **options)
    for number, (_, data) in enumerate(arrivals):
        piece = pieces[data[0]] if data and data[0] < len(pieces) else ""
        one, other = ([(port, each.hex()) for port, each in sorted(left.get(number, []))] for left in (host, bmv2))
        assert one == other, (piece, data.hex(), one, other)
    assert answer == also
    return host, answer
