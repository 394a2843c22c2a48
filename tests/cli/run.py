"""Running the command line, in this process or in a separate one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from midflight.cli import main

PROGRAM = """\
from midflight.primitives import Aggregate, Program, Threshold

program = Program(Aggregate("gradients", workers=4, lanes=2, slots=8), Threshold("pressure", above=900, clear=850))
"""

FORWARDER = """\
#include <core.p4>
#include <v1model.p4>

header ethernet_t { bit<48> destination; bit<48> source; bit<16> kind; }
struct headers_t { ethernet_t ethernet; }
struct metadata_t { }

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    state start { packet.extract(hdr.ethernet); transition accept; }
}
control verify_checksums(inout headers_t hdr, inout metadata_t meta) { apply { } }
control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    action send(bit<9> port) { standard_metadata.egress_spec = port; }
    table bridge { key = { hdr.ethernet.destination : exact; } actions = { send; NoAction; } size = SIZE; }
    apply { bridge.apply(); }
}
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) { apply { } }
control compute(inout headers_t hdr, inout metadata_t meta) { apply { } }
control deparse(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.ethernet); } }
V1Switch(parse(), verify_checksums(), ingress(), egress(), compute(), deparse()) main;
"""


def midflight(*arguments: str | Path) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(main, [str(each) for each in arguments], prog_name="midflight")


def process(*arguments: str | Path, input: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a separate process, with a text as its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "midflight", *map(str, arguments)],
        input=input,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def listing(folder: Path) -> dict[str, str]:
    """Return the texts of all files below a folder, including hidden ones, by path."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}
