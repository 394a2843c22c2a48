"""Entries files: what they write to a switch, and that mistakes are reported with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.p4.ir import EntryKey
from midflight.runtime.engine import Engine, Entry, Packets
from midflight.runtime.engine.counters import CounterValue
from midflight.runtime.engine.meters import MeterConfig
from midflight.runtime.p4runtime.entryfiles.reading import read_entries
from midflight.runtime.p4runtime.entryfiles.steps import SwitchTarget, apply
from midflight.runtime.p4runtime.server.switch import Switch
from tests.p4runtime.support import PROGRAMS

PROGRAM = """\
#include <core.p4>
#include <v1model.p4>

header h_t { bit<32> a; bit<48> b; bit<16> c; bit<8> d; }
struct headers_t { h_t h; }
struct metadata_t { }

parser MyParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    state start { packet.extract(hdr.h); transition accept; }
}
control MyVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control MyIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    counter(4, CounterType.packets_and_bytes) seen;
    meter(4, MeterType.bytes) limit;
    register<bit<16>>(4) cells;
    action send(bit<48> mac, bit<9> port) { hdr.h.b = mac; standard.egress_spec = port; }
    action drop() { mark_to_drop(standard); }
    table routes { key = { hdr.h.a: lpm; } actions = { send; drop; } default_action = drop(); }
    table rules {
        key = { hdr.h.b: exact; hdr.h.c: ternary; hdr.h.d: range; }
        actions = { send; drop; NoAction; }
        default_action = NoAction();
    }
    apply {
        bit<2> colour;
        bit<16> cell;
        seen.count(0);
        limit.execute_meter(32w0, colour);
        cells.read(cell, 0);
        hdr.h.c = cell;
        routes.apply();
        rules.apply();
    }
}
control MyEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) { apply { } }
control MyCompute(inout headers_t hdr, inout metadata_t meta) { apply { } }
control MyDeparser(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
V1Switch(MyParser(), MyVerify(), MyIngress(), MyEgress(), MyCompute(), MyDeparser()) main;
"""

FULL = (1 << 32) - 1
MAC = 0x080000000101


class Loaded:
    """A switch with the program, which reads entries files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._switch = Switch()
        self._switch.load(PROGRAM)

    def read(self, text: str, name: str = "entries") -> Engine:
        path = self._folder / name
        path.write_text(text)
        target = SwitchTarget(self._switch)
        apply(read_entries(path, target.schema), target)
        pipeline = self._switch.pipeline
        assert pipeline is not None
        assert isinstance(pipeline.engine, Engine)
        return pipeline.engine

    def mistake(self, text: str) -> tuple[str, int, str]:
        """Return the file, line and message of the mistake in a text."""
        with pytest.raises(MidflightError) as caught:
            self.read(text)
        place = caught.value.place
        assert place is not None
        return Path(place.file).name, place.line, caught.value.message


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return Loaded(tmp_path)


def routes(*entries: tuple[object, object]) -> str:
    return json.dumps(
        {
            "table_entries": [
                {
                    "table": "MyIngress.routes",
                    "match": {"hdr.h.a": match},
                    "action_name": "MyIngress.send",
                    "action_params": {"mac": mac, "port": 3},
                }
                for match, mac in entries
            ]
        },
        indent="\t",
    )


@pytest.mark.parametrize("match", ["10.0.1.0/24", ["10.0.1.0", 24], ["0x0a000100", 24], [0x0A000100, "24"]])
@pytest.mark.parametrize("mac", ["08:00:00:00:01:01", MAC, "0x080000000101"])
def test_values_of_the_tutorials_json(loaded: Loaded, match: object, mac: object) -> None:
    engine = loaded.read(routes((match, mac)))
    (entry,) = engine.tables["MyIngress.routes"].entries()
    assert entry == Entry((EntryKey(0x0A000100, 0xFFFFFF00),), "MyIngress.send", (MAC, 3))


def test_everything_of_the_tutorials_json(loaded: Loaded) -> None:
    engine = loaded.read(
        json.dumps(
            {
                "target": "bmv2",
                "p4info": "build/x.p4info.txt",
                "bmv2_json": "build/x.json",
                "table_entries": [
                    {
                        "table": "MyIngress.rules",
                        "match": {"hdr.h.b": ["08:00:00:00:01:01"], "hdr.h.c": [16, "0xf0"], "hdr.h.d": [1, 9]},
                        "priority": 5,
                        "action_name": "NoAction",
                    },
                    {
                        "table": "rules",
                        "match": {"h.b": 1, "hdr.h.d": "3..4"},
                        "priority": 6,
                        "action_name": "drop",
                        "action_params": {},
                    },
                    {
                        "table": "routes",
                        "default_action": True,
                        "action_name": "send",
                        "action_params": {"mac": 1, "port": 2},
                    },
                ],
                "multicast_group_entries": [
                    {"multicast_group_id": 7, "replicas": [{"egress_port": 1, "instance": 4}, {"egress_port": 2}]}
                ],
                "clone_session_entries": [
                    {"clone_session_id": 5, "replicas": [{"egress_port": 3, "instance": 1}]},
                    {"session_id": 6, "replicas": [{"egress_port": 4}]},
                ],
            }
        )
    )
    first, second = engine.tables["MyIngress.rules"].entries()
    assert first == Entry((EntryKey(MAC), EntryKey(16, 0xF0), EntryKey(1, high=9)), "NoAction", (), 5)
    assert second == Entry((EntryKey(1), EntryKey(None), EntryKey(3, high=4)), "MyIngress.drop", (), 6)
    default = engine.tables["MyIngress.routes"].default
    assert (default.action, default.arguments) == ("MyIngress.send", (1, 2))
    assert engine.multicast.groups == {7: ((1, 4), (2, 0))}
    assert engine.clones.groups == {5: ((3, 1),), 6: ((4, 0),)}


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("MyIngress.routes", "MyIngress.rotes", 4, "there is no table 'MyIngress.rotes'"),
        ("hdr.h.a", "hdr.h.x", 6, "there is no match field of table MyIngress.routes 'hdr.h.x'"),
        ('"10.0.1.0/24"', '"10.0.1.1/24"', 5, "has bits beyond its prefix"),
        ("MyIngress.send", "MyIngress.sent", 8, "there is no action of table MyIngress.routes 'MyIngress.sent'"),
        ('"port": 3', '"port": 512', 9, "does not fit bit<9>"),
        ('"port": 3', '"prot": 3', 9, "action MyIngress.send takes mac (bit<48>), port (bit<9>), not mac, prot"),
        ('"match"', '"macth"', 5, "unknown key 'macth'"),
        ('"table":', '"tbl":', 4, "unknown key 'tbl'"),
        ("table_entries", "table_entrys", 2, "unknown key 'table_entrys'"),
        ("MyIngress.routes", "MyIngress.rules", 6, "there is no match field of table MyIngress.rules 'hdr.h.a'"),
        ("]", "", 15, "not YAML"),
    ],
)
def test_mistakes_in_json_have_a_line(loaded: Loaded, before: str, after: str, line: int, message: str) -> None:
    text = routes(("10.0.1.0/24", MAC))
    assert before in text
    file, found, said = loaded.mistake(text.replace(before, after))
    assert message in said
    assert (file, found) == ("entries", line)


def test_an_entry_that_the_switch_rejects_has_a_line(loaded: Loaded) -> None:
    file, line, message = loaded.mistake(routes(("10.0.1.0/24", 1), ("10.0.1.0/24", 2)))
    assert (file, line) == ("entries", 14)
    assert "already has this entry" in message


def test_yaml_of_the_same_form(loaded: Loaded) -> None:
    engine = loaded.read(
        "multicast_group_entries:\n  - {multicast_group_id: 7, replicas: [{egress_port: 1}]}", "e.yaml"
    )
    assert engine.multicast.groups == {7: ((1, 0),)}


def test_table_commands(loaded: Loaded) -> None:
    engine = loaded.read(
        """\
        # comment
        table_add routes send 10.0.1.9/24 => 08:00:00:00:01:01 3   # bits beyond the prefix are cleared
        table_add MyIngress.routes MyIngress.drop 0x0b000000/8 =>
        table_add rules NoAction 1 0xff&&&0xf0 1->9 => 7
        table_add rules send 1 0&&&0 2->2 => 1 2 3
        table_add rules drop 2 0&&&0 0->255 => 9
        table_delete rules 2
        table_modify routes send 1 => 1 2
        table_set_default routes send 1 4
        table_set_default rules drop
        table_reset_default rules
        """
    )
    lan, other = engine.tables["MyIngress.routes"].entries()
    assert lan == Entry((EntryKey(0x0A000100, 0xFFFFFF00),), "MyIngress.send", (MAC, 3))
    assert other == Entry((EntryKey(0x0B000000, 0xFF000000),), "MyIngress.send", (1, 2))
    low, high = engine.tables["MyIngress.rules"].entries()
    assert low.keys == (EntryKey(1), EntryKey(0xF0, 0xF0), EntryKey(1, high=9))
    assert (high.action, high.arguments) == ("MyIngress.send", (1, 2))
    assert high.priority > low.priority, "the smallest number of a command wins"
    assert engine.tables["MyIngress.routes"].default.arguments == (1, 4)
    assert engine.tables["MyIngress.rules"].default.action == "NoAction"


def test_table_clear(loaded: Loaded) -> None:
    engine = loaded.read("table_add routes drop 1.0.0.0/8 =>\ntable_add routes drop 2.0.0.0/8\ntable_clear routes")
    assert not engine.tables["MyIngress.routes"].entries()


def test_replication_commands(loaded: Loaded) -> None:
    engine = loaded.read(
        """\
        mc_mgrp_create 1
        mc_mgrp_create 2
        mc_node_create 5 1 2
        mc_node_create 6 3
        mc_node_associate 1 0
        mc_node_associate 1 1
        mc_node_associate 2 0
        mirroring_add_mc 9 1
        mirroring_add 8 4
        mirroring_add 8 5
        mirroring_add 7 5
        mirroring_delete 7
        mc_node_update 1 4
        mc_node_dissociate 2 0
        """
    )
    assert engine.multicast.groups == {1: ((1, 5), (2, 5), (4, 6)), 2: ()}
    assert engine.clones.groups == {9: ((1, 5), (2, 5), (4, 6)), 8: ((5, 0),)}


def test_commands_for_state(loaded: Loaded) -> None:
    engine = loaded.read(
        """\
        register_write cells 2 0x10
        register_write MyIngress.cells 3 7
        counter_write seen 1 5 600
        counter_write seen 2 5 600
        meter_array_set_rates limit 0.5:100 1:200
        meter_set_rates limit 2 0.000001:7 0.000002:8
        register_read cells
        counter_read seen 1
        meter_get_rates limit 0
        """
    )
    assert engine.registers["MyIngress.cells"].read_all().tolist() == [0, 0, 16, 7]
    assert engine.counters["MyIngress.seen"].read(1) == CounterValue(5, 600)
    assert engine.meters["MyIngress.limit"].read(0) == MeterConfig(500_000, 100, 1_000_000, 200)
    assert engine.meters["MyIngress.limit"].read(2) == MeterConfig(1, 7, 2, 8)
    cleared = loaded.read("register_reset cells\ncounter_reset seen")
    assert not cleared.registers["MyIngress.cells"].read_all().any()
    assert cleared.counters["MyIngress.seen"].read(2) == CounterValue(0, 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("table_dump routes", "unknown command 'table_dump'"),
        ("table_add", "usage: table_add TABLE ACTION MATCH... => [PARAMETER...] [PRIORITY]"),
        ("table_add rotes drop 1.0.0.0/8", "there is no table 'rotes'"),
        ("table_add routes drip 1.0.0.0/8", "there is no action of table MyIngress.routes 'drip'"),
        ("table_add routes drop 1.0.0.0", "has no prefix length"),
        ("table_add routes drop =>", "table MyIngress.routes has 1 match fields, not 0"),
        ("table_add routes send 1.0.0.0/8 => 1", "action MyIngress.send takes mac, port, not 1 values"),
        ("table_add rules drop 1 1 1->2 => 1", "has no mask"),
        ("table_add rules drop 1 1&&&1 2 => 1", "is not a range"),
        ("table_add rules drop 1 1&&&1 1->2", "needs a priority after its parameters"),
        ("table_add rules drop x 1&&&1 1->2 => 1", "'x' is not a value"),
        ("table_delete routes 0", "table MyIngress.routes has no entry 0"),
        ("mc_mgrp_create 99999999999", "multicast group: 99999999999 does not fit bit<32>"),
        ("mc_node_create 99999999999 1", "instance: 99999999999 does not fit bit<32>"),
        ("mc_node_create 1 99999999999", "port: 99999999999 does not fit bit<32>"),
        ("mirroring_add 99999999999 1", "clone session: 99999999999 does not fit bit<32>"),
        ("mirroring_get 99999999999", "clone session: 99999999999 does not fit bit<32>"),
        ("meter_set_rates limit 0 1e30:5 1e30:5", "rate 1e30: "),
        ("mc_node_associate 1 0", "there is no multicast group 1"),
        ("mirroring_delete 4", "there is no mirroring session 4"),
        ("register_write cells 4 1", "cells"),
        ("register_write cells 0 65536", "does not fit"),
        ("counter_read seen 9", "seen"),
        ("meter_set_rates limit 0 x:1 2:1", "is not RATE:BURST"),
        ("meter_set_rates limit 0 2:1 1:1", "cir at most pir"),
    ],
)
def test_mistakes_in_commands_have_a_line(loaded: Loaded, line: str, message: str) -> None:
    file, found, said = loaded.mistake(f"# first\n\n  {line}\n")
    assert message in said
    assert (file, found) == ("entries", 3)


def test_keys_with_one_name_are_all_matched(tmp_path: Path) -> None:
    """P4_16 and p4c allow it. Commands match by position, and names get numbers."""
    key = "key = { hdr.h.c: exact; hdr.h.d: ternary; hdr.h.c: ternary; }"
    switch = Switch()
    switch.load(PROGRAM.replace("key = { hdr.h.b: exact; hdr.h.c: ternary; hdr.h.d: range; }", key))
    target = SwitchTarget(switch)
    commands, entries = tmp_path / "commands.txt", tmp_path / "entries.json"
    commands.write_text("table_add rules drop 7 1&&&3 5&&&0xff => 2\ntable_add rules drop 7 1&&&3 6&&&0xff => 2\n")
    match = {"hdr.h.c#1": 7, "hdr.h.d": ["0x2", "0x3"], "hdr.h.c#2": ["0x7", "0xf"]}
    row = {"table": "rules", "match": match, "priority": 1, "action_name": "drop"}
    entries.write_text(json.dumps({"table_entries": [row]}))
    for path in (commands, entries):
        apply(read_entries(path, target.schema), target)
    assert switch.pipeline is not None
    assert [each.keys for each in switch.pipeline.engine.tables["MyIngress.rules"].entries()] == [
        (EntryKey(7), EntryKey(1, 3), EntryKey(5, 0xFF)),
        (EntryKey(7), EntryKey(1, 3), EntryKey(6, 0xFF)),
        (EntryKey(7), EntryKey(2, 3), EntryKey(7, 0xF)),
    ]
    entries.write_text(json.dumps({"table_entries": [{**row, "match": {**match, "hdr.h.c": 7}}]}))
    with pytest.raises(MidflightError, match="there is no match field"):
        read_entries(entries, target.schema)


PROFILES = """
act_prof_create_member servers forward 1 5
act_prof_create_member servers forward 2 6
act_prof_create_group servers
act_prof_add_member_to_group servers 0 0
act_prof_add_member_to_group servers 1 0
table_indirect_add balance 1 => 1
table_indirect_add_with_group balance 2 => 0
"""


def balancer(tmp_path: Path, commands: str) -> Switch:
    switch = Switch()
    switch.load((PROGRAMS / "balancer.p4").read_text())
    path, target = tmp_path / "commands.txt", SwitchTarget(switch)
    path.write_text(commands)
    apply(read_entries(path, target.schema), target)
    return switch


def given(switch: Switch, service: int) -> set[int]:
    """Return what the actions gave to packets with different hashes."""
    sent = [(1, bytes([service, each]) + bytes(62)) for each in range(40)]
    return {int.from_bytes(data[4:6], "big") for _, data in switch.process(Packets.from_list(sent))}


def test_commands_for_action_profiles(tmp_path: Path) -> None:
    switch = balancer(tmp_path, PROFILES)
    assert [given(switch, each) for each in (1, 2, 3)] == [{6}, {5, 6}, {0}]
    more = "act_prof_modify_member servers forward 1 1 9\nact_prof_remove_member_from_group servers 0 0\n"
    switch = balancer(tmp_path, PROFILES + more)
    assert [given(switch, each) for each in (1, 2)] == [{9}, {9}]
    switch = balancer(tmp_path, PROFILES + "table_delete balance 1\nact_prof_delete_group servers 0\n")
    assert [given(switch, each) for each in (1, 2)] == [{6}, {0}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("act_prof_create_member nothing forward 1 5", "there is no action profile 'nothing'"),
        ("act_prof_create_member servers forward 1", "takes port, given, not 1 values"),
        ("act_prof_delete_member servers 2", "has no member 2"),
        ("act_prof_delete_group servers 1", "has no group 1"),
        ("act_prof_add_member_to_group servers 0 0", "member 0 is in group 0 already"),
        ("act_prof_remove_member_from_group servers 0 1", "has no group 1"),
        ("table_indirect_add balance 3 => 7", "has no member 7"),
        ("table_indirect_add balance 3 => 0 1", "one member follows the match, not 2 values"),
        ("table_indirect_add_with_group balance 3 => 1", "has no group 1"),
    ],
)
def test_mistakes_in_commands_for_action_profiles(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(MidflightError) as caught:
        balancer(tmp_path, PROFILES + line)
    assert message in caught.value.message
    assert caught.value.place is not None
    assert caught.value.place.line == 9
