"""`midflight switch`, which serves P4Runtime until it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.engine.ports.pcap import PcapWriter
from midflight.runtime.p4runtime.client.session import Session
from tests.cli.run import FORWARDER, midflight


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.p4"
    path.write_text(FORWARDER.replace("SIZE", "64"))
    return path


@contextmanager
def serving(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a switch on a free port, and yield the process with the first line of its output."""
    command = [sys.executable, "-m", "midflight", "switch", *map(str, arguments), "--grpc-server-addr", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_switch_serves_until_a_signal_and_exits_with_status_0(program: Path, stop: signal.Signals) -> None:
    with serving(program, "--device-id", "3") as (process, greeting):
        assert greeting.startswith(f"{program}: P4Runtime on 127.0.0.1:")
        assert greeting.endswith(", device 3, CPU port 510\n")
        address = greeting.split(" on ")[1].split(",")[0]
        with Session(address, device_id=3) as session:
            session.insert("ingress.bridge", {"hdr.ethernet.destination": 5}, "ingress.send", {"port": 2})
            assert len(session.read_table("ingress.bridge")) == 1
            source = program.read_text().replace("size = 64", "size = 128")
            session.load(p4info(check(source)), source)
            assert session.read_table("ingress.bridge") == []
        process.send_signal(stop)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, "", "")


ASSERTING = 'assert(hdr.ethernet.kind != 0x806); log_msg("kind {}", { hdr.ethernet.kind });'


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--stop-on-assert"], 1)])
def test_what_the_program_logs_is_printed(program: Path, tmp_path: Path, options: list[str], status: int) -> None:
    program.write_text(program.read_text().replace("apply { bridge.apply(); }", f"apply {{ {ASSERTING} }}"))
    frame = bytes(12) + b"\x08\x06" + bytes(46)
    with PcapWriter(tmp_path / "in.pcap") as file:
        file.write(0, frame)
    result = midflight(
        "switch", program, "-i", f"1@pcap:{tmp_path}/in.pcap,", "--grpc-server-addr", "127.0.0.1:0", *options
    )
    assert result.exit_code == status
    _, first, second, *_ = result.stdout.splitlines()
    assert first.startswith(f"log        assert failed at {program}:")
    assert second == "log        kind 2054"
    assert ("an assertion of the program failed" in result.stderr) == bool(status)


def test_it_waits_for_a_program(program: Path) -> None:
    with serving("--trace") as (process, greeting):
        assert greeting.startswith("no program yet: P4Runtime on 127.0.0.1:")
        with Session(greeting.split(" on ")[1].split(",")[0]) as session:
            source = program.read_text()
            session.load(p4info(check(source)), source)
            session.insert("ingress.bridge", {"hdr.ethernet.destination": 5}, "ingress.send", {"port": 2})
            assert len(session.read_table("ingress.bridge")) == 1
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, "", "")


def test_captures_need_a_program(tmp_path: Path) -> None:
    result = midflight("switch", "-i", f"1@pcap:{tmp_path}/in.pcap,", "--grpc-server-addr", "127.0.0.1:0")
    assert result.exit_code == 2
    assert "captures as ports need a program" in result.output


def test_an_invalid_program_is_rejected(program: Path) -> None:
    program.write_text(program.read_text().replace("egress_spec", "egress_spek"))
    result = midflight("switch", program, "--grpc-server-addr", "127.0.0.1:0")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{program}:")


def test_an_address_in_use_is_reported(program: Path) -> None:
    with serving(program) as (_, greeting):
        address = greeting.split(" on ")[1].split(",")[0]
        result = midflight("switch", program, "--grpc-server-addr", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"midflight: cannot listen on {address}\n")


@pytest.mark.parametrize("option", [("--device-id", "-1"), ("--cpu-port", "511"), ("--cpu-port", "x")])
def test_a_number_out_of_range_is_rejected(program: Path, option: tuple[str, str]) -> None:
    assert midflight("switch", program, *option).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tls-cert", "c.pem"], "TLS needs both --tls-cert and --tls-key"),
        (["--tls-client-ca", "c.pem"], "TLS needs both --tls-cert and --tls-key"),
        (["--tls-cert", "c.pem", "--tls-key", "k.pem", "--tls-role", "alice"], "NAME=ROLE"),
        (["--tls-cert", "c.pem", "--tls-key", "k.pem", "--tls-role", "alice=ops"], "the authority that signs them"),
        (["--memory", "much"], "is not a size"),
        (["--memory", "0B"], "is not a size"),
        (["--memory", "1KiB"], "the limit is 1 KiB"),
    ],
)
def test_invalid_options_are_reported(arguments: list[str], said: str, program: Path) -> None:
    result = midflight("switch", str(program), "--grpc-server-addr", "127.0.0.1:0", *arguments)
    assert result.exit_code != 0
    assert said in result.output


def test_a_reachable_address_without_tls_gives_a_warning(program: Path) -> None:
    result = midflight("switch", str(program), "--grpc-server-addr", "192.0.2.1:0")  # an unassigned address
    assert result.exit_code == 1
    assert "192.0.2.1:0 is served without TLS" in result.output
