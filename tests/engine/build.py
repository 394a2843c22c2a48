"""P4 programs for the engine's tests, from the parts that matter to a test."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.runtime.engine import Engine, Packets

TEMPLATE = """
#include <core.p4>
#include <v1model.p4>
{types}
header h_t {{ {header} }}
struct headers_t {{ h_t h; {headers} }}
struct metadata_t {{ {metadata} }}
parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {{
    {parser}
}}
control verify_it(inout headers_t hdr, inout metadata_t meta) {{ apply {{ {verify} }} }}
control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {{
    {declarations}
    apply {{ {ingress} }}
}}
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {{
    {egress_declarations}
    apply {{ {egress} }}
}}
control compute_it(inout headers_t hdr, inout metadata_t meta) {{ apply {{ {compute} }} }}
control deparse(packet_out packet, in headers_t hdr) {{ apply {{ {deparser} }} }}
V1Switch(parse(), verify_it(), ingress(), egress(), compute_it(), deparse()) main;
"""

PARTS = {
    "types": "",
    "header": "bit<8> x;",
    "headers": "",
    "metadata": "",
    "parser": "state start { packet.extract(hdr.h); transition accept; }",
    "verify": "",
    "declarations": "",
    "ingress": "",
    "egress_declarations": "",
    "egress": "",
    "compute": "",
    "deparser": "packet.emit(hdr);",
}


def source(**parts: str) -> str:
    """Return a v1model program. `header` contains the fields of `hdr.h`, the header at the start of every packet."""
    return TEMPLATE.format(**{**PARTS, **parts})


@cache
def checked(text: str) -> ir.Program:
    """Return the checked program of a text, which is cached."""
    return check(text)


def engine(*, seed: int = 0, **parts: str) -> Engine:
    """Compile a program given by its parts."""
    return Engine(checked(source(**parts)), seed=seed)


def run(switch: Engine, *packets: bytes, port: int = 1, now: int = 0) -> list[tuple[int, bytes]]:
    """Process packets from one port, and return the packets that leave."""
    return list(switch.process(Packets.from_list([(port, each) for each in packets]), now))


def bytes_of(kind: str) -> int:
    """Return the number of bytes of a `bit<W>` or `int<W>` with padding in front."""
    return -(-width_of(kind) // 8)


def width_of(kind: str) -> int:
    return int(kind[4:-1])


def field(kind: str, name: str) -> str:
    """Return the declaration of a header field, with padding to whole bytes in front."""
    padding = -width_of(kind) % 8
    return (f"bit<{padding}> pad_{name}; " if padding else "") + f"{kind} {name};"


@lru_cache(maxsize=64)
def calculator(inputs: tuple[str, ...], results: tuple[tuple[str, str], ...]) -> Engine:
    """Return an engine that evaluates (type, expression) pairs on fields `$a`, `$b`, ... into the fields after them."""
    header = [field(kind, name) for name, kind in zip("abcd", inputs, strict=False)]
    header += [field(kind, f"r{number}") for number, (kind, _) in enumerate(results)]
    lines = (f"hdr.h.r{number} = {text.replace('$', 'hdr.h.')};" for number, (_, text) in enumerate(results))
    return engine(header=" ".join(header), ingress=" ".join(lines))


def compute(
    inputs: tuple[str, ...], rows: Sequence[tuple[int, ...]], *results: tuple[str, str]
) -> list[tuple[int, ...]]:
    """Evaluate (type, expression) pairs in native code for rows of unsigned inputs. Return rows of unsigned results."""
    switch = calculator(inputs, results)
    sizes = [bytes_of(kind) for kind in inputs]
    room = bytes(sum(bytes_of(kind) for kind, _ in results))
    packets = [
        b"".join(each.to_bytes(size, "big") for each, size in zip(row, sizes, strict=True)) + room for row in rows
    ]
    out = run(switch, *packets)
    assert len(out) == len(rows)
    found = []
    for _, data in out:
        at, row = sum(sizes), []
        for kind, _ in results:
            number = int.from_bytes(data[at : at + bytes_of(kind)], "big")
            row.append(number & ((1 << width_of(kind)) - 1))
            at += bytes_of(kind)
        found.append(tuple(row))
    return found
