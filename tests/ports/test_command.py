"""`midflight switch` with ports: captures, and with root interfaces."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from midflight.runtime.engine.ports.pcap import PcapReader, PcapWriter
from midflight.runtime.p4runtime.client.session import Session
from tests.bmv2 import ROOT
from tests.cli.run import midflight
from tests.ports.lab import TAP, Lab, ethernet, number_of, numbered, station, time_of

PATIENCE = 60


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "midflight", "switch", *map(str, arguments)]


@contextmanager
def running(
    *arguments: object, inside: Callable[[Callable[[], object]], object] = lambda do: do()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a switch, and yield the process with the first line of its output."""

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(command(*arguments), stdout=pipe, stderr=pipe, text=True)

    process = inside(start)
    assert isinstance(process, subprocess.Popen)
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def without_rights(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command line without root and without capabilities for packets and namespaces."""

    def give_up() -> None:
        if not os.geteuid():
            for capability in (13, 21):  # CAP_NET_RAW, CAP_SYS_ADMIN
                assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP

    program = [sys.executable, "-m", "midflight", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=PATIENCE, preexec_fn=give_up)


def capture(path: Path, packets: Sequence[tuple[int, bytes]]) -> Path:
    """Write packets with their times in microseconds."""
    with PcapWriter(path) as file:
        for time, data in packets:
            file.write(1_700_000_000 * 10**9 + time * 1000, data)
    return path


def frames(path: Path) -> list[bytes]:
    return [each.data for each in PcapReader(path)]


def times(path: Path) -> list[int]:
    """Return the packets' times in microseconds."""
    return [each.time // 1000 - 1_700_000_000 * 10**6 for each in PcapReader(path)]


def test_captures_are_played_in_order_of_time_and_then_the_command_ends(tmp_path: Path) -> None:
    to_two = numbered(station(2))
    one = capture(tmp_path / "in1.pcap", [(0, to_two), (10, to_two), (10, to_two), (40, to_two)])
    two = capture(tmp_path / "in2.pcap", [(5, to_two), (10, to_two), (39, numbered(station(1))), (50, numbered(9))])
    ports = ("-i", f"1@pcap:{one},{tmp_path}/out1.pcap", "-i", f"2@pcap:{two},{tmp_path}/out2.pcap")
    result = midflight("switch", TAP, *ports, "--stats", "--grpc-server-addr", "127.0.0.1:0")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [number_of(each) for each in frames(tmp_path / "out1.pcap")] == [6]
    assert [number_of(each) for each in frames(tmp_path / "out2.pcap")] == [1, 2, 3, 4, 5, 7]
    assert [time_of(each) for each in frames(tmp_path / "out2.pcap")] == [0, 5, 10, 10, 10, 40]
    assert times(tmp_path / "out2.pcap") == [0, 5, 10, 10, 10, 40]
    assert result.stdout.splitlines()[1:] == [
        f"port 1, pcap:{one},{tmp_path}/out1.pcap: received 4, sent 1",
        f"port 2, pcap:{two},{tmp_path}/out2.pcap: received 4, sent 6",
        "received 8, sent 7, dropped 1",
        "dropped: ingress 1",
        "packet-ins 0, packet-outs 0",
    ]


def test_trace_prints_what_happens_to_every_packet(tmp_path: Path) -> None:
    given = capture(tmp_path / "in.pcap", [(0, numbered(station(2))), (1, numbered(9))])
    ports = ("-i", f"1@pcap:{given}", "-i", f"2@pcap:,{tmp_path}/out.pcap")
    result = midflight("switch", TAP, *ports, "--trace", "--grpc-server-addr", "127.0.0.1:0")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()[1:]
    assert lines.count("in by port 1, 60 bytes") == 2
    assert "  out        by port 2, 60 bytes" in lines
    assert lines[-1] == "  dropped    in ingress"


def test_captures_can_be_captured(tmp_path: Path) -> None:
    given = capture(tmp_path / "in.pcap", [(time, ethernet(station(2 + time % 2))) for time in range(6)])
    kept = tmp_path / "kept"
    ports = ("-i", f"1@pcap:{given}", "-i", f"2@pcap:,{tmp_path}/out2.pcap", "--pcap", kept)
    result = midflight("switch", TAP, *ports, "--stats", "--grpc-server-addr", "127.0.0.1:0")
    assert result.exit_code == 0, result.stderr
    assert "dropped: no port 3" in result.stdout
    assert (kept / "port1_in.pcap").read_bytes() == given.read_bytes()
    assert (kept / "port2_out.pcap").read_bytes() == (tmp_path / "out2.pcap").read_bytes()
    assert frames(kept / "port2_out.pcap") == [ethernet(station(2))] * 3
    assert sorted(path.name for path in kept.iterdir()) == [
        f"port{number}_{way}.pcap" for number in (1, 2) for way in ("in", "out")
    ]


def test_wait_plays_captures_after_a_controller_has_left(tmp_path: Path) -> None:
    given = capture(tmp_path / "in.pcap", [(0, ethernet(0x77)), (1, ethernet(0x77))])
    ports = ("-i", f"1@pcap:{given},", "-i", f"3@pcap:,{tmp_path}/out.pcap")
    with running(TAP, *ports, "--wait", "--grpc-server-addr", f"unix:{tmp_path}/socket") as (process, greeting):
        assert greeting == f"{TAP}: P4Runtime on unix:{tmp_path}/socket, device 1, CPU port 510\n"
        with Session(f"unix:{tmp_path}/socket") as session:
            session.insert("ingress.spare", {"hdr.ethernet.destination": 0x77}, "ingress.send", {"port": 3})
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "", "")
    assert frames(tmp_path / "out.pcap") == [ethernet(0x77)] * 2


def test_packets_of_a_pipe_arrive_when_they_are_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = capture(tmp_path / "in.pcap", [(0, ethernet(0x77, b"?"))]).read_bytes()
    ports = ("-i", f"1@pcap:{pipe}", "-i", f"3@pcap:,{tmp_path}/out.pcap")
    with running(TAP, *ports, "--grpc-server-addr", f"unix:{tmp_path}/socket") as (process, _):
        with Session(f"unix:{tmp_path}/socket") as session:
            session.insert("ingress.spare", {"hdr.ethernet.destination": 0x77}, "ingress.tell", {})
            pipe.write_bytes(content)
            got = session.packets_in(timeout=PATIENCE)
            assert [(each.payload, each.metadata) for each in got] == [(ethernet(0x77, b"?"), {"ingress_port": 1})]
            session.packet_out(ethernet(0x77, b"!"), egress_port=3)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "", "")
    assert frames(tmp_path / "out.pcap") == [ethernet(0x77, b"!")]


def test_a_signal_ends_a_switch_that_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    ports = ("-i", f"1@pcap:{tmp_path}/pipe,{tmp_path}/out.pcap")
    with running(TAP, *ports, "--stats", "--grpc-server-addr", "127.0.0.1:0") as (process, _):
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, "")
        assert "received 0, sent 0, dropped 0\n" in out
    assert frames(tmp_path / "out.pcap") == []


def test_invalid_ports_are_reported(tmp_path: Path) -> None:
    given = capture(tmp_path / "in.pcap", [])
    (tmp_path / "text").write_text("no capture")
    mistakes = {
        ("1@veth0", f"2@pcap:{given}"): "ports cannot be a mix of interfaces and pcap files",
        ("veth0",): "'veth0' is not a port\n    write PORT@INTERFACE, such as 1@veth0",
        ("511@veth0",): "'511@veth0' is not a port",
        ("1@",): "'' is not the name of an interface",
        ("1@pcap:",): "'pcap:' names no files",
        (f"1@pcap:{given}", f"1@pcap:{given}"): "port 1 is given twice",
        (f"510@pcap:{given}",): "port 510 is the CPU port",
        ("1@pcap:/nowhere/in.pcap",): "/nowhere/in.pcap: No such file or directory",
        ("1@pcap:,/nowhere/out.pcap",): "/nowhere/out.pcap: No such file or directory",
        (f"1@pcap:{tmp_path}/text",): f"{tmp_path}/text: not a pcap file",
        (f"1@pcap:{tmp_path}",): f"{tmp_path}: Is a directory",
        ("1@there-is-none",): "there is no interface there-is-none",
    }
    for ports, message in mistakes.items():
        options = [part for each in ports for part in ("-i", each)]
        result = midflight("switch", TAP, *options, "--grpc-server-addr", "127.0.0.1:0")
        assert (result.exit_code, result.stdout) == (1, ""), ports
        assert result.stderr.startswith(f"midflight: {message}"), result.stderr


def test_a_truncated_capture_is_reported_after_its_valid_packets(tmp_path: Path) -> None:
    given = capture(tmp_path / "in.pcap", [(0, ethernet(station(2))), (1, ethernet(station(2)))])
    given.write_bytes(given.read_bytes()[:-3])
    ports = ("-i", f"1@pcap:{given}", "-i", f"2@pcap:,{tmp_path}/out.pcap")
    result = midflight("switch", TAP, *ports, "--grpc-server-addr", "127.0.0.1:0")
    assert (result.exit_code, result.stderr) == (1, f"midflight: {given}: ends within packet 2\n")


def test_without_the_right_to_capture_the_requirement_is_reported() -> None:
    result = without_rights("switch", TAP, "-i", "1@lo", "--grpc-server-addr", "127.0.0.1:0")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "midflight: no permission to capture packets of lo\n"
        "    run it with sudo or grant it CAP_NET_RAW; ports of pcap files need no privileges\n"
    )


class TestOnInterfaces:
    pytestmark = ROOT

    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_a_switch_after_sending_what_has_arrived(self, tmp_path: Path, stop: signal.Signals) -> None:
        with Lab(2) as lab:
            one, two = lab.host(1), lab.host(2)
            ports = ("-i", "1@s1", "-i", "2@s2", "--stats", "--pcap", tmp_path)
            where = ("--grpc-server-addr", f"unix:{tmp_path}/socket")
            with running(TAP, *ports, *where, inside=lab.inside) as (process, _):
                sent = [ethernet(station(2), number.to_bytes(2, "big")) for number in range(800)]
                for each in sent:
                    one.send(each)
                one.send(ethernet(9))
                process.send_signal(stop)
                out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, err) == (0, "")
            assert out.splitlines() == [
                "port 1, s1: received 801, sent 0",
                "port 2, s2: received 0, sent 800",
                "received 801, sent 800, dropped 1",
                "dropped: ingress 1",
                "packet-ins 0, packet-outs 0",
            ]
            assert two.waiting() == sent
            assert frames(tmp_path / "port2_out.pcap") == sent

    def test_counts_are_printed_at_run_time(self, tmp_path: Path) -> None:
        with Lab(2) as lab:
            one, two = lab.host(1), lab.host(2)
            where = ("--grpc-server-addr", f"unix:{tmp_path}/socket")
            with running(TAP, "-i", "1@s1", "-i", "2@s2", "--stats", *where, inside=lab.inside) as (process, _):
                one.send(ethernet(station(2)))
                two.receive()
                process.send_signal(signal.SIGUSR1)
                assert process.stdout is not None
                assert process.stdout.readline() == "port 1, s1: received 1, sent 0\n"
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=PATIENCE)

    def test_a_controller_outside_the_namespace_and_messages_about_an_interface(self, tmp_path: Path) -> None:
        with Lab(2) as lab:
            one, two = lab.host(1), lab.host(2)
            where = ("--grpc-server-addr", f"unix:{tmp_path}/socket")
            with running(TAP, "-i", "1@s1", "-i", "2@s2", *where, inside=lab.inside) as (process, _):
                with Session(f"unix:{tmp_path}/socket") as session:
                    session.insert("ingress.spare", {"hdr.ethernet.destination": 5}, "ingress.send", {"port": 2})
                one.send(ethernet(5))
                assert two.receive() == ethernet(5)
                lab.ip("link delete s2")
                assert process.stderr is not None
                assert process.stderr.readline() == "midflight: port 2: interface s2 has gone down\n"
                process.send_signal(signal.SIGTERM)
                assert process.communicate(timeout=PATIENCE) == ("", "")
                assert process.returncode == 0
