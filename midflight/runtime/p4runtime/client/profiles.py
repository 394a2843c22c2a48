"""Action profiles and selectors of a session's device: members, groups, and the references of table entries to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from finsy.proto import p4i, p4r

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.matches import number as fitting
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.values import encode

__all__ = ["Choice", "Group", "GroupMember", "Member", "OneShot", "Profiles", "WeightedAction", "choice_message",
           "read_choice"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """A reference of a table entry to a member of its action profile or selector."""

    number: int


@dataclass(frozen=True, slots=True)
class Group:
    """A reference of a table entry to a group of its action selector."""

    number: int


@dataclass(frozen=True, slots=True)
class WeightedAction:
    """An action of a one-shot set: the action's name, its parameters by name, and its weight, at least 1.

    It is left out while the switch port `watch_port` is down; None watches no port.
    """

    action: str
    params: Mapping[str, object] = field(default_factory=dict)
    weight: int = 1
    watch_port: int | None = None


@dataclass(frozen=True, slots=True)
class OneShot:
    """A set of actions, one of which the action selector chooses for each packet."""

    actions: Sequence[WeightedAction]


Choice = Member | Group | OneShot


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a group: the member's number, and its weight in the group, at least 1.

    It is left out while the switch port `watch_port` is down; None watches no port.
    """

    member: int
    weight: int = 1
    watch_port: int | None = None


Encode = Callable[[str, Mapping[str, object]], p4r.TableAction]
"""Returns the message for an action with parameters by name."""


class Profiles:
    """Members and groups on the device. Methods raise the errors of the session's methods.

    `write` sends an update, `read` a request, and `action` returns the message for a table's action.
    """

    def __init__(
        self,
        schema: Callable[[], Schema],
        write: Callable[[p4r.Update.Type.ValueType, p4r.Entity, str], None],
        read: Callable[[p4r.Entity], list[p4r.Entity]],
        action: Callable[[Schema, str, str, Mapping[str, object]], p4r.TableAction],
    ) -> None:
        self._schema = schema
        self._write = write
        self._read = read
        self._action = action

    def insert_member(self, profile: str, number: int, action: str, params: Mapping[str, object] | None = None) -> None:
        """Add a member to an action profile or selector, under a number of at least 1.

        `action` is the name of an action of the profile's tables, and `params` are the values of its parameters by
        name; None for none. DeviceError for an unknown name or a value that does not fit; RequestError if the number is
        taken, the profile is full, or it has one-shot sets.
        """
        self._write(p4r.Update.INSERT, self._member(profile, number, action, params or {}), f"member {number}")

    def modify_member(self, profile: str, number: int, action: str, params: Mapping[str, object] | None = None) -> None:
        """Replace the action of a member of an action profile or selector, for all groups and entries that refer to it.

        `action` is the name of an action of the profile's tables, and `params` are the values of its parameters by
        name; None for none. DeviceError for an unknown name or a value that does not fit; RequestError if there is no
        such member.
        """
        self._write(p4r.Update.MODIFY, self._member(profile, number, action, params or {}), f"member {number}")

    def delete_member(self, profile: str, number: int) -> None:
        """Remove the member of this number from an action profile.

        RequestError if there is none, or if a group or an entry refers to it; DeviceError for an unknown profile.
        """
        info = self._info(profile)
        message = p4r.ActionProfileMember(action_profile_id=info.preamble.id, member_id=fitting(number, 32, "member"))
        self._write(p4r.Update.DELETE, p4r.Entity(action_profile_member=message), f"member {number}")

    def read_members(self, profile: str) -> dict[int, WeightedAction]:
        """Return the actions of all members of an action profile, by member number. DeviceError for an unknown
        profile.
        """
        wanted = p4r.ActionProfileMember(action_profile_id=self._info(profile).preamble.id)
        found = [each.action_profile_member for each in self._read(p4r.Entity(action_profile_member=wanted))]
        return {each.member_id: _read_action(self._schema(), each.action) for each in found}

    def insert_group(
        self, profile: str, number: int, members: Iterable[int | GroupMember], *, max_size: int | None = None
    ) -> None:
        """Add a group of members to an action selector, under a number of at least 1.

        `members` are member numbers, or `GroupMember`s with weights. `max_size` limits the sum of the weights; by
        default, it is the largest that the selector permits. RequestError if the number is taken, a member does not
        exist, the weights exceed `max_size`, or the selector is full; DeviceError for an unknown selector, or a number
        that is negative or has more than 32 bits.
        """
        self._write(p4r.Update.INSERT, self._group(profile, number, members, max_size), f"group {number}")

    def modify_group(
        self, profile: str, number: int, members: Iterable[int | GroupMember], *, max_size: int | None = None
    ) -> None:
        """Replace the members of a group. Its `max_size` cannot change, so it must be given as in `insert_group`.

        RequestError if there is no such group or member, if the members do not fit, or for another `max_size`;
        DeviceError for an unknown selector, or a number that is negative or has more than 32 bits.
        """
        self._write(p4r.Update.MODIFY, self._group(profile, number, members, max_size), f"group {number}")

    def delete_group(self, profile: str, number: int) -> None:
        """Remove the group of this number from an action selector.

        RequestError if there is none, or if an entry refers to it; DeviceError for an unknown selector.
        """
        info = self._info(profile)
        message = p4r.ActionProfileGroup(action_profile_id=info.preamble.id, group_id=fitting(number, 32, "group"))
        self._write(p4r.Update.DELETE, p4r.Entity(action_profile_group=message), f"group {number}")

    def read_groups(self, profile: str) -> dict[int, list[GroupMember]]:
        """Return the members of all groups of an action selector, by group number. DeviceError for an unknown
        selector.
        """
        wanted = p4r.ActionProfileGroup(action_profile_id=self._info(profile).preamble.id)
        found = [each.action_profile_group for each in self._read(p4r.Entity(action_profile_group=wanted))]
        return {
            group.group_id: [GroupMember(each.member_id, each.weight, _watched(each)) for each in group.members]
            for group in found
        }

    def _info(self, profile: str) -> p4i.ActionProfile:
        return self._schema().profiles.named(profile)

    def _member(self, profile: str, number: int, action: str, params: Mapping[str, object]) -> p4r.Entity:
        schema, info = self._schema(), self._info(profile)
        tables = [schema.tables.of_id(each).preamble.name for each in info.table_ids]
        if not tables:
            raise DeviceError(f"no table has the action profile {info.preamble.name}")
        message = p4r.ActionProfileMember(action_profile_id=info.preamble.id, member_id=fitting(number, 32, "member"))
        message.action.CopyFrom(self._action(schema, tables[0], action, params).action)
        return p4r.Entity(action_profile_member=message)

    def _group(
        self, profile: str, number: int, members: Iterable[int | GroupMember], max_size: int | None
    ) -> p4r.Entity:
        info = self._info(profile)
        size = info.max_group_size if max_size is None else fitting(max_size, 31, "max_size")
        group = fitting(number, 32, "group")
        message = p4r.ActionProfileGroup(action_profile_id=info.preamble.id, group_id=group, max_size=size)
        for each in members:
            one = GroupMember(each) if isinstance(each, int) else each
            added = message.members.add(
                member_id=fitting(one.member, 32, "member"), weight=fitting(one.weight, 31, "weight")
            )
            if one.watch_port is not None:
                added.watch_port = encode(fitting(one.watch_port, 32, "watch_port"))
        return p4r.Entity(action_profile_group=message)


def choice_message(choice: Choice, action: Encode) -> p4r.TableAction:
    """Return the message for a reference of an entry. `action` encodes the actions of a one-shot set.

    DeviceError for a number that is negative or has more than 32 bits (31 for a weight), and from `action`.
    """
    match choice:
        case Member(number=number):
            return p4r.TableAction(action_profile_member_id=fitting(number, 32, "member"))
        case Group(number=number):
            return p4r.TableAction(action_profile_group_id=fitting(number, 32, "group"))
    message = p4r.TableAction()
    message.action_profile_action_set.SetInParent()
    for each in choice.actions:
        call, weight = action(each.action, each.params).action, fitting(each.weight, 31, "weight")
        added = message.action_profile_action_set.action_profile_actions.add(action=call, weight=weight)
        if each.watch_port is not None:
            added.watch_port = encode(fitting(each.watch_port, 32, "watch_port"))
    return message


def read_choice(schema: Schema, message: p4r.TableAction) -> Choice | None:
    """Return the member, group or one-shot action set that a table entry's action message refers to.

    None if the message contains an action itself. Refusal, a DeviceError, for an action that the schema does not have.
    """
    match message.WhichOneof("type"):
        case "action_profile_member_id":
            return Member(message.action_profile_member_id)
        case "action_profile_group_id":
            return Group(message.action_profile_group_id)
        case "action_profile_action_set":
            listed = message.action_profile_action_set.action_profile_actions
            return OneShot(tuple(_read_action(schema, each.action, each.weight, _watched(each)) for each in listed))
    return None


def _read_action(schema: Schema, message: p4r.Action, weight: int = 1, watch_port: int | None = None) -> WeightedAction:
    info = schema.actions.of_id(message.action_id)
    names = {each.id: each.name for each in info.params}
    params = {names[each.param_id]: int.from_bytes(each.value, "big") for each in message.params}
    return WeightedAction(info.preamble.name, params, weight, watch_port)


def _watched(message: p4r.ActionProfileAction | p4r.ActionProfileGroup.Member) -> int | None:
    match message.WhichOneof("watch_kind"):
        case "watch_port":
            return int.from_bytes(message.watch_port, "big")
        case "watch":
            return int(message.watch)
    return None
