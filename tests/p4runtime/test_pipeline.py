"""Setting and getting the pipeline (specification sections 7, 14 and 15)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from finsy.proto import p4i, p4r, rpc_status

from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Backend, Engine, Packets
from midflight.runtime.engine.apart import CompileBudget
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.memory import demand
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.runtime.p4runtime.server.arbitration import Role
from midflight.runtime.p4runtime.server.pipeline import Pipeline, assemble
from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.server.write import commit, prepare
from tests.p4runtime.support import EVERYTHING, Controller, code_of, entity, ipv4, updates

ROUTE = {"hdr.ipv4.destination": "10.0.0.0/8"}
RESOURCE_EXHAUSTED = 8
PACKETS = Packets.from_list([(1, ipv4("10.1.2.3"))])


@pytest.fixture
def empty() -> Iterator[HostDevice]:
    with HostDevice() as device:
        yield device


@pytest.fixture
def primary(empty: HostDevice) -> Iterator[Controller]:
    with Controller(empty.address) as controller:
        controller.arbitrate(1)
        yield controller


def ports(device: HostDevice) -> list[int]:
    return [port for port, _ in device.process(PACKETS)]


def route(ids: dict[str, int], port: int = 3) -> p4r.Update:
    entry = p4r.TableEntry(table_id=ids["ingress.route"])
    entry.match.add(field_id=1).lpm.value = b"\x0a\0\0\0"
    entry.match[0].lpm.prefix_len = 8
    entry.action.action.action_id = ids["ingress.to_port"]
    entry.action.action.params.add(param_id=1, value=bytes([port]))
    entry.action.action.params.add(param_id=2, value=b"\x02")
    return p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(table_entry=entry))


def write(pipeline: Pipeline, request: p4r.WriteRequest) -> rpc_status.Status | None:
    """Apply a batch with all rights."""
    atomic = request.atomicity != p4r.WriteRequest.CONTINUE_ON_ERROR
    return commit(prepare(pipeline, request, Role("")), atomic=atomic)


def test_writes_without_a_pipeline_are_rejected(primary: Controller) -> None:
    for attempt in (lambda: primary.write(), lambda: primary.read(p4r.Entity(table_entry=p4r.TableEntry()))):
        with pytest.raises(grpc.RpcError) as refused:
            attempt()
        assert code_of(refused.value) == "FAILED_PRECONDITION"
    assert not primary.pull().HasField("config")


def test_the_pushed_config_can_be_read(primary: Controller, config: p4r.ForwardingPipelineConfig) -> None:
    pushed = p4r.ForwardingPipelineConfig()
    pushed.CopyFrom(config)
    pushed.cookie.cookie = 0
    primary.push("VERIFY_AND_COMMIT", pushed)
    assert primary.pull().config == pushed
    assert primary.pull("COOKIE_ONLY").config == p4r.ForwardingPipelineConfig(cookie=pushed.cookie)
    reported = primary.pull("P4INFO_AND_COOKIE").config
    assert (reported.p4info, reported.p4_device_config, reported.cookie) == (config.p4info, b"", pushed.cookie)
    reported = primary.pull("DEVICE_CONFIG_AND_COOKIE").config
    assert (reported.HasField("p4info"), reported.p4_device_config) == (False, config.p4_device_config)
    primary.push("VERIFY_AND_COMMIT", config)
    assert not primary.pull("COOKIE_ONLY").config.HasField("cookie")


def test_verify_changes_nothing(primary: Controller, config: p4r.ForwardingPipelineConfig) -> None:
    primary.push("VERIFY", config)
    assert not primary.pull().HasField("config")


def test_committing_clears_the_state(
    empty: HostDevice, primary: Controller, config: p4r.ForwardingPipelineConfig, ids: dict[str, int]
) -> None:
    primary.push("VERIFY_AND_COMMIT", config)
    primary.write(route(ids))
    assert ports(empty) == [3]
    primary.push("VERIFY_AND_COMMIT", config)
    assert ports(empty) == []


def test_reloading_a_program_reuses_its_code_and_clears_its_state(empty: HostDevice, info: p4i.P4Info) -> None:
    with empty.session() as session:
        reported = []
        for _ in range(2):
            session.load(info, EVERYTHING)
            assert empty.switch.pipeline is not None
            engine = empty.switch.pipeline.engine
            reported.append(compiled_of(engine))
            assert ports(empty) == []
            assert session.read_table("route") == []
            assert session.read_multicast() == {}
            assert [session.read_register("totals", cell) for cell in (1, 15)] == [0, 0]
            assert session.read_counter("arrivals", 7).packets == 0
            assert engine.stats.received == 1
            session.insert("route", ROUTE, "to_port", {"port": 6, "mac": 1})
            session.multicast(4, [1, 2])
            session.write_register("totals", list(range(16)))
            session.write_counter("arrivals", 7, packets=9)
            session.set_default("route", "to_port", {"port": 2, "mac": 1})
            assert ports(empty) == [6]
        assert reported[0] is reported[1]
        others = [EVERYTHING.replace("size = 64;", f"size = {size};") for size in (65, 66)]
        session.load(p4info(check(others[0])), others[0])
        session.load(info, EVERYTHING)
        assert ports(empty) == []
        pipeline = empty.switch.pipeline
        assert pipeline is not None
        assert compiled_of(pipeline.engine) is reported[0]
        del pipeline  # a referenced program remains compiled
        for other in others:
            session.load(p4info(check(other)), other)
        session.load(info, EVERYTHING)
        pipeline = empty.switch.pipeline
        assert pipeline is not None
        assert compiled_of(pipeline.engine) is not reported[0]


def test_committing_a_verified_program_does_not_compile_it_again(
    empty: HostDevice, info: p4i.P4Info, monkeypatch: pytest.MonkeyPatch
) -> None:
    with empty.session() as session:
        session.load(info, EVERYTHING, action="VERIFY")
        assert empty.switch.pipeline is None
        monkeypatch.setattr("midflight.runtime.checked.check", None)
        session.load(info, EVERYTHING)
        session.insert("route", ROUTE, "to_port", {"port": 6, "mac": 1})
        assert ports(empty) == [6]


def test_verifying_the_running_program_does_not_affect_it(empty: HostDevice, info: p4i.P4Info) -> None:
    with empty.session() as session:
        session.load(info, EVERYTHING)
        session.insert("route", ROUTE, "to_port", {"port": 6, "mac": 1})
        assert empty.switch.pipeline is not None
        engine = empty.switch.pipeline.engine
        session.load(info, EVERYTHING)
        assert [port for port, _ in engine.process(PACKETS)] == [6]
        assert ports(empty) == []


def test_a_saved_config_takes_writes_and_forwards_once_committed(
    empty: HostDevice, primary: Controller, config: p4r.ForwardingPipelineConfig, ids: dict[str, int]
) -> None:
    primary.push("VERIFY_AND_COMMIT", config)
    primary.write(route(ids, 3))
    primary.push("VERIFY_AND_SAVE", config)
    primary.write(route(ids, 4))
    assert ports(empty) == [3]
    primary.push("COMMIT")
    assert ports(empty) == [4]


def test_commit_without_a_saved_config(primary: Controller, config: p4r.ForwardingPipelineConfig) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        primary.push("COMMIT")
    assert code_of(refused.value) == "NOT_FOUND"
    primary.push("VERIFY_AND_SAVE", config)
    with pytest.raises(grpc.RpcError) as refused:
        primary.push("COMMIT", config)
    assert code_of(refused.value) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("action", ["VERIFY", "VERIFY_AND_SAVE", "VERIFY_AND_COMMIT", "RECONCILE_AND_COMMIT"])
def test_a_config_is_needed(primary: Controller, action: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        primary.push(action)
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    assert action in str(refused.value.details())


@pytest.mark.parametrize(
    ("change", "expected", "said"),
    [
        ({"election": 2}, "PERMISSION_DENIED", "election id 2"),
        ({"device_id": 7}, "NOT_FOUND", "device 7"),
        ({"role": "stranger"}, "NOT_FOUND", "stranger"),
        ({"action": "UNSPECIFIED"}, "INVALID_ARGUMENT", "not specified"),
    ],
)
def test_only_the_primary_may_push(
    primary: Controller, config: p4r.ForwardingPipelineConfig, change: dict[str, object], expected: str, said: str
) -> None:
    parts: dict[str, object] = {"action": "VERIFY_AND_COMMIT", **change}
    with pytest.raises(grpc.RpcError) as refused:
        primary.push(str(parts.pop("action")), config, **parts)  # type: ignore[arg-type]
    assert code_of(refused.value) == expected
    assert said in str(refused.value.details())


def broken(info: p4i.P4Info, how: str) -> tuple[p4i.P4Info, bytes]:
    other = p4i.P4Info()
    other.CopyFrom(info)
    source = EVERYTHING.encode()
    table = next(each for each in other.tables if each.preamble.name == "ingress.route")
    match how:
        case "syntax":
            source = source.replace(b"apply { }", b"apply {", 1)
        case "not text":
            source = b"\xff\xfe{}"
        case "nothing":
            source = b""
        case "unknown table":
            table.preamble.name = "ingress.roote"
        case "other width":
            table.match_fields[0].bitwidth = 128
        case "other kind":
            table.match_fields[0].match_type = p4i.MatchField.EXACT
        case "unknown action":
            next(each for each in other.actions if each.preamble.name == "ingress.to_port").preamble.name = "ingress.x"
        case "other parameter":
            next(each for each in other.actions if each.preamble.name == "ingress.to_port").params[0].name = "prt"
        case "other size":
            other.registers[0].size = 5
        case "other digest":
            other.type_info.structs["seen_t"].members[0].name = "sauce"
        case "other header":
            other.controller_packet_metadata[0].metadata[0].bitwidth = 9
    return other, source


@pytest.fixture(scope="module")
def loaded(config: p4r.ForwardingPipelineConfig, ids: dict[str, int]) -> Iterator[tuple[HostDevice, Controller]]:
    with HostDevice() as device, Controller(device.address) as controller:
        controller.arbitrate(1)
        controller.push("VERIFY_AND_COMMIT", config)
        controller.write(route(ids))
        yield device, controller


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("syntax", "p4_device_config:"),
        ("not text", "P4_16 source text"),
        ("nothing", "P4_16 source text"),
        ("unknown table", "ingress.roote"),
        ("other width", "hdr.ipv4.destination"),
        ("other kind", "lpm"),
        ("unknown action", "ingress.x"),
        ("other parameter", "ingress.to_port"),
        ("other size", "16 cells"),
        ("other digest", "seen_t"),
        ("other header", "packet_in"),
    ],
)
def test_a_device_keeps_its_pipeline_if_a_config_is_invalid(
    loaded: tuple[HostDevice, Controller], config: p4r.ForwardingPipelineConfig, how: str, said: str
) -> None:
    device, primary = loaded
    info, source = broken(config.p4info, how)
    with pytest.raises(grpc.RpcError) as refused:
        primary.push("VERIFY_AND_COMMIT", p4r.ForwardingPipelineConfig(p4info=info, p4_device_config=source))
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    assert said in str(refused.value.details())
    assert ports(device) == [3]
    assert primary.pull().config == config


def test_ids_are_those_of_the_pushed_p4info(empty: HostDevice, info: p4i.P4Info) -> None:
    """As from another compiler: all ids differ, and those of fields and parameters are in reverse order."""
    text = info.SerializeToString()
    other = p4i.P4Info.FromString(text)
    moved = {}
    for part in (other.tables, other.actions, other.registers, other.counters, other.direct_counters, other.digests):
        for each in part:
            moved[each.preamble.id] = each.preamble.id = each.preamble.id ^ 0x5555
    for table in other.tables:
        for reference in table.action_refs:
            reference.id ^= 0x5555
        table.initial_default_action.action_id ^= 0x5555
        table.direct_resource_ids[:] = [each ^ 0x5555 for each in table.direct_resource_ids]
        for place, field in enumerate(table.match_fields):
            field.id = len(table.match_fields) - place
    for counter in other.direct_counters:
        counter.direct_table_id ^= 0x5555
    for action in other.actions:
        for place, param in enumerate(action.params):
            param.id = 40 - place
    with empty.session() as session:
        session.load(other, EVERYTHING)
        session.insert("route", ROUTE, "to_port", {"port": 6, "mac": 1})
        assert ports(empty) == [6]
        match = {"hdr.ipv4.source": ("10.0.0.0", "255.0.0.0"), "length": (1, 9), "standard_metadata.ingress_port": 4}
        session.insert("acl", match, "classify", {"class": 2}, priority=3)
        (entry,) = session.read_table("acl")
        assert entry.match == {
            "hdr.ipv4.source": (0x0A000000, 0xFF000000), "length": (1, 9), "standard_metadata.ingress_port": 4,
        }  # fmt: skip
        session.write_register("totals", 5, 3)
        assert session.read_register("totals", 3) == 5


def test_a_p4info_may_omit_objects(empty: HostDevice, info: p4i.P4Info) -> None:
    part = p4i.P4Info()
    part.CopyFrom(info)
    del part.registers[:]
    with empty.session() as session:
        session.load(part, EVERYTHING)
        session.insert("route", ROUTE, "to_port", {"port": 6, "mac": 1})
        assert ports(empty) == [6]


def test_reconciling_keeps_the_forwarding_state(empty: HostDevice, info: p4i.P4Info) -> None:
    with empty.session() as session:
        session.load(info, EVERYTHING)
        session.insert("route", ROUTE, "to_port", {"port": 6, "mac": 1}, metadata=b"mine")
        session.set_default("route", "drop")
        session.multicast(4, [1, 2])
        session.write_register("totals", list(range(16)))
        changed = EVERYTHING.replace("register<int<16>>(4) levels;", "").replace("size = 64;", "size = 65;")
        session.load(p4info(check(changed)), changed, action="RECONCILE_AND_COMMIT")
        assert ports(empty) == [6]
        (entry,) = session.read_table("route")
        assert entry.metadata == b"mine"
        assert session.read_multicast() == {4: [(1, 0), (2, 0)]}
        # A packet of class 0 was counted meanwhile.
        assert list(session.read_register("totals"))[1:] == list(range(1, 16))


def test_reconciling_is_rejected_if_state_would_be_lost(empty: HostDevice, info: p4i.P4Info) -> None:
    with empty.session() as session:
        session.load(info, EVERYTHING)
        session.insert("route", ROUTE, "to_port", {"port": 6, "mac": 1})
        smaller = EVERYTHING.replace(
            "action to_port(bit<9> port, bit<48> mac)", "action to_port(bit<9> port, bit<48> m)"
        )
        smaller = smaller.replace("hdr.ethernet.destination = mac;", "hdr.ethernet.destination = m;")
        renamed = smaller.replace("table route", "table routes").replace("route.apply", "routes.apply")
        with pytest.raises(RequestError, match=r"does not have table ingress\.route with 1 entries"):
            session.load(p4info(check(renamed)), renamed, action="RECONCILE_AND_COMMIT")
        assert ports(empty) == [6]


def test_capabilities(empty: HostDevice) -> None:
    with Controller(empty.address) as controller:
        assert controller.stub.Capabilities(p4r.CapabilitiesRequest()).p4runtime_api_version == "1.5.0"
        controller.stub.Capabilities(p4r.CapabilitiesRequest(device_id=1))
        with pytest.raises(grpc.RpcError) as refused:
            controller.stub.Capabilities(p4r.CapabilitiesRequest(device_id=4))
        assert code_of(refused.value) == "NOT_FOUND"


def test_a_pushed_program_reads_no_file_of_the_host(
    loaded: tuple[HostDevice, Controller], config: p4r.ForwardingPipelineConfig, tmp_path: Path
) -> None:
    (tmp_path / "secret.p4").write_text("SECRET_ONE alpha beta\n")
    _, primary = loaded
    for path in (tmp_path / "secret.p4", tmp_path / "nothing.p4", Path("/dev/zero")):
        for line in (f'#include "{path}"', f"#include <{path}>", f'#define WHERE "{path}"\n#include WHERE'):
            text = EVERYTHING.replace("#include <core.p4>", line, 1).encode()
            with pytest.raises(grpc.RpcError) as refused:
                primary.push(
                    "VERIFY_AND_COMMIT", p4r.ForwardingPipelineConfig(p4info=config.p4info, p4_device_config=text)
                )
            assert code_of(refused.value) == "INVALID_ARGUMENT"
            assert "cannot be included" in str(refused.value.details())
            assert "SECRET" not in str(refused.value.details())
    assert primary.pull().config == config


@pytest.fixture
def modest() -> Iterator[Controller]:
    """The controller of a switch with a low memory limit."""
    switch = Switch(memory=48 << 20)
    with Server(switch, "127.0.0.1:0") as server, Controller(server.address) as controller:
        controller.arbitrate(1)
        yield controller


def config_of(text: str) -> p4r.ForwardingPipelineConfig:
    return p4r.ForwardingPipelineConfig(p4info=p4info(check(text)), p4_device_config=text.encode())


@pytest.mark.parametrize(
    "line",
    [
        "register<bit<32>>(0x7fffffff) big;",
        "register<bit<2048>>(300000) big;",
        "meter(0x7fffffff, MeterType.bytes) big;",
        "counter(0x7fffffff, CounterType.bytes) big;",
        "register<bit<64>>(4000000) big; register<bit<64>>(4000000) big2;",
    ],
)
def test_a_program_beyond_the_memory_limit_is_rejected_without_effect(
    modest: Controller, config: p4r.ForwardingPipelineConfig, line: str
) -> None:
    modest.push("VERIFY_AND_COMMIT", config)
    text = EVERYTHING.replace("register<int<16>>(4) levels;", f"register<int<16>>(4) levels; {line}")
    for action in ("VERIFY", "VERIFY_AND_SAVE", "VERIFY_AND_COMMIT", "RECONCILE_AND_COMMIT"):
        with pytest.raises(grpc.RpcError) as refused:
            modest.push(action, config_of(text))
        assert code_of(refused.value) == "RESOURCE_EXHAUSTED"
        assert "48 MiB" in str(refused.value.details())
    assert modest.pull().config == config


@pytest.mark.parametrize(
    ("size", "said"),
    [(600_000, "elements, above the limit"), (20_000, "bytes per packet"), (5_000, "bytes per packet")],
)
def test_a_program_with_excessive_packet_state_is_rejected(modest: Controller, size: int, said: str) -> None:
    text = EVERYTHING.replace("struct headers_t {", f"struct headers_t {{ ethernet_t[{size}] deep;", 1)
    assert text != EVERYTHING
    config = config_of(EVERYTHING)
    config.p4_device_config = text.encode()
    with pytest.raises(grpc.RpcError) as refused:
        modest.push("VERIFY_AND_COMMIT", config)
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    assert said in str(refused.value.details())


def test_multicast_groups_and_metadata_count_towards_the_memory_limit(
    config: p4r.ForwardingPipelineConfig, ids: dict[str, int]
) -> None:
    pipeline = assemble(config, CheckedProgram(EVERYTHING), memory=demand(check(EVERYTHING), 1 << 40) + (1 << 20))
    replicas = [p4r.Replica(port=b"\1", instance=each) for each in range(1000)]
    groups = [
        entity(
            packet_replication_engine_entry={
                "multicast_group_entry": {"multicast_group_id": each + 1, "replicas": replicas}
            }
        )
        for each in range(6)
    ]
    used = pipeline.engine.memory.used
    for _ in range(3):
        status = write(pipeline, p4r.WriteRequest(updates=updates("INSERT", *groups)))
        assert status is not None
        codes = [p4r.Error.FromString(each.value).canonical_code for each in status.details]
        assert codes == [0, 0, 0, 0, RESOURCE_EXHAUSTED, RESOURCE_EXHAUSTED]
        write(pipeline, p4r.WriteRequest(updates=updates("DELETE", *groups[:4])))
        assert pipeline.engine.memory.used == used
        atomic = p4r.WriteRequest(updates=updates("INSERT", *groups), atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
        assert write(pipeline, atomic) is not None
        assert pipeline.engine.memory.used == used
    update = route(ids)
    update.entity.table_entry.metadata = bytes(5000)
    status = write(pipeline, p4r.WriteRequest(updates=[update]))
    assert status is not None
    assert p4r.Error.FromString(status.details[0].value).canonical_code == RESOURCE_EXHAUSTED
    update.entity.table_entry.metadata = bytes(4000)
    assert write(pipeline, p4r.WriteRequest(updates=[update])) is None
    update.type = p4r.Update.DELETE
    assert write(pipeline, p4r.WriteRequest(updates=[update])) is None
    assert pipeline.engine.memory.used == used


@pytest.mark.parametrize("first", [p4r.Update.INSERT, p4r.Update.MODIFY])
def test_metadata_of_entries_never_exceeds_the_memory_limit(
    config: p4r.ForwardingPipelineConfig, ids: dict[str, int], first: p4r.Update.Type.ValueType
) -> None:
    pipeline = assemble(config, CheckedProgram(EVERYTHING), memory=demand(check(EVERYTHING), 1 << 40) + (1 << 16))
    memory, used = pipeline.engine.memory, pipeline.engine.memory.used

    def codes(kind: p4r.Update.Type.ValueType, metadata: bytes) -> list[int]:
        changes = []
        for number in range(30):
            update = route(ids)
            update.type = kind
            update.entity.table_entry.match[0].lpm.value = bytes([10, number, 0, 0])
            update.entity.table_entry.match[0].lpm.prefix_len = 16
            update.entity.table_entry.metadata = metadata
            changes.append(update)
        status = write(pipeline, p4r.WriteRequest(updates=changes))
        if status is None:
            return [0] * 30
        return [p4r.Error.FromString(each.value).canonical_code for each in status.details]

    if first == p4r.Update.MODIFY:
        assert codes(p4r.Update.INSERT, b"") == [0] * 30
    done = codes(first, bytes(4096))
    assert 0 < done.count(0) <= 16
    assert done.count(RESOURCE_EXHAUSTED) == 30 - done.count(0)
    assert memory.used <= memory.limit
    held = sum(len(each.metadata) for each in pipeline.notes.values())
    assert held == 4096 * done.count(0)
    assert len([*pipeline.engine.tables["ingress.route"].entries()]) == (
        30 if first == p4r.Update.MODIFY else done.count(0)
    )
    codes(p4r.Update.DELETE, b"")
    assert memory.used == used


def test_a_program_that_compiles_too_long_is_rejected_and_the_switch_continues(
    config: p4r.ForwardingPipelineConfig,
) -> None:
    for budget, expected in ((CompileBudget(), None), (CompileBudget(seconds=0), "RESOURCE_EXHAUSTED")):
        with Server(Switch(apart=budget, programs=Programs())) as server, Controller(server.address) as controller:
            controller.arbitrate(1)
            if expected is None:
                controller.push("VERIFY_AND_COMMIT", config)
                assert controller.pull().config == config
                continue
            with pytest.raises(grpc.RpcError) as refused:
                controller.push("VERIFY_AND_COMMIT", config)
            assert code_of(refused.value) == expected
            assert not controller.pull().HasField("config")


def compiled_of(engine: Backend) -> Compiled:
    assert isinstance(engine, Engine)
    return engine.compiled
