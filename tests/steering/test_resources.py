"""The resource model and the demand model: which request classes fit where, and what they cost there."""

from __future__ import annotations

from math import inf

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.steering.metrics.requests import RequestClass, match
from midflight.runtime.steering.metrics.resources import Energy, Processor, Resource, Room

CPU = Resource(processor=Processor.CPU, rate=1e9, units=4, memory=1000, busy=0.5, energy=Energy(1e-9, 360))
SWITCH = Resource(
    processor=Processor.SWITCH,
    rate=1e9,
    latency=1e-6,
    primitives=frozenset({"Aggregate"}),
    room=Room(slots=8, stages=2, register_bits=1 << 20),
)
SUM = RequestClass(name="sum", operations=1e6, primitive="Aggregate", room=Room(slots=4, stages=2))


def test_time_energy_and_carbon_of_a_request() -> None:
    found = match(RequestClass(name="render", operations=1e6), CPU, round_trip=0.001)
    assert found.fits
    assert found.seconds == pytest.approx(0.001 + 1e-3 / 0.5), "half of the time is for others"
    assert found.joules == pytest.approx(1e-3)
    assert found.grams == pytest.approx(1e-3 / 3.6e6 * 360)
    assert CPU.spare == 2e9


def test_a_pipeline_computes_at_line_rate_while_it_has_room() -> None:
    assert match(SUM, SWITCH).seconds == 1e-6
    full = Resource(processor=Processor.SWITCH, rate=1e9, room=Room(slots=3, stages=1))
    assert match(SUM, full).reasons == ("needs 4 slots, has 3", "needs 2 stages, has 1")
    assert match(RequestClass(name="render", operations=1), SWITCH).reasons == ("does not compute general code",)


@pytest.mark.parametrize(
    ("resource", "request_class", "reason"),
    [
        (CPU, RequestClass(name="r", operations=1, memory=1001), "needs 1,001 bytes of memory, has 1,000"),
        (CPU, RequestClass(name="r", operations=1e6, latency_bound=0.0019), "answers after 2 ms, at most 1.9 ms"),
        (
            Resource(processor=Processor.GPU, rate=1, tenants=frozenset({"a"})),
            RequestClass(name="r", operations=1, tenant="b"),
            "does not serve the tenant b",
        ),
    ],
)
def test_reasons_against_a_resource(resource: Resource, request_class: RequestClass, reason: str) -> None:
    (found,) = match(request_class, resource).reasons
    assert found.startswith(reason)


def test_a_busy_processor_never_answers() -> None:
    busy = Resource(processor=Processor.FPGA, rate=1, busy=1)
    assert busy.time(1) == inf
    assert not match(RequestClass(name="r", operations=1, latency_bound=1e9), busy).fits


def test_the_room_that_a_program_leaves_on_a_device() -> None:
    used = CheckedProgram(Program(Threshold("pressure", above=9, clear=1, sensors=64)).p4()).footprint.total
    sheet = Capabilities(kind="asic", stages=12, register_bits=1000)
    room = Room.left(sheet, used, slots=5)
    assert (room.slots, room.table_entries) == (5, None)
    assert room.register_bits == 1000 - used.register_bits
    assert room.stages == 12 - used.stages_on()
    assert used.register_bits >= 64
    assert Room.left(Capabilities(kind="asic", register_bits=10), used).register_bits == 0


def test_a_resource_as_raw_metrics() -> None:
    assert {each.kind: each.value for each in CPU.raw()} == {
        "compute_operations_rate": 4e9,
        "compute_cpu_utilization": 0.5,
        "compute_memory_free": 1000,
        "compute_energy_per_operation": 1e-9,
        "compute_carbon_per_operation": pytest.approx(1e-13),
    }
    assert {each.kind: each.value for each in SWITCH.raw() if each.kind.endswith("_free")} == {
        "compute_slots_free": 8,
        "compute_stages_free": 2,
        "compute_register_bits_free": 1 << 20,
    }


def test_impossible_numbers_are_refused() -> None:
    for rate, busy in ((0, 0), (1, 2)):
        with pytest.raises(MidflightError, match="must be positive"):
            Resource(processor=Processor.CPU, rate=rate, busy=busy)
    with pytest.raises(MidflightError, match="negative"):
        Energy(-1)
    with pytest.raises(MidflightError, match="request class r"):
        RequestClass(name="r", operations=1, latency_bound=0)
