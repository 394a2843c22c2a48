"""Program changes that fail at any point: afterwards the network has its previous state and computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from midflight.errors import DeviceError
from midflight.primitives import Aggregate, Cache, Filter, Program, Threshold
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.p4runtime.client.link import Link, RequestError
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.status import Code
from midflight.testbed import LinkQuality, Net, Star
from midflight.testbed.topology import Topology
from tests.testbed.test_allreduce import check, vectors
from tests.testbed.test_change import send

PROGRAM = Program(
    Threshold("pressure", above=900, clear=850, sensors=8),
    Filter("warm", keep="value > 3"),
    Cache("cache", entries=4, columns=16),
)
WANTED = PROGRAM.without("warm").extended(Filter("hot", keep="value > 9"))
SWITCHES = ("a", "b")


def line() -> Net:
    """Return a network of two switches between two hosts, in which both switches have state."""
    net = Net(Topology.of([("h1", "a"), ("a", "b"), ("b", "h2")]), program=PROGRAM)
    for switch in SWITCHES:
        net.admit("pressure", net.hosts[:1] if switch == "a" else (), switch=switch)
        net.admit("warm", switch=switch)
        net.limit("pressure", 10**6)
        net.state("pressure", switch).armed.write([1, 0, 1, 0], start=4)
        net.map("cache", "cached", switch)[7] = 2
        net.sessions[switch].subscribe("pressure_alert_t")
    return net


class Faults:
    """Injects faults into the calls to one switch: the n-th fails, before or after its effect, or all from it on."""

    def __init__(
        self, net: Net, monkeypatch: pytest.MonkeyPatch, programs: tuple[Program, ...] = (PROGRAM, WANTED)
    ) -> None:
        compiled = {each: net.controller.fleet.configurations(each) for each in programs}  # only once
        monkeypatch.setattr(Fleet, "configurations", lambda _, program: compiled[program])
        self.switch: object = None
        self.at, self.calls, self.how = 0, 0, "unsent"
        for name in ("request", "read", "send_all"):
            monkeypatch.setattr(Link, name, self._failing(getattr(Link, name)))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(link: Link, *arguments: object) -> object:
            if link is not self.switch:
                return call(link, *arguments)
            self.calls += 1
            error: DeviceError = DeviceError("nobody answers")
            if self.how == "refused":
                error = RequestError("no room", Code.RESOURCE_EXHAUSTED)
            if self.calls >= self.at if self.how == "dead" else self.calls == self.at and self.how != "unanswered":
                raise error
            done = call(link, *arguments)
            if self.calls == self.at and self.how == "unanswered":
                raise error
            return done

        return failing

    @contextmanager
    def on(self, net: Net, switch: str, how: str, at: int) -> Iterator[None]:
        self.switch, self.how, self.at, self.calls = net.sessions[switch]._link, how, at, 0
        try:
            yield
        finally:
            self.switch = None


def had(net: Net, switches: Sequence[str] = SWITCHES) -> list[object]:
    """Return the state of switches that must not be lost."""
    found: list[object] = [list(net.program.applications)]
    for switch in switches:
        if "warm" in net.program.applications:
            found.append(net.counters("warm", switch))
        found += [
            list(net.state("pressure", switch).armed.read()),
            dict(net.map("cache", "cached", switch)),
            net.counters("pressure", switch),
            net.sessions[switch].subscriptions,
            [(each.match, each.params) for each in net.sessions[switch].read_table("ingress.route")],
        ]
    return found


def computes(net: Net, sensor: int) -> None:
    """Check that both switches compute on a packet and count it, and that it arrives."""
    before = {switch: sum(each.packets for each in net.counters("pressure", switch).values()) for switch in SWITCHES}
    arrived = net.downlink(net.hosts[1]).packets
    for session in net.sessions.values():
        session.digests()
    for value in (10, 905):
        send(net, "pressure", {"sensor": sensor, "value": value}, host=0)
    assert net.downlink(net.hosts[1]).packets == arrived + 2
    for switch in SWITCHES:
        assert sum(each.packets for each in net.counters("pressure", switch).values()) == before[switch] + 2
        assert net.state("pressure", switch).armed.read()[sensor] == 0
        assert [each.values for each in net.sessions[switch].digests()] == [{"sensor": sensor, "value": 905}]


def refusal(net: Net) -> DeviceError | None:
    """Change a network, and return the error if that fails."""
    try:
        net.change(WANTED)
    except DeviceError as error:
        return error
    return None


def is_new(net: Net, number: int) -> None:
    """Check that a network has the new program, and change it back."""
    assert [*net.program.applications] == [*WANTED.applications]
    computes(net, number % 8)
    net.change(PROGRAM)
    for switch in SWITCHES:
        net.admit("warm", switch=switch)


@pytest.mark.parametrize(("how", "switch"), [("refused", "b"), ("unanswered", "b"), ("unanswered", "a")])
def test_a_change_is_rolled_back_whichever_call_fails(how: str, switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with line() as net:
        faults = Faults(net, monkeypatch)
        failed = 0
        for at in range(1, 200):
            computes(net, at % 8)
            before = had(net)
            with faults.on(net, switch, how, at):
                error = refusal(net)
            if error is None:
                is_new(net, at)
            else:
                failed += 1
                assert error.message.startswith(f"{switch} rejects the program: ")
                assert "all switches were rolled back" in error.hint
                assert had(net) == before
            if faults.calls < at:
                break
        assert failed >= 12, "there were fewer calls than a change takes"
        assert failed == at - 1 or how == "unanswered", "the change took effect despite the failure"


def test_a_change_is_rolled_back_if_a_switch_stops_answering(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with line() as net:
        faults = Faults(net, monkeypatch)
        lost = 0
        for at in range(1, 200):
            computes(net, at % 8)
            before = had(net, ["a"])
            with faults.on(net, "b", "dead", at):
                error = refusal(net)
            if error is None:
                assert faults.calls < at
                is_new(net, at)
                break
            assert ('b is off until net.revive("b")' in error.hint) == (not net.switches["b"].on)
            lost += not net.switches["b"].on
            assert had(net, ["a"]) == before
            net.revive("b")
            assert list(net.state("pressure", "b").armed.read()) == [1] * 8
            assert dict(net.map("cache", "cached", "b")) == {7: 2}
            net.sessions["b"].subscribe("pressure_alert_t")
        assert lost >= 12, "there were fewer calls than a change takes"


def test_a_sum_continues_during_failed_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(Aggregate("gradients", workers=3, lanes=8, slots=8))
    wanted = program.extended(Filter("hot", keep="value > 9"))
    with Star(4, program=program, seed=5, quality=LinkQuality(loss=0.03, duplicate=0.03, reorder=0.05)) as net:
        faults = Faults(net, monkeypatch, (wanted,))
        group = net.group("gradients", net.hosts[:3])
        failed: list[int] = []

        def fail(at: int) -> None:
            with faults.on(net, "s1", "unsent", at), pytest.raises(DeviceError, match="nobody answers"):
                net.change(wanted)
            failed.append(at)

        calls = tuple(range(2, 32, 3))
        for number, at in enumerate(calls):
            net.after((10 + 50 * number) * 1_000, fail, at)
        check(arrays := vectors(3, 4000), group.sum(arrays))
        assert tuple(failed) == calls
        assert {each.epochs for each in group.statistics} == {0}, "the epoch has not changed"
        assert net.link(net.hosts[3]).packets == 0, "only the switch has summed"


def test_a_limit_applies_to_all_switches_or_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with line() as net:
        faults = Faults(net, monkeypatch)
        with faults.on(net, "b", "refused", 1), pytest.raises(DeviceError, match="no room"):
            net.limit("pressure", 5)
        assert [each.admitted[1].rate for each in net.steering.values()] == [10**6] * 2
        net.limit("pressure", 5)
        assert [each.admitted[1].rate for each in net.steering.values()] == [5, 5]


def test_results_of_a_rolled_back_program_are_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with line() as net:
        load = Session.load
        before, counted = net.state("pressure", "a").armed.read(), net.counters("pressure", "a")

        def late(session: Session, *given: Any, action: str = "VERIFY_AND_COMMIT", **more: Any) -> None:
            if session is net.sessions["b"] and action != "VERIFY":
                net.map("cache", "cached", "a")[9] = 3
                send(net, "pressure", {"sensor": 0, "value": 905}, host=0)
                monkeypatch.undo()
                raise DeviceError("too late")
            load(session, *given, action=action, **more)

        monkeypatch.setattr(Session, "load", late)
        owner = net.map("cache", "cached", "a")
        error = refusal(net)
        assert error is not None
        assert error.message == "b rejects the program: too late"
        assert list(net.state("pressure", "a").armed.read()) == [0, *before[1:]]
        assert [each.packets for each in net.counters("pressure", "a").values()] == [
            each.packets + 1 for each in counted.values()
        ]
        owner[11] = 1
        net.revive("a")
        assert dict(net.map("cache", "cached", "a")) == dict(owner) == {7: 2, 9: 3, 11: 1}
