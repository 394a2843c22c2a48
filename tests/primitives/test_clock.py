"""Time and random numbers: passed in to the reference, and available on every switch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Message, Program
from midflight.runtime.engine.packets import Packets
from tests.bmv2 import BMV2
from tests.primitives import kernels
from tests.primitives.rig import EPOCH, SENDER, DeviceRig, Sent, SwitchRig

FIELDS = {"flow": 3, "coin": 0, "offset": 0, "stamp": 0}
ROUNDS = 1024


def samples() -> Program:
    return Program(kernels.Samples("samples", rate=1, gap=1000))


def test_time_and_randomness_are_passed_to_the_reference() -> None:
    one, other = (kernels.Samples("samples").reference(random=Random(3)) for _ in range(2))
    message = Message(REQUEST, "samples", 1, FIELDS)
    for now in (5000, 5001, 7000):
        done = one.process(message, now=now)
        assert done.message.fields["stamp"] == now
        assert done == other.process(message, now=now)
    with pytest.raises(KernelError, match="a source of random numbers"):
        kernels.Samples("samples").reference().process(message)


def evenly(coins: list[int], offsets: list[int]) -> None:
    """Check that all values occur, and none too often."""
    assert len({*coins}) > 230
    assert max(Counter(coins).values()) < 5 * ROUNDS / 256
    assert min(offsets) < -(2**15) + 2**11
    assert max(offsets) > 2**15 - 2**11
    assert abs(sum(offsets)) / ROUNDS < 5 * 2**16 / 12**0.5 / ROUNDS**0.5
    assert len({*zip(coins, offsets, strict=True)}) > 0.99 * ROUNDS


def test_random_numbers_of_the_reference() -> None:
    reference = kernels.Samples("samples").reference(epoch=EPOCH, random=Random(5))
    fields = [reference.process(Message(REQUEST, "samples", 1, FIELDS)).message.fields for _ in range(ROUNDS)]
    evenly([int(each["coin"]) for each in fields], [int(each["offset"]) for each in fields])  # type: ignore[arg-type]


@pytest.fixture(params=["host", pytest.param("bmv2", marks=BMV2)])
def device(request: pytest.FixtureRequest) -> Iterator[DeviceRig]:
    with DeviceRig(samples(), request.param) as rig:
        yield rig


def test_random_numbers_of_devices(device: DeviceRig) -> None:
    seen, _ = device.run([Sent("samples", number, FIELDS) for number in range(ROUNDS)])
    fields = [each.fields for each in seen if each.fields]
    evenly([each["coin"] for each in fields], [each["offset"] for each in fields])


@pytest.mark.parametrize("device", [pytest.param("bmv2", marks=BMV2)], indirect=True)
def test_a_switch_with_its_own_clock_gives_the_time(device: DeviceRig) -> None:
    times = []
    for number in range(3):
        seen, _ = device.run([Sent("samples", number, FIELDS)] * 10)
        times += [each.fields["stamp"] for each in seen if each.fields]
    assert len(times) == 30
    assert times == sorted(times)
    assert 0 < times[0] < times[-1]


def test_the_embedded_switch_gives_the_time() -> None:
    rig = SwitchRig(samples())
    times = []
    for now in (0, 4000, 4000, 4999, 5000, 2**48 - 1):
        [packet] = rig.engine.process(Packets.from_list([(SENDER, rig.frame(Sent("samples", 1, FIELDS)))]), now=now)
        header = rig.layers.common(packet[1][42:])
        times.append(header.payload.stamp)
    assert times == [0, 4000, 4000, 4999, 5000, 2**48 - 1]
    reported = [values[1] for _, values in rig.alerts()]
    assert {*reported} <= {4000, 5000, 2**48 - 1}
