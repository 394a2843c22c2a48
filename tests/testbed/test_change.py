"""Program changes at run time: applications are added, removed and replaced while others continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from midflight.errors import DeviceError, KernelError, MidflightError
from midflight.primitives import Aggregate, Cache, Filter, Program, Threshold
from midflight.primitives.wire import REQUEST, Message, Schema
from midflight.runtime.devices import capabilities
from midflight.runtime.p4runtime.client.session import RequestError, Session
from midflight.runtime.p4runtime.status import Code
from midflight.testbed import LinkQuality, Net, Star
from midflight.testbed.topology import Topology
from tests.testbed.test_allreduce import check, vectors
from tests.testbed.test_sim import Inbox

PROGRAM = Program(
    Aggregate("gradients", workers=3, lanes=8, slots=8),
    Threshold("pressure", above=900, clear=850, sensors=8),
    Cache("cache", entries=8, columns=16),
)
OTHERS = Aggregate("others", workers=2, lanes=4, slots=4)
US = 1_000


@pytest.fixture
def net() -> Iterator[Star]:
    with Star(6, program=PROGRAM, seed=5) as made:
        yield made


def send(net: Net, application: str, *fields: dict[str, int], host: int = 4) -> None:
    """Send requests from a host to the last one."""
    inbox = Inbox()
    socket = net.fabric.hosts[net.hosts[host].name].listen(40_000, inbox)  # type: ignore[attr-defined]
    schema = Schema(net.program.schema())
    for number, each in enumerate(fields):
        message = schema.encode(Message(REQUEST, application, number, each))
        inbox.outgoing.append(((str(net.hosts[-1].address), 19782), message))
    socket.pump()
    net.settle()
    net.fabric.hosts[net.hosts[host].name].release(40_000)  # type: ignore[attr-defined]


# ------------------------------------------------------------- programs


def test_ids_remain_and_are_not_reused() -> None:
    program = PROGRAM.without("pressure").extended(OTHERS)
    assert {name: each.id for name, each in program.applications.items()} == {"gradients": 1, "cache": 3, "others": 4}
    again = program.without("others").extended(Filter("hot", keep="a > 3"))
    assert again.applications["hot"].id == 5
    milder = PROGRAM.replaced(Threshold("pressure", above=950, clear=850, sensors=8))
    assert milder.applications["pressure"].id == 2
    assert PROGRAM.replaced(Filter("pressure", keep="a > 3")).applications["pressure"].id == 4
    assert [*Program(OTHERS, Filter("hot", keep="a > 3"), ids={"others": 7}).applications.values()][1].id == 8


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: PROGRAM.without("nobody"), "no application 'nobody'"),
        (lambda: PROGRAM.without("gradients", "pressure", "cache"), "needs at least one primitive"),
        (lambda: PROGRAM.replaced(OTHERS), "no application 'others'"),
        (lambda: PROGRAM.extended(Filter("cache", keep="a > 3")), "two applications have the name"),
        (lambda: Program(OTHERS, ids={"others": 0}), "ids are 1 to 65535"),
        (lambda: Program(OTHERS, ids={"nobody": 3}), "no primitive with that name"),
        (lambda: Program(OTHERS, Filter("a", keep="b > 3"), ids={"others": 3, "a": 3}), "the same id, 3"),
    ],
)
def test_invalid_program_changes_are_rejected(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(KernelError, match=words):
        wrong()


# --------------------------------------------------------------- networks


@pytest.mark.parametrize("quality", [LinkQuality(), LinkQuality(loss=0.03, duplicate=0.03, reorder=0.05)])
@pytest.mark.parametrize("live", [True, False], ids=["live", "restarted"])
def test_a_sum_continues_while_other_applications_change(quality: LinkQuality, live: bool) -> None:
    sheet = replace(capabilities("host"), live_pipelines=live)
    with Star(6, program=PROGRAM, quality=quality, seed=5, capabilities=sheet) as net:
        group = net.group("gradients", net.hosts[:3])
        extended = PROGRAM.extended(OTHERS)
        for number in range(5):
            net.after((1 + 40 * number) * US, net.change, extended if number % 2 == 0 else PROGRAM)
        arrays = vectors(3, 4000)
        check(arrays, group.sum(arrays))
        assert net.now > 161 * US
        assert "others" in net.program.applications
        assert net.link(net.hosts[5]).packets == 0, "only the switch has summed"
        assert {each.epochs for each in group.statistics} == {0}, "the epoch has not changed"
        both = net.group("others", net.hosts[3:5])
        check(arrays := vectors(2, 300), both.sum(arrays))
        check(arrays := vectors(3, 300), group.sum(arrays))


def test_remaining_applications_keep_state_maps_counters_and_alerts(net: Star) -> None:
    net.admit("pressure", net.hosts[4:5])
    net.session.subscribe("pressure_alert_t")
    send(net, "pressure", {"sensor": 3, "value": 905}, {"sensor": 4, "value": 10})
    net.map("cache", "cached")[7] = 5
    net.change(PROGRAM.replaced(Threshold("pressure", above=950, clear=850, sensors=8)).extended(OTHERS))
    assert list(net.state("pressure").armed.read()) == [1, 1, 1, 0, 1, 1, 1, 1]
    assert net.map("cache", "cached")[7] == 5
    send(net, "pressure", {"sensor": 3, "value": 960}, {"sensor": 4, "value": 940}, {"sensor": 5, "value": 950})
    port = net.topology.graph().port_towards("s1", "h5")
    assert net.counters("pressure")[port].packets == 5
    reported = [each.values for each in net.session.digests(1.0)]
    assert reported == [{"sensor": 3, "value": 905}, {"sensor": 5, "value": 950}]


def test_alerts_of_a_removed_application_are_delivered(net: Star) -> None:
    net.admit("pressure", net.hosts[4:5])
    net.session.subscribe("pressure_alert_t")
    send(net, "pressure", {"sensor": 3, "value": 905})
    net.change(PROGRAM.without("pressure"))
    assert [(each.name, each.values) for each in net.session.digests()] == [
        ("pressure_alert_t", {"sensor": 3, "value": 905})
    ]
    assert net.session.digests() == []


def test_state_with_another_shape_starts_at_its_initial_value(net: Star) -> None:
    net.admit("pressure", net.hosts[4:5])
    send(net, "pressure", {"sensor": 3, "value": 905})
    net.change(PROGRAM.replaced(Threshold("pressure", above=900, clear=850, sensors=9)))
    assert list(net.state("pressure").armed.read()) == [1] * 9
    send(net, "pressure", {"sensor": 3, "value": 905})
    assert net.state("pressure").armed.read()[3] == 0, "it is still admitted"


def test_packets_of_a_removed_application_are_forwarded(net: Star) -> None:
    net.admit("pressure", net.hosts[4:5])
    reading = {"sensor": 3, "value": 905}
    net.change(PROGRAM.without("pressure"))
    with pytest.raises(MidflightError, match="no application 'pressure'"):
        net.counters("pressure")
    net.change(net.program.extended(Threshold("pressure", above=900, clear=850, sensors=8)))
    before = net.downlink(net.hosts[5]).packets
    send(net, "pressure", reading)
    assert net.downlink(net.hosts[5]).packets == before + 1
    assert list(net.state("pressure").armed.read()) == [1] * 8


def test_admissions_and_limits_change_without_loading_a_program(net: Star) -> None:
    loaded: list[object] = []
    load = net.session.load
    net.session.load = lambda *given, **more: loaded.append(load(*given, **more))  # type: ignore[method-assign]
    readings = [{"sensor": number % 8, "value": 905} for number in range(40)]
    net.admit("pressure")
    send(net, "pressure", readings[1])
    assert list(net.state("pressure").armed.read()) == [1, 0, 1, 1, 1, 1, 1, 1]
    assert net.counters("pressure")[None].packets == 1
    net.withdraw("pressure")
    send(net, "pressure", readings[2])
    with pytest.raises(MidflightError, match="not admitted"):
        net.counters("pressure")
    net.limit("pressure", 10)
    net.admit("pressure", net.hosts[3:4])
    send(net, "pressure", readings[3])
    assert net.state("pressure").armed.read()[3] == 1, "it arrived at another port"
    send(net, "pressure", *readings, host=3)
    assert 0 < 8 - np.count_nonzero(net.state("pressure").armed.read()) < 8, "most exceeded the rate"
    net.limit("pressure", 0)
    send(net, "pressure", *readings, host=3)
    assert not net.state("pressure").armed.read().any()  # type: ignore[union-attr]
    assert not loaded


def test_a_revived_switch_gets_the_changed_program(net: Star) -> None:
    net.map("cache", "cached")[7] = 5
    net.admit("pressure")
    net.kill("s1")
    net.change(PROGRAM.extended(OTHERS))
    net.revive("s1")
    assert net.map("cache", "cached")[7] == 5
    send(net, "pressure", {"sensor": 1, "value": 905})
    assert net.counters("pressure")[None].packets == 1
    check(arrays := vectors(2, 300), net.group("others", net.hosts[3:5]).sum(arrays))


def test_an_application_that_no_longer_fits_continues_at_the_server() -> None:
    sheet = replace(capabilities("host"), register_arrays=19)
    with Star(6, program=Program(Aggregate("gradients", workers=3, lanes=8, slots=8)), capabilities=sheet) as net:
        group = net.group("gradients", net.hosts[:3])
        check(arrays := vectors(3, 100), group.sum(arrays))
        wider = Program(Aggregate("wide", workers=3, lanes=9, slots=8), group.aggregate, ids={"gradients": 1})
        net.after(30 * US, net.change, wider)
        check(arrays := vectors(3, 2000), group.sum(arrays))
        assert net.placement.on("s1") == ("wide",) or "gradients" not in net.placement.on("s1")
        assert net.link(net.hosts[5]).packets > 0


def test_rejected_changes_have_no_effect(net: Star) -> None:
    group = net.group("gradients", net.hosts[:3])
    for program in (PROGRAM.without("gradients"), Program(OTHERS, group.aggregate)):
        with pytest.raises(MidflightError, match="gradients has a group"):
            net.change(program)
    assert net.program is PROGRAM
    check(arrays := vectors(3, 100), group.sum(arrays))


def test_nothing_is_loaded_if_one_switch_cannot_have_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Net(Topology.of([("h1", "a"), ("a", "b"), ("b", "h2")]), program=PROGRAM) as net:
        pushed: list[str] = []
        names, load = {each: name for name, each in net.sessions.items()}, Session.load

        def noted(session: Session, *given: Any, action: str = "VERIFY_AND_COMMIT", **more: Any) -> None:
            pushed.append(f"{names[session]} {action}")
            if pushed[-1] == "b VERIFY":
                raise refused
            load(session, *given, action=action, **more)

        monkeypatch.setattr(Session, "load", noted)
        refused = DeviceError("too large")
        with pytest.raises(DeviceError, match="b rejects the program: too large") as refusal:
            net.change(PROGRAM.extended(OTHERS))
        assert refusal.value.hint == "all switches were rolled back"
        assert pushed == ["a VERIFY", "b VERIFY"]
        assert net.program is PROGRAM
        pushed.clear()
        refused = RequestError("which action is that?", Code.UNIMPLEMENTED)
        net.change(PROGRAM.without("gradients", "cache"))
        assert pushed == ["a VERIFY", "b VERIFY", "a VERIFY_AND_COMMIT", "b VERIFY_AND_COMMIT"]
        assert [*net.program.applications] == ["pressure"]


def test_a_change_that_leaves_a_group_without_computation_is_rejected() -> None:
    sheet = replace(capabilities("host"), register_arrays=19)
    with Star(3, program=Program(Aggregate("gradients", workers=3, lanes=8, slots=8)), capabilities=sheet) as net:
        group = net.group("gradients", net.hosts)
        wider = Program(Aggregate("wide", workers=3, lanes=9, slots=8), group.aggregate, ids={"gradients": 1})
        with pytest.raises(MidflightError, match="no host is left to compute it"):
            net.change(wider)
        check(arrays := vectors(3, 100), group.sum(arrays))


def test_a_change_is_rolled_back_if_the_server_cannot_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = replace(capabilities("host"), register_arrays=19)
    with Star(6, program=Program(Aggregate("gradients", workers=3, lanes=8, slots=8)), capabilities=sheet) as net:
        group = net.group("gradients", net.hosts[:3])
        check(arrays := vectors(3, 100), group.sum(arrays))
        wider = Program(Aggregate("wide", workers=3, lanes=9, slots=8), group.aggregate, ids={"gradients": 1})
        before = net.link(net.hosts[5]).packets

        def serve(*_: object, **__: object) -> None:
            raise MidflightError("defined where a host's own process cannot import it")

        def change() -> None:
            with monkeypatch.context() as patch:
                patch.setattr(net.fabric, "serve", serve)
                with pytest.raises(MidflightError, match="cannot import it"):
                    net.change(wider)

        net.after(30 * US, change)
        check(arrays := vectors(3, 2000), group.sum(arrays))
        assert [*net.program.applications] == ["gradients"]
        assert net.placement.on("s1") == ("gradients",)
        assert net.link(net.hosts[5]).packets == before, "the switch has computed the sum"
