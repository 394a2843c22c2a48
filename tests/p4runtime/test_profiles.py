"""Action profiles and selectors over P4Runtime (specification section 9.2), also beside BMv2."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import grpc
import pytest
from finsy.proto import p4i, p4r

from midflight.errors import DeviceError
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import Bmv2Device, HostDevice
from midflight.runtime.devices.toolchain import compile_p4
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.entities import difference
from midflight.runtime.p4runtime.client.profiles import Group, GroupMember, Member, OneShot, WeightedAction
from midflight.runtime.p4runtime.client.session import RequestError
from tests.bmv2 import BMV2
from tests.p4runtime.support import PROGRAMS, Controller, details_of, names, updates

BALANCER = (PROGRAMS / "balancer.p4").read_text()
ROWS = [(client, number) for client in range(6) for number in range(10)]


class Lab:
    """A device with the balancer, and a controller that is its primary."""

    def __init__(self, device: HostDevice | Bmv2Device, controller: Controller, info: p4i.P4Info) -> None:
        self.device = device
        self.controller = controller
        parts = (info.tables, info.actions, info.action_profiles)
        self.ids = {each.preamble.name: each.preamble.id for part in parts for each in part}

    def action(self, given: int) -> p4r.Action:
        action = p4r.Action(action_id=self.ids["ingress.forward"])
        for number, value in ((1, 1), (2, given)):
            action.params.add(param_id=number, value=bytes([value]))
        return action

    def member(self, number: int, given: int | None = None, profile: str = "servers") -> p4r.Entity:
        action = None if given is None else self.action(given)
        owner = self.ids[f"ingress.{profile}"]
        return p4r.Entity(
            action_profile_member=p4r.ActionProfileMember(action_profile_id=owner, member_id=number, action=action)
        )

    def group(self, number: int, *members: tuple[int, int], size: int = 6, profile: str = "servers") -> p4r.Entity:
        owner = self.ids[f"ingress.{profile}"]
        group = p4r.ActionProfileGroup(action_profile_id=owner, group_id=number, max_size=size)
        for member, weight in members:
            group.members.add(member_id=member, weight=weight)
        return p4r.Entity(action_profile_group=group)

    def entry(self, service: int, table: str = "balance", **references: int) -> p4r.Entity:
        entry = p4r.TableEntry(table_id=self.ids[f"ingress.{table}"])
        entry.match.add(field_id=1).exact.value = bytes([service])
        for name, number in references.items():
            setattr(entry.action, name, number)
        return p4r.Entity(table_entry=entry)

    def one_shot(self, service: int, *actions: tuple[int, int]) -> p4r.Entity:
        made = self.entry(service)
        listed = made.table_entry.action.action_profile_action_set
        listed.SetInParent()
        for given, weight in actions:
            listed.action_profile_actions.add(action=self.action(given), weight=weight)
        return made

    def outcome(self, kind: str, *entities: p4r.Entity) -> str:
        """Return OK, or the error of the last entity."""
        try:
            self.controller.write(*updates(kind, *entities))
        except grpc.RpcError as error:
            return names(details_of(error))[-1]
        return "OK"

    def given(self, service: int) -> list[int]:
        """Return what the chosen action gave to each of `ROWS`."""
        packets = [bytes([service, client]) + number.to_bytes(2, "big") + bytes(58) for client, number in ROWS]
        out = self.device.process(Packets.from_list([(1, each) for each in packets]))
        return [int.from_bytes(data[4:6], "big") for _, data in out]

    def read(self, **wild: p4r.ActionProfileMember | p4r.ActionProfileGroup | p4r.TableEntry) -> list[p4r.Entity]:
        return self.controller.read(p4r.Entity(**wild))


def hashes(modulus: int) -> list[int]:
    return [zlib.crc32(bytes([client]) + number.to_bytes(2, "big")) % modulus for client, number in ROWS]


Devices = pytest.mark.parametrize(
    ("kind", "json"),
    [(HostDevice, False), pytest.param(HostDevice, True, marks=BMV2), pytest.param(Bmv2Device, False, marks=BMV2)],
    ids=["host", "host with BMv2's JSON", "bmv2"],
)
Kind = Callable[[], HostDevice | Bmv2Device]


@pytest.fixture
def lab(kind: Kind, json: bool) -> Iterator[Lab]:
    with kind() as device, device.session() as loader:
        pipeline = compile_p4(BALANCER) if json else device.compile(CheckedProgram(BALANCER))
        loader.load(pipeline.p4info, pipeline.config)
        with Controller(device.address) as controller:
            controller.become_primary()
            yield Lab(device, controller, pipeline.p4info)


@Devices
def test_groups_choose_like_bmv2(lab: Lab) -> None:
    """First come the members in the order of their creation, then the further copies of those with weights."""
    members = [lab.member(number, number) for number in (30, 10, 20)]
    assert lab.outcome("INSERT", *members) == "OK"
    assert lab.outcome("INSERT", lab.group(1, (10, 2), (20, 1), (30, 3)), lab.group(2, (20, 1), (10, 1))) == "OK"
    entries = [lab.entry(each, action_profile_group_id=each) for each in (1, 2)]
    assert lab.outcome("INSERT", *entries, lab.entry(3, action_profile_member_id=20)) == "OK"
    assert lab.given(1) == [(30, 10, 20, 10, 30, 30)[each] for each in hashes(6)]
    assert lab.given(2) == [(10, 20)[each] for each in hashes(2)]
    assert set(lab.given(3)) == {20}
    assert set(lab.given(4)) == {0}
    assert lab.outcome("MODIFY", lab.group(1, (10, 1), (20, 2))) == "OK"
    assert lab.given(1) == [(10, 20, 20)[each] for each in hashes(3)]
    assert lab.outcome("MODIFY", lab.member(20, 77)) == "OK"
    assert lab.given(1) == [(10, 77, 77)[each] for each in hashes(3)]


@Devices
def test_one_shot_sets_choose_like_bmv2(lab: Lab) -> None:
    entry = lab.one_shot(1, (5, 2), (3, 1), (4, 3))
    assert lab.outcome("INSERT", entry) == "OK"
    assert lab.given(1) == [(5, 5, 3, 4, 4, 4)[each] for each in hashes(6)]
    assert lab.read(table_entry=p4r.TableEntry(table_id=lab.ids["ingress.balance"])) == [entry]
    too_many = lab.outcome("INSERT", lab.one_shot(2, (5, 7)))
    assert too_many == ("INVALID_ARGUMENT" if isinstance(lab.device, HostDevice) else "RESOURCE_EXHAUSTED")
    assert lab.outcome("INSERT", lab.one_shot(2, (5, 0))) == "INVALID_ARGUMENT"
    assert lab.outcome("INSERT", lab.member(1, 1)) == "INVALID_ARGUMENT"
    assert lab.outcome("MODIFY", lab.one_shot(1, (8, 1))) == "OK"
    assert set(lab.given(1)) == {8}
    assert lab.outcome("DELETE", lab.entry(1)) == "OK"
    assert set(lab.given(1)) == {0}


@Devices
def test_reads_return_what_was_written(lab: Lab) -> None:
    members = [lab.member(1, 1), lab.member(2, 2), lab.member(7, 9, "routes")]
    groups = [lab.group(1, (1, 1), (2, 1)), lab.group(4, (2, 1), size=2)]
    entries = [lab.entry(5, action_profile_group_id=4), lab.entry(6, action_profile_member_id=1)]
    assert lab.outcome("INSERT", *members) == "OK"
    assert lab.outcome("INSERT", *groups) == "OK"
    assert lab.outcome("INSERT", *entries, lab.entry(5, "plain", action_profile_member_id=7)) == "OK"
    owner = lab.ids["ingress.servers"]
    assert ordered(lab.read(action_profile_member=p4r.ActionProfileMember())) == ordered(members)
    assert ordered(lab.read(action_profile_member=p4r.ActionProfileMember(action_profile_id=owner))) == ordered(
        members[:2]
    )
    assert ordered(lab.read(action_profile_group=p4r.ActionProfileGroup())) == ordered(groups)
    one = p4r.ActionProfileGroup(action_profile_id=owner, group_id=4)
    assert lab.read(action_profile_group=one) == groups[1:]
    assert ordered(lab.read(table_entry=p4r.TableEntry(table_id=lab.ids["ingress.balance"]))) == ordered(entries)


def ordered(entities: list[p4r.Entity]) -> list[bytes]:
    return sorted(each.SerializeToString(deterministic=True) for each in entities)


@pytest.mark.parametrize(("kind", "json"), [(HostDevice, False)])
def test_a_session_writes_and_reads_them_by_name(lab: Lab) -> None:
    with lab.device.session(election_id=100) as session:
        profiles, key = session.profiles, {"hdr.flow.service": 1}
        profiles.insert_member("servers", 1, "forward", {"port": 1, "given": 11})
        profiles.insert_member("servers", 2, "forward", {"port": 1, "given": 12})
        profiles.insert_group("servers", 9, [1, GroupMember(2, 3, watch_port=4)])
        session.insert("balance", key, Group(9))
        assert set(lab.given(1)) == {11, 12}
        assert [each.choice for each in session.read_table("balance")] == [Group(9)]
        assert profiles.read_groups("servers") == {9: [GroupMember(1), GroupMember(2, 3, watch_port=4)]}
        held = session.holding()
        profiles.modify_member("servers", 2, "forward", {"port": 1, "given": 13})
        profiles.modify_group("servers", 9, [2])
        assert set(lab.given(1)) == {13}
        assert str(difference(list(held.values()), session.holding(), ())) == "2 changed"
        session.amend(difference(list(held.values()), session.holding(), ()))
        assert profiles.read_members("servers")[2] == WeightedAction("ingress.forward", {"port": 1, "given": 12})
        session.modify("balance", key, Member(1))
        assert set(lab.given(1)) == {11}
        profiles.delete_group("servers", 9)
        session.amend(difference([], session.holding(), session.holding()))
        assert session.holding() == {}
        forward = WeightedAction("ingress.forward", {"port": 1, "given": 7}, 2, watch_port=3)
        actions = OneShot((forward, WeightedAction("ingress.refuse")))
        session.insert("balance", key, actions)
        (entry,) = session.read_table("balance")
        assert (entry.action, entry.choice) == ("", actions)
        with pytest.raises(DeviceError, match="has no action 'send'"):
            profiles.insert_member("servers", 1, "send")
        with pytest.raises(RequestError, match="has no member 5"):
            session.insert("plain", key, Member(5))
        for wrong in (-1, 1 << 32):
            with pytest.raises(DeviceError, match=f"member: {wrong} does not fit"):
                profiles.insert_member("servers", wrong, "forward", {"port": 1, "given": 1})
            with pytest.raises(DeviceError, match=f"watch_port: {wrong} does not fit"):
                profiles.insert_group("servers", 1, [GroupMember(1, watch_port=wrong)])
            with pytest.raises(DeviceError, match=f"group: {wrong} does not fit"):
                session.insert("balance", key, Group(wrong))


@pytest.mark.parametrize("kind", [pytest.param(Bmv2Device, marks=BMV2)])
def test_p4info_equals_that_of_p4c(kind: Kind) -> None:
    ours, theirs = CheckedProgram(BALANCER).p4info, compile_p4(BALANCER).p4info
    ours.ClearField("type_info")
    theirs.ClearField("type_info")
    assert ours == theirs


@pytest.mark.parametrize(("kind", "json"), [(HostDevice, False)])
def test_errors_are_those_of_the_specification(lab: Lab) -> None:
    assert lab.outcome("INSERT", lab.member(1, 1), lab.member(2, 2)) == "OK"
    assert lab.outcome("INSERT", lab.group(1, (1, 1))) == "OK"
    assert lab.outcome("INSERT", lab.entry(1, action_profile_group_id=1)) == "OK"
    assert lab.outcome("INSERT", lab.entry(2, action_profile_member_id=2)) == "OK"
    for kind, entity, code in (
        ("INSERT", lab.member(1, 1), "ALREADY_EXISTS"),
        ("INSERT", lab.member(0, 1), "INVALID_ARGUMENT"),
        ("INSERT", lab.member(3), "INVALID_ARGUMENT"),
        ("MODIFY", lab.member(1), "INVALID_ARGUMENT"),
        ("MODIFY", lab.member(9, 1), "NOT_FOUND"),
        ("DELETE", lab.member(9), "NOT_FOUND"),
        ("DELETE", lab.member(1), "FAILED_PRECONDITION"),
        ("DELETE", lab.member(2), "FAILED_PRECONDITION"),
        ("DELETE", lab.group(1), "FAILED_PRECONDITION"),
        ("DELETE", lab.group(9), "NOT_FOUND"),
        ("INSERT", lab.group(1), "ALREADY_EXISTS"),
        ("INSERT", lab.group(0), "INVALID_ARGUMENT"),
        ("INSERT", lab.group(2, (1, 0)), "INVALID_ARGUMENT"),
        ("INSERT", lab.group(2, (1, 1), (1, 1)), "INVALID_ARGUMENT"),
        ("INSERT", lab.group(2, (9, 1)), "NOT_FOUND"),
        ("INSERT", lab.group(2, size=7), "INVALID_ARGUMENT"),
        ("INSERT", lab.group(2, size=0), "INVALID_ARGUMENT"),
        ("INSERT", lab.group(2, (1, 3), size=2), "RESOURCE_EXHAUSTED"),
        ("MODIFY", lab.group(1, (1, 1), size=5), "INVALID_ARGUMENT"),
        ("MODIFY", lab.group(9, (1, 1)), "NOT_FOUND"),
        ("INSERT", lab.group(1, profile="routes", size=0), "INVALID_ARGUMENT"),
        ("INSERT", lab.entry(3, action_profile_member_id=9), "NOT_FOUND"),
        ("INSERT", lab.entry(3, action_profile_group_id=9), "NOT_FOUND"),
        ("INSERT", lab.entry(3, "plain", action_profile_group_id=1), "INVALID_ARGUMENT"),
        ("INSERT", lab.one_shot(3, (1, 1)), "INVALID_ARGUMENT"),
        ("INSERT", lab.entry(3), "INVALID_ARGUMENT"),
    ):
        assert (lab.outcome(kind, entity), kind, entity) == (code, kind, entity)
    routes = [lab.member(number, number, "routes") for number in range(1, 5)]
    assert lab.outcome("INSERT", *routes) == "RESOURCE_EXHAUSTED"
    assert set(lab.given(1)) == {1}
    assert set(lab.given(2)) == {2}


@pytest.mark.parametrize(("kind", "json"), [(HostDevice, False)])
def test_an_atomic_batch_is_undone(lab: Lab) -> None:
    assert lab.outcome("INSERT", lab.member(1, 1), lab.member(2, 2)) == "OK"
    assert lab.outcome("INSERT", lab.group(1, (1, 1), (2, 1))) == "OK"
    assert lab.outcome("INSERT", lab.entry(1, action_profile_group_id=1)) == "OK"
    wild = p4r.Entity(action_profile_member={}), p4r.Entity(action_profile_group={})  # type: ignore[arg-type]
    before, found = lab.controller.read(*wild), lab.given(1)
    changes = [
        *updates("MODIFY", lab.entry(1, action_profile_member_id=2), lab.member(2, 50), lab.group(1)),
        *updates("DELETE", lab.group(1), lab.member(1)),
        *updates("INSERT", lab.member(1, 3), lab.group(1, (1, 6)), lab.group(1)),
    ]
    with pytest.raises(grpc.RpcError):
        lab.controller.write(*changes, atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    assert (lab.controller.read(*wild), lab.given(1)) == (before, found)


@pytest.mark.parametrize(("kind", "json"), [(HostDevice, False)])
def test_members_and_groups_survive_reconciliation(lab: Lab) -> None:
    assert lab.outcome("INSERT", lab.member(1, 1), lab.member(2, 2)) == "OK"
    assert lab.outcome("INSERT", lab.group(1, (1, 1), (2, 2), size=4)) == "OK"
    assert lab.outcome("INSERT", lab.entry(1, action_profile_group_id=1)) == "OK"
    wild = p4r.Entity(action_profile_member={}), p4r.Entity(action_profile_group={})  # type: ignore[arg-type]
    before, found = lab.controller.read(*wild), lab.given(1)
    config = lab.controller.pull().config
    lab.controller.push("RECONCILE_AND_COMMIT", config, election=lab.controller.election)
    assert (lab.controller.read(*wild), lab.given(1)) == (before, found)
