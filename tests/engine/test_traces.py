"""Traces: their contents, and that tracing has no other effect."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.primitives import Aggregate, Program, Threshold
from midflight.runtime.engine import Engine, Entry, Packets
from midflight.testbed.conformance.traces import generate
from tests.engine.build import engine, run
from tests.primitives.rig import Sent, SwitchRig

HEADER = "bit<8> what; bit<8> where;"
TABLE = """
    action go(bit<9> port) { std.egress_spec = port; }
    action drop() { mark_to_drop(std); }
    table where { key = { hdr.h.where: exact; } actions = { go; drop; } default_action = drop(); }
    table always { actions = { go; } const default_action = go(7); }
"""


def reported(switch: Engine) -> list[str]:
    return [str(each) for each in switch.traces()]


def test_tables_ports_and_drops() -> None:
    switch = engine(
        header=HEADER, declarations=TABLE, ingress="if (hdr.h.what == 1) { always.apply(); } where.apply();"
    )
    switch.tables["ingress.where"].insert(Entry((ir.EntryKey(5),), "ingress.go", (3,)))
    run(switch, b"\0\5")
    assert reported(switch) == []
    switch.trace(True)
    run(switch, b"\0\5tail", b"\1\6", port=2)
    assert reported(switch) == [
        "in by port 2, 6 bytes\n"
        "  parser     start, accept\n"
        "  table      ingress.where: hit, ingress.go\n"
        "  egress     port 3\n"
        "  out        by port 3, 6 bytes",
        "in by port 2, 2 bytes\n"
        "  parser     start, accept\n"
        "  table      ingress.always: ingress.go\n"
        "  table      ingress.where: miss, ingress.drop\n"
        "  dropped    in ingress",
    ]
    assert reported(switch) == []
    switch.trace(False)
    run(switch, b"\0\5")
    assert reported(switch) == []


def test_a_packet_that_does_not_parse() -> None:
    switch = engine(header=HEADER, ingress="if (std.parser_error != error.NoError) { mark_to_drop(std); }")
    switch.trace(True)
    run(switch, b"\0")
    assert reported(switch) == [
        "in by port 1, 1 bytes\n  parser     start, reject (PacketTooShort)\n  dropped    in ingress"
    ]


def test_digests_and_replicas() -> None:
    program = Program(Threshold("pressure", above=9, clear=2), Aggregate("sums", workers=1, lanes=1))
    rig = SwitchRig(program)
    rig.engine.trace(True)
    fields = {"slot": 0, "worker": 0, "flags": 0, "job": 0, "epoch": 0, "values": [5]}
    rig.run([Sent("pressure", 1, {"sensor": 1, "value": 9}), Sent("sums", 1, fields)])
    reading, contribution = rig.engine.traces()
    assert ("digest", "pressure_alert_t") in reading.steps
    assert contribution.steps[2:] == (
        ("multicast", "group 2"),
        *(
            each
            for port in (1, 2, 3)
            for each in (
                ("egress", f"port {port}"),
                ("table", "egress.deliver: hit, egress.to_host"),
                ("out", f"by port {port}, {contribution.length} bytes"),
            )
        ),
    )


def test_clones_and_rounds() -> None:
    switch = engine(
        header=HEADER,
        ingress="""
            if (std.instance_type == 0 && hdr.h.what == 1) { clone(CloneType.I2E, 3); }
            if (std.instance_type == 0 && hdr.h.what == 2) { resubmit_preserving_field_list(1); }
            if (std.instance_type == 4) { hdr.h.what = 0; }
            std.egress_spec = 4;
        """,
        egress="""
            if (hdr.h.what == 3) { recirculate_preserving_field_list(1); }
            if (std.instance_type == 0 && hdr.h.what == 4) { clone(CloneType.E2E, 3); mark_to_drop(std); }
        """,
    )
    switch.clones.set(3, [(8, 5)])
    switch.trace(True)
    run(switch, b"\1\0", b"\2\0", b"\3\0", b"\4\0")
    start, end = ("parser", "start, accept"), (("egress", "port 4"), ("out", "by port 4, 2 bytes"))
    copy = (("egress", "port 8, instance 5"), ("out", "by port 8, 2 bytes"))
    assert [each.steps for each in switch.traces()] == [
        (start, ("clone", "session 3"), start, *copy, *end),
        (start, ("resubmit", ""), ("again", "resubmitted, 2 bytes"), start, *end),
        (start, end[0], ("recirculate", ""), ("again", "recirculated, 2 bytes"), start, *end),
        (start, end[0], ("clone", "session 3"), ("dropped", "in egress"), *copy),
    ]


def test_tracing_changes_neither_packets_nor_state() -> None:
    case = generate("Aggregate", 4, 0)
    plain, traced = SwitchRig(case.program()).engine, SwitchRig(case.program()).engine
    packets = [(step.port, step.packet) for step in case.steps]
    third = len(packets) // 3
    for number, start in enumerate((0, third, 2 * third)):
        traced.trace(number == 1)
        part = Packets.from_list(packets[start : start + third])
        assert [*traced.process(part)] == [*plain.process(part)]
    for name, register in plain.registers.items():
        assert traced.registers[name].read_all().tolist() == register.read_all().tolist()
    assert traced.stats == plain.stats
    assert len(traced.traces()) == third


def test_lost_steps_of_a_full_buffer_are_reported() -> None:
    switch = engine(header=HEADER, ingress="std.egress_spec = 4;")
    switch.trace(True)
    run(switch, *[b"\0\0"] * 20_000)
    traces = switch.traces()
    assert 10_000 < len(traces) < 20_000
    assert traces[-1].steps[-1][0] == "..."
    assert "are lost" in traces[-1].steps[-1][1]
    run(switch, b"\0\0")
    (trace,) = switch.traces()
    assert trace.steps == (("parser", "start, accept"), ("egress", "port 4"), ("out", "by port 4, 2 bytes"))


def test_details_have_keys_entries_parameters_assignments_registers_and_branches() -> None:
    text = """
        register<bit<8>>(4) seen;
        action to(bit<9> port, bit<8> mark) { std.egress_spec = port; hdr.h.what = mark; }
        action no() { mark_to_drop(std); }
        table way { key = { hdr.h.what: ternary; } actions = { to; no; } default_action = no(); }
    """
    switch = engine(
        header=HEADER,
        declarations=text,
        ingress="""
            bit<8> before;
            seen.read(before, 2);
            if (before > 5) { no(); } else { way.apply(); }
            seen.write((bit<32>) std.egress_spec, hdr.h.what + 1);
        """,
    )
    table = next(name for name in switch.tables if name.endswith("way"))
    action = table.replace("way", "to")
    for value, mask, priority, port in ((16, 240, 1, 1), (17, 255, 2, 3), (0, 0, 3, 2)):
        if priority < 3:
            switch.tables[table].insert(Entry((ir.EntryKey(value, mask),), action, (port, 99), priority))
    switch.trace(True)
    switch.process(Packets.from_list([(4, bytes([17, 0]))]))
    (trace,) = switch.traces()
    assert trace.steps[1] == ("table", f"{table}: hit, {action}")
    found = [(what.strip(), how) for what, how, _ in trace.details]
    register = table.replace("way", "seen")
    assert found[:9] == [
        ("parser", "start, accept"),
        ("register", f"read {register}[2] = 0"),
        ("set", "before = 0 (unchanged)"),
        ("if", "false: if (before > 5) { no(); } else { way.apply(); }"),
        ("table", f"{table}: hit, {action}"),
        ("key", "hdr.h.what = 17 (0x11)"),
        ("entry", "hdr.h.what = 17 (0x11) &&& 0xff, priority 2"),
        ("param", "port = 3"),
        ("param", "mark = 99 (0x63)"),
    ]
    assert ("set", "hdr.h.what = 99 (0x63) (was 17 (0x11))") in found
    assert ("register", f"write {register}[3] = 100 (0x64)") in found
    places = [place.rpartition(":")[2] for what, _, place in trace.details if what in ("if", "register", "set")]
    assert all(each.isdecimal() for each in places)
    assert f"in by port 4, 2 bytes, at {trace.time} us" in trace.detailed()
