"""Arbitration: election ids, roles and write access (specification section 5), with controllers in plain gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest
from finsy.proto import p4r, stratum

from midflight.runtime.devices import HostDevice
from tests.p4runtime.support import EVERYTHING, Controller, code_of

OK, NOT_FOUND, ALREADY_EXISTS = 0, 5, 6


@pytest.fixture(scope="module")
def switch() -> Iterator[HostDevice]:
    with HostDevice(EVERYTHING) as device:
        yield device


class Room:
    """Controllers of a separate role, so that tests can share a switch."""

    def __init__(self, address: str, role: str, stack: ExitStack) -> None:
        self.address = address
        self.role = role
        self._stack = stack

    def controller(self) -> Controller:
        return self._stack.enter_context(Controller(self.address))

    def write(self, controller: Controller, election: int) -> None:
        controller.write(election=election, role=self.role)


@pytest.fixture
def room(switch: HostDevice, request: pytest.FixtureRequest) -> Iterator[Room]:
    with ExitStack() as stack:
        yield Room(switch.address, request.node.name, stack)


def status(update: p4r.MasterArbitrationUpdate) -> tuple[int, int]:
    return update.status.code, update.election_id.low


def test_the_first_controller_is_primary_and_a_lower_election_id_is_backup(room: Room) -> None:
    first, second = room.controller(), room.controller()
    assert status(first.arbitrate(5, room.role)) == (OK, 5)
    assert status(second.arbitrate(4, room.role)) == (ALREADY_EXISTS, 5)
    room.write(first, 5)
    with pytest.raises(grpc.RpcError) as refused:
        room.write(second, 4)
    assert code_of(refused.value) == "PERMISSION_DENIED"


def test_a_higher_election_id_takes_over_and_both_are_notified(room: Room) -> None:
    first, second = room.controller(), room.controller()
    first.arbitrate(5, room.role)
    assert status(second.arbitrate(6, room.role)) == (OK, 6)
    assert status(first.receive().arbitration) == (ALREADY_EXISTS, 6)
    with pytest.raises(grpc.RpcError) as refused:
        room.write(first, 5)
    assert code_of(refused.value) == "PERMISSION_DENIED"
    room.write(second, 6)


def test_after_the_primary_leaves_the_next_one_needs_at_least_its_election_id(room: Room) -> None:
    first, second = room.controller(), room.controller()
    first.arbitrate(9, room.role)
    second.arbitrate(3, room.role)
    first.hang_up()
    assert status(second.receive().arbitration) == (NOT_FOUND, 9)
    with pytest.raises(grpc.RpcError):
        room.write(second, 3)
    assert status(second.arbitrate(8, room.role)) == (NOT_FOUND, 9)
    assert status(second.arbitrate(9, room.role)) == (OK, 9)
    room.write(second, 9)


def test_a_primary_that_lowers_its_election_id_steps_down_and_all_are_notified(room: Room) -> None:
    first, second = room.controller(), room.controller()
    first.arbitrate(9, room.role)
    second.arbitrate(3, room.role)
    assert status(first.arbitrate(2, room.role)) == (NOT_FOUND, 9)
    assert status(second.receive().arbitration) == (NOT_FOUND, 9)


def test_a_controller_without_an_election_id_is_never_primary(room: Room) -> None:
    controller = room.controller()
    update = controller.arbitrate(None, room.role)
    assert update.status.code == NOT_FOUND
    assert not update.HasField("election_id")
    with pytest.raises(grpc.RpcError) as refused:
        room.write(controller, 0)
    assert code_of(refused.value) == "PERMISSION_DENIED"


def test_election_id_0_is_valid(room: Room) -> None:
    controller = room.controller()
    assert status(controller.arbitrate(0, room.role)) == (OK, 0)
    room.write(controller, 0)


def test_election_ids_are_128_bits_wide(room: Room) -> None:
    first, second = room.controller(), room.controller()
    first.arbitrate(1 << 64, room.role)
    second.bid((1 << 64) - 1, room.role)
    assert second.receive().arbitration.status.code == ALREADY_EXISTS


def test_roles_have_primaries_of_their_own(switch: HostDevice) -> None:
    with Controller(switch.address) as one, Controller(switch.address) as another:
        assert status(one.arbitrate(7, "roles-a")) == (OK, 7)
        update = another.arbitrate(7, "roles-b")
        assert status(update) == (OK, 7)
        assert update.role.name == "roles-b"


@pytest.mark.parametrize(
    ("bid", "expected"),
    [
        ({"election": 5, "role": "same"}, "INVALID_ARGUMENT"),
        ({"election": 1, "device_id": 99}, "NOT_FOUND"),
    ],
)
def test_an_invalid_first_arbitration_update_ends_the_stream(
    switch: HostDevice, bid: dict[str, object], expected: str
) -> None:
    with Controller(switch.address) as holder, Controller(switch.address) as late:
        holder.arbitrate(5, "same")
        late.device_id = int(str(bid.get("device_id", 1)))
        late.bid(int(str(bid["election"])), str(bid.get("role", "")))
        with pytest.raises(grpc.RpcError) as refused:
            late.receive()
        assert code_of(refused.value) == expected
        holder.write(election=5, role="same")


@pytest.mark.parametrize("change", ["device", "role"])
def test_a_stream_cannot_change_its_device_or_role(room: Room, change: str) -> None:
    controller = room.controller()
    controller.arbitrate(5, room.role)
    if change == "device":
        controller.device_id = 2
    controller.bid(6, room.role if change == "device" else "another")
    with pytest.raises(grpc.RpcError) as refused:
        controller.receive()
    assert code_of(refused.value) == "FAILED_PRECONDITION"


def test_a_role_config_of_an_unknown_type_is_rejected(room: Room) -> None:
    controller = room.controller()
    update = p4r.MasterArbitrationUpdate(device_id=1, election_id=p4r.Uint128(low=1))
    update.role.name = room.role
    update.role.config.Pack(p4r.Uint128(low=1))
    controller.send(arbitration=update)
    with pytest.raises(grpc.RpcError) as refused:
        controller.receive()
    assert code_of(refused.value) == "INVALID_ARGUMENT"


def test_a_role_config_limits_what_its_primary_may_do(room: Room, switch: HostDevice) -> None:
    pipeline = switch.switch.pipeline
    assert pipeline is not None
    registers = {each.preamble.name: each.preamble.id for each in pipeline.schema.registers}
    controller = room.controller()
    update = p4r.MasterArbitrationUpdate(device_id=1, election_id=p4r.Uint128(low=1))
    update.role.name = room.role
    update.role.config.Pack(stratum.P4RoleConfig(exclusive_p4_ids=[registers["ingress.totals"]]))
    controller.send(arbitration=update)
    assert controller.receive().arbitration.role.config.Is(stratum.P4RoleConfig.DESCRIPTOR)

    def register(name: str) -> p4r.Update:
        entry = p4r.RegisterEntry(register_id=registers[name], index=p4r.Index(index=1))
        entry.data.bitstring = b"\x01"
        return p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(register_entry=entry))

    controller.write(register("ingress.totals"), role=room.role)
    with pytest.raises(grpc.RpcError) as refused:
        controller.write(register("ingress.wide"), role=room.role)
    assert code_of(refused.value) == "UNKNOWN"
    with pytest.raises(grpc.RpcError) as refused:
        controller.push("VERIFY", pipeline.config, role=room.role)
    assert code_of(refused.value) == "PERMISSION_DENIED"


def test_a_request_in_an_unknown_role_is_rejected(switch: HostDevice) -> None:
    with Controller(switch.address) as controller, pytest.raises(grpc.RpcError) as refused:
        controller.write(election=1, role="nobody")
    assert code_of(refused.value) == "NOT_FOUND"


def test_the_number_of_streams_is_limited(switch: HostDevice) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(Controller(switch.address)) for _ in range(100)]

        def crowd_in() -> None:
            for number, each in enumerate(crowd):
                each.arbitrate(number, "crowd")

        with pytest.raises(grpc.RpcError) as refused:
            crowd_in()
        assert code_of(refused.value) == "RESOURCE_EXHAUSTED"
        crowd[0].hang_up()
        late = stack.enter_context(Controller(switch.address))
        assert late.arbitrate(2000, "crowd").status.code == OK
