"""Members and groups of action profiles in the form of simple_switch_CLI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from finsy.proto import p4i, p4r

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client.messages import action_message
from midflight.runtime.p4runtime.entryfiles.names import action_of, resolve
from midflight.runtime.p4runtime.schema import Schema

__all__ = ["ProfileCommands"]


@dataclass(slots=True)
class _Profile:
    """The members of a profile by handle, and the members of its groups by handle. Handles count from 0."""

    members: dict[int, p4r.Action] = field(default_factory=dict)
    groups: dict[int, list[int]] = field(default_factory=dict)
    created: int = 0
    grouped: int = 0


class ProfileCommands:
    """The action profiles so far. Each method returns the P4Runtime updates for one command.

    The id of a member or group in P4Runtime is its handle plus 1, because P4Runtime has no id 0. Methods raise
    MidflightError for an unknown profile, action, member or group.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._profiles: dict[int, _Profile] = {}

    def create_member(self, profile: str, action: str, values: Sequence[str]) -> list[p4r.Update]:
        """Return the updates for `act_prof_create_member`. The member gets the next handle of its profile.

        MidflightError for an unknown profile or action, or values that do not fit the action.
        """
        info, known = self._found(profile)
        made = self._action(info, action, values)
        handle, known.created = known.created, known.created + 1
        known.members[handle] = made
        return [_member(p4r.Update.INSERT, info, handle, made)]

    def modify_member(self, profile: str, action: str, member: int, values: Sequence[str]) -> list[p4r.Update]:
        """Return the updates for `act_prof_modify_member`, which gives a member another action.

        MidflightError for an unknown profile, member or action, or values that do not fit the action.
        """
        info, known = self._member_of(profile, member)
        known.members[member] = self._action(info, action, values)
        return [_member(p4r.Update.MODIFY, info, member, known.members[member])]

    def delete_member(self, profile: str, member: int) -> list[p4r.Update]:
        """Return the updates for `act_prof_delete_member`, which removes a member. MidflightError if it is unknown."""
        info, known = self._member_of(profile, member)
        return [_member(p4r.Update.DELETE, info, member, known.members.pop(member))]

    def create_group(self, profile: str) -> list[p4r.Update]:
        """Return the updates for `act_prof_create_group`. The group is empty, and gets the next handle.

        MidflightError for an unknown profile.
        """
        info, known = self._found(profile)
        handle, known.grouped = known.grouped, known.grouped + 1
        known.groups[handle] = []
        return [_group(p4r.Update.INSERT, info, handle, [])]

    def delete_group(self, profile: str, group: int) -> list[p4r.Update]:
        """Return the updates for `act_prof_delete_group`, which removes a group. MidflightError if it is unknown."""
        info, known = self._group_of(profile, group)
        return [_group(p4r.Update.DELETE, info, group, known.groups.pop(group))]

    def add_member(self, profile: str, member: int, group: int) -> list[p4r.Update]:
        """Return the updates for `act_prof_add_member_to_group`.

        MidflightError for an unknown profile, member or group, or if the member is in the group already.
        """
        self._member_of(profile, member)
        info, known = self._group_of(profile, group)
        if member in known.groups[group]:
            raise MidflightError(f"member {member} is in group {group} already")
        known.groups[group].append(member)
        return [_group(p4r.Update.MODIFY, info, group, known.groups[group])]

    def remove_member(self, profile: str, member: int, group: int) -> list[p4r.Update]:
        """Return the updates for `act_prof_remove_member_from_group`.

        MidflightError for an unknown profile or group, or if the member is not in the group.
        """
        info, known = self._group_of(profile, group)
        if member not in known.groups[group]:
            raise MidflightError(f"member {member} is not in group {group}")
        known.groups[group].remove(member)
        return [_group(p4r.Update.MODIFY, info, group, known.groups[group])]

    def reference(self, table: p4i.Table, handle: int, *, group: bool) -> p4r.TableAction:
        """Return the action of an entry that refers to a member, or to a group, of its table's profile. MidflightError
        if the table has no profile, or the profile no such member or group.
        """
        info = self._schema.profile_of(table)
        if info is None:
            raise MidflightError(f"table {table.preamble.name} has no action profile")
        name = info.preamble.name
        if group:
            self._group_of(name, handle)
            return p4r.TableAction(action_profile_group_id=handle + 1)
        self._member_of(name, handle)
        return p4r.TableAction(action_profile_member_id=handle + 1)

    def _found(self, profile: str) -> tuple[p4i.ActionProfile, _Profile]:
        info = resolve("action profile", self._schema.profiles, profile)
        return info, self._profiles.setdefault(info.preamble.id, _Profile())

    def _member_of(self, profile: str, member: int) -> tuple[p4i.ActionProfile, _Profile]:
        info, known = self._found(profile)
        if member not in known.members:
            raise MidflightError(f"{info.preamble.name} has no member {member}", hint="handles count from 0")
        return info, known

    def _group_of(self, profile: str, group: int) -> tuple[p4i.ActionProfile, _Profile]:
        info, known = self._found(profile)
        if group not in known.groups:
            raise MidflightError(f"{info.preamble.name} has no group {group}", hint="handles count from 0")
        return info, known

    def _action(self, info: p4i.ActionProfile, action: str, values: Sequence[str]) -> p4r.Action:
        if not info.table_ids:
            raise MidflightError(f"no table has the action profile {info.preamble.name}")
        table = self._schema.tables.of_id(info.table_ids[0])
        chosen = action_of(self._schema, table, action)
        names = [each.name for each in chosen.params]
        if len(values) != len(names):
            takes = f"takes {', '.join(names)}" if names else "takes no parameters"
            raise MidflightError(f"action {chosen.preamble.name} {takes}, not {len(values)} values")
        params = dict(zip(names, values, strict=True))
        return action_message(self._schema, table.preamble.name, chosen.preamble.name, params).action


def _member(kind: p4r.Update.Type.ValueType, info: p4i.ActionProfile, handle: int, action: p4r.Action) -> p4r.Update:
    member = p4r.ActionProfileMember(action_profile_id=info.preamble.id, member_id=handle + 1, action=action)
    return p4r.Update(type=kind, entity=p4r.Entity(action_profile_member=member))


def _group(kind: p4r.Update.Type.ValueType, info: p4i.ActionProfile, handle: int, members: Sequence[int]) -> p4r.Update:
    group = p4r.ActionProfileGroup(
        action_profile_id=info.preamble.id, group_id=handle + 1, max_size=info.max_group_size
    )
    for each in members:
        group.members.add(member_id=each + 1, weight=1)
    return p4r.Update(type=kind, entity=p4r.Entity(action_profile_group=group))
