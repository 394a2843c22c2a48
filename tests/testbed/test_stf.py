"""Packet tests in STF: what lines mean, and that differences are found."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from midflight.errors import MidflightError
from midflight.testbed.stf.play import Outcome, Verdict, run
from midflight.testbed.stf.syntax import Add, CheckCounter, parse
from tests.bmv2 import BMV2
from tests.cli.run import midflight
from tests.engine.build import source

PROGRAM = """\
#include <core.p4>
#include <v1model.p4>

header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
header body_t { bit<4> low; bit<12> high; bit<16> key; }
struct headers_t { ethernet_t ethernet; body_t body; }
struct metadata_t { }

parser Parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) { 0x1234: body; default: accept; }
    }
    state body { packet.extract(hdr.body); transition accept; }
}
control Verify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control MyIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    direct_counter(CounterType.packets_and_bytes) hits;
    counter(2, CounterType.packets_and_bytes) seen;
    meter(2, MeterType.packets) limit;
    register<bit<16>>(4) keys;
    action send(bit<9> port) { standard.egress_spec = port; }
    action copy(bit<9> port, bit<32> session) { standard.egress_spec = port; clone(CloneType.I2E, session); }
    action flood(bit<16> group) { standard.mcast_grp = group; }
    action drop() { mark_to_drop(standard); }
    table ports {
        key = { hdr.body.key: ternary; hdr.body.isValid(): exact; }
        actions = { send; copy; flood; drop; }
        default_action = drop();
        counters = hits;
    }
    table colours { key = { hdr.body.low: exact; } actions = { send; NoAction; } default_action = NoAction(); }
    apply {
        seen.count(0);
        ports.apply();
        if (hdr.body.isValid()) {
            keys.write(1, hdr.body.key);
            bit<2> colour;
            limit.execute_meter(32w1, colour);
            if (colour == 2) { drop(); }
            colours.apply();
        }
    }
}
control MyEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    apply { if (standard.egress_rid != 0) { hdr.body.high = standard.egress_rid[11:0]; } }
}
control Compute(inout headers_t hdr, inout metadata_t meta) { apply { } }
control Deparse(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
V1Switch(Parse(), Verify(), MyIngress(), MyEgress(), Compute(), Deparse()) main;
"""

HEAD = "000000000001 000000000002 1234"
SEND = "add ports 1 body.key:0x00** body.isValid:1 send(port:3)\n"


GOOD = f"{SEND}packet 1 {HEAD} 10020007\nexpect 3"
BAD = f"packet 1 {HEAD} 10020007\nexpect 3"


def play(test: str, program: str = PROGRAM, device: str = "host") -> Outcome:
    return run(program, "ports.p4", test, "test.stf", device)


@pytest.mark.parametrize(
    "test",
    [
        f"{SEND}packet 1 {HEAD} 10020007\nexpect 3 {HEAD} 10020007",
        f"{SEND}packet 1 {HEAD} 10020007 AABB\nexpect 3 {HEAD} *002 00** aabb $",
        f"{SEND}packet 1 {HEAD} 10020007 AABB\nexpect 3 {HEAD}",
        f"{SEND}packet 1 {HEAD} 10020007\nexpect 3",
        f"{SEND}packet 1 {HEAD} 10020107\nno_packet",
        f"packet 1 {HEAD} 10020007\nno_packet\n{SEND}packet 1 {HEAD} 10020007\nexpect 3",
        # The largest priority wins.
        f"{SEND}add ports 9 body.key:0x0007 body.$valid$:1 send(port:4)\npacket 1 {HEAD} 10020007\nexpect 4\n"
        f"packet 1 {HEAD} 10020008\nexpect 3",
        # Omitted: an exact field is 0, and a ternary one matches everything.
        "add ports 0 body.valid:0 send(port:2)\npacket 1 000000000001 000000000002 0000\nexpect 2",
        f"add ports 0 body.$valid:0b1 send(port:2)\npacket 1 {HEAD} 10020007\nexpect 2",
        f"{SEND}remove all\npacket 1 {HEAD} 10020007\nno_packet",
        f"add ports 1 body.key:0x00** body.valid:1 send(port:3) = one\nadd ports 2 body.valid:1 send(port:4) = two\n"
        f"remove two\npacket 1 {HEAD} 10020007\nexpect 3",
        f"setdefault ports MyIngress.send(port:5)\npacket 1 {HEAD} 10020007\nexpect 5",
        f"add ports 1 body.valid:1 send(port:3) = mine\npacket 1 {HEAD} 10020007 AA\nexpect 3\n"
        "check_counter hits(mine) packets == 1\ncheck_counter hits(mine) bytes >= 19\n"
        "check_counter seen(0) bytes < 20\ncheck_counter seen(1)",
        f"mc_mgrp_create 7\nmc_node_create 5 2 3\nmc_node_create 6 4\nmc_node_associate 7 0\nmc_node_associate 7 1\n"
        f"add ports 1 body.valid:1 flood(group:7)\npacket 1 {HEAD} 10020007\nexpect 2 {HEAD} 1005\n"
        f"expect 3 {HEAD} 1005\nexpect 4 {HEAD} 1006",
        f"mirroring_add 9 6\nadd ports 1 body.valid:1 copy(port:3, session:9)\npacket 1 {HEAD} 10020007\nexpect 3\n"
        "expect 6",
        f"mc_mgrp_create 7\nmc_node_create 5 2 3\nmc_node_associate 7 0\nmirroring_add_mc 9 7\n"
        f"mc_node_update 0 6\nadd ports 1 body.valid:1 copy(port:3, session:9)\npacket 1 {HEAD} 10020007\nexpect 3\n"
        f"expect 6 {HEAD} 1005",
        f'add "MyIngress.ports" 1 "hdr.body.isValid()":1 "send"(port:3) # quoted\npacket 1 {HEAD} 10020007\nEXPECT 3',
    ],
)
def test_passes(test: str) -> None:
    assert play(test) == Outcome(Verdict.PASS)


def failure(test: str) -> str:
    outcome = play(test)
    assert outcome.verdict is Verdict.FAIL
    return "\n".join(outcome.reasons)


def test_a_difference_names_the_fields() -> None:
    reason = failure(f"{SEND}packet 1 {HEAD} 10020007 AABB\nexpect 3 {HEAD} 2**3 0007 AABC")
    assert reason.splitlines() == [
        "port 3, packet 1: differs from test.stf:3",
        "  body.low: expected 0x2, received 0x1",
        "  body.high: expected 0x**3, received 0x2",
        "  byte 19: expected BC, received BB",
        "  expected 00000000 00010000 00000002 12342**3 0007AABC",
        "  received 00000000 00010000 00000002 12341002 0007AABB",
    ]


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (f"expect 3 {HEAD} 10020007 AA", "  length: expected at least 19 bytes, received 18 bytes"),
        (f"expect 3 {HEAD} 1002 $", "  length: expected 16 bytes, received 18 bytes"),
        ("", "port 3, packet 1: not expected: 00000000 00010000 00000002 12341002 0007"),
        ("expect 3\nexpect 3 00", "port 3, packet 2: missing, from test.stf:4: 00"),
        ("no_packet", "test.stf:3:1: the packet of line 2 is not dropped, but sent: port 3"),
        ("check_counter seen(0) packets != 1", "test.stf:3:1: expected seen(0) packets != 1, which is 1"),
    ],
)
def test_what_fails(expected: str, reason: str) -> None:
    ports = "" if "expect" in expected else "\nexpect 4"  # a port that is not mentioned is ignored
    mention = f"\npacket 3 00\n{expected}" if not expected else f"\n{expected}{ports}"
    assert reason in failure(f"{SEND}packet 1 {HEAD} 10020007{mention}")


def test_ports_that_are_not_mentioned_are_ignored() -> None:
    assert play(f"{SEND}packet 1 {HEAD} 10020007").verdict is Verdict.PASS


def test_meters_see_time_pass() -> None:
    rates = "meter_set_rates limit 1 0.000001:1 0.000001:1\nadd ports 1 body.valid:1 send(port:3)\n"
    packet = f"packet 1 {HEAD} 10020007\n"
    assert play(f"{rates}{packet}{packet}expect 3").verdict is Verdict.PASS
    assert play(f"{rates}{packet}wait\n{packet}expect 3\nexpect 3").verdict is Verdict.PASS


def test_members_of_action_profiles() -> None:
    program = source(
        declarations="""
            action_profile(8) shared;
            action set(bit<8> value) { hdr.h.x = value; }
            table t { key = { hdr.h.x : exact; } actions = { set; NoAction; } implementation = shared; }
        """,
        ingress="t.apply();",
    )
    test = "act_prof_create_member shared set 7\ntable_indirect_add t 1 => 0\npacket 1 01\nexpect 0 07$\n"
    assert play(test, program).verdict is Verdict.PASS


def test_readings_are_reported() -> None:
    test = (
        f"packet 1 {HEAD} 10020007\nregister_read keys 1\nregister_write keys 2 70\nregister_read MyIngress.keys 2\n"
        "register_reset keys\nregister_read keys 2\ncounter_read seen 0\n"
        "meter_array_set_rates limit 0.000006:7 0.00008:9\nmeter_get_rates limit 1\nmirroring_add 4 9\nmirroring_get 4"
    )
    assert play(test).readings == (
        "register_read keys 1: 7",
        "register_read MyIngress.keys 2: 70",
        "register_read keys 2: 0",
        "counter_read seen 0: packets 1, bytes 18",
        "meter_get_rates limit 1: cir 6, cburst 7, pir 80, pburst 9 (per second)",
        "mirroring_get 4: port 9, instance 0",
    )


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("foo 1", 1, "unknown line 'foo'"),
        ("packet 1 0", 10, "pairs of hexadecimal digits"),
        ("packet 1 0*", 10, "pairs of hexadecimal digits"),
        ("packet x 00", 8, "a port is expected here"),
        ("expect 1 0$0", 10, "data is hexadecimal"),
        ("add ports body.key:0x1 send(port:1", 35, "`,` is expected here"),
        ("add ports 1 body.key:x send(port:1)", 22, "a value is expected here"),
        ("add ports 1 body.kay:1 send(port:1)", 1, "there is no match field of table MyIngress.ports 'body.kay'"),
        ("add potrs 1 body.key:1 send(port:1)", 1, "there is no table 'potrs'"),
        ("add ports 1 body.key:1 sent(port:1)", 1, "there is no action of table MyIngress.ports 'sent'"),
        ("add ports 1 body.key:1 send(prot:1)", 1, "action MyIngress.send takes port (bit<9>), not prot"),
        ("add ports 1 body.key:1 send(port:512)", 1, "does not fit bit<9>"),
        ("add ports body.key:1 send(port:1)", 1, "needs a priority"),
        ("add ports 1 body.valid:0x* send(port:1)", 1, "is not a ternary or lpm field"),
        ("remove it", 1, "no entry has the name 'it'"),
        ("check_counter seen(0) packets = 1", 31, "a comparison is expected here"),
        ("check_counter seen(7) packets == 1", 1, "seen"),
        ("no_packet", 1, "no packet is sent before this line"),
        ("wait 3", 6, "the line should end here"),
        ("mc_node_associate 1 0", 1, "there is no multicast group 1"),
        ("mirroring_add 1", 1, "usage: mirroring_add SESSION PORT"),
        ("register_write keys 9 1", 1, "keys"),
    ],
)
def test_mistakes_have_a_place(line: str, column: int, message: str) -> None:
    with pytest.raises(MidflightError) as caught:
        play(f"# first\n{line}\n")
    place = caught.value.place
    assert place is not None
    assert (place.file, place.line, place.text) == ("test.stf", 2, line)
    assert message in caught.value.message
    assert place.column == column


def test_the_lines_of_the_format() -> None:
    text = 'add a.b[2].c 5 data.f$1:0x1* x.y:3/4 go(p:1,q:0b10) = e  # "#"\ncheck_counter c($A) bytes <= 0x10'
    entry, counter = parse(text, "x.stf")
    assert isinstance(entry, Add)
    assert (entry.table, entry.priority, entry.name) == ("a.b[2].c", 5, "e")
    assert entry.matches == (("data.f$1", "0x1*"), ("x.y", "3/4"))
    assert (entry.action, entry.arguments) == ("go", (("p", "1"), ("q", "0b10")))
    assert isinstance(counter, CheckCounter)
    assert (counter.index, counter.unit, counter.operator, counter.value) == ("$A", "bytes", "<=", 16)


def write(folder: Path, **tests: str) -> Path:
    for name, test in tests.items():
        (folder / f"{name}.stf").write_text(test)
        (folder / f"{name}.p4").write_text(PROGRAM)
    return folder


def test_exit_status_of_the_command(tmp_path: Path) -> None:
    write(tmp_path, good=GOOD, bad=BAD, odd="?")
    command = ("stf", tmp_path / "good.p4")
    assert midflight(*command, tmp_path / "good.stf").exit_code == 0
    assert midflight(*command, tmp_path / "bad.stf").exit_code == 1
    wrong = midflight(*command, tmp_path / "odd.stf")
    assert wrong.exit_code == 1
    assert f"{tmp_path}/odd.stf:1:1: " in wrong.stderr
    (tmp_path / "refused.p4").write_text(PROGRAM.replace("seen.count(0);", "unknown_extern(0);"))
    refused = midflight("stf", tmp_path / "refused.p4", tmp_path / "good.stf")
    assert refused.exit_code == 2
    assert "good: not supported" in refused.stdout
    assert "unknown_extern" in refused.stdout


def test_a_folder(tmp_path: Path) -> None:
    write(tmp_path, good=GOOD, bad=BAD, odd="?")
    write(tmp_path, refused=SEND, other="packet 1 00")
    (tmp_path / "refused.p4").write_text(PROGRAM.replace("seen.count(0);", "unknown_extern(0);"))
    (tmp_path / "other.p4").write_text("#include <psa.p4>")
    junit, results = tmp_path / "out.xml", tmp_path / "out.json"
    done = midflight("stf", tmp_path, "--junit", junit, "--json", results)
    assert done.exit_code == 1
    assert "4 tests for v1model: 1 pass, 1 fail, 1 not supported, 1 error" in done.stdout
    assert "1 tests for other architectures were left out." in done.stdout
    found = json.loads(results.read_text())
    verdicts = {each["name"]: each["verdict"] for each in found["tests"]}
    assert verdicts == {"bad": "fail", "good": "pass", "odd": "error", "refused": "not supported"}
    suite = ElementTree.fromstring(junit.read_text())
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    outcomes = {case.get("name"): [each.tag for each in case] for case in suite}
    assert outcomes == {"bad": ["failure"], "good": [], "odd": ["error"], "refused": ["skipped"]}


def test_only_refused_programs_give_status_two(tmp_path: Path) -> None:
    write(tmp_path, refused=SEND)
    (tmp_path / "refused.p4").write_text(PROGRAM.replace("seen.count(0);", "unknown_extern(0);"))
    assert midflight("stf", tmp_path).exit_code == 2


def test_a_program_beyond_a_sheet_is_not_supported(tmp_path: Path) -> None:
    write(tmp_path, good=SEND)
    (tmp_path / "mine.toml").write_text('kind = "mine"\nregister_arrays = 0\n')
    done = midflight("stf", tmp_path / "good.p4", "--sheet", tmp_path / "mine.toml")
    assert done.exit_code == 2
    assert "does not fit mine: needs 1 register arrays, has 0" in " ".join(done.stdout.split())
    assert midflight("stf", tmp_path / "good.p4", "--sheet", "host").exit_code == 0


@pytest.mark.bmv2
class TestBmv2:
    pytestmark = BMV2

    def test_the_same_test_passes_and_fails(self) -> None:
        test = (
            f"{SEND}mc_mgrp_create 7\nmc_node_create 5 2 4\nmc_node_associate 7 0\n"
            f"add ports 5 body.key:0x0009 body.valid:1 flood(group:7) = many\npacket 1 {HEAD} 10020007 AABB\n"
            f"packet 1 {HEAD} 10020009\nexpect 3 {HEAD} 10020007 AABB $\nexpect 2 {HEAD} 1005\nexpect 4 {HEAD} 1005\n"
            "check_counter hits(many) packets == 1\n"
        )
        assert play(test, device="bmv2") == Outcome(Verdict.PASS)
        assert play(test.replace("1005", "1006"), device="bmv2").verdict is Verdict.FAIL

    def test_registers_are_not_supported(self) -> None:
        outcome = play("register_read keys 1", device="bmv2")
        assert outcome.verdict is Verdict.UNSUPPORTED
        assert "test.stf:1:1" in outcome.reasons[0]
