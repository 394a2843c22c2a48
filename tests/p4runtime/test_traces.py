"""Traces over P4Runtime, through an extension of the stream, for primaries that request them."""

from __future__ import annotations

import pytest

from midflight.primitives import Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.runtime.p4runtime.status import Code

PROGRAM = Program(Threshold("pressure", above=9, clear=2)).p4()
FRAME = bytes(64)
WAY = "in by port 3, 64 bytes\n  parser     start, parse_ethernet, accept\n  dropped    in ingress"


def send(device: HostDevice) -> None:
    device.process(Packets.from_list([(3, FRAME)]))


def test_a_controller_receives_traces_while_it_requests_them() -> None:
    with HostDevice(PROGRAM) as device, device.session() as session:
        send(device)
        session.trace(True)
        send(device)
        send(device)
        session.trace(False)
        send(device)
        session.flush()
        assert session.traces() == [WAY, WAY]
        assert session.traces() == []


def test_tracing_continues_with_a_new_program() -> None:
    with HostDevice(PROGRAM) as device, device.session() as session:
        session.trace(True)
        other = device.compile(CheckedProgram(Program(Threshold("heat", above=9, clear=2)).p4()))
        session.load(other.p4info, other.config)
        send(device)
        session.flush()
        assert session.traces() == [WAY]


def test_tracing_ends_when_its_controller_leaves() -> None:
    with HostDevice(PROGRAM) as device:
        with device.session() as session:
            session.trace(True)
        pipeline = device.switch.pipeline
        assert pipeline is not None
        send(device)
        assert pipeline.engine.traces() == []


def test_a_backup_cannot_trace() -> None:
    with HostDevice(PROGRAM) as device, device.session(election_id=9), device.session(election_id=8) as backup:
        with pytest.raises(RequestError, match="only a role's primary") as refused:
            backup.trace(True)
        assert refused.value.code == Code.PERMISSION_DENIED
        send(device)
        assert backup.traces() == []
