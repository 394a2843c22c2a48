"""Captures: compatibility with scapy in both directions, and invalid files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from midflight.errors import DeviceError
from midflight.runtime.engine.ports.pcap import Captured, PcapReader, PcapWriter
from tests.cli.run import midflight
from tests.engine.build import source as engine_source
from tests.ports.lab import ethernet

PACKETS = [(1_700_000_000_000_000_000 + number * 1_234_567_891, ethernet(5, bytes(number))) for number in range(50)]


def test_scapy_can_read_our_captures(tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "ours.pcap") as file:
        for time, data in PACKETS:
            file.write(time, data)
    found = [(int(each.time * 10**9), bytes(each)) for each in rdpcap(str(tmp_path / "ours.pcap"))]
    assert found == PACKETS


@pytest.mark.parametrize(("nano", "unit"), [(True, 1), (False, 1000)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_captures_of_scapy_can_be_read(tmp_path: Path, nano: bool, unit: int, order: str) -> None:
    packets = []
    for time, data in PACKETS:
        packet = Ether(data)
        packet.time = time / 10**9
        packets.append(packet)
    wrpcap(str(tmp_path / "theirs.pcap"), packets, nano=nano, endianness=order)
    found = list(PcapReader(tmp_path / "theirs.pcap"))
    assert [each.data for each in found] == [data for _, data in PACKETS]
    assert all(each.whole for each in found)
    assert all(abs(each.time - time) < 1000 for each, (time, _) in zip(found, PACKETS, strict=True))


def test_a_truncated_packet_is_marked(tmp_path: Path) -> None:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 4, 1)
    (tmp_path / "cut.pcap").write_bytes(head + struct.pack("<IIII", 1, 2, 4, 60) + b"abcd")
    assert list(PcapReader(tmp_path / "cut.pcap")) == [Captured(1_000_002_000, b"abcd", False)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a pcap file"),
        (b"GIF89a and what follows", "not a pcap file"),
        (struct.pack("<I", 0x0A0D0D0A) + bytes(24), r"pcapng is not supported\n    convert it: editcap -F pcap IN OUT"),
        (struct.pack("<IHHiII", 0xA1B2C3D4, 2, 4, 0, 0, 4), "ends within the header"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 4, 113), "contains packets of link type 113, not Ethernet"),
    ],
)
def test_files_other_than_ethernet_captures_are_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DeviceError, match=message):
        PcapReader(tmp_path / "file")


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (bytes(3), "ends within packet 1"),
        (struct.pack("<IIII", 1, 2, 9, 9) + b"short", "ends within packet 1"),
        (struct.pack("<IIII", 1, 2, 1 << 31, 9), "the file is damaged"),
    ],
)
def test_damaged_captures_are_rejected(tmp_path: Path, tail: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 4, 1) + tail)
    with pytest.raises(DeviceError, match=message):
        list(PcapReader(tmp_path / "file"))


def test_packets_leave_a_slow_queue_at_their_time(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    start = 1_000_000_000_000
    with PcapWriter(source) as writer:
        for each in range(4):
            writer.write(start + each * 5_000, bytes([each]) + bytes(59))
    program = tmp_path / "slow.p4"
    program.write_text(engine_source(ingress="std.egress_spec = 2;"))
    options = ["--queue-rate", "100pps", "--queue-depth", "3", "--stats", "--grpc-server-addr", "127.0.0.1:0"]
    done = midflight("switch", program, *options, "-i", f"1@pcap:{source}", "-i", f"2@pcap:,{target}")
    assert done.exit_code == 0, done.output
    left = [(each.time - start, each.data[0]) for each in PcapReader(target)]
    assert left == [(10_001_000, 0), (20_001_000, 1), (30_001_000, 2)]
    assert "tail 1" in done.output


@pytest.mark.parametrize(("clock", "shown"), [("start", 0), ("unix", 1_700_000_000_000_000)])
def test_timestamps_count_from_the_start_or_from_1970(tmp_path: Path, clock: str, shown: int) -> None:
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    with PcapWriter(source) as writer:
        for each in range(2):
            writer.write(1_700_000_000_000_000_000 + each * 5_000, bytes(60))
    program = tmp_path / "clock.p4"
    header = "bit<48> came; bit<48> left;"
    stamps = "hdr.h.came = std.ingress_global_timestamp; hdr.h.left = std.egress_global_timestamp;"
    program.write_text(engine_source(header=header, ingress="std.egress_spec = 2;", egress=stamps))
    options = ["--clock", clock, "--grpc-server-addr", "127.0.0.1:0"]
    done = midflight("switch", program, *options, "-i", f"1@pcap:{source}", "-i", f"2@pcap:,{target}")
    assert done.exit_code == 0, done.output
    left = [
        (int.from_bytes(each.data[:6], "big"), int.from_bytes(each.data[6:12], "big")) for each in PcapReader(target)
    ]
    assert left == [((shown + late) % (1 << 48), (shown + late + 1) % (1 << 48)) for late in (0, 5)]
