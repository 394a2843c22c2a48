"""Switches in Mininet, under the Python that Debian's Mininet runs in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bmv2 import BMV2, ROOT

PYTHON = "/usr/bin/python3"
FILE = Path(__file__).parents[2] / "midflight" / "testbed" / "mininet.py"

WIRE = """\
#include <core.p4>
#include <v1model.p4>

struct headers_t { }
struct metadata_t { }

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    state start { transition accept; }
}
control verify_checksums(inout headers_t hdr, inout metadata_t meta) { apply { } }
control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply { standard_metadata.egress_spec = 3 - standard_metadata.ingress_port; }
}
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) { apply { } }
control compute(inout headers_t hdr, inout metadata_t meta) { apply { } }
control deparse(packet_out packet, in headers_t hdr) { apply { } }
V1Switch(parse(), verify_checksums(), ingress(), egress(), compute(), deparse()) main;
"""
"""Forwards packets from port 1 to port 2 and vice versa."""


def _missing() -> str:
    if not Path(PYTHON).exists():
        return f"no {PYTHON}"
    done = subprocess.run([PYTHON, "-c", "import mininet"], capture_output=True, check=False)
    return "Debian's package mininet is not here" if done.returncode else ""


_reason = _missing()
pytestmark = [*ROOT, pytest.mark.skipif(bool(_reason), reason=_reason)]


# Runs in a separate network namespace, because Mininet's interface names are global, and prints what remains in it.
SANDBOX = """\
ip link set lo up
"$@"
status=$?
echo "left: $(ip -brief link | cut -d ' ' -f 1 | xargs)"
exit $status
"""


def mininet(kind: str, program: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    sandbox = ["unshare", "--net", "sh", "-c", SANDBOX, "sh"]
    return subprocess.run(
        [*sandbox, PYTHON, str(Path(__file__).parent / "traffic.py"), str(FILE), kind, str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    made = tmp_path / "wire.p4"
    made.write_text(WIRE)
    return made


@pytest.fixture
def midflight(tmp_path: Path) -> str:
    """The `midflight` command of this Python."""
    made = tmp_path / "midflight"
    made.write_text(f'#!/bin/sh\nexec {sys.executable} -m midflight "$@"\n')
    made.chmod(0o755)
    return str(made)


@pytest.mark.parametrize("kind", ["midflight", pytest.param("bmv2", marks=BMV2)])
def test_a_stream_passes_the_switch_and_everything_is_removed(kind: str, program: Path, midflight: str) -> None:
    done = mininet(kind, program, MIDFLIGHT=midflight)
    assert done.returncode == 0, done.stderr
    assert "received 200000\ns1 on 127.0.0.1:9559, device 1\nstopped" in done.stdout
    assert done.stdout.endswith("left: lo\n")


def test_a_program_that_does_not_compile_is_reported(program: Path, midflight: str) -> None:
    program.write_text(WIRE.replace("egress_spec", "nowhere"))
    done = mininet("midflight", program, MIDFLIGHT=midflight)
    assert done.returncode == 1
    assert "s1 does not serve P4Runtime on 127.0.0.1:9559" in done.stderr
    assert "wire.p4:12:" in done.stderr
    assert done.stdout.endswith("left: lo\n")


@pytest.mark.parametrize(
    ("environment", "program", "words"),
    [
        ({"MIDFLIGHT": "/nowhere/midflight"}, "", "/nowhere/midflight is not on PATH: set MIDFLIGHT"),
        ({}, "/nowhere/prog.p4", "s1 needs a P4 program: program=/nowhere/prog.p4"),
    ],
)
def test_missing_prerequisites_are_named(environment: dict[str, str], program: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "wire.p4"
    file.write_text(WIRE)
    done = mininet("midflight", program or file, **environment)
    assert done.returncode == 1
    assert words in done.stderr
