"""Switches that are processes and die of a program: they come back with it, or with the one before, or stay off."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from midflight.errors import DeviceError
from midflight.primitives import Program, Threshold
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.p4runtime.client.session import Session
from midflight.testbed import Net
from midflight.testbed.topology import Topology
from tests.bmv2 import BMV2, PING, ROOT

pytestmark = [*ROOT, PING]

PROGRAM = Program(Threshold("pressure", above=900, clear=850, sensors=8))
WANTED = PROGRAM.extended(Threshold("heat", above=70, clear=60, sensors=4))
A, B = [0, 1, 1, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 1, 1, 1]


def has(net: Net, program: Program, **armed: list[int]) -> None:
    """See that all switches run a program, with this state, and forward."""
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

        # It runs on and refuses the new program: it has the one before, with what it had, and can change.
        with pytest.raises(DeviceError, match="b rejects the program") as refusal:
            net.change(WANTED)
        assert "all switches were rolled back" in refusal.value.hint
        has(net, PROGRAM, a=A, b=B)
        garbled = False

        # It dies of the new program again and again: back to the one before, with what it had.
        deadly = lambda which: which == "heat"  # noqa: E731
        with pytest.raises(DeviceError, match="b rejects the program") as refusal:
            net.change(WANTED)
        assert deaths == 2
        assert "all switches were rolled back" in refusal.value.hint
        has(net, PROGRAM, a=A, b=B)

        # It dies of every program: off, until it is revived.
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

        # It dies once, and comes back with the new program and what it had.
        net.state("pressure", "b").armed.write(B)
        deaths = 0
        deadly = lambda _: deaths == 0  # noqa: E731
        net.change(WANTED)
        assert deaths == 1
        has(net, WANTED, a=A, b=B)

        # It has died before, and nobody has noticed.
        it = net.devices["b"]
        assert isinstance(it, SwitchProcess)
        os.kill(it.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="b rejects the program"):
            net.change(PROGRAM)
        assert not net.switches["b"].on
        net.revive("b")
        has(net, WANTED, a=A, b=[1] * 8)
