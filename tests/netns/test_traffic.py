"""Traffic of hosts, alerts and load, over real switches, and in simulation with BMv2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from midflight.errors import MidflightError
from midflight.primitives import REQUEST, RESULT, Program
from midflight.testbed import LinkQuality, Net, Star
from midflight.testbed.topology import star
from tests.bmv2 import BMV2, ROOT
from tests.testbed.kernels import Everything, Latency

PROGRAM = Program(Latency("latency", above=200), Everything("everything"))


NEEDS_ROOT = pytest.mark.skipif(*ROOT[1].args, **ROOT[1].kwargs)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("netns", "host"), marks=ROOT, id="netns-host"),
        pytest.param(("netns", "bmv2"), marks=[*ROOT, *BMV2], id="netns-bmv2"),
        pytest.param(("sim", "bmv2"), marks=BMV2, id="sim-bmv2"),
    ],
)
def net(request: pytest.FixtureRequest) -> Iterator[Star]:
    fabric, device = request.param
    with Star(hosts=3, program=PROGRAM, fabric=fabric, device=device) as made:
        yield made


def test_requests_alerts_and_state_are_visible(net: Star) -> None:
    net.forget()
    net.send("h1", "latency", flow=7, value=250)
    assert net.alerts("latency") == [(7, 250)]
    assert net.received("h2")[0].fields["value"] == 250
    assert net.state("latency").held.read()[7] == 250


def test_no_request_is_lost_without_faults(net: Star) -> None:
    net.forget()
    net.send("h1", "latency", flow=np.arange(500) % 64, value=np.arange(500))
    assert [each.fields["value"] for each in net.received("h2", "latency")] == [*range(500)]
    assert net.alerts("latency", count=299, timeout=20) == [(value % 64, value) for value in range(201, 500)]
    assert net.state("latency").held.read()[499 % 64] == 499


def test_results_requests_and_copies_are_distinguished(net: Star) -> None:
    net.forget()
    net.mirror("everything", [net.host("h3")])
    net.send("h1", "everything", to="h2", verdict=[0, 1, 2, 3, 4], mirror=[1, 0, 0, 0, 0], lanes=[1, 2, 3])
    one, two, three = (net.received(each, "everything") for each in ("h1", "h2", "h3"))
    assert [each.fields["verdict"] for each in one.results] == [2, 3]
    assert [each.fields["verdict"] for each in two.requests] == [0]
    assert [each.fields["verdict"] for each in two.results] == [3]
    assert [each.fields["verdict"] for each in two.left] == [4]
    assert [each.fields["verdict"] for each in three.copies] == [0]
    assert [each.fields["verdict"] for each in three.results] == [3]
    assert list(two.requests[0].fields["lanes"]) == [2, 4, 6]  # type: ignore[arg-type]
    net.send("h1", "everything", change=[-5, 5])
    assert net.alerts("everything") == [(-5,)]


def test_load_is_measured(net: Star) -> None:
    load = net.load(["h1", "h2"], "everything", verdict=2, count=100, rate=200, pacing="poisson")
    assert load.loss == 0
    assert set(load.kind.tolist()) == {RESULT}
    assert load.answers.tolist() == [1] * 200
    assert (load.latency > 0).all()
    assert load.goodput > 0
    assert (np.diff(load.sent[:100]) > 0).all()
    dropped = net.load("h1", "everything", verdict=[0, 1], rate=1_000, timeout=1)
    assert dropped.kind.tolist() == [REQUEST, 0]


def test_waiting_ends_at_the_timeout(net: Star) -> None:
    with pytest.raises(MidflightError, match=r"did not become true|no more events"):
        net.run(lambda: False, timeout=0.2)
    with pytest.raises(MidflightError, match="expected 1000000 messages"):
        net.received("h2", count=1_000_000, timeout=0.2)
    with pytest.raises(MidflightError, match="expected 1000000 alerts"):
        net.alerts("latency", count=1_000_000, timeout=0.2)


@pytest.mark.parametrize("reorder", [0.0, 0.3])
@NEEDS_ROOT
def test_lossy_and_reordering_links_are_waited_for(reorder: float) -> None:
    quality = LinkQuality(loss=0.2, duplicate=0.1, reorder=reorder)
    with Net(star(3, quality), program=PROGRAM, fabric="netns", seed=5) as net:
        net.send("h1", "latency", flow=range(60), value=1)
        held = np.asarray(net.state("latency").held.read()[:60])
        assert 30 < held.sum() < 60, "a fifth is lost before the switch"
        came = {int(each.fields["flow"]) for each in net.received("h2", "latency")}  # type: ignore[arg-type]
        assert came <= {flow for flow in range(60) if held[flow]}
        assert len(came) > 20


@NEEDS_ROOT
def test_a_switch_that_is_off_forwards_nothing() -> None:
    with Star(hosts=2, program=PROGRAM, fabric="netns") as net:
        net.send("h1", "latency", flow=1, value=300)
        assert net.alerts() == [(1, 300)]
        net.kill("s1")
        with pytest.raises(MidflightError, match=r"not everything passed the network within .* packets from h1 to h"):
            net.send("h1", "latency", flow=2, value=300, timeout=0.3)
        net.send("h1", "latency", flow=2, value=300, timeout=0)
        net.revive("s1")
        net.send("h1", "latency", flow=3, value=300)
        assert net.alerts() == [(1, 300), (3, 300)]
