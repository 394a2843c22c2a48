"""Lowering of action profiles and selectors: from a table entry to the member whose action runs."""

from __future__ import annotations

from collections.abc import Callable

from midflight.p4 import ir
from midflight.runtime.engine.code import Code, Value
from midflight.runtime.engine.entrylayout import NOTHING, EntryLayout, MemberLayout
from midflight.runtime.engine.expressions import value
from midflight.runtime.engine.externs.hashes import digest_of
from midflight.runtime.engine.wire import Scalar

__all__ = ["chosen_member", "number_in"]


def chosen_member(
    code: Code, table: ir.Table, members: MemberLayout, layout: EntryLayout, entry: Value, hit: Value
) -> Value:
    """Return the address of the member that an entry refers to, itself or by its group; without a hit, the default's.

    As in BMv2, the member of a group is the one at the position of the hash modulo the number of active members, and
    an empty group runs no action.
    """
    profile, b = table.implementation, code.b
    assert profile is not None
    number = _hash(code, table, profile) if profile.kind == "action_selector" else None

    def member(slot: Value) -> Value:
        offset = b.mul(code.resize(slot, 64), code.i64(members.stride))
        return code.at(code.slot_pointer(f"{profile.name}.members"), offset)

    def referred() -> Value:
        slot = code.load(code.at(entry, layout.reference), 32)
        if number is None:
            return member(slot)
        grouped = code.load(code.at(entry, layout.reference + 4), 32)
        is_group = b.icmp_unsigned("!=", grouped, code.i32(0))
        return code.choose(is_group, lambda: _of_group(code, profile, slot, number, member), lambda: member(slot))

    return code.choose(hit, referred, lambda: entry)


def number_in(code: Code, table: ir.Table, members: MemberLayout, action: Value) -> Value:
    """Return the number of a member's action in a table, which differs if tables with other actions share a profile."""
    numbers = members.numbers(table)
    if numbers == tuple(range(len(numbers))):
        return action
    known = code.b.icmp_unsigned("<", action, code.i32(len(numbers)))
    place = code.b.select(known, action, code.i32(0))
    constants = code.unit.target.words(code, f"{table.name}.numbers", 32, list(numbers))
    found = code.load(code.at(constants, code.b.shl(code.resize(place, 64), code.i64(2))), 32)
    return code.b.select(known, found, code.i32(NOTHING))


def _hash(code: Code, table: ir.Table, profile: ir.Instance) -> Value:
    algorithms = next(each for each in code.unit.program.enums if each.name == "HashAlgorithm")
    name = algorithms.members[int(profile.arguments[0])]
    return digest_of(code, name, [Scalar(value(code, each.expression)) for each in table.selector])


def _of_group(code: Code, profile: ir.Instance, group: Value, number: Value, member: Callable[[Value], Value]) -> Value:
    """Return the member of a group for a hash. Groups are pairs of 32 bits: the start of their list, and its length."""
    b = code.b
    pair = code.at(code.slot_pointer(f"{profile.name}.groups"), b.shl(code.resize(group, 64), code.i64(3)))
    count = code.resize(code.load(code.at(pair, 4), 32), 64)

    def picked() -> Value:
        start = code.resize(code.load(pair, 32), 64)
        position = b.add(start, b.urem(number, count))
        lists = code.slot_pointer(f"{profile.name}.lists")
        return member(code.load(code.at(lists, b.shl(position, code.i64(2))), 32))

    empty = b.icmp_unsigned("==", count, code.i64(0))
    return code.choose(empty, lambda: code.slot_pointer(f"{profile.name}.empty"), picked)
