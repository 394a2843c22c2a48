"""Emits native table lookups: from a packed key to the winning entry, or null.

The table's match kinds determine one of three searches:

- exact: an array of entry numbers for keys of up to 16 bits, otherwise one hash table of them with open addressing
- lpm: the ends of all prefixes divide the key values into intervals with one winner each; a branch-free binary search
  finds the interval, so its time does not depend on the prefixes' lengths
- masked (ternary, range, optional): one hash table per mask, ordered by descending largest priority, so that the search
  ends when no later mask can win; ranges are searched by the common prefix of their ends, and then compared
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.code import POINTER, Code, Unit, Value, integer
from midflight.runtime.engine.entrylayout import KEY, NEXT, PRIORITY, EntryLayout
from midflight.runtime.engine.layout import align, stored_width

__all__ = ["HASH_FACTOR", "direct_lookup", "lookup_function"]

HASH_FACTOR = 0x9E37_79B9_7F4A_7C15
"""The multiplier of the key hash: 2**64 divided by the golden ratio."""


def lookup_function(unit: Unit, name: str, layout: EntryLayout) -> ll.Function:
    """Build the function `entry *lookup(context, key)` for the table with this name, and return it. For a `direct`
    layout, use `direct_lookup`.

    `key` is a packed key as wide as the layout says. The function returns the winning entry's address, or null.
    """
    function = unit.function(f"lookup.{name}", [POINTER, integer(layout.width)], POINTER)
    function.args[0].name = "context"
    code = Code(unit, function)
    key = function.args[1]
    if layout.search == "exact":
        _exact(code, name, layout, key)
    elif layout.search == "lpm":
        _intervals(code, name, layout, key)
    else:
        _masked(code, name, layout, key)
    return function


def _null() -> Value:
    return ll.Constant(POINTER, None)


def hash_key(code: Code, key: Value) -> Value:
    """Emit the 64-bit hash of a packed key and return it. `indexes.hash_key` computes the same in Python."""
    b, width = code.b, key.type.width
    state = code.i64(0)
    for shift in range(0, width, 64):
        word = code.resize(b.lshr(key, code.constant(width, shift)) if shift else key, 64)
        state = b.mul(b.xor(state, word), code.i64(HASH_FACTOR))
        state = b.xor(state, b.lshr(state, code.i64(32)))
    return state


def _entry(code: Code, base: Value, number_plus_one: Value, layout: EntryLayout) -> Value:
    number = code.b.sub(code.resize(number_plus_one, 64), code.i64(1))
    return code.at(base, code.b.mul(number, code.i64(layout.stride)))


def _probe(
    code: Code, buckets: Value, mask: Value, key: Value, entries: Value, layout: EntryLayout
) -> tuple[Value, Value]:
    """Emit a search of one hash table for a stored key. Return whether it hit, and the entry (undefined if not)."""
    b = code.b
    start = b.and_(code.resize(hash_key(code, key), 32), mask)
    before, head, taken, onward, done = b.block, *(code.block(each) for each in ("probe", "taken", "onward", "probed"))
    b.branch(head)
    b.position_at_end(head)
    at = b.phi(integer(32))
    at.add_incoming(start, before)
    number = code.load(code.at(buckets, b.shl(code.resize(at, 64), code.i64(2))), 32)
    b.cbranch(b.icmp_unsigned("==", number, code.i32(0)), done, taken)
    b.position_at_end(taken)
    entry = _entry(code, entries, number, layout)
    same = b.icmp_unsigned("==", code.load(code.at(entry, KEY), layout.stored), key)
    b.cbranch(same, done, onward)
    b.position_at_end(onward)
    following = b.and_(b.add(at, code.i32(1)), mask)
    bounded = code.repeat(head, done)
    at.add_incoming(following, onward)
    b.position_at_end(done)
    hit = b.phi(integer(1))
    hit.add_incoming(code.constant(1, 0), head)
    hit.add_incoming(code.constant(1, 1), taken)
    found = b.phi(POINTER)
    found.add_incoming(_null(), head)
    found.add_incoming(entry, taken)
    if bounded:
        hit.add_incoming(code.constant(1, 0), onward)
        found.add_incoming(_null(), onward)
    return hit, found


def direct_lookup(code: Code, name: str, layout: EntryLayout, key: Value) -> tuple[Value, Value]:
    """Emit the lookup in a table with a `direct` layout at the current position, as it is shorter than a call.

    Return whether it hit, and the entry's address, which is undefined if not.
    """
    b = code.b
    wide, mask = code.resize(key, 64), code.slot_value(f"{name}.mask")
    numbers, entries = code.slot_pointer(f"{name}.buckets"), code.slot_pointer(f"{name}.entries")
    # Without branches: where keys vary, none would be predicted.
    number = code.load(code.at(numbers, b.shl(b.and_(wide, mask), code.i64(2))), 32)
    hit = b.and_(b.icmp_unsigned("<=", wide, mask), b.icmp_unsigned("!=", number, code.i32(0)))
    return hit, _entry(code, entries, number, layout)


def _exact(code: Code, name: str, layout: EntryLayout, key: Value) -> None:
    mask = code.resize(code.slot_value(f"{name}.mask"), 32)
    buckets, entries = code.slot_pointer(f"{name}.buckets"), code.slot_pointer(f"{name}.entries")
    _, found = _probe(code, buckets, mask, code.resize(key, layout.stored), entries, layout)
    code.b.ret(found)


def _intervals(code: Code, name: str, layout: EntryLayout, key: Value) -> None:
    b = code.b
    size = layout.stored // 8
    stored = code.resize(key, layout.stored)
    bounds, count = code.slot_pointer(f"{name}.bounds"), code.slot_value(f"{name}.count")
    before, head, body, done = b.block, code.block("search"), code.block("halve"), code.block("found")
    b.branch(head)
    b.position_at_end(head)
    base, left = b.phi(integer(64)), b.phi(integer(64))
    base.add_incoming(code.i64(0), before)
    left.add_incoming(count, before)
    b.cbranch(b.icmp_unsigned(">", left, code.i64(1)), body, done)
    b.position_at_end(body)
    half = b.lshr(left, code.i64(1))
    middle = b.add(base, half)
    bound = code.load(code.at(bounds, b.mul(middle, code.i64(size))), layout.stored)
    chosen = b.select(b.icmp_unsigned("<=", bound, stored), middle, base)
    chosen.set_metadata("unpredictable", code.unit.module.add_metadata([]))
    rest = b.sub(left, half)
    code.repeat(head, done)
    base.add_incoming(chosen, body)
    left.add_incoming(rest, body)
    b.position_at_end(done)
    winners, entries = code.slot_pointer(f"{name}.winners"), code.slot_pointer(f"{name}.entries")
    number = code.load(code.at(winners, b.shl(base, code.i64(2))), 32)
    entry = _entry(code, entries, number, layout)
    b.ret(b.select(b.icmp_unsigned("==", number, code.i32(0)), _null(), entry))


def _masked(code: Code, name: str, layout: EntryLayout, key: Value) -> None:
    b = code.b
    stored = code.resize(key, layout.stored)
    entries, buckets = code.slot_pointer(f"{name}.entries"), code.slot_pointer(f"{name}.buckets")
    groups = code.slot_pointer(f"{name}.groups")
    best, best_priority = code.allocate(8), code.allocate(4, 4)
    b.store(_null(), best, align=8)
    code.store(code.i32(0), best_priority)
    finish = code.block("finish")
    tail = align(layout.stored // 8, 8)
    with code.loop(code.resize(code.slot_value(f"{name}.count"), 32)) as number:
        group = code.at(groups, b.mul(code.resize(number, 64), code.i64(layout.group_stride)))
        go_on = code.block("group")
        beaten = b.icmp_unsigned("<=", code.load(code.at(group, tail + 8), 32), code.load(best_priority, 32))
        found_one = b.icmp_unsigned("!=", b.ptrtoint(code.load_pointer(best), integer(64)), code.i64(0))
        b.cbranch(b.and_(found_one, beaten), finish, go_on)
        b.position_at_end(go_on)
        masked = b.and_(stored, code.load(group, layout.stored))
        first = code.load(code.at(group, tail), 32)
        base = code.at(buckets, b.shl(code.resize(first, 64), code.i64(2)))
        hit, found = _probe(code, base, code.load(code.at(group, tail + 4), 32), masked, entries, layout)
        with code.when(hit):
            _chain(code, layout, key, found, entries, best, best_priority)
    code.go(finish)
    b.position_at_end(finish)
    b.ret(code.load_pointer(best))


def _chain(code: Code, layout: EntryLayout, key: Value, first: Value, entries: Value, best: Value, most: Value) -> None:
    """Search the entries of one masked key by descending priority for the first with matching ranges, its candidate."""
    b = code.b
    before, head, onward, done = b.block, code.block("chain"), code.block("next"), code.block("chained")
    follow = code.block("follow")
    b.branch(head)
    b.position_at_end(head)
    entry = b.phi(POINTER)
    entry.add_incoming(first, before)
    holds = code.constant(1, 1)
    for field in layout.ranges:
        width = stored_width(field.width)
        part = code.resize(b.lshr(key, code.constant(layout.width, field.shift)), field.width)
        part = code.resize(part, width)
        low, high = code.load(code.at(entry, field.low), width), code.load(code.at(entry, field.high), width)
        holds = b.and_(holds, b.and_(b.icmp_unsigned(">=", part, low), b.icmp_unsigned("<=", part, high)))
    candidate = code.block("candidate")
    b.cbranch(holds, candidate, onward)
    b.position_at_end(candidate)
    priority = code.load(code.at(entry, PRIORITY), 32)
    none = b.icmp_unsigned("==", b.ptrtoint(code.load_pointer(best), integer(64)), code.i64(0))
    better = b.or_(none, b.icmp_unsigned(">", priority, code.load(most, 32)))
    with code.when(better):
        b.store(entry, best, align=8)
        code.store(priority, most)
    code.go(done)
    b.position_at_end(onward)
    following = code.load(code.at(entry, NEXT), 32)
    b.cbranch(b.icmp_unsigned("==", following, code.i32(0)), done, follow)
    b.position_at_end(follow)
    after = _entry(code, entries, following, layout)
    code.repeat(head, done)
    entry.add_incoming(after, follow)
    b.position_at_end(done)
