"""A star, end to end: kernel, P4, native code, configuration over P4Runtime, and endpoints on simulated hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Aggregate, Filter, Message, Program, Schema, Threshold
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.endpoint.aggregation import Form
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.steering import Offload
from midflight.testbed import LinkQuality, Star
from midflight.testbed.fabric.sim import SimFabric
from tests.testbed.test_allreduce import check, vectors
from tests.testbed.test_sim import Inbox

PROGRAM = Program(
    Aggregate("gradients", workers=4, lanes=8, slots=8),
    Aggregate("losses", workers=2, lanes=4, slots=4, overflow="detect"),
    Filter("telemetry", keep="temperature > 80"),
)


@pytest.fixture(scope="module")
def net() -> Iterator[Star]:
    with Star(6, program=PROGRAM) as net:
        yield net


def test_a_withdrawn_group_continues_at_its_server() -> None:
    with Star(3, program=Program(Aggregate("gradients", workers=2, lanes=8, slots=8))) as net:
        group = net.group("gradients", net.hosts[:2])
        arrays = vectors(2, 40)
        before = group.sum(arrays)
        assert net.link(net.hosts[2]).packets == 0
        net.withdraw("gradients")
        assert net.controller.jobs.jobs == {}
        assert net.steering["s1"].admitted == {}
        for one, other in zip(before, group.sum(arrays), strict=True):
            np.testing.assert_array_equal(one.integers, other.integers)
        assert net.link(net.hosts[2]).packets > 0, "the server computes"
        group.close()
        with net.group("gradients", net.hosts[:2]) as again:
            again.sum(arrays)
        assert net.steering["s1"].admitted == {}


def test_the_switch_computes_sums_without_traffic_to_the_server(net: Star) -> None:
    group = net.group("gradients", net.hosts[:4])
    arrays = [each.reshape(7, 11) for each in vectors(4, 77)]
    results = group.allreduce(arrays)
    assert len(results) == 4
    for result in results:
        assert result.dtype == np.float32
        assert result.shape == (7, 11)
        np.testing.assert_array_equal(result, results[0])
        np.testing.assert_allclose(result, np.sum(arrays, axis=0, dtype=np.float64), atol=1e-6)
    assert net.link(net.hosts[5]).packets == 0
    assert {each.match["hdr.ipv4.destination"] for each in net.session.read_table("ingress.route")}
    assert len(net.session.read_table("ingress.route")) == 6


def test_the_maximum_number_of_lanes_works() -> None:
    with Star(3, program=Program(Aggregate("gradients", workers=2, lanes=256, slots=2))) as net:
        arrays = vectors(2, 1000)
        check(arrays, net.group("gradients", net.hosts[:2]).sum(arrays))


def test_many_rounds_use_all_slots(net: Star) -> None:
    group = net.group("gradients", net.hosts[:4])
    for seed, scale in enumerate([1.0, 1e-20, 1e20, 0.0]):
        arrays = vectors(4, 333, seed, scale)
        check(arrays, group.sum(arrays))
    held = net.session.read_register("ingress.gradients.held")
    assert len(held) == 16
    assert np.ptp(np.asarray(held)) == 15, "the newest 16 chunks are what the 16 entries hold"


def test_two_applications_share_the_switch(net: Star) -> None:
    other = net.group("losses", net.hosts[3:5], server=net.hosts[0])
    arrays = vectors(2, 9)
    check(arrays, other.sum(arrays))
    arrays = vectors(4, 9)
    check(arrays, net.group("gradients", net.hosts[:4]).sum(arrays))


def test_a_group_can_be_created_only_once(net: Star) -> None:
    group = net.group("gradients", net.hosts[:4])
    assert net.group("gradients", list(net.hosts[:4])) is group
    with pytest.raises(MidflightError, match="already has a group"):
        net.group("gradients", net.hosts[1:5])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda net: net.group("gradient", net.hosts[:4]), "no application 'gradient'"),
        (lambda net: net.group("telemetry", net.hosts[:4]), "telemetry is a Filter, and only an Aggregate has workers"),
        (lambda net: net.group("losses", net.hosts[:3]), "losses sums over 2 workers; hosts passed: 3"),
        (
            lambda net: net.group("gradients", net.hosts[:4]).allreduce([np.ones(3, np.float32)] * 3),
            "3 arrays were passed for the 4",
        ),
        (
            lambda net: net.group("gradients", net.hosts[:4]).allreduce([np.ones(3, np.bool_)] * 4),
            "array of bool, not",
        ),
        (lambda net: net.group("gradients", net.hosts[:4]).allreduce([[1.0]] * 4), "a list, not"),
        (
            lambda net: net.group("gradients", net.hosts[:4]).allreduce([*[np.ones(3)] * 3, np.ones((3, 1))]),
            r"worker 3's array has shape \(3, 1\), worker 0's has \(3,\)",
        ),
        (lambda net: net.group("gradients", net.hosts[:4]).allreduce([np.full(2, np.nan)] * 4), "position 0 is nan"),
        (lambda net: net.group("gradients", net.hosts[:4]).allreduce([np.full(2, 1e300)] * 4), "position 0 is inf"),
    ],
)
def test_errors_are_reported_and_change_nothing(net: Star, wrong: Callable[[Star], object], words: str) -> None:
    with pytest.raises(MidflightError, match=words):
        wrong(net)
    arrays = vectors(4, 20)
    check(arrays, net.group("gradients", net.hosts[:4]).sum(arrays))


def test_an_invalid_array_is_rejected_for_all_workers(net: Star) -> None:
    group = net.group("gradients", net.hosts[:4])
    with pytest.raises(MidflightError, match="position 1"):
        group.sum([np.ones(2), np.ones(2), np.array([1, np.inf]), np.ones(2)])
    arrays = vectors(4, 20)
    check(arrays, group.sum(arrays))


def test_a_group_requires_different_hosts_of_this_network(net: Star) -> None:
    with Star(2, program=Program(Aggregate("sums", workers=2, lanes=1, slots=1))) as other:
        with pytest.raises(MidflightError, match=r"distinct hosts of its network; not of this network: Host\('h1'"):
            other.group("sums", net.hosts[:2])
        with pytest.raises(MidflightError, match="h1 is named twice"):
            other.group("sums", [other.hosts[0]] * 2)
        with pytest.raises(MidflightError, match=r"^h2 is a worker of sums"):
            other.group("sums", other.hosts, server=other.hosts[1])
        arrays = vectors(2, 5)
        check(arrays, other.group("sums", other.hosts).sum(arrays))  # there is no host for a server, and no need of one


@dataclass(frozen=True)
class Job:
    """Three rounds of four workers, with statistics of the network."""

    sums: list[list[int]]
    trace: str
    lost: int
    retransmitted: int
    server_packets: int


def job(*, offload: bool, seed: int = 3, loss: float = 0.1) -> Job:
    program = Program(Aggregate("gradients", workers=4, lanes=4, slots=8))
    with Star(5, program=program, seed=seed, loss=loss, duplicate=loss, reorder=loss, offload=offload) as net:
        group = net.group("gradients", net.hosts[:4])
        rounds = [vectors(4, 70, number) for number in range(3)]
        sums = [group.sum(arrays) for arrays in rounds]
        for arrays, results in zip(rounds, sums, strict=True):
            check(arrays, results)
        net.settle()
        return Job(
            [results[0].integers.tolist() for results in sums],
            net.trace_hash(),
            net.totals().lost,
            sum(each.reliable.retransmitted for each in group.statistics),
            net.link(net.hosts[4]).packets,
        )


def test_sums_are_equal_with_switch_or_server_with_and_without_loss() -> None:
    lossless, lossy, server = job(offload=True, loss=0.0), job(offload=True), job(offload=False)
    assert lossless.lost == lossless.retransmitted == lossless.server_packets == lossy.server_packets == 0
    assert min(lossy.lost, lossy.retransmitted, server.lost, server.retransmitted, server.server_packets) > 0
    assert lossless.sums == lossy.sums == server.sums
    assert job(offload=True) == lossy
    assert job(offload=True, seed=4).trace != lossy.trace


def test_everything_is_closed_on_exit_and_on_error(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[HostDevice] = []

    class Recorded(HostDevice):
        def __init__(self, source: str | None = None, **options: Any) -> None:
            super().__init__(source, **options)
            opened.append(self)

    def refuse(self: Offload, routes: object) -> None:
        raise DeviceError("refused")

    program = Program(Aggregate("sums", workers=2, lanes=1, slots=1))
    monkeypatch.setattr("midflight.runtime.devices.host.HostDevice", Recorded)
    with Star(2, program=program):
        pass
    monkeypatch.setattr(Offload, "install", refuse)
    with pytest.raises(DeviceError, match="refused"):
        Star(2, program=program)
    assert len(opened) == 2
    for device in opened:
        with pytest.raises(DeviceError):
            Session(device.address, timeout=0.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"device": "toaster"}, "no device 'toaster'"),
        ({"hosts": 0}, "1 to 500 hosts"),
        ({"loss": 2.0}, "probability"),
        ({"loss": 0.1, "quality": LinkQuality()}, "cannot be combined with a quality"),
    ],
)
def test_invalid_stars_are_rejected(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(MidflightError, match=words):
        Star(**{"program": PROGRAM} | wrong)


def test_a_star_without_a_server_reports_that_it_needs_one() -> None:
    with (
        Star(2, program=Program(Aggregate("sums", workers=2, lanes=1, slots=1)), offload=False) as net,
        pytest.raises(MidflightError, match="no host is left to compute sums"),
    ):
        net.group("sums", net.hosts)


def test_a_controllers_packet_out_reaches_its_host(net: Star) -> None:
    inbox = Inbox()
    assert isinstance(net.fabric, SimFabric)
    hosts = net.fabric.network.hosts
    hosts["h2"].listen(700, inbox)
    net.session.packet_out(hosts["h1"].flow(1, ("10.0.0.2", 700)).encode(b"hello"), egress_port=2)
    net.settle()
    assert [datagram for *_, datagram in inbox.incoming] == [b"hello"]


def test_requests_are_encoded_by_the_wire_schema() -> None:
    values = np.arange(-8, 8, dtype=np.int32).reshape(2, 8) * 2**27
    schema = Schema(PROGRAM.schema())
    requests = Form(1, 8).requests(values, worker=3, slots=8, first=16, job=5)
    expected = [
        Message(1, "gradients", sequence, {"slot": slot, "worker": 3, "flags": 0, "job": 5, "epoch": 0, "values": row})
        for sequence, slot, row in zip((16, 17), (15, 0), values, strict=True)
    ]
    assert requests == [schema.encode(each) for each in expected]


SMALL = Capabilities(kind="small", register_bits=4096, packets_per_second=5e6)
SLOW = Capabilities(kind="slow", packets_per_second=100)


@pytest.mark.parametrize(
    ("sheet", "instance", "words"),
    [
        (None, "s1", "gradients: s1"),
        (SMALL, "h5", "needs 11,904 bits of registers, has 4,096"),
        (SLOW, "h5", "gradients: s1"),
    ],
)
def test_applications_that_fit_run_on_the_switch_and_others_at_the_server(
    sheet: Capabilities | None, instance: str, words: str
) -> None:
    program = Program(Aggregate("gradients", workers=4, lanes=10, slots=16), Filter("telemetry", keep="level > 7"))
    arrays = vectors(4, 100, 5)
    with Star(5, program=program, capabilities=sheet) as net:
        assert words in net.placement.explain()
        assert net.placement.device_of("telemetry") == "s1"
        group = net.group("gradients", net.hosts[:4])
        results = group.sum(arrays)
        check(arrays, results)
        choice = net.choices["gradients"]
        assert choice.candidate.csci_id == instance
        assert instance in choice.explain()
        assert (net.link(net.hosts[4]).packets > 0) == (instance == "h5")
        tables = net.session.read_table("ingress.admission")
        assert bool(tables) == (instance == "s1")


def test_without_room_and_without_a_server_the_reason_is_reported() -> None:
    program = Program(Aggregate("gradients", workers=4, lanes=10, slots=16))
    with (
        Star(4, program=program, capabilities=SMALL) as net,
        pytest.raises(MidflightError, match="no switch has room for gradients, and no host is left") as refusal,
    ):
        net.group("gradients", net.hosts)
    assert "has 4,096" in (refusal.value.hint or "")


@pytest.mark.parametrize("how", ["revive", "give_up"])
def test_sums_survive_a_switch_failure(how: str) -> None:
    arrays = vectors(4, 3000)
    with Star(5, program=Program(Aggregate("gradients", workers=4, lanes=8, slots=8)), loss=0.02, seed=3) as net:
        assert isinstance(net.fabric, SimFabric)
        simulator = net.fabric.network.simulator
        simulator.at(60_000, net.kill, "s1")
        simulator.at(400_000, getattr(net, how), "s1")
        group = net.group("gradients", net.hosts[:4])
        check(arrays, group.sum(arrays))
        assert net.fabric.network.switches["s1"].lost > 0
        assert [each.epochs for each in group.statistics] == [1] * 4
        assert (net.link(net.hosts[4]).packets > 0) == (how == "give_up")


def test_recovery_from_loss_takes_a_few_round_trips() -> None:
    spent = {}
    for loss in (0.0, 0.05):
        program = Program(Aggregate("gradients", workers=4, lanes=32, slots=256))
        with Star(5, program=program, loss=loss, duplicate=loss, reorder=loss, seed=3) as net:
            group = net.group("gradients", net.hosts[:4])
            for step in range(20):
                group.sum(vectors(4, 650, step))
            spent[loss] = net.now / 20
    assert spent[0.0] < 20_000
    assert spent[0.05] < 200_000


def test_the_state_of_a_switch_can_be_read() -> None:
    program = Program(
        Aggregate("gradients", workers=2, lanes=4, slots=2), Threshold("pressure", above=900, clear=850, sensors=3)
    )
    with Star(3, program=program) as net:
        net.group("gradients", net.hosts[:2]).sum([np.full(4, 1.5, np.float32), np.full(4, 2.5, np.float32)])
        state = net.state("gradients")
        assert np.asarray(state.seen.read()).max() == 0b11
        state.clear()
        assert not np.asarray(state.seen.read()).any()
        assert np.asarray(net.state("pressure", "s1").armed.read()).tolist() == [1, 1, 1]
        with pytest.raises(MidflightError, match="s2 does not run gradients"):
            net.state("gradients", "s2")
        with pytest.raises(MidflightError, match="the program has no application 'nothing'"):
            net.state("nothing")
