"""Members and groups of action profiles and selectors (P4Runtime specification 1.5, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator

from finsy.proto import p4i, p4r

from midflight.runtime.engine import GroupMember, Member, TableError
from midflight.runtime.p4runtime.server.binding import BoundTable
from midflight.runtime.p4runtime.server.change import Change, refusal_of
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.server.tables import decode_call, encode_action, watch_port
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import encode

__all__ = ["read_groups", "read_members", "write_group", "write_member"]


def write_member(pipeline: Pipeline, kind: p4r.Update.Type.ValueType, message: p4r.ActionProfileMember) -> Change:
    """Return the change that inserts, modifies or deletes a member of an action profile or selector, as `kind` says.

    Refusal with INVALID_ARGUMENT if the profile is unknown or the member is malformed. The second step of the change
    raises Refusal: ALREADY_EXISTS or NOT_FOUND if the member exists or not, INVALID_ARGUMENT if it does not fit the
    profile, RESOURCE_EXHAUSTED if there is no room, and FAILED_PRECONDITION if it is still referred to.
    """
    info = pipeline.schema.profiles.of_id(message.action_profile_id)
    profile, number = pipeline.engine.profiles[info.preamble.name], message.member_id
    if not number:
        raise Refusal(Code.INVALID_ARGUMENT, f"{info.preamble.name}: the id of a member is not 0")
    fresh, fault = None, None
    if kind != p4r.Update.DELETE:
        try:
            fresh = _decode(pipeline, info, message)
        except Refusal as refusal:
            fault = refusal
    if fault is not None and kind == p4r.Update.INSERT:
        raise fault
    yield
    before = profile.member(number)
    try:
        if kind == p4r.Update.DELETE:
            profile.delete_member(number)
        elif before is None and kind == p4r.Update.MODIFY:
            raise Refusal(Code.NOT_FOUND, f"{profile.name} has no member {number}")
        else:
            if fault is not None:
                raise fault
            assert fresh is not None
            (profile.insert_member if kind == p4r.Update.INSERT else profile.modify_member)(number, fresh)
    except TableError as error:
        raise refusal_of(error) from None

    def undo() -> None:
        if before is None:
            profile.delete_member(number)
        elif kind == p4r.Update.DELETE:
            profile.insert_member(number, before)
        else:
            profile.modify_member(number, before)

    return undo


def write_group(pipeline: Pipeline, kind: p4r.Update.Type.ValueType, message: p4r.ActionProfileGroup) -> Change:
    """Return the change that inserts, modifies or deletes a group of an action selector, as `kind` says.

    Refusal with INVALID_ARGUMENT if the selector is unknown or the group is malformed. The second step of the change
    raises Refusal if the group exists already, does not exist, does not fit the selector, is still referred to, or
    would get another `max_size`.
    """
    info = pipeline.schema.profiles.of_id(message.action_profile_id)
    profile, number = pipeline.engine.profiles[info.preamble.name], message.group_id
    if not number:
        raise Refusal(Code.INVALID_ARGUMENT, f"{info.preamble.name}: the id of a group is not 0")
    members = [] if kind == p4r.Update.DELETE else [_group_member(profile.name, each) for each in message.members]
    if kind == p4r.Update.INSERT:
        _check_max_size(info, message)
    sizes, key = pipeline.group_sizes, (profile.name, number)
    yield
    before, size = profile.group(number), sizes.get(key, 0)
    try:
        if kind == p4r.Update.DELETE:
            profile.delete_group(number)
            sizes.pop(key, None)
        elif kind == p4r.Update.INSERT:
            _check_weight(profile.name, members, message.max_size)
            profile.insert_group(number, members)
            sizes[key] = message.max_size
        else:
            if before is not None and message.max_size != size:
                raise Refusal(Code.INVALID_ARGUMENT, f"{profile.name}: the max_size of group {number} stays {size}")
            _check_weight(profile.name, members, size)
            profile.modify_group(number, members)
    except TableError as error:
        raise refusal_of(error) from None

    def undo() -> None:
        if before is None:
            profile.delete_group(number)
            sizes.pop(key, None)
        elif kind == p4r.Update.DELETE:
            profile.insert_group(number, before)
            sizes[key] = size
        else:
            profile.modify_group(number, before)

    return undo


def read_members(pipeline: Pipeline, message: p4r.ActionProfileMember) -> Iterator[p4r.ActionProfileMember]:
    """Yield the requested member, all of a profile for member id 0, or all of all profiles for profile id 0.

    Refusal for an unknown profile or member, or a member id without a profile id.
    """
    for info in _profiles(pipeline, message.action_profile_id, message.member_id):
        members = pipeline.engine.profiles[info.preamble.name].members
        for number in _chosen(info, "member", message.member_id, list(members)):
            found, table = members[number], _table_with(pipeline, info, members[number].action)
            answer = p4r.ActionProfileMember(action_profile_id=info.preamble.id, member_id=number)
            if table is not None:
                answer.action.CopyFrom(encode_action(table, found.action, found.arguments).action)
            yield answer


def read_groups(pipeline: Pipeline, message: p4r.ActionProfileGroup) -> Iterator[p4r.ActionProfileGroup]:
    """Yield the requested group, all of a selector for group id 0, or all of all selectors for profile id 0.

    Refusal for an unknown profile or group, or a group id without a profile id.
    """
    for info in _profiles(pipeline, message.action_profile_id, message.group_id):
        name = info.preamble.name
        groups = pipeline.engine.profiles[name].groups
        for number in _chosen(info, "group", message.group_id, list(groups)):
            size = pipeline.group_sizes.get((name, number), 0)
            answer = p4r.ActionProfileGroup(action_profile_id=info.preamble.id, group_id=number, max_size=size)
            for each in groups[number]:
                added = answer.members.add(member_id=each.member, weight=each.weight)
                if each.watch_port is not None:
                    added.watch_port = encode(each.watch_port)
            yield answer


def _decode(pipeline: Pipeline, info: p4i.ActionProfile, message: p4r.ActionProfileMember) -> Member:
    if not message.HasField("action"):
        raise Refusal(Code.INVALID_ARGUMENT, f"{info.preamble.name}: a member needs an action")
    tables = [pipeline.tables[each] for each in info.table_ids if each in pipeline.tables]
    if not tables:
        raise Refusal(Code.INVALID_ARGUMENT, f"no table has the action profile {info.preamble.name}")
    table = next((each for each in tables if message.action.action_id in each.by_id), tables[0])
    action, arguments = decode_call(table, message.action)
    return Member(action.name, arguments)


def _table_with(pipeline: Pipeline, info: p4i.ActionProfile, action: str) -> BoundTable | None:
    tables = (pipeline.tables[each] for each in info.table_ids if each in pipeline.tables)
    return next((each for each in tables if action in each.by_name), None)


def _group_member(name: str, message: p4r.ActionProfileGroup.Member) -> GroupMember:
    if message.weight < 1:
        raise Refusal(Code.INVALID_ARGUMENT, f"{name}: a weight is at least 1, not {message.weight}")
    return GroupMember(message.member_id, message.weight, watch_port(message))


def _check_max_size(info: p4i.ActionProfile, message: p4r.ActionProfileGroup) -> None:
    most = info.max_group_size
    if message.max_size < 0 or (most and not 0 < message.max_size <= most):
        limits = f"from 1 to {most}" if most else "at least 0"
        raise Refusal(
            Code.INVALID_ARGUMENT, f"{info.preamble.name}: the max_size of a group is {limits}, not {message.max_size}"
        )


def _check_weight(name: str, members: list[GroupMember], most: int) -> None:
    weight = sum(each.weight for each in members)
    if most and weight > most:
        raise Refusal(
            Code.RESOURCE_EXHAUSTED, f"{name}: the weights amount to {weight}, and the group's max_size is {most}"
        )


def _profiles(pipeline: Pipeline, number: int, part: int) -> list[p4i.ActionProfile]:
    if number:
        return [pipeline.schema.profiles.of_id(number)]
    if part:
        raise Refusal(Code.INVALID_ARGUMENT, "a member or group is read with the id of its action profile")
    return list(pipeline.schema.profiles)


def _chosen(info: p4i.ActionProfile, what: str, number: int, known: list[int]) -> list[int]:
    if number and number not in known:
        raise Refusal(Code.NOT_FOUND, f"{info.preamble.name} has no {what} {number}")
    return [number] if number else known
