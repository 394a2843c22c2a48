"""`midflight run`, and entries files of `switch` and `net`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midflight.runtime.engine.ports.pcap import PcapReader, PcapWriter
from tests.cli.run import midflight, process

PROGRAM = """\
#include <core.p4>
#include <v1model.p4>

@controller_header("packet_in") header packet_in_t { bit<16> reason; }
header h_t { bit<8> kind; bit<8> value; }
struct headers_t { packet_in_t packet_in; h_t h; }
struct metadata_t { }
struct seen_t { bit<8> value; bit<9> port; }

parser MyParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    state start { packet.extract(hdr.h); transition accept; }
}
control MyVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control MyIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    counter(4, CounterType.packets) seen;
    register<bit<72>>(4) last;
    register<bit<48>>(1) clock;
    action send(bit<9> port) { standard.egress_spec = port; }
    action learn() { digest<seen_t>(1, { hdr.h.value, standard.ingress_port }); mark_to_drop(standard); }
    action punt() {
        hdr.packet_in.setValid();
        hdr.packet_in.reason = (bit<16>) hdr.h.value;
        standard.egress_spec = 510;
    }
    action drop() { mark_to_drop(standard); }
    table kinds { key = { hdr.h.kind: exact; } actions = { send; learn; punt; drop; } default_action = drop(); }
    apply {
        seen.count((bit<32>) standard.ingress_port);
        if (hdr.h.isValid()) { last.write(1, (bit<72>) hdr.h.value << 64); }
        clock.write(0, standard.ingress_global_timestamp);
        kinds.apply();
    }
}
control MyEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) { apply { } }
control MyCompute(inout headers_t hdr, inout metadata_t meta) { apply { } }
control MyDeparser(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
V1Switch(MyParser(), MyVerify(), MyIngress(), MyEgress(), MyCompute(), MyDeparser()) main;
"""

COMMANDS = "table_add kinds send 1 => 3\ntable_add kinds learn 2 =>\ntable_add kinds punt 3 =>\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prog.p4").write_text(PROGRAM)
    (tmp_path / "commands.txt").write_text(COMMANDS)
    for name, packets in {
        "one.pcap": [(0, b"\x01\x0a"), (2_000_000, b"\x02\x0b"), (4_000_000, b"\x09\x0c")],
        "two.pcap": [(1_000_000, b"\x03\x0d\xff"), (5_000_000, b"\x01")],
    }.items():
        with PcapWriter(tmp_path / name) as writer:
            for time, data in packets:
                writer.write(time, data)
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    captures = f"1:{folder}/one.pcap 2:{folder}/two.pcap"
    return ["run", f"{folder}/prog.p4", "--entries", f"{folder}/commands.txt", "--pcap", captures, *more]


def test_what_is_printed(folder: Path) -> None:
    done = process(*arguments(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "packet 1: port 1 (2 bytes) -> port 3 (2 bytes)",
        "packet 2: port 2 (3 bytes) -> packet-in (3 bytes)",
        "packet 3: port 1 (2 bytes) -> digest seen_t",
        "packet 4: port 1 (2 bytes) -> dropped",
        "packet 5: port 2 (1 bytes) -> dropped",
        "packet-in from packet 2: reason 13, payload 030dff",
        "digest from packet 3: seen_t: value 0xb, port 0x1",
        "counter MyIngress.seen[1]: packets 3, bytes 6",
        "counter MyIngress.seen[2]: packets 2, bytes 4",
        "register MyIngress.last[1]: 0xc0000000000000000",
        "register MyIngress.clock[0]: 0x1388",
        "received 5, sent 1, dropped: ingress 3",
    ]


def test_json_and_captures(folder: Path) -> None:
    result = midflight(*arguments(folder, "--json", "-", "-o", f"{folder}/out"))
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    packets = found["packets"]
    assert [(each["port"], each["time_ns"], each["data"]) for each in packets] == [
        (1, 0, "010a"),
        (2, 1_000_000, "030dff"),
        (1, 2_000_000, "020b"),
        (1, 4_000_000, "090c"),
        (2, 5_000_000, "01"),
    ]
    assert [each["sent"] for each in packets] == [[{"port": 3, "data": "010a"}], [], [], [], []]
    assert packets[1]["packet_ins"] == [{"metadata": {"reason": 13}, "payload": "030dff"}]
    assert packets[2]["digests"] == [{"name": "seen_t", "values": {"value": 11, "port": 1}}]
    assert found["registers"]["MyIngress.clock"] == {"0": 5000}
    assert [(each.time, each.data) for each in PcapReader(folder / "out" / "port3.pcap")] == [(0, b"\x01\x0a")]
    assert [each.name for each in (folder / "out").iterdir()] == ["port3.pcap"]


def test_a_trace_has_the_lines_of_the_program(folder: Path) -> None:
    lines = PROGRAM.splitlines()
    table = next(number for number, line in enumerate(lines, 1) if "table kinds" in line)
    action = next(number for number, line in enumerate(lines, 1) if "action send" in line)
    traced = midflight(*arguments(folder, "--trace")).stdout
    assert f"table      MyIngress.kinds: hit, MyIngress.send   ({folder}/prog.p4:{table}, {action})" in traced
    assert traced.count("in by port 2") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("commands.txt", "prog.p4"), "prog.p4:4:1: unknown command"),
        (("commands.txt", "missing.txt"), "missing.txt: No such file"),
        (("one.pcap", "missing.pcap"), "missing.pcap"),
        (("one.pcap", "commands.txt"), "commands.txt"),
        (("1:", "512:"), "ports are 0 to 511"),
    ],
)
def test_mistakes(folder: Path, change: tuple[str, str], message: str) -> None:
    done = process(*(each.replace(*change) for each in arguments(folder)))
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_entries_of_a_switch(folder: Path) -> None:
    done = process(
        "switch",
        folder / "prog.p4",
        "--entries",
        folder / "commands.txt",
        "--grpc-server-addr",
        "127.0.0.1:0",
        "-i",
        f"1@pcap:{folder}/one.pcap,{folder}/out1.pcap",
        "-i",
        f"3@pcap:,{folder}/out3.pcap",
    )
    assert done.returncode == 0, done.stderr
    assert [each.data for each in PcapReader(folder / "out3.pcap")] == [b"\x01\x0a"]


def test_a_mistake_in_the_entries_of_a_switch(folder: Path) -> None:
    (folder / "commands.txt").write_text("table_add kinds send 1 => 3 4\n")
    done = process(
        "switch", folder / "prog.p4", "--entries", folder / "commands.txt", "--grpc-server-addr", "127.0.0.1:0"
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{folder}/commands.txt:1:1: action MyIngress.send takes port, not 2 values")


def test_entries_of_a_network(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("star: {hosts: 3}\n")
    (tmp_path / "groups.txt").write_text("mc_mgrp_create 900\nmc_node_create 0 2 3\nmc_node_associate 900 0\n")
    command = ("net", tmp_path / "net.yaml", "--fabric", "sim", "-c", "s1 groups")
    wrong = midflight(*command, "--entries", f"s9={tmp_path}/groups.txt")
    assert wrong.exit_code == 2
    assert "is not SWITCH=FILE" in wrong.stderr
    (tmp_path / "bad.txt").write_text("table_add nothing x 1 =>\n")
    refused = midflight(*command, "--entries", f"s1={tmp_path}/bad.txt")
    assert refused.exit_code == 1
    assert "bad.txt:1:1: there is no table 'nothing'" in refused.stderr
    assert (
        midflight(
            "net", tmp_path / "net.yaml", "--fabric", "sim", "--entries", f"s1={tmp_path}/groups.txt", "-c", "help"
        ).exit_code
        == 0
    )
