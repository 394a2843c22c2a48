"""Requests with fields by name, received messages, alerts and load, in simulation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from midflight.errors import MidflightError, WireError
from midflight.primitives import REQUEST, RESULT, Aggregate, Barrier, Cache, Program
from midflight.primitives.wire import FOR_HOST
from midflight.runtime.devices.capabilities import Capabilities
from midflight.testbed import LinkQuality, Net, Star, Topology
from midflight.testbed.topology import leaf_spine
from tests.testbed.kernels import Everything, Latency

PROGRAM = Program(Latency("latency", above=200), Everything("everything"))


@pytest.fixture
def net() -> Iterator[Star]:
    with Star(hosts=3, program=PROGRAM) as made:
        yield made


def test_the_effects_of_a_request_are_visible_everywhere(net: Star) -> None:
    assert net.send("h1", "latency", flow=7, value=250).tolist() == [0]
    assert net.alerts("latency") == [(7, 250)]
    assert net.received("h2")[0].fields == {"flow": 7, "value": 250}
    assert net.state("latency").held.read()[7] == 250
    (alert,) = net.alerts()
    assert (alert.flow, alert.value, alert.application, alert.switch) == (7, 250, "latency", "s1")


def test_results_can_be_queried_again(net: Star) -> None:
    net.send("h1", "latency", flow=7, value=250)
    assert net.alerts("latency") == net.alerts("latency") == [(7, 250)]
    assert len(net.received("h2")) == len(net.received("h2")) == 1
    net.send("h1", "latency", flow=8, value=251)
    assert net.alerts("latency") == [(7, 250), (8, 251)]
    net.forget()
    assert net.alerts("latency") == []
    assert len(net.received("h2")) == 0


def test_arrays_send_many_requests(net: Star) -> None:
    values = np.arange(100) * 3
    sequences = net.send(net.hosts[0], "latency", to=net.hosts[2], flow=np.arange(100) % 8, value=values)
    assert sequences.tolist() == [*range(100)]
    came = net.received("h3", "latency").requests
    assert [each.fields["value"] for each in came] == values.tolist()
    assert [each.sequence for each in came] == [*range(100)]
    assert net.alerts("latency") == [(flow % 8, flow * 3) for flow in range(67, 100)]
    assert net.send("h1", "latency", flow=1, value=[1, 2]).tolist() == [100, 101]
    assert net.send("h1", "latency", sequence=7, value=[1, 2]).tolist() == [7, 8]
    assert net.send("h1", "latency", sequence=[9, 4], value=5).tolist() == [9, 4]


def test_lanes_may_be_given_once_or_per_request(net: Star) -> None:
    net.send("h1", "everything", lanes=[1, 2, 3])
    net.send("h1", "everything", lanes=4)
    net.send("h1", "everything", lanes=[[1, 1, 1], [2, 2, 2]], change=[5, 6])
    assert [list(each.fields["lanes"]) for each in net.received("h2")] == [  # type: ignore[arg-type]
        [2, 4, 6],
        [8, 8, 8],
        [2, 2, 2],
        [4, 4, 4],
    ]


def test_results_requests_and_copies_are_distinguished(net: Star) -> None:
    net.mirror("everything", [net.host("h3")])
    net.send("h1", "everything", to="h2", verdict=[0, 1, 2, 3, 4], mirror=[1, 0, 0, 0, 0], payload=b"behind")
    one, two, three = (net.received(each) for each in ("h1", "h2", "h3"))
    assert [each.fields["verdict"] for each in one.results] == [2, 3]
    assert [each.fields["verdict"] for each in two.requests] == [0]
    assert [each.fields["verdict"] for each in two.results] == [3]
    assert [each.fields["verdict"] for each in two.left] == [4]
    assert [each.fields["verdict"] for each in three.copies] == [0]
    assert [each.fields["verdict"] for each in three.results] == [3]
    assert [len(each) for each in (one, two, three)] == [2, 3, 2]
    assert {each.payload for each in (*one, *two, *three)} == {b"behind"}
    assert [each.kind for each in two] == [REQUEST, RESULT, FOR_HOST]
    assert two[0].source[0] == str(net.host("h1").address)


def test_signed_numbers_and_filters(net: Star) -> None:
    net.send("h1", "everything", change=[-5, 5, -6])
    net.send("h1", "latency", flow=1, value=300)
    assert net.alerts("everything") == [(-5,), (-6,)]
    assert net.alerts("everything", lambda alert: alert.change < -5) == [(-6,)]
    assert net.alerts() == [(-5,), (-6,), (1, 300)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"flo": 1}, "latency has no field 'flo'"),
        ({"flow": 1 << 16}, "does not fit"),
        ({"flow": 1.5}, "takes whole numbers"),
        ({"flow": [1, 2], "value": [1, 2, 3]}, "flow has 2, value has 3"),
        ({"flow": [[1]]}, "takes whole numbers"),
        ({"flow": [1, 2], "sequence": [1, 2, 3]}, "3 sequence numbers for 2 requests"),
        ({"sequence": -1}, "sequence must be a bit"),
    ],
)
def test_invalid_fields_are_rejected_before_sending(net: Star, fields: dict[str, object], words: str) -> None:
    with pytest.raises(WireError, match=words):
        net.send("h1", "latency", **fields)  # type: ignore[arg-type]
    assert net.totals().packets == 0


def test_unknown_names_are_rejected(net: Star) -> None:
    with pytest.raises(MidflightError, match="no application 'latenc'"):
        net.send("h1", "latenc")
    with pytest.raises(MidflightError, match="no host named h4"):
        net.send("h1", "latency", to="h4")
    with pytest.raises(MidflightError, match="no application 'latenc'"):
        net.alerts("latenc")
    with pytest.raises(MidflightError, match="no application 'latenc'"):
        net.follow("latenc")


def test_fields_may_have_the_names_of_parameters(net: Star) -> None:
    net.send("h1", "latency", fields={"flow": 3}, value=4)
    assert net.received("h2")[0].fields == {"flow": 3, "value": 4}


def test_missing_messages_are_reported(net: Star) -> None:
    net.send("h1", "latency", flow=1, value=300)
    with pytest.raises(MidflightError, match=r"expected 2 messages of latency at h2 within 0\.5 s, but 1 arrived"):
        net.received("h2", "latency", count=2, timeout=0.5)
    with pytest.raises(MidflightError, match=r"expected 2 alerts of latency within 0\.5 s, but 1 arrived"):
        net.alerts("latency", count=2, timeout=0.5)
    with pytest.raises(MidflightError, match="no more events") as raised:
        net.run(lambda: net.now < 0)
    assert raised.value.place is not None
    assert "net.run(lambda: net.now < 0)" in raised.value.place.text


def test_an_endless_run_times_out_in_virtual_time() -> None:
    with Star(hosts=4, program=Program(Barrier("steps", parties=3))) as net:
        party, *_ = net.join("steps", net.hosts[:3])
        party.arrive()
        with pytest.raises(MidflightError, match="did not become true within 1 s"):
            net.run(lambda: not party.waiting(), timeout=1)
        assert net.now == 1_000_000_000


def test_alerts_are_followed_while_time_passes(net: Star) -> None:
    net.send("h1", "latency", flow=2, value=300)
    for delay in (50, 120):
        net.after(delay * 1_000_000, lambda: net.send("h1", "latency", flow=[1, 2], value=[301, 302]))
    start = net.now
    followed = net.follow("latency", lambda alert: alert.flow == 2, timeout=0.1)
    assert [*followed] == [(2, 302), (2, 302)], "only wanted alerts that are raised later"
    assert net.now - start == pytest.approx(120e6, abs=1e6), "it ends at the timeout"


def test_explicit_admissions_and_withdrawals_remain(net: Star) -> None:
    net.send("h2", "latency", flow=1, value=10)
    net.withdraw("latency")
    net.send("h2", "latency", flow=1, value=300)
    assert net.alerts() == []
    assert net.state("latency").held.read()[1] == 10
    net.admit("latency", [net.host("h1")])
    net.send("h2", "latency", flow=1, value=400)
    assert net.alerts() == []
    net.send("h1", "latency", flow=1, value=500)
    assert net.alerts() == [(1, 500)]


def test_a_revived_switch_sends_alerts_again(net: Star) -> None:
    net.send("h1", "latency", flow=1, value=300)
    net.kill("s1")
    net.send("h1", "latency", flow=2, value=300)
    net.revive("s1")
    net.send("h1", "latency", flow=3, value=300)
    assert net.alerts() == [(1, 300), (3, 300)]


def test_alerts_from_before_a_program_change_are_delivered(net: Star) -> None:
    net.send("h1", "latency", flow=1, value=300)
    net.change(PROGRAM.without("latency"))
    net.send("h1", "everything", change=-1)
    net.change(net.program.extended(Latency("other", above=10)))
    net.send("h1", "other", value=11)
    assert net.alerts() == [(1, 300), (-1,), (0, 11)]


def test_a_request_is_computed_on_once_along_its_path() -> None:
    with Net(leaf_spine(2, 1, hosts=2), program=PROGRAM) as net:
        net.send("h1", "latency", to="h3", flow=1, value=300)
        net.send("h3", "latency", to="h1", flow=2, value=300)
        net.send("h3", "latency", to="h4", flow=3, value=300)
        reported = sorted((*each, each.switch) for each in net.alerts())
        assert reported == [(1, 300, "leaf1"), (2, 300, "leaf2"), (3, 300, "leaf2")]
        net.send("h1", "everything", verdict=3)
        assert [len(net.received(f"h{each}", "everything").results) for each in range(1, 5)] == [1, 1, 0, 0]


def test_the_next_switch_computes_if_the_first_has_no_room() -> None:
    small = {"leaf1": Capabilities(kind="small", register_bits=0)}
    with Net(leaf_spine(2, 1, hosts=2), program=PROGRAM, capabilities=small) as net:
        net.send("h1", "latency", to="h3", flow=1, value=300)
        net.send("h2", "latency", to="h3", flow=2, value=300)
        net.send("h3", "latency", to="h1", flow=3, value=300)
        reported = sorted((each.flow, each.switch) for each in net.alerts())
        assert reported == [(1, "spine1"), (2, "spine1"), (3, "leaf2")]
        with pytest.raises(MidflightError, match="no switch on the path from h1 to h2 runs latency"):
            net.send("h1", "latency", to="h2")
    with Star(hosts=2, program=PROGRAM, offload=False) as net:
        net.send("h1", "latency", flow=1, value=300)
        assert len(net.received("h2").requests) == 1
        assert net.alerts() == []


def test_requests_go_to_the_server_if_there_is_one() -> None:
    program = Program(Aggregate("sums", workers=2, lanes=2, slots=4), Cache("cache", keys=range(4)))
    with Star(hosts=4, program=program) as net:
        group = net.group("sums", net.hosts[:2])
        group.allreduce([np.ones(4, np.float32)] * 2)
        net.join("cache", net.hosts[:2], server=net.host("h3"))
        net.send("h1", "cache", timeout=0)
        net.send("h1", "sums", timeout=0)
        net.settle()
        assert [each.application for each in net.received("h3").requests] in (["cache"], [])
        assert net.downlink(net.host("h2")).packets > 0
        assert net.received("h2", "cache").requests == ()


def test_lost_frames_are_not_waited_for() -> None:
    with Star(hosts=2, program=PROGRAM, loss=0.5, seed=3) as net:
        net.send("h1", "latency", flow=range(100), value=1)
        assert 0 < len(net.received("h2")) < 100


def test_traffic_works_over_ipv6() -> None:
    with Star(hosts=3, program=PROGRAM, ipv6=True) as net:
        net.send("h1", "latency", flow=7, value=250)
        assert net.alerts("latency") == [(7, 250)]
        assert net.received("h2")[0].fields["value"] == 250
        assert net.load("h1", "latency", value=range(10)).loss == 0


def test_load_is_paced_and_measured_in_virtual_time(net: Star) -> None:
    load = net.load("h1", "latency", fields={"flow": np.arange(8), "value": 7}, count=1000, rate=50_000)
    assert len(load.sent) == len(load.latency) == 1000
    assert np.diff(load.sent).tolist() == [20_000] * 999
    assert load.rate == pytest.approx(50_000)
    assert load.loss == 0
    assert load.kind.tolist() == [REQUEST] * 1000
    low, high = load.percentiles(0, 100)
    assert 3_000 <= low <= high <= 3_200, "two links of 1 us, 1 us in the switch, and 64 bytes at 10 Gb/s"
    assert load.goodput == pytest.approx(1000 * 22 * 8e9 / (load.sent[-1] + load.latency[-1]))
    assert len(net.received("h2")) == 1000
    parts = load.over_time(5_000_000)
    assert parts["sent"].tolist() == [250] * 4
    assert parts["p50"].tolist() == [load.percentiles(50)[0]] * 4
    assert net.load("h1", "latency", value=[1, 2]).sequence.tolist() == [1000, 1001]


def test_load_reports_the_outcome_of_each_request(net: Star) -> None:
    load = net.load("h1", "everything", fields={"verdict": [0, 1, 2, 3, 4]}, rate=1e6)
    assert load.kind.tolist() == [REQUEST, 0, RESULT, RESULT, FOR_HOST]
    assert load.answers.tolist() == [1, 0, 1, 3, 1]
    assert np.isnan(load.latency).tolist() == [False, True, False, False, False]
    assert load.loss == pytest.approx(0.2)
    assert load.only(load.answered).loss == 0


def test_several_hosts_can_send_load(net: Star) -> None:
    load = net.load(
        ["h1", "h2"], "latency", fields=[{"flow": 1, "value": [1, 2]}, {"flow": 2, "value": [3, 4]}], to="h3"
    )
    assert load.host.tolist() == ["h1", "h1", "h2", "h2"]
    assert load.sent.tolist() == [0, 100_000, 0, 100_000]
    assert sorted(each.fields["value"] for each in net.received("h3")) == [1, 2, 3, 4]  # type: ignore[type-var]


def test_a_slow_link_drops_excess_load() -> None:
    slow = LinkQuality(rate=1_000_000, queue=1000)
    topology = Topology.of([("h1", "s1"), ("h2", "s1", slow)])
    with Net(topology, program=PROGRAM) as net:
        load = net.load("h1", "latency", value=1, count=500, rate=10_000)
        assert 0.5 < load.loss < 0.9
        assert load.goodput == pytest.approx(1e6 * 22 / 64, rel=0.1), "the payload's share of the bottleneck's rate"
        late, early = load.latency[load.answered][-1], load.latency[load.answered][0]
        assert late > 5 * early


def test_the_same_seed_gives_the_same_load() -> None:
    hashes = set()
    for seed in (1, 1, 2):
        with Star(hosts=3, program=PROGRAM, loss=0.1, seed=seed) as net:
            load = net.load(["h1", "h2"], "latency", value=range(200), pacing="poisson", to="h3")
            assert len(np.unique(np.diff(load.sent[:200]))) > 100
            hashes.add((net.trace_hash(), load.loss))
    assert len(hashes) == 2


def test_invalid_loads_are_rejected(net: Star) -> None:
    with pytest.raises(MidflightError, match="the number of requests of h1 is missing"):
        net.load("h1", "latency", value=1)
    with pytest.raises(WireError, match="value: an empty array has no fields for 2 requests"):
        net.load("h1", "latency", value=np.zeros(0, np.int64), count=2)
    with pytest.raises(MidflightError, match="no pacing 'odd'"):
        net.load("h1", "latency", value=[1], pacing="odd")
    with pytest.raises(MidflightError, match="a rate must be above 0"):
        net.load("h1", "latency", value=[1], rate=0)
    with pytest.raises(MidflightError, match="not negative and ascending"):
        net.load("h1", "latency", value=[1, 2], pacing=[5, 1])
    assert net.load("h1", "latency", value=[1, 2], pacing=[5, 1000]).sent.tolist() == [0, 995]
