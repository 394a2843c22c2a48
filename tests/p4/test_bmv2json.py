"""BMv2's JSON behaves like the program that p4c made it from, and keeps its control-plane names."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finsy.proto import p4i

from midflight.errors import P4Error
from midflight.p4.bmv2json.emit import to_p4
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.devices.bmv2 import Bmv2Device
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.devices.toolchain import compile_p4
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.runtime.p4runtime.entryfiles.reading import read_entries
from midflight.runtime.p4runtime.entryfiles.steps import SwitchTarget, apply
from midflight.runtime.p4runtime.server.switch import Switch
from tests.bmv2 import BMV2, PROGRAM
from tests.engine.build import source
from tests.testbed.test_stf import PROGRAM as PORTS

JSON = (Path(__file__).parent / "golden" / "router.json").read_text()
"""What p4c 1.2.5.16 makes of the program in docs/run.md."""

PAGE = (Path(__file__).parents[2] / "docs" / "run.md").read_text()
SOURCE = re.search(r"```p4\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
COMMANDS = re.search(r"```text\n(# commands.txt.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]

Root = dict[str, Any]


def switch(text: str, tmp_path: Path, commands: str = "") -> Switch:
    made = Switch()
    made.load(text, "program")
    path = tmp_path / "commands.txt"
    path.write_text(commands)
    target = SwitchTarget(made)
    apply(read_entries(path, target.schema), target)
    return made


def packet(dst: int, ttl: int, kind: int = 0x800) -> bytes:
    ethernet = bytes(5) + b"\xaa" + bytes(5) + b"\xbb" + kind.to_bytes(2, "big")
    return ethernet + bytes([0x45, 0, 0, 20, 0, 0, 0, 0, ttl, 17, 0, 0]) + b"\x0a\x00\x09\x01" + dst.to_bytes(4, "big")


def test_packets_and_state_are_those_of_the_source(tmp_path: Path) -> None:
    chance = random.Random(1)
    addresses = [0x0A000107, 0x0A000201, 0x0A000301, 0x0A000101]
    packets = [
        (
            chance.randrange(8),
            packet(chance.choice(addresses), chance.choice([0, 1, 2, 64]), chance.choice([0x800, 0x86DD])),
        )
        for _ in range(200)
    ]
    packets += [(1, each[: chance.randrange(len(each))]) for _, each in packets[:50]]
    outcomes = []
    for text in (SOURCE, JSON):
        made = switch(text, tmp_path, COMMANDS)
        left = list(made.process(Packets.from_list(packets)))
        assert made.pipeline is not None
        engine = made.pipeline.engine
        registers = engine.registers["MyIngress.last_source"].read_all().tolist()
        counts = engine.counters["MyIngress.arrivals"].packets.tolist()
        outcomes.append((left, registers, counts, [each.values for each in engine.digests()]))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][0]) > 40


def test_names_and_ids_of_tables_and_actions_stay() -> None:
    ours, theirs = p4info(check(SOURCE)), p4info(check(JSON))
    assert list(theirs.tables) == list(ours.tables)
    assert {each.preamble.id for each in theirs.actions} == {each.preamble.id for each in ours.actions}
    assert [each.preamble.name for each in theirs.registers] == ["MyIngress.last_source"]
    assert [each.preamble.name for each in theirs.digests] == ["expired_t"]


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: b"\x08\x01\x1a" + _length(data) + data])
def test_a_controller_pushes_it_with_its_p4info(wrap: Callable[[bytes], bytes]) -> None:
    info = p4info(check(SOURCE))
    with HostDevice() as device, device.session() as session:
        session.load(info, wrap(JSON.encode()))
        session.insert("MyIngress.routes", {"hdr.ipv4.dst": "10.0.1.0/24"}, "MyIngress.forward", {"mac": 7, "port": 2})
        (left,) = device.process(Packets.from_list([(1, packet(0x0A000107, 64))]))
        assert left[0] == 2
        assert left[1][:6] == bytes([0, 0, 0, 0, 0, 7])
        assert session.read_counter("MyIngress.arrivals", 1).packets == 1


def _length(data: bytes) -> bytes:
    encoded, rest = b"", len(data)
    while rest >> 7:
        encoded, rest = encoded + bytes([rest & 0x7F | 0x80]), rest >> 7
    return encoded + bytes([rest])


def test_a_pushed_json_that_is_refused_keeps_the_pipeline() -> None:
    with HostDevice(SOURCE) as device, device.session() as session:
        with pytest.raises(RequestError, match="not BMv2's JSON"):
            session.load(session.p4info, b'{"program": "x.p4", "__meta__": {"version": [2, 23]}}')
        assert session.read_table("MyIngress.routes") == []


def changed(change: Callable[[Root], object]) -> str:
    root: Root = json.loads(JSON)
    change(root)
    return json.dumps(root)


def _primitive(root: Root) -> None:
    root["actions"][3]["primitives"][0]["op"] = "teleport"


def _field(root: Root) -> None:
    root["actions"][3]["primitives"][0]["parameters"][0]["value"] = ["ethernet", "nothing"]


def _circle(root: Root) -> None:
    tables = root["pipelines"][0]["tables"]
    tables[-1]["next_tables"] = dict.fromkeys(tables[-1]["actions"], tables[0]["name"])


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ('{\n "a": 1, #}', "not JSON", "program:2:10"),
        ('{"a":' + "[" * 10_000 + "]" * 10_000 + "}", "the JSON is nested too deeply: 10001 levels", "program:1:10005"),
        ("{}", "not BMv2's JSON", "program:1:1"),
        (changed(lambda root: root.pop("pipelines")), "not BMv2's JSON", "program:1:1"),
        (changed(_primitive), "the primitive 'teleport'", "router.p4:31:9"),
        (changed(_field), "the header type 'ethernet_t' has no field 'nothing'", "None"),
        (changed(_circle), "circle of tables", "router.p4:24:9"),
        (changed(lambda root: root.update(pipelines=[])), "does not have the form that p4c writes", "program:1:1"),
        (changed(lambda root: root.update(actions=3)), "does not have the form that p4c writes", "program:1:1"),
    ],
)
def test_refusals_have_a_place(text: str, message: str, place: str) -> None:
    with pytest.raises(P4Error) as caught:
        to_p4(text, "program")
    assert message in caught.value.message
    assert str(caught.value.place) == place


def _deep_expression(root: Root) -> str:
    """Return the JSON with a sum of 10,000 terms, as p4c nests it."""
    root["actions"][3]["primitives"][0]["parameters"][1] = "SUM"
    one = '{"type": "hexstr", "value": "1"}'
    before, after = '{"type": "expression", "value": {"op": "+", "left": ', f', "right": {one}}}}}'
    return json.dumps(root).replace('"SUM"', before * 10_000 + one + after * 10_000)


def _many_states(root: Root) -> str:
    states = root["parsers"][0]["parse_states"]
    empty: Root = {"parser_ops": [], "transition_key": []}
    for number in range(100_000):
        after = {"type": "default", "value": None, "mask": None, "next_state": f"n{number + 1}"}
        states.append(empty | {"name": f"n{number}", "id": 1000 + number, "transitions": [after]})
    states[-1]["transitions"][0]["next_state"] = None
    states[0]["transitions"][-1]["next_state"] = "n0"
    return json.dumps(root)


def _many_actions(root: Root) -> str:
    table = next(each for each in root["pipelines"][0]["tables"] if each["key"])
    for number in range(100_000):
        root["actions"].append({"name": f"n{number}", "id": 1000 + number, "runtime_data": [], "primitives": []})
        table["actions"].append(f"n{number}")
        table["action_ids"].append(1000 + number)
        table["next_tables"][f"n{number}"] = None
    return json.dumps(root)


@pytest.mark.parametrize(
    ("enlarge", "message"),
    [
        (_deep_expression, "the JSON is nested too deeply: 200"),
        (_many_states, "have at most 2097152 characters"),
        (_many_actions, "have at most 2097152 characters"),
    ],
)
def test_json_of_any_size_is_refused_with_the_limit(enlarge: Callable[[Root], str], message: str) -> None:
    with pytest.raises(P4Error, match=message) as caught:
        check(enlarge(json.loads(JSON)), "program", confined=True)
    assert caught.value.place is not None


def test_damaged_json_is_refused_or_runs() -> None:
    chance = random.Random(3)
    refused = 0
    for _ in range(150):
        root: Root = json.loads(JSON)
        node: Any = root
        while True:
            keys = list(range(len(node))) if isinstance(node, list) else list(node)
            key = chance.choice(keys)
            if not isinstance(node[key], dict | list) or not node[key] or chance.random() < 0.1:
                break
            node = node[key]
        node[key] = chance.choice([None, -1, 3, 1 << 40, "x", "0x7f", [], {}, [[1]], {"type": "field"}])
        try:
            check(json.dumps(root), "program", confined=True)
        except P4Error:
            refused += 1
    assert 50 < refused < 150


def test_signed_fields_are_read_from_registers(tmp_path: Path) -> None:
    signed = {"type": "field", "value": ["scalars", "signed"]}
    register = {"type": "register_array", "value": "MyIngress.last_source"}

    def copy(root: Root) -> None:
        root["header_types"][0]["fields"].append(["signed", 32, True])
        for action in root["actions"]:
            if action["name"] == "MyIngress.forward":
                read = {"op": "register_read", "parameters": [signed, register, {"type": "hexstr", "value": "0x0"}]}
                write = {"op": "register_write", "parameters": [register, {"type": "hexstr", "value": "0x3"}, signed]}
                action["primitives"] = [read, write, *action["primitives"]]

    made = switch(changed(copy), tmp_path, COMMANDS)
    list(made.process(Packets.from_list([(1, packet(0x0A000107, 64))] * 2)))
    assert made.pipeline is not None
    values = made.pipeline.engine.registers["MyIngress.last_source"].read_all().tolist()
    assert values[3] == values[0] != 0


def test_jumps_forward_skip_statements(tmp_path: Path) -> None:
    def skip(root: Root) -> None:
        primitives = root["actions"][3]["primitives"]
        test = {"type": "field", "value": ["ipv4", "tos"]}
        jump = {"op": "_jump_if_zero", "parameters": [test, {"type": "hexstr", "value": "0x3"}]}
        primitives.insert(0, jump)  # over the addresses, unless the type of service is set

    made = switch(changed(skip), tmp_path, COMMANDS)
    plain, marked = packet(0x0A000107, 64), bytearray(packet(0x0A000107, 64))
    marked[15] = 1
    left = [data for _, data in made.process(Packets.from_list([(1, plain), (1, bytes(marked))]))]
    assert [each[:6].hex() for each in left] == ["0000000000aa", "080000000101"]


def test_messages_of_the_program_are_logged(tmp_path: Path) -> None:
    def log(root: Root) -> None:
        values = {"type": "parameters_vector", "value": [{"type": "field", "value": ["ipv4", "ttl"]}]}
        told = {"op": "log_msg", "parameters": [{"type": "string", "value": 'a "ttl" \\ of {}'}, values]}
        plain = {"op": "log_msg", "parameters": [{"type": "string", "value": "plain"}, {"value": {}}]}
        root["actions"][3]["primitives"][:0] = [told, plain]

    made = switch(changed(log), tmp_path, COMMANDS)
    heard: list[str] = []
    made.log("test", heard.append)
    made.process(Packets.from_list([(1, packet(0x0A000107, 64))]))
    assert heard == ['a "ttl" \\ of 64', "plain"]


def test_jumps_back_are_loops(tmp_path: Path) -> None:
    def repeat(root: Root) -> None:
        tos, one = {"type": "field", "value": ["ipv4", "tos"]}, {"type": "hexstr", "value": "0x01"}
        more = {"op": "+", "left": tos, "right": one}
        full = {"op": ">", "left": tos, "right": {"type": "hexstr", "value": "0x05"}}
        primitives = root["actions"][3]["primitives"]
        raised = {"op": "assign", "parameters": [tos, {"type": "expression", "value": more}]}
        at = {"type": "hexstr", "value": "0x0"}
        jump = {"op": "_jump_if_zero", "parameters": [{"type": "expression", "value": full}, at]}
        primitives[:0] = [raised, jump]

    made = switch(changed(repeat), tmp_path, COMMANDS)
    left = [data for _, data in made.process(Packets.from_list([(1, packet(0x0A000107, 64))]))]
    assert [each[15] for each in left] == [6]


def test_p4info_may_have_what_p4c_removed_from_the_json() -> None:
    info = p4info(check(SOURCE))
    info.action_profiles.add(size=8).preamble.CopyFrom(p4i.Preamble(id=0x11000001, name="MyIngress.unreached"))
    info.value_sets.add(size=8).preamble.CopyFrom(p4i.Preamble(id=0x03000001, name="MyParser.unreached"))
    info.digests.add().preamble.CopyFrom(p4i.Preamble(id=0x17000001, name="unreached_t"))
    with HostDevice() as device, device.session() as session:
        session.load(info, JSON.encode())
        session.insert("MyIngress.routes", {"hdr.ipv4.dst": "10.0.1.0/24"}, "MyIngress.forward", {"mac": 7, "port": 2})
        (left,) = device.process(Packets.from_list([(1, packet(0x0A000107, 64))]))
        assert left[0] == 2
        with pytest.raises(RequestError, match="the pipeline has no digest of id"):
            session.subscribe("unreached_t")


METERED = source(
    header="bit<8> k; bit<8> colour;",
    metadata="bit<2> colour;",
    declarations="""
        direct_meter<bit<2>>(MeterType.packets) m;
        direct_counter(CounterType.packets) c;
        action a(bit<8> add) { m.read(meta.colour); hdr.h.k = hdr.h.k + add; }
        action b() { m.read(meta.colour); hdr.h.k = 0; }
        table t {
            key = { hdr.h.k : exact; }
            actions = { a; b; NoAction; }
            meters = m;
            counters = c;
            default_action = NoAction();
        }
    """,
    ingress="meta.colour = 3; t.apply(); hdr.h.colour = (bit<8>)meta.colour;",
)


COMPUTED = source(
    types="header i_t { bit<8> a; bit<8> b; }",
    header="bit<8> x; bit<8> y; bit<16> z;",
    headers="i_t[4] s; i_t copied;",
    metadata="bit<2> at;",
    parser="""
        state start { packet.extract(hdr.h); transition next; }
        state next {
            packet.extract(hdr.s.next);
            hdr.copied = hdr.s.last;
            transition select(hdr.s.last.a) { 0 .. 127: next; default: accept; }
        }
    """,
    declarations="""
        action mark() { hdr.h.y = 255; }
        table t {
            key = { hdr.s[meta.at].a : exact; }
            actions = { mark; NoAction; }
            const entries = { 0 : mark(); 1 : mark(); 2 : mark(); 200 : mark(); }
        }
    """,
    ingress="""
        std.egress_spec = 2;
        meta.at = hdr.h.x[1:0];
        bit<16> most = 16w1 << hdr.h.x[3:0];
        hash(hdr.h.z, HashAlgorithm.crc32, 16w0, { hdr.h.x, hdr.h.y }, most);
        if (hdr.s[meta.at].isValid()) { t.apply(); }
        log_msg("{}", { std });
    """,
)


SIGNED = source(
    header="int<32> v; bit<8> k;",
    declarations="register<int<32>>(2) r;",
    ingress="int<32> old; r.read(old, 0); r.write(0, old + hdr.h.v); hdr.h.v = old; std.egress_spec = 2;",
)


@pytest.mark.bmv2
class TestCompiled:
    pytestmark = BMV2

    @pytest.mark.parametrize(
        "source",
        [SOURCE, PORTS, PROGRAM, COMPUTED, SIGNED],
        ids=["router", "ports", "everything", "computed", "signed"],
    )
    def test_random_packets_agree(self, source: str, tmp_path: Path) -> None:
        config = compile_p4(source)
        chance = random.Random(7)
        packets = [(chance.randrange(4), chance.randbytes(chance.randrange(120))) for _ in range(300)]
        packets += [(1, bytes(12) + each.to_bytes(2, "big") + chance.randbytes(60)) for each in (0x800, 0x1234) * 100]
        found = [
            list(switch(text, tmp_path).process(Packets.from_list(packets)))
            for text in (source, config.config.decode())
        ]
        assert found[0] == found[1]

    @pytest.mark.parametrize("kind", ["source", "json", "bmv2"])
    def test_direct_meters_colour_packets_that_hit(self, kind: str) -> None:
        config = compile_p4(METERED)
        with Bmv2Device() if kind == "bmv2" else HostDevice() as device, device.session() as session:
            session.load(config.p4info, METERED.encode() if kind == "source" else config.config)
            session.insert("t", {"hdr.h.k": 1}, "a", {"add": 7})
            session.insert("t", {"hdr.h.k": 2}, "b")
            session.insert("t", {"hdr.h.k": 3}, "a", {"add": 1}, rate=1)
            sent = [bytes([key, 9]) + bytes(30) for key in (1, 2, 3, 3, 4, 1)]
            left = [data[:2] for _, data in device.process(Packets.from_list([(1, each) for each in sent]))]
            assert left[:2] + left[4:] == [b"\x08\x00", b"\x00\x00", b"\x04\x03", b"\x08\x00"]
            assert {left[2], left[3]} <= {b"\x04\x00", b"\x04\x02"}  # BMv2's clock decides
            assert left[3] == b"\x04\x02"
            session.set_default("t", "b")
            (missed,) = device.process(Packets.from_list([(1, sent[4])]))
            assert missed[1][:2] == b"\x00\x03"
            assert session.read_entry_counter("t", {"hdr.h.k": 3}).packets == 2

    def test_p4c_s_p4info_fits(self) -> None:
        config = compile_p4(PROGRAM)
        with HostDevice() as device, device.session() as session:
            session.load(config.p4info, config.config)
            session.write_register("levels", -3, index=1)
            assert session.read_register("levels", 1) == -3
