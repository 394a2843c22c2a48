"""Switch processes that crash during a program change: they restart with the new or the old program, or stay off."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Aggregate, Program, Threshold
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.p4runtime.client.session import Session
from midflight.testbed import Net, Star
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.group import Group
from midflight.testbed.topology import Topology
from tests.bmv2 import BMV2, PING, ROOT

pytestmark = [*ROOT, PING]

PROGRAM = Program(Threshold("pressure", above=900, clear=850, sensors=8))
WANTED = PROGRAM.extended(Threshold("heat", above=70, clear=60, sensors=4))
A, B = [0, 1, 1, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 1, 1, 1]


def has(net: Net, program: Program, **armed: list[int]) -> None:
    """Check that all switches run a program with this state, and forward."""
    assert net.program is program
    for switch, state in armed.items():
        assert list(net.state("pressure", switch).armed.read()) == state
        assert ("heat" in str(net.sessions[switch].p4info)) == (program is WANTED)
    net.hosts[0].run(["ping", "-c", "1", "-W", "5", str(net.hosts[1].address)])


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_a_switch_that_dies_of_a_program(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology.of([("h1", "a"), ("a", "b"), ("b", "h2")])
    with Net(topology, program=PROGRAM, fabric="netns", device=device) as net:
        deadly: Callable[[str], bool] = lambda _: False  # noqa: E731
        load, deaths, garbled = Session.load, 0, True

        def killing(
            session: Session, info: Any, config: bytes, *, action: str = "VERIFY_AND_COMMIT", cookie: int | None = None
        ) -> None:
            nonlocal deaths
            it = net.devices["b"]
            assert isinstance(it, SwitchProcess)
            if session.address == it.address and action != "VERIFY" and deadly("heat" if b"heat" in config else ""):
                deaths += 1
                os.kill(it.pid, signal.SIGKILL)
            wrong = session.address == it.address and action != "VERIFY" and b"heat" in config and garbled
            load(session, info, b"no program" if wrong else config, action=action, cookie=cookie)

        monkeypatch.setattr(Session, "load", killing)
        for switch, state in (("a", A), ("b", B)):
            net.state("pressure", switch).armed.write(state)

        # It survives and rejects the new program: it keeps the previous one with its state, and can change later.
        with pytest.raises(DeviceError, match="b rejects the program") as refusal:
            net.change(WANTED)
        assert "all switches were rolled back" in refusal.value.hint
        has(net, PROGRAM, a=A, b=B)
        garbled = False

        # It crashes repeatedly with the new program: back to the previous one, with its state.
        deadly = lambda which: which == "heat"  # noqa: E731
        with pytest.raises(DeviceError, match="b rejects the program") as refusal:
            net.change(WANTED)
        assert deaths == 2
        assert "all switches were rolled back" in refusal.value.hint
        has(net, PROGRAM, a=A, b=B)

        # It crashes with every program: off until it is revived.
        deadly = lambda _: True  # noqa: E731
        with pytest.raises(DeviceError, match="b rejects the program") as refusal:
            net.change(WANTED)
        assert 'b is off until net.revive("b"); all others were rolled back' in refusal.value.hint
        assert not net.switches["b"].on
        assert list(net.state("pressure", "a").armed.read()) == A
        with pytest.raises(DeviceError):
            net.revive("b")
        assert not net.switches["b"].on
        deadly = lambda _: False  # noqa: E731
        net.revive("b")
        has(net, PROGRAM, a=A, b=[1] * 8)

        # It crashes once, and restarts with the new program and its state.
        net.state("pressure", "b").armed.write(B)
        deaths = 0
        deadly = lambda _: deaths == 0  # noqa: E731
        net.change(WANTED)
        assert deaths == 1
        has(net, WANTED, a=A, b=B)

        # It crashed before, unnoticed.
        it = net.devices["b"]
        assert isinstance(it, SwitchProcess)
        os.kill(it.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="b rejects the program"):
            net.change(PROGRAM)
        assert not net.switches["b"].on
        net.revive("b")
        has(net, WANTED, a=A, b=[1] * 8)


def killed(net: Net) -> None:
    it = net.devices["s1"]
    assert isinstance(it, SwitchProcess)
    os.kill(it.pid, signal.SIGKILL)


SUMS = Program(Aggregate("sums", workers=2, lanes=8, slots=8), Threshold("pressure", above=900, clear=850))
WAITING: dict[str, Callable[[Star, Group], object]] = {
    "a sum": lambda net, group: [group.allreduce([np.ones(200_000)] * 2) for _ in range(100)],
    "run": lambda net, group: net.run(lambda: False),
    "received": lambda net, group: net.received("h2", "pressure", count=1, timeout=60),
    "alerts": lambda net, group: net.alerts("pressure", count=1, timeout=60),
    "followed alerts": lambda net, group: [*net.follow("pressure", timeout=60)],
}


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_calls_that_wait_for_a_switch_fail_when_it_dies(device: str) -> None:
    name = {"host": "midflight switch", "bmv2": "simple_switch_grpc"}[device]
    with Star(3, program=SUMS, fabric="netns", device=device) as net, net.group("sums", net.hosts[:2]) as group:
        group.allreduce([np.ones(8)] * 2)
        for wait in WAITING.values():
            thread = threading.Timer(0.2, killed, [net])
            thread.start()
            with pytest.raises(DeviceError, match=f"switch s1: {name} ended with signal SIGKILL") as death:
                wait(net, group)
            thread.join()
            assert "the end of its log" in death.value.hint
            # Later requests to it fail as well, without waiting.
            for ask in (
                lambda: net.state("pressure").armed.read(),
                lambda: net.send("h1", "pressure", sensor=1, value=1),
                lambda: net.admit("pressure"),
                lambda: net.run(lambda: False),
                lambda: group.allreduce([np.ones(8)] * 2),
            ):
                with pytest.raises(DeviceError, match=f"switch s1: {name} ended with signal SIGKILL"):
                    ask()
            net.revive("s1")
            assert [list(each) for each in group.allreduce([np.ones(8)] * 2)] == [[2.0] * 8] * 2


def test_a_killed_switch_may_be_waited_for() -> None:
    with Star(3, program=SUMS, fabric="netns") as net, net.group("sums", net.hosts[:2]) as group:
        net.kill("s1")
        with pytest.raises(MidflightError, match="did not become true within 2 s"):
            net.run(lambda: False, timeout=2)  # longer than the grace
        net.revive("s1")
        assert list(group.allreduce([np.ones(8)] * 2)[1]) == [2.0] * 8


def test_the_process_of_the_links_is_monitored() -> None:
    with Star(2, program=PROGRAM, fabric="netns", loss=0.01) as net:
        assert isinstance(net.fabric, NetnsFabric)
        assert net.fabric._relay is not None
        os.kill(net.fabric._relay.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="the process of the links ended with signal SIGKILL"):
            net.run(lambda: False)
