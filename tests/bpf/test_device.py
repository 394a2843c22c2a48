"""The XDP device: conformance by test runs, what its sheet refuses, and networks of it."""

from __future__ import annotations

import numpy as np
import pytest

from midflight.errors import DeviceError, P4Error, UnsupportedError
from midflight.primitives import Aggregate, Program
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import capabilities
from midflight.runtime.devices.tracing import open_tracer
from midflight.runtime.devices.xdp import XdpDevice
from midflight.runtime.engine.bpf import engine, syscall
from midflight.runtime.engine.bpf.syscall import VerifierError
from midflight.runtime.p4runtime.client.queues import RemoteQueues
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.runtime.p4runtime.status import Code
from midflight.testbed import Star
from midflight.testbed.conformance.live import passes_links
from midflight.testbed.conformance.run import check, opening
from midflight.testbed.conformance.traces import generate
from tests.bpf.build import needs_bpf
from tests.engine.build import source

pytestmark = needs_bpf


@pytest.mark.parametrize("name", ["Cache", "Lock", "Threshold"])
def test_primitives_conform(name: str) -> None:
    report = check("xdp", [generate(name, 3, number) for number in range(2)])
    assert [(each.case.name, each.differences) for each in report.results if not each.good] == []


def test_a_primitive_conforms_on_real_links() -> None:
    case = generate("Threshold", 3, 1)
    assert passes_links(case)
    report = check("xdp", [case], start=opening("xdp", live=True))
    assert [each.differences for each in report.results] == [()]


@pytest.mark.parametrize("fabric", ["sim", "netns"])
def test_a_star_sums(fabric: str) -> None:
    program = Program(Aggregate("gradients", workers=2, lanes=4, slots=16))
    arrays = [np.arange(100, dtype=np.float32) * factor for factor in (1, 2)]
    with Star(hosts=2, program=program, device="xdp", fabric=fabric) as net:
        for each in net.group("gradients", net.hosts).allreduce(arrays):
            assert np.allclose(each, arrays[0] + arrays[1], rtol=1e-3)


def test_what_the_sheet_cannot_hold_is_refused_with_its_place() -> None:
    table = "table t { key = { hdr.h.a: exact; hdr.h.b: exact; } actions = { NoAction; } }"
    wide = source(header="bit<200> a; bit<200> b;", declarations=table, ingress="t.apply();")
    with XdpDevice() as device:
        with pytest.raises(P4Error, match=r"the key of table ingress\.t has 400 bits") as error:
            device.compile(CheckedProgram(wide))
        assert error.value.place is not None
        with pytest.raises(P4Error, match="has 400 bits"):
            device.load(wide)
        assert device.switch.pipeline is None
        queued = source(header="bit<112> a;", egress="hdr.h.a = (bit<112>)std.deq_qdepth;")
        with pytest.raises(P4Error, match="no queues between ingress and egress, which determine deq_qdepth"):
            device.load(queued)
        idle = "table t { key = { hdr.h.a: exact; } actions = { NoAction; } support_timeout = true; }"
        with pytest.raises(P4Error, match=r"the idle timeouts of ingress\.t need"):
            device.load(source(header="bit<112> a;", declarations=idle, ingress="t.apply();"))


@pytest.mark.parametrize("program", [None, source(header="bit<112> a;")])
def test_tracing_is_refused_and_leaves_nothing_behind(program: str | None) -> None:
    other = CheckedProgram(source(header="bit<112> a;", ingress="std.egress_spec = 2;"))
    with XdpDevice(program) as device, device.session() as session:
        with pytest.raises(RequestError, match="does not trace packets") as refused:
            open_tracer(device, session)
        assert refused.value.code == Code.UNIMPLEMENTED
        pipeline = device.compile(other)
        session.load(pipeline.p4info, pipeline.config)
        assert device.switch.faults.counts == {}


@pytest.mark.parametrize("program", [None, source(header="bit<112> a;")])
def test_settings_of_queues_are_refused_and_change_nothing(program: str | None) -> None:
    with XdpDevice(program) as device:
        with pytest.raises(DeviceError, match="an XDP program has no queues"):
            RemoteQueues(device.address).set(depth=3)
        with pytest.raises(DeviceError, match="an XDP program has no queues"):
            device.switch.queues.set_port(1, rate="10pps")
        assert not device.switch.queues.queueing.configured


def test_a_program_that_the_verifier_rejects_is_refused_and_the_device_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reject(code: bytes, name: str) -> int:
        raise VerifierError("Permission denied", [f"{name}: {len(code)} bytes are too many"])

    other = source(header="bit<112> a;", ingress="std.egress_spec = 2;")
    with XdpDevice(source(header="bit<112> a;")) as device, device.session() as session:
        before = device.switch.pipeline
        pipeline = device.compile(CheckedProgram(other))
        monkeypatch.setattr(engine, "load", reject)
        with pytest.raises(UnsupportedError, match="the kernel rejects the program"):
            device.load(other)
        with pytest.raises(RequestError, match="the kernel rejects the program") as refused:
            session.load(pipeline.p4info, pipeline.config)
        assert refused.value.code == Code.UNIMPLEMENTED
        assert device.switch.pipeline is before


def test_the_sheet_needs_no_device() -> None:
    assert capabilities("xdp").kind == "xdp"


def test_machines_with_more_processors_than_blocks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "possible_processors", lambda: 257)
    with pytest.raises(DeviceError, match="support 256 processors, and this machine may have 257"):
        XdpDevice()
