"""BMv2 as a device: control, packets, errors, and cleanup."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from midflight.errors import DeviceError, P4Error
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import Bmv2Device, PipelineConfig, capabilities, open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from tests.bmv2 import BMV2, PROGRAM
from tests.p4runtime.support import ipv4, other

pytestmark = BMV2
PATIENCE = 20.0


@pytest.fixture(scope="module")
def everything() -> PipelineConfig:
    with Bmv2Device() as device:
        return device.compile(CheckedProgram(PROGRAM))


@pytest.fixture(scope="module")
def running() -> Iterator[Bmv2Device]:
    with Bmv2Device() as device:
        yield device


@pytest.fixture
def session(running: Bmv2Device, everything: PipelineConfig) -> Iterator[Session]:
    """A session with a switch with a newly loaded program and no entries."""
    with running.session() as opened:
        opened.load(everything.p4info, everything.config)
        yield opened


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for all temporary files. Its path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="short-") as made:
        monkeypatch.setattr(tempfile, "tempdir", made)
        yield Path(made)


def has_ended(pidfd: int) -> bool:
    """Wait for the end of a process. `pidfd` is a descriptor, which cannot refer to another process."""
    ended = bool(select.select([pidfd], [], [], PATIENCE)[0])
    os.close(pidfd)
    return ended


def script(code: str, temporary: Path) -> subprocess.Popen[str]:
    """Start Python with a piece of code, with pipes to its standard streams."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of all processes that contain a folder."""
    lines = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            lines.append(line)
    return lines


# Packets and controllers


def test_a_controller_makes_bmv2_forward(running: Bmv2Device, session: Session) -> None:
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 3, "mac": "02:00:00:00:00:03"})
    ((port, left),) = running.process(Packets.from_list([(1, ipv4("10.1.2.3")), (1, ipv4("11.0.0.1"))]))
    assert port == 3
    seen = Ether(left)
    assert (seen.dst, seen.src, seen[IP].ttl) == ("02:00:00:00:00:03", "02:00:00:00:00:01", 63)


def test_large_batches_lose_no_packet_and_report_sources(running: Bmv2Device, session: Session) -> None:
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_group", {"group": 9})
    session.multicast(9, [4, 2, 3])
    given = [(1, ipv4("10.0.0.1" if number % 3 else "11.0.0.1", load=bytes(number))) for number in range(300)]
    out = running.process(Packets.from_list(given))
    expected = [(number, port) for number in range(300) if number % 3 for port in (2, 3, 4)]
    assert list(zip(out.sources.tolist(), out.ports.tolist(), strict=True)) == expected
    assert [packet for _, packet in out] == [given[number][1] for number, _ in expected]


def test_packets_pass_between_controller_and_ports(running: Bmv2Device, session: Session) -> None:
    packet = ipv4("10.1.2.3")
    session.packet_out(packet, egress_port=7)
    assert list(running.transmitted()) == [(7, packet)]
    assert not list(running.transmitted())
    assert not list(running.process(Packets.from_list([(5, other())])))
    (arrived,) = session.packets_in()
    assert (arrived.payload, arrived.metadata) == (other(), {"ingress_port": 5})


def test_packet_outs_are_stored_while_packets_are_processed(running: Bmv2Device, session: Session) -> None:
    packet = ipv4("10.1.2.3")
    session.packet_out(packet, egress_port=7)
    assert not list(running.process(Packets.from_list([(2, ipv4("11.0.0.1"))])))
    assert list(running.transmitted()) == [(7, packet)]


def test_digests_and_counters_reach_the_controller(running: Bmv2Device, session: Session) -> None:
    session.subscribe("seen_t")
    running.process(Packets.from_list([(6, ipv4("10.0.0.1", source="10.9.8.7", ttl=9))]))
    (digest,) = session.digests(timeout=PATIENCE)
    assert digest.values == {"source": 0x0A090807, "ttl": 9}
    assert session.read_counter("arrivals", 6).packets == 1


def test_register_access_is_rejected_with_a_message(session: Session) -> None:
    with pytest.raises(DeviceError, match="Register reads are not supported"):
        session.read_register("totals")
    assert not capabilities("bmv2").registers_over_p4runtime


def test_the_next_session_becomes_primary_after_a_session_ends(running: Bmv2Device, everything: PipelineConfig) -> None:
    for _ in range(3):
        with running.session() as session:
            assert session.is_primary
            session.load(everything.p4info, everything.config)
            assert session.p4info == everything.p4info


# Programs


def test_both_kinds_of_device_compile_to_the_same_p4info(everything: PipelineConfig) -> None:
    assert everything.p4info == p4info(check(PROGRAM))
    with open_device("host") as host:
        assert host.compile(CheckedProgram(PROGRAM)).p4info == everything.p4info


def test_bmv2_drops_all_packets_until_a_program_is_loaded(everything: PipelineConfig) -> None:
    packets = Packets.from_list([(1, ipv4("10.1.2.3"))] * 5)
    with Bmv2Device() as device:
        assert isinstance(device, PacketDevice)
        assert not list(device.process(packets))
        with device.session() as session, pytest.raises(DeviceError):
            _ = session.p4info
        device.load(PROGRAM)
        with device.session() as session:
            assert session.p4info == everything.p4info
            session.packet_out(ipv4("10.1.2.3"), egress_port=2)
            assert list(device.transmitted())


def test_a_rejected_program_has_no_effect(running: Bmv2Device, session: Session) -> None:
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 3, "mac": 3})
    with pytest.raises(P4Error, match=r"lab3\.p4:1:1"):
        running.load("control", "lab3.p4")
    assert len(running.process(Packets.from_list([(1, ipv4("10.1.2.3"))]))) == 1


def test_a_program_may_come_with_the_device_and_be_replaced(everything: PipelineConfig) -> None:
    with Bmv2Device(PROGRAM, device_id=7, cpu_port=510) as device:
        assert device.device_id == 7
        with device.session() as session:
            assert session.p4info == everything.p4info
        device.load(PROGRAM)


def test_loading_is_rejected_while_there_is_a_primary(running: Bmv2Device, session: Session) -> None:
    with pytest.raises(DeviceError):
        running.load(PROGRAM)
    assert session.is_primary


# Addresses


def test_no_socket_is_reachable_by_others(folder: Path) -> None:
    with Bmv2Device() as device:
        path = Path(device.address.removeprefix("unix:"))
        assert path.is_socket()
        assert path.parent.parent == folder
        assert path.parent.stat().st_mode & 0o077 == 0
        # Thrift listens in the network namespace of the switch, if that is a separate one.
        if Path(f"/proc/{device.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            pytest.skip("this system lets nobody make a network namespace")


def test_bmv2_serves_on_a_given_or_a_free_tcp_port() -> None:
    with Bmv2Device(address="127.0.0.1:0") as first:
        host, _, port = first.address.rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        with first.session() as session:
            assert session.is_primary
        with pytest.raises(DeviceError, match=f"cannot serve at 127.0.0.1:{port}: Address already in use"):
            Bmv2Device(address=first.address)
    with Bmv2Device(address=first.address) as second, second.session() as session:
        assert session.is_primary


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:http", ":9559"])
def test_an_invalid_address_is_rejected(address: str, folder: Path) -> None:
    with pytest.raises(DeviceError, match="is not an address"):
        Bmv2Device(address=address)
    assert not list(folder.iterdir())


def test_an_unavailable_address_is_rejected(folder: Path) -> None:
    with pytest.raises(DeviceError, match=r"too long for a unix socket\n    set TMPDIR"):
        Bmv2Device(address=f"unix:/tmp/{'x' * 110}")
    with pytest.raises(DeviceError, match=r"cannot serve at 192\.0\.2\.1:0"):
        Bmv2Device(address="192.0.2.1:0")
    with pytest.raises(DeviceError, match=r"in the network namespace blue, where no session can reach it"):
        Bmv2Device(address="127.0.0.1:0", netns="blue")
    assert not list(folder.iterdir())


# Termination


def test_closing_removes_everything(folder: Path) -> None:
    device = Bmv2Device()
    assert device.alive
    pidfd = os.pidfd_open(device.pid)
    with device.session():
        device.close()
    assert has_ended(pidfd)
    assert not device.alive
    assert not list(folder.iterdir())
    assert "Server listening on unix:" in device.log()
    device.close()
    for use in (device.session, lambda: device.load(PROGRAM), device.transmitted, lambda: device.pid):
        with pytest.raises(DeviceError, match="this switch is closed"):
            use()


def test_a_crash_is_reported_with_the_log(folder: Path) -> None:
    with Bmv2Device() as device:
        os.kill(device.pid, signal.SIGKILL)
        with pytest.raises(
            DeviceError, match=r"(?s)ended with signal SIGKILL\n.*the end of its log:\n.*Server listening"
        ):
            device.process(Packets.from_list([(1, b"packet")]))
        assert not device.alive
        with pytest.raises(DeviceError, match="ended with signal SIGKILL"):
            device.session()
    assert not list(folder.iterdir())


def test_a_failed_start_is_reported_with_the_log(folder: Path) -> None:
    with pytest.raises(DeviceError, match="port 3 is the controller's"):
        Bmv2Device(interfaces={3: "lo"}, cpu_port=3)
    with pytest.raises(DeviceError, match=r"(?s)cannot open its interfaces.*interface nothing0 as port 3"):
        Bmv2Device(interfaces={3: "nothing0"})
    assert not list(folder.iterdir())
    with pytest.raises(DeviceError, match=r"(?s)ended with status 1\n.*no network namespace at /run/netns/nowhere"):
        Bmv2Device(netns="nowhere")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("exec /bin/sleep 300", r"simple_switch_grpc does not answer after 0\.3 s\n    its log is empty"),
        ("trap '' TERM; echo busy; while :; do /bin/sleep 300; done", r"does not answer[^\n]*\n[^\n]*\n    busy"),
        ("echo error while loading shared libraries >&2; exit 127", r"status 127\n[^\n]*\n    error while loading"),
    ],
)
def test_a_program_that_is_not_a_switch_is_reported_and_stopped(
    text: str, reported: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = folder / "wrong"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("MIDFLIGHT_SIMPLE_SWITCH_GRPC", str(program))
    monkeypatch.setattr("midflight.runtime.devices.process.GRACE", 0.2)
    with pytest.raises(DeviceError, match=reported):
        Bmv2Device(patience=0.3)
    assert list(folder.iterdir()) == [program]
    assert not processes_in(folder)


def test_a_garbage_collected_switch_ends(folder: Path) -> None:
    device = Bmv2Device()
    pidfd = os.pidfd_open(device.pid)
    del device
    gc.collect()
    assert has_ended(pidfd)
    assert not list(folder.iterdir())


def test_a_switch_does_not_outlive_its_parent(folder: Path) -> None:
    code = """
        import sys
        from midflight.runtime.devices import Bmv2Device
        device = Bmv2Device()
        print(device.pid, flush=True)
        sys.stdin.readline()
    """
    with script(code, folder) as starter:
        assert starter.stdout is not None
        pidfd = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()
        starter.communicate()
    assert has_ended(pidfd)
    assert not processes_in(folder)


def test_the_thread_that_starts_a_switch_may_end() -> None:
    opened: list[Bmv2Device] = []
    thread = threading.Thread(target=lambda: opened.append(Bmv2Device()))
    thread.start()
    thread.join()
    with opened[0] as device:
        with device.session() as session:
            assert session.is_primary
        assert device.alive
