"""Conversion of table entries between P4Runtime messages and the engine (P4Runtime specification 1.5, section 9.1)."""

from __future__ import annotations

from finsy.proto import p4i, p4r

from midflight.p4.ir import EntryKey
from midflight.runtime.engine import ActionSet, Entry, GroupOf, MemberOf, WeightedAction
from midflight.runtime.engine.entries import Choice
from midflight.runtime.p4runtime.server.binding import BoundAction, BoundTable
from midflight.runtime.p4runtime.server.translation import Codec
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import decode, encode

__all__ = ["decode_action", "decode_keys", "decode_priority", "encode_entry"]


def decode_keys(table: BoundTable, match: list[p4r.FieldMatch]) -> tuple[EntryKey, ...]:
    """Return the keys of an entry in the program's order. An omitted field matches everything.

    Refusal with INVALID_ARGUMENT for an unknown field, one that occurs twice, an omitted exact field, and the errors
    that section 9.1.1 lists for each match type; with RESOURCE_EXHAUSTED if no number is free for a new string.
    """
    given: dict[int, p4r.FieldMatch] = {}
    known = {field.id for field in table.fields}
    for each in match:
        if each.field_id not in known:
            raise Refusal(Code.INVALID_ARGUMENT, f"table {table.name} has no match field with id {each.field_id}")
        if each.field_id in given:
            raise Refusal(Code.INVALID_ARGUMENT, f"table {table.name}: match field id {each.field_id} occurs twice")
        given[each.field_id] = each
    return tuple(
        _decode_key(table, field, codec, given.get(field.id))
        for field, codec in zip(table.fields, table.codecs, strict=True)
    )


def decode_priority(table: BoundTable, priority: int) -> int:
    """Return an entry's priority.

    Raises Refusal with INVALID_ARGUMENT if the table needs one and it is not positive, or if it is set and the table
    has no use for it.
    """
    if table.needs_priority and priority <= 0:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {table.name}: an entry needs a priority above 0, not {priority}")
    if not table.needs_priority and priority:
        raise Refusal(
            Code.INVALID_ARGUMENT,
            f"table {table.name} has no ternary, range or optional fields, so its entries have no priority",
        )
    return priority


def decode_action(table: BoundTable, action: p4r.TableAction, *, default: bool) -> tuple[BoundAction, tuple[int, ...]]:
    """Return the action of an entry with its arguments in the program's order.

    Raises Refusal with INVALID_ARGUMENT for another table's action, parameters that do not fit, or a member, group or
    set of actions, with UNIMPLEMENTED for one of these as the default, and with PERMISSION_DENIED for an action outside
    its scope (table only, or default only).
    """
    if action.WhichOneof("type") != "action":
        if default and table.table.implementation is not None:
            raise Refusal(Code.UNIMPLEMENTED, f"table {table.name}: the default is an action, not a member or group")
        raise Refusal(Code.INVALID_ARGUMENT, f"table {table.name} has no action profile: use an action")
    return decode_call(table, action.action, default=default)


def decode_call(table: BoundTable, action: p4r.Action, *, default: bool = False) -> tuple[BoundAction, tuple[int, ...]]:
    """Return an action of a table with its arguments in the program's order.

    `default` is whether it is to be the default action. Refusal with INVALID_ARGUMENT for another table's action or
    parameters that do not fit, with PERMISSION_DENIED for an action outside its scope (table only, or default only),
    and with RESOURCE_EXHAUSTED if no number is free for a new string.
    """
    bound = table.by_id.get(action.action_id)
    if bound is None:
        named = ", ".join(table.by_name)
        raise Refusal(
            Code.INVALID_ARGUMENT, f"table {table.name} has no action with id {action.action_id:#010x}; it has {named}"
        )
    if bound.scope == (p4i.ActionRef.TABLE_ONLY if default else p4i.ActionRef.DEFAULT_ONLY):
        where = "in an entry" if default else "by default"
        raise Refusal(Code.PERMISSION_DENIED, f"table {table.name}: action {bound.name} is only run {where}")
    given = {each.param_id: each.value for each in action.params}
    known = {each.id for each in bound.params}
    if len(given) != len(action.params) or given.keys() != known:
        names = ", ".join(f"{each.name} ({each.id})" for each in bound.params) or "none"
        raise Refusal(Code.INVALID_ARGUMENT, f"action {bound.name} has the parameters {names}, each required once")
    arguments = tuple(
        codec.decode(given[each.id], f"{bound.name} {each.name}")
        for each, codec in zip(bound.params, bound.codecs, strict=True)
    )
    return bound, arguments


def decode_choice(table: BoundTable, profile: p4i.ActionProfile, action: p4r.TableAction) -> Choice:
    """Return what an entry of a table with an action profile refers to. Whether that exists is not checked.

    Refusal with INVALID_ARGUMENT for a kind of reference that the profile does not have, for weights below 1 or above
    the group's limit in total, and for a watched port that is not 0 to 511; as for `decode_call` for an action in a
    set.
    """
    name, which = profile.preamble.name, action.WhichOneof("type")
    kinds = "members, groups or sets of actions" if profile.with_selector else "members"
    match which:
        case "action_profile_member_id":
            return MemberOf(action.action_profile_member_id)
        case "action_profile_group_id" if profile.with_selector:
            return GroupOf(action.action_profile_group_id)
        case "action_profile_action_set" if profile.with_selector:
            listed = action.action_profile_action_set.action_profile_actions
            weight = sum(each.weight for each in listed)
            if any(each.weight < 1 for each in listed):
                raise Refusal(Code.INVALID_ARGUMENT, f"table {table.name}: a weight is at least 1")
            if profile.max_group_size and weight > profile.max_group_size:
                raise Refusal(
                    Code.INVALID_ARGUMENT,
                    f"table {table.name}: the weights amount to {weight}, and a group of {name} to at most "
                    f"{profile.max_group_size}",
                )
            return ActionSet(tuple(_weighted(table, each) for each in listed))
        case _:
            raise Refusal(Code.INVALID_ARGUMENT, f"table {table.name}: its entries refer to {kinds} of {name}")


def watch_port(message: p4r.ActionProfileAction | p4r.ActionProfileGroup.Member) -> int | None:
    """Return the switch port (0 to 511) that a member of a group watches, or None.

    Raises Refusal with INVALID_ARGUMENT for a larger number.
    """
    match message.WhichOneof("watch_kind"):
        case "watch_port" if message.watch_port:
            try:
                return decode(message.watch_port, 9, "watch_port")
            except Refusal as refusal:
                raise Refusal(Code.INVALID_ARGUMENT, refusal.message) from None
        case "watch":
            if not 0 <= message.watch < 1 << 9:
                raise Refusal(Code.INVALID_ARGUMENT, f"watch: {message.watch} is not a port")
            return message.watch
    return None


def _weighted(table: BoundTable, message: p4r.ActionProfileAction) -> WeightedAction:
    action, arguments = decode_call(table, message.action)
    return WeightedAction(action.name, arguments, message.weight, watch_port(message))


def encode_entry(table: BoundTable, entry: Entry) -> p4r.TableEntry:
    """Return the P4Runtime message for a table entry of the engine: its match, action and priority."""
    message = p4r.TableEntry(table_id=table.info.preamble.id)
    for field, codec, key in zip(table.fields, table.codecs, entry.keys, strict=True):
        if (match := _encode_key(field, codec, key)) is not None:
            message.match.append(match)
    if table.needs_priority:
        message.priority = entry.priority
    if entry.choice is None:
        message.action.CopyFrom(encode_action(table, entry.action, entry.arguments))
    else:
        message.action.CopyFrom(_encode_choice(table, entry.choice))
    return message


def _encode_choice(table: BoundTable, choice: Choice) -> p4r.TableAction:
    match choice:
        case MemberOf(number=number):
            return p4r.TableAction(action_profile_member_id=number)
        case GroupOf(number=number):
            return p4r.TableAction(action_profile_group_id=number)
        case ActionSet(actions=actions):
            message = p4r.TableAction()
            message.action_profile_action_set.SetInParent()
            for each in actions:
                action = encode_action(table, each.action, each.arguments).action
                added = message.action_profile_action_set.action_profile_actions.add(action=action, weight=each.weight)
                if each.watch_port is not None:
                    added.watch_port = encode(each.watch_port)
            return message


def encode_action(table: BoundTable, name: str, arguments: tuple[int, ...]) -> p4r.TableAction:
    """Return the P4Runtime message for an action with its arguments, empty for an action that is not in the P4Info."""
    message = p4r.TableAction()
    if name in table.by_name:
        bound = table.by_name[name]
        message.action.action_id = bound.info.preamble.id
        for param, codec, value in zip(bound.params, bound.codecs, arguments, strict=True):
            message.action.params.add(param_id=param.id, value=codec.encode(value))
    return message


def _decode_key(table: BoundTable, field: p4i.MatchField, codec: Codec, match: p4r.FieldMatch | None) -> EntryKey:
    what = f"table {table.name}, {field.name}"
    kind = p4i.MatchField.MatchType.Name(field.match_type).lower()
    if match is None:
        if kind == "exact":
            raise Refusal(Code.INVALID_ARGUMENT, f"{what}: an exact field cannot be omitted")
        return EntryKey(None)
    if (given := match.WhichOneof("field_match_type")) != kind:
        raise Refusal(Code.INVALID_ARGUMENT, f"{what}: the field is {kind}, but the request has {given}")
    width, full = codec.width, (1 << codec.width) - 1
    match kind:
        case "exact":
            return EntryKey(codec.decode(match.exact.value, what))
        case "optional":
            return EntryKey(codec.decode(match.optional.value, what))
        case "lpm":
            length = match.lpm.prefix_len
            if not 0 < length <= width:
                raise Refusal(Code.INVALID_ARGUMENT, f"{what}: a prefix length is 1 to {width}; for 0, omit the field")
            value, mask = codec.decode(match.lpm.value, what), full ^ full >> length
        case "ternary":
            value, mask = codec.decode(match.ternary.value, what), codec.decode(match.ternary.mask, what)
            if not mask:
                raise Refusal(Code.INVALID_ARGUMENT, f"{what}: for a mask of 0, omit the field")
        case _:
            low, high = codec.decode(match.range.low, what), codec.decode(match.range.high, what)
            if low > high:
                raise Refusal(Code.INVALID_ARGUMENT, f"{what}: the range {low} to {high} is empty")
            if (low, high) == (0, full):
                raise Refusal(Code.INVALID_ARGUMENT, f"{what}: for the whole range, omit the field")
            return EntryKey(low, high=high)
    if value & ~mask:
        raise Refusal(Code.INVALID_ARGUMENT, f"{what}: {value:#x} has bits outside its mask {mask:#x}")
    return EntryKey(value, mask)


def _encode_key(field: p4i.MatchField, codec: Codec, key: EntryKey) -> p4r.FieldMatch | None:
    full = (1 << codec.width) - 1
    if key.value is None:
        return None
    match = p4r.FieldMatch(field_id=field.id)
    match field.match_type:
        case p4i.MatchField.EXACT:
            match.exact.value = codec.encode(key.value)
        case p4i.MatchField.OPTIONAL:
            match.optional.value = codec.encode(key.value)
        case p4i.MatchField.LPM:
            mask = full if key.mask is None else key.mask
            if not mask:
                return None
            match.lpm.value = codec.encode(key.value)
            match.lpm.prefix_len = mask.bit_count()
        case p4i.MatchField.TERNARY:
            mask = full if key.mask is None else key.mask
            if not mask:
                return None
            match.ternary.value = codec.encode(key.value & mask)
            match.ternary.mask = codec.encode(mask)
        case _:
            high = key.value if key.high is None else key.high
            if (key.value, high) == (0, full):
                return None
            match.range.low, match.range.high = codec.encode(key.value), codec.encode(high)
    return match
