"""Alerts over plain sessions, without a controller or a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from midflight.errors import MidflightError
from midflight.primitives import REQUEST, Message, Program, Schema, Threshold
from midflight.runtime.controller.alerts import Alert, Alerts
from midflight.runtime.controller.observe.alerts import AlertLog
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from midflight.testbed.conformance.network import Frame
from midflight.testbed.conformance.player import configure

PROGRAM = Program(Threshold("app", above=900, clear=850))


@pytest.fixture
def device() -> Iterator[HostDevice]:
    with HostDevice(PROGRAM.p4()) as made:
        yield made


@pytest.fixture
def session(device: HostDevice) -> Iterator[Session]:
    with device.session() as made:
        configure(made, PROGRAM)
        yield made


def give(device: HostDevice, *readings: tuple[int, int]) -> None:
    schema = Schema(PROGRAM.schema())
    payloads = [
        schema.encode(Message(REQUEST, "app", 0, {"sensor": sensor, "value": value})) for sensor, value in readings
    ]
    device.process(Packets.from_list([(1, bytes(Frame.request(1, each))) for each in payloads]))


def test_sessions_receive_the_alerts_that_they_subscribe_to(device: HostDevice, session: Session) -> None:
    alerts = Alerts(PROGRAM, {"s1": session})
    give(device, (1, 901))
    alerts.subscribe("app")
    alerts.subscribe("app", "s1")
    give(device, (2, 902), (3, 3), (4, 904))
    assert alerts.heard() == alerts.heard("app") == [(2, 902), (4, 904)]
    assert [(each.sensor, each.value, each.switch) for each in alerts.heard()] == [(2, 902, "s1"), (4, 904, "s1")]
    assert alerts.heard("app", lambda alert: alert.sensor > 2) == [(4, 904)]
    assert alerts.heard("another") == []
    alerts.clear()
    assert alerts.heard() == []


def test_waiting_ends_with_enough_alerts_or_at_the_timeout(device: HostDevice, session: Session) -> None:
    alerts = Alerts(PROGRAM, {"s1": session})
    alerts.subscribe("app")
    passed: list[float] = []

    def let(seconds: float) -> float:
        passed.append(seconds)
        if len(passed) == 3:
            give(device, (1, 901))
        return seconds

    assert alerts.wait(1, "app", timeout=1, let=let) == [(1, 901)]
    assert len(passed) == 3
    with pytest.raises(MidflightError, match="expected 2 alerts of app within 1 s, but 1 arrived"):
        alerts.wait(2, "app", timeout=1, let=let)
    assert sum(passed) == pytest.approx(1 + 3 * passed[0])


def test_following_yields_only_later_alerts(device: HostDevice, session: Session) -> None:
    alerts = Alerts(PROGRAM, {"s1": session})
    alerts.subscribe("app")
    give(device, (1, 901))
    left = [(2, 902), (3, 903)]

    def let(seconds: float) -> float:
        if left:
            give(device, left.pop(0))
        return seconds

    followed = alerts.follow("app", timeout=0.5, let=let)
    assert [*followed] == [(2, 902), (3, 903)]
    assert alerts.heard() == [(1, 901), (2, 902), (3, 903)]


def test_a_failed_switch_does_not_affect_alerts_from_others(device: HostDevice, session: Session) -> None:
    with HostDevice(PROGRAM.p4()) as other, other.session() as gone:
        alerts = Alerts(PROGRAM, {"s2": gone, "s1": session})
        alerts.subscribe("app")
    give(device, (1, 901))
    assert alerts.heard() == [(1, 901)]


def test_an_alert_names_its_fields(device: HostDevice, session: Session) -> None:
    alerts = Alerts(PROGRAM, {"s1": session})
    alerts.subscribe("app")
    give(device, (1, 901))
    (alert,) = alerts.heard()
    assert repr(alert) == "Alert(app: sensor=1, value=901)"
    with pytest.raises(AttributeError, match="it has sensor, value"):
        _ = alert.level


def test_a_log_returns_as_many_alerts_as_asked_for(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = threading.Event()

    def follow(*, let: Callable[[float], float]) -> Iterator[Alert]:
        yield from (Alert.of("app", "s1", {"value": value}) for value in (901, 902))
        arrived.set()
        while let(0.1):
            pass

    alerts = Alerts(PROGRAM, {"s1": session})
    monkeypatch.setattr(alerts, "follow", follow)
    with AlertLog(alerts, lambda _switch, _application: None) as log:
        assert arrived.wait(10)
        assert [each.alert for each in log.latest(5)] == [(901,), (902,)]
        assert [each.alert for each in log.latest(1)] == [(902,)]
        assert log.latest(0) == []
