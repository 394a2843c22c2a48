"""In-band access of a controller to an application's registers, which is the same on every device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from midflight.errors import DeviceError, MidflightError, WireError
from midflight.primitives import (
    Aggregate,
    Filter,
    Header,
    Packet,
    Primitive,
    Program,
    Register,
    Threshold,
    bit,
    int_,
)
from midflight.primitives.state import State
from midflight.runtime.p4runtime.client.inband import CPU_PORT, InBand
from midflight.runtime.p4runtime.client.results import PacketIn
from tests.bmv2 import BMV2
from tests.primitives.rig import DeviceRig, Sent


class Kinds(Primitive):
    """Counters in registers of all kinds and several sizes."""

    class Wire(Header):
        """The index, and the amount to add."""

        where = bit[8]
        by = int_[16]

    def setup(self) -> None:
        """Create narrow, wide and signed registers, with lanes, and with an initial value."""
        self.flag = Register(bit[3], 4, initial=5)
        self.wide = Register(bit[100], 4)
        self.down = Register(int_[16], 8, initial=-7)
        self.pair = Register(int_[8], 8, lanes=2)
        self.unused = Register(bit[8], 8)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Add the amount."""
        self.flag.update(wire.where, lambda old: old + 1)
        self.wide.update(wire.where, lambda old: (old << 1) + 1)
        self.down.update(wire.where, lambda old: old + wire.by)
        for lane in range(2):
            self.pair[lane].update(wire.where, lambda old: old - 1)
        packet.forward()


PROGRAM = Program(
    Kinds("kinds"),
    Threshold("pressure", above=900, clear=850, sensors=5),
    Filter("telemetry", keep="temperature > 80"),
    Aggregate("gradients", workers=3, lanes=2, slots=2),
)


@pytest.fixture(scope="module", params=["host", pytest.param("bmv2", marks=BMV2)])
def rig(request: pytest.FixtureRequest) -> Iterator[DeviceRig]:
    with DeviceRig(PROGRAM, request.param) as made:
        yield made


@pytest.fixture
def state(rig: DeviceRig) -> Callable[[str], State]:
    """The cleared state of an application by name."""

    def of(application: str) -> State:
        found = PROGRAM.state(application, rig.session.inband)
        found.clear()
        return found

    return of


def test_state_written_by_packets_is_read(rig: DeviceRig, state: Callable[[str], State]) -> None:
    kinds = state("kinds")
    assert kinds.flag.read().tolist() == [5] * 4  # type: ignore[union-attr]
    rig.run([Sent("kinds", 1, {"where": 1, "by": 300}), Sent("kinds", 2, {"where": 1, "by": -900})])
    rig.run([Sent("kinds", 3, {"where": 7, "by": -1}), Sent("kinds", 4, {"where": 200, "by": -1})])
    found = kinds.read()
    assert list(found) == ["flag", "wide", "down", "pair"], "a register that the kernel does not use is not there"
    np.testing.assert_array_equal(found["flag"], np.array([5, 7, 5, 5], np.uint8))
    assert found["wide"] == [0, 3, 0, 0]
    np.testing.assert_array_equal(found["down"], np.array([-7, -607, -7, -7, -7, -7, -7, -8], np.int16))
    assert isinstance(found["pair"], np.ndarray)
    assert found["pair"].dtype == np.int8
    assert found["pair"].tolist() == [[0, 0], [-2, -2], *[[0, 0]] * 5, [-1, -1]]


def test_packets_find_written_state(rig: DeviceRig, state: Callable[[str], State]) -> None:
    pressure = state("pressure")
    hot = [Sent("pressure", number, {"sensor": number, "value": 1000}) for number in range(5)]
    pressure.armed.write([0, 0], start=1)
    _, alerts = rig.run(hot)
    assert [values[0] for _, values in alerts] == [0, 3, 4]
    assert pressure.armed.read(1, 4).tolist() == [0, 0, 0]  # type: ignore[union-attr]


def test_writing_one_register_does_not_change_others(state: Callable[[str], State]) -> None:
    kinds = state("kinds")
    kinds.wide.write([2**100 - 1, 2**99], start=2)
    kinds.pair.write(np.array([[-128, 127], [1, -1]]), start=6)
    kinds.down.write(-(2**15), start=0)
    found = kinds.read()
    assert found["wide"] == [0, 0, 2**100 - 1, 2**99]
    assert np.asarray(found["pair"])[6:].tolist() == [[-128, 127], [1, -1]]
    assert np.asarray(found["down"]).tolist() == [-(2**15), *[-7] * 7]
    assert np.asarray(found["flag"]).tolist() == [5] * 4
    kinds.wide.clear()
    assert kinds.wide.read() == [0] * 4
    assert np.asarray(kinds.pair.read(7)).tolist() == [[1, -1]]


def test_values_that_do_not_fit_are_rejected_without_effect(state: Callable[[str], State]) -> None:
    kinds = state("kinds")
    for wrong, start in (([0, 8], 0), ([0] * 5, 0), ([1], 4), ([1], -1)):
        with pytest.raises(WireError):
            kinds.flag.write(wrong, start=start)
    shapes: list[Any] = [[[1]], [None], ["x"]]
    for shape in shapes:
        with pytest.raises(WireError, match="an element of flag is an int, not"):
            kinds.flag.write(shape)
    shapes = [7, [7], [None]]
    for shape in shapes:
        with pytest.raises(WireError, match="an element of pair is 2 ints, one for each lane, not"):
            kinds.pair.write(shape)
    assert np.asarray(kinds.flag.read()).tolist() == [5] * 4
    with pytest.raises(MidflightError, match="kinds has no register 'unused'") as caught:
        _ = kinds.unused
    assert caught.value.hint == "it has flag, wide, down, pair"
    assert PROGRAM.state("telemetry", lambda _: []).read() == {}
    with pytest.raises(MidflightError, match="no application 'nothing'"):
        PROGRAM.state("nothing", lambda _: [])


def test_only_the_controller_can_access_state(rig: DeviceRig, state: Callable[[str], State]) -> None:
    """The same bytes from an ordinary port are an ordinary packet, at any position in it."""
    pressure = state("pressure")
    taken: list[bytes] = []

    def keep(requests: object) -> list[bytes]:
        assert isinstance(requests, list)
        taken.extend(requests)
        return []

    State("pressure", PROGRAM.schema()["applications"]["pressure"], keep).armed.write([0] * 5)
    frame = rig.frame(Sent("pressure", 1, {"sensor": 0, "value": 0}))
    headers = frame[:42]
    for request in taken:
        to_cpu = CPU_PORT.to_bytes(2, "big")
        for packet in (request, to_cpu + request, headers + request, headers + to_cpu + request):
            rig.process(rig.packets([packet.ljust(60, b"\0")]))
    assert np.asarray(pressure.armed.read()).tolist() == [1] * 5


def test_requests_do_not_consume_other_packets_of_the_controller(rig: DeviceRig) -> None:
    """Other packets to the CPU port come back unchanged, and remain for those who wait for them."""
    session = rig.session
    session.packet_out(b"to myself and no request", egress_port=CPU_PORT)
    assert np.asarray(PROGRAM.state("pressure", session.inband).armed.read()).shape == (5,)
    waiting = session.packets_in(timeout=5.0)
    assert [each.payload for each in waiting] == [b"to myself and no request"]


def test_a_program_without_the_application_is_reported(rig: DeviceRig) -> None:
    other = Program(*(Threshold(f"t{number}", above=9, clear=1) for number in range(9)))
    with pytest.raises(MidflightError, match="the switch has no state of t8"):
        other.state("t8", rig.session.inband).armed.read()


def test_the_kernel_continues_from_written_state(rig: DeviceRig, state: Callable[[str], State]) -> None:
    gradients = state("gradients")
    gradients.total.write([[7, -7]], start=1)
    gradients.held.write(3, start=1)
    gradients.seen.write(0b010, start=1)
    fields = {"slot": 1, "flags": 0, "job": 0, "epoch": 0}
    for worker, verdict in ((0, "DROP"), (2, "MULTICAST")):
        values = [10 * worker + 1, -1]
        (seen,), _ = rig.run([Sent("gradients", 3, fields | {"worker": worker, "values": values})])
        assert seen.verdict.name == verdict
    assert seen.fields is not None
    assert list(seen.fields["values"]) == [7 + 1 + 21, -7 - 1 - 1]


class Lossy:
    """A session whose switch eventually answers every request: first attempts are lost, others arrive twice."""

    address = "somewhere"

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.waiting: list[PacketIn] = []
        self.sent = 0

    def packets_out(self, payloads: Iterable[bytes], **metadata: object) -> None:
        for each in payloads:
            self.sent += 1
            if self.sent > self.losses:
                self.waiting += [PacketIn(each + b"!", {"ingress_port": CPU_PORT})] * 2

    def pick_packets(self, wanted: Callable[[PacketIn], bool], timeout: float = 0.0) -> list[PacketIn]:
        came, self.waiting = self.waiting, []
        return came


def test_requests_with_lost_answers_are_repeated() -> None:
    requests = [b"\x01\x10\x00\x01\0\0\0\0" + bytes([number]) for number in range(5)]
    session = Lossy(7)
    answers = InBand(session)(requests)
    assert [each[8:] for each in answers] == [bytes([number]) + b"!" for number in range(5)]
    assert session.sent == 5 + 5 + 2
    with pytest.raises(DeviceError, match="the program of somewhere does not answer requests for its state"):
        InBand(Lossy(10**6))(requests)
