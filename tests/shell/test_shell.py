"""The unmodified p4runtime-shell on every kind of switch."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.shell import environment
from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.tls import ServerTls
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.topology import Topology
from tests.bmv2 import BMV2, PROGRAM, ROOT
from tests.p4runtime.support import ipv4, other
from tests.papers import Papers, needs_openssl

PATIENCE = 60

FILL = """\
import sys

entry = table_entry["ingress.route"](action="ingress.to_port")
entry.match["hdr.ipv4.destination"] = "10.0.0.0/8"
entry.action["port"] = sys.argv[1]
entry.action["mac"] = "02:00:00:00:00:22"
entry.insert()
for each in table_entry["ingress.route"].read():
    print("route", int.from_bytes(each.action["port"].value, "big"))
print("ready", flush=True)
packet = packet_in.packet_in_queue.get(timeout=20)
print("packet-in", len(packet.packet.payload))
sys.stdin.readline()
packet_out(payload=b"out of here, and long enough to be a frame", egress_port="3").send()
"""

LOOK = """\
counter = counter_entry["ingress.arrivals"]
counter.index = 1
for each in counter.read():
    print("arrivals", each.packet_count)
entry = table_entry["ingress.route"](action="ingress.to_port")
entry.match["hdr.ipv4.destination"] = "10.0.0.0/8"
entry.delete()
print("routes", len(list(table_entry["ingress.route"].read())))
"""


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Create the environment in the user's cache."""
    try:
        environment(str)
    except MidflightError as error:
        pytest.skip(f"p4runtime-shell cannot be installed here: {error.message}")


@pytest.fixture(params=["host", pytest.param("bmv2", marks=BMV2)])
def device(request: pytest.FixtureRequest) -> Iterator[PacketDevice]:
    with open_device(request.param) as opened:
        assert isinstance(opened, PacketDevice)
        yield opened


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "midflight", "shell", *map(str, arguments)]


def run(*arguments: object, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), input=text, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def files(device: PacketDevice, folder: Path) -> str:
    """Write a program's files as the tools of its device do."""
    pipeline = device.compile(CheckedProgram(PROGRAM))
    (folder / "p4info.txtpb").write_text(str(pipeline.p4info))
    (folder / "config").write_bytes(pipeline.config)
    return f"{folder}/p4info.txtpb,{folder}/config"


def test_a_session_configures_fills_reads_deletes_counts_and_sends(device: PacketDevice, tmp_path: Path) -> None:
    (tmp_path / "fill.py").write_text(FILL)
    (tmp_path / "look.py").write_text(LOOK)
    where = ("--grpc-addr", device.address, "--device-id", device.device_id)
    pipe = subprocess.PIPE
    filling = command(*where, "--config", files(device, tmp_path), "--", tmp_path / "fill.py", 2)
    with subprocess.Popen(filling, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            said = []
            for line in lines:
                said.append(line.strip())
                if line == "ready\n":
                    assert len(device.process(Packets.from_list([(1, other())]))) == 0
                    # The packet-out must not come earlier: packets that leave BMv2 at the end of a batch are lost.
                    assert process.stdin is not None
                    process.stdin.write("go\n")
                    process.stdin.flush()
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert said == ["route 2", "ready", f"packet-in {len(other())}"], errors
    assert (process.returncode, errors) == (0, "")
    # On BMv2 the packet-out may not have left yet when later packets arrive.
    after = device.process(Packets.from_list([(1, ipv4("10.1.2.3"))] * 2))
    sent = [*device.transmitted(), *after]
    assert sorted(port for port, _ in sent) == [2, 2, 3]
    assert (3, b"out of here, and long enough to be a frame") in sent

    done = run(*where, text=LOOK)  # from standard input, the program still there
    assert (done.stdout, done.stderr, done.returncode) == ("arrivals 3\nroutes 0\n", "", 0)
    assert len(device.process(Packets.from_list([(1, ipv4("10.1.2.3"))]))) == 0


def test_a_failing_script_is_reported_with_its_line(tmp_path: Path) -> None:
    script = tmp_path / "wrong.py"
    with open_device("host") as device:
        device.load(PROGRAM)
        for text, words in (
            ("one = (\n", f"{script}:1: "),
            (
                'entry = table_entry["ingress.route"](action="ingress.to_port")\n'
                'entry.match["hdr.ipv4.destination"] = "10.0.0.0/8"\n'
                'entry.action["port"] = "1"\nentry.action["mac"] = "0"\nentry.delete()\n',
                "NOT_FOUND",
            ),
        ):
            script.write_text(text)
            done = run("--grpc-addr", device.address, "--", script)
            assert (done.returncode, words in done.stderr) == (1, True), done.stderr
            assert "Traceback" not in done.stderr


def test_a_missing_switch_is_reported() -> None:
    done = run("--grpc-addr", "unix:/nowhere/socket")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "midflight: no switch answers at unix:/nowhere/socket\n"


def test_a_backup_may_only_read() -> None:
    with open_device("host") as device:
        device.load(PROGRAM)
        with device.session(election_id=5):
            done = run("--grpc-addr", device.address, "--election-id", 4, text=LOOK)
    assert done.stdout.startswith("You are not the primary client")
    assert "arrivals 0" in done.stdout
    assert (done.returncode, "PERMISSION_DENIED" in done.stderr) == (1, True)


def test_the_prompt(tmp_path: Path) -> None:
    """In a terminal it behaves like p4runtime-shell, where an entry is inserted without parentheses."""
    master, slave = pty.openpty()
    with open_device("host") as device:
        device.load(PROGRAM)
        variables = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb"}
        process = subprocess.Popen(
            command("--grpc-addr", device.address), stdin=slave, stdout=slave, stderr=slave, env=variables
        )
        os.close(slave)
        seen = b""

        def until(words: bytes) -> None:
            nonlocal seen
            while words not in seen:
                assert select.select([master], [], [], PATIENCE)[0], seen
                seen += os.read(master, 4096)
            seen = seen.partition(words)[2]

        try:
            until(b">>> ")
            os.write(master, b"print(6 * 7)\r")
            until(b"42")
            until(b">>> ")
            os.write(master, b"exit\r")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
            os.close(master)


@pytest.mark.root
@ROOT[1]
def test_the_switch_of_a_running_network() -> None:
    name = "shelled"  # a name that switches of other networks do not have
    with open_fabric("netns", Topology.of([("h1", name), ("h2", name)]), "host") as fabric:
        fabric.devices[name].load(PROGRAM)
        done = run("--device-of", name, text='print(tables["ingress.route"].name)')
    assert done.stdout == "ingress.route\n", done.stderr


@needs_openssl
def test_the_shell_uses_tls_and_shows_its_certificate(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    switch = Switch()
    switch.load(PROGRAM)
    server, client = ServerTls(*papers.server, client_ca=papers.ca), papers.client("alice")
    with Server(switch, tls=server) as serving:
        where = ("--grpc-addr", serving.address, "--tls-ca", client.ca)
        own = ("--tls-cert", client.certificate, "--tls-key", client.key)
        done = run(*where, *own, text="print(len(list(table_entry['ingress.route'].read())))\n")
        assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
        for options, words in (
            (where, "no switch answers"),
            ((*where[:3], tmp_path / "none.pem"), "none.pem"),
            ((*where[:2], *own), "TLS needs --tls-ca"),
        ):
            done = run(*options, text="print(1)")
            assert done.returncode != 0
            assert words in done.stderr
            assert "Traceback" not in done.stderr
