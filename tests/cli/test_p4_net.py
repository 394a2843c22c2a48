"""`midflight net` with P4 programs: from the command line and the topology's file, entries at the prompt, and links."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.testbed.realtime import asks_for_time
from tests.bmv2 import BMV2, PING, ROOT
from tests.cli.run import midflight, process

PROGRAM = """\
#include <core.p4>
#include <v1model.p4>
header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
header ipv4_t { bit<64> front; bit<8> ttl; bit<8> protocol; bit<16> checksum; bit<32> src; bit<32> dst; }
struct headers_t { ethernet_t ethernet; ipv4_t ipv4; }
struct empty_t {}
parser parse(packet_in packet, out headers_t hdr, inout empty_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) { 0x800: ipv4; default: accept; }
    }
    state ipv4 { packet.extract(hdr.ipv4); transition accept; }
}
control check(inout headers_t hdr, inout empty_t meta) { apply {} }
control ingress(inout headers_t hdr, inout empty_t meta, inout standard_metadata_t std) {
    register<bit<32>>(4) seen;
    action drop() { mark_to_drop(std); }
    action forward(bit<48> mac, bit<9> port) {
        std.egress_spec = port;
        hdr.ethernet.src = hdr.ethernet.dst;
        hdr.ethernet.dst = mac;
    }
    table routes { key = { hdr.ipv4.dst: lpm; } actions = { forward; drop; } default_action = drop(); }
    apply {
        bit<32> count;
        seen.read(count, 0);
        seen.write(0, count + 1);
        if (hdr.ipv4.isValid()) { routes.apply(); } else { drop(); }
    }
}
control egress(inout headers_t hdr, inout empty_t meta, inout standard_metadata_t std) { apply {} }
control compute(inout headers_t hdr, inout empty_t meta) { apply {} }
control deparse(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
"""
ROUTE = "table_add routes forward 10.0.0.{0}/32 => 02:00:00:00:00:0{0} {0}\n"
SIM = ("--fabric", "sim")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "l3.p4").write_text(PROGRAM)
    (tmp_path / "other.p4").write_text(PROGRAM.replace("routes", "ways"))
    (tmp_path / "commands.txt").write_text(ROUTE.format(1))
    (tmp_path / "net.yaml").write_text("links: [h1 s1, h2 s1, s1 s2]\n")
    return tmp_path


def test_a_program_for_each_switch_and_entries_at_the_prompt(folder: Path) -> None:
    done = midflight(
        "net", folder / "net.yaml", *SIM, "--program", folder / "l3.p4", "--program", f"s2={folder}/other.p4",
        "--entries", f"s1={folder}/commands.txt", "-c", "s1 table", "-c", "s2 table",
        "-c", "s1 table_add routes forward 10.0.0.2/32 => 02:00:00:00:00:02 2", "-c", "s1 table ingress.routes",
        "-c", "s1 table_delete routes 0", "-c", "s1 table ingress.routes", "-c", "s1 register_write ingress.seen 2 7",
        "-c", "s1 state", "-c", "s1 state ingress.seen", "-c", "s1 register_read ingress.seen 2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "ingress.routes: 1 entries of at most 1024",
        "ingress.ways: 0 entries of at most 1024",
        "hdr.ipv4.dst=10.0.0.1/32 => ingress.forward(mac=02:00:00:00:00:01, port=1)",
        "hdr.ipv4.dst=10.0.0.2/32 => ingress.forward(mac=02:00:00:00:00:02, port=2)",
        "hdr.ipv4.dst=10.0.0.1/32 => ingress.forward(mac=02:00:00:00:00:01, port=1)",
        "ingress.seen: 4 elements",
        "ingress.seen[2] 7",
        "register_read ingress.seen 2: 7",
    ]


def test_programs_and_entries_in_the_file(folder: Path) -> None:
    text = (folder / "net.yaml").read_text()
    (folder / "net.yaml").write_text(text + "programs: {s1: l3.p4, s2: other.p4}\nentries: {s1: [commands.txt]}\n")
    done = midflight("net", folder / "net.yaml", *SIM, "-c", "s1 table", "-c", "s2 table")
    assert "ingress.routes: 1 entries" in done.output
    assert "ingress.ways: 0 entries" in done.output
    (folder / "net.yaml").write_text(text + "program: l3.p4\n")
    assert "ingress.routes" in midflight("net", folder / "net.yaml", *SIM, "-c", "s2 table").output


@pytest.mark.parametrize(
    ("yaml", "options", "message"),
    [
        ("programs: {s1: l3.p4}", (), "s2 has no program"),
        ("programs: {s9: l3.p4}", (), "net.yaml:2:12: there is no switch named s9"),
        ("program: l3.p4\nprograms: {}", (), "net.yaml:2:1: a topology has either a program or programs"),
        ("program: wrong.p4", (), "wrong.p4:1:"),
        ("program: none.p4", (), "none.p4: No such file"),
        ("program: l3.p4\nentries: {s1: bad.txt}", (), "bad.txt:1:1: "),
        ("", ("--program", "s9=l3.p4"), "'s9' is not a switch; the switches are s1, s2"),
        ("program: l3.p4", ("--program", "s1=lab.py"), "all switches run the program in lab.py"),
        ("program: l3.p4", ("--sheet", "bmv2"), "--sheet is for programs of primitives"),
        ("program: l3.p4", ("-c", "link h1 h2 down"), "there is no link between h1 and h2"),
        ("program: l3.p4", ("-c", "link h1 s1"), "link needs two nodes, and up or down"),
        ("program: l3.p4", ("-c", "iperf h1"), "iperf needs two hosts"),
        ("program: l3.p4", ("-c", "iperf h1 h2"), "is a simulated host and cannot run commands"),
        ("program: l3.p4", ("-c", "s1 table_add routes"), "usage: table_add"),
    ],
)
def test_mistakes_are_reported(folder: Path, yaml: str, options: tuple[str, ...], message: str) -> None:
    (folder / "wrong.p4").write_text("control")
    (folder / "bad.txt").write_text("table_add nothing x 1 =>\n")
    with (folder / "net.yaml").open("a") as file:
        file.write(yaml)
    done = midflight("net", folder / "net.yaml", *SIM, *options)
    assert done.exit_code in (1, 2)
    assert message in done.output


def test_a_cut_link_loses_packets_in_a_simulation() -> None:
    from midflight.primitives import Program, Threshold
    from midflight.testbed import Star

    with Star(hosts=2, program=Program(Threshold("t", above=9, clear=5))) as net:
        net.fabric.connect("s1", "h2", up=False)
        net.send("h1", "t", sensor=1, value=1)
        assert not net.received("h2")
        net.fabric.connect("h2", "s1", up=True)
        net.send("h1", "t", sensor=1, value=2)
        assert [each.fields["value"] for each in net.received("h2")] == [2]


@pytest.mark.root
@ROOT[1]
@PING
def test_links_and_throughput_in_namespaces(folder: Path) -> None:
    (folder / "commands.txt").write_text(ROUTE.format(1) + ROUTE.format(2))
    (folder / "net.yaml").write_text("links: [h1 s1, h2 s1]\nprogram: l3.p4\nentries: {s1: commands.txt}\n")
    ping = "h1 ping -c 1 -W 1 h2"
    done = process(
        "net", folder / "net.yaml", "-c", ping, "-c", "link h1 s1 down", "-c", ping, "-c", "link h1 s1 up", "-c", ping,
        "-c", "iperf h1 h2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    received = [line for line in done.stdout.splitlines() if "received" in line]
    assert ["1 received" in each for each in received] == [True, False, True]
    assert "Mbit/s" in done.stdout


@pytest.mark.parametrize("", [pytest.param(marks=BMV2)])
def test_bmv2_in_virtual_time_is_warned_of(folder: Path) -> None:
    (folder / "time.p4").write_text(
        PROGRAM.replace("seen.write(0, count + 1);", "seen.write(0, (bit<32>) std.ingress_global_timestamp);")
    )
    command = ("net", folder / "net.yaml", *SIM, "--device", "bmv2", "-c", "nodes", "--program")
    warning = "warning: the program uses ingress_global_timestamp, which BMv2 measures in real time"
    assert warning in midflight(*command, folder / "time.p4").output
    assert "warning" not in midflight(*command, folder / "l3.p4").output


def test_what_asks_for_time() -> None:
    assert asks_for_time("x = std.deq_timedelta;") == "deq_timedelta"
    assert asks_for_time("direct_meter<bit<8>>(MeterType.bytes) m;") == "direct_meter"
    assert asks_for_time("meter(8, MeterType.packets) m;") == "meter"
    assert asks_for_time("// meter(8)\n/* enq_timestamp */ bit<8> meters;") == ""
