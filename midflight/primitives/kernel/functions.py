"""Compiles the functions of the language: conversions, saturating arithmetic, min, max, abs, hashes and so on."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from midflight.primitives.kernel.arithmetic import (
    COUNT,
    HASH,
    add_overflows,
    bits,
    concat,
    hash_,
    popcount,
    sat_add,
    sat_sub,
)
from midflight.primitives.kernel.coercion import constant, no_width, not_a_number, number, sized
from midflight.primitives.kernel.context import Context
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.operators import pair, values_of
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.struct import Items
from midflight.primitives.kernel.typed import (
    Assign,
    Binary,
    Cast,
    Checksum,
    Compare,
    Concat,
    Const,
    Expr,
    FieldRef,
    Local,
    Old,
    Overflows,
    Scramble,
    Slice,
    Unary,
    reads,
)
from midflight.primitives.kernel.types import MAX_WIDTH, Kind
from midflight.primitives.kernel.values import LaneField, Untyped, Value, bare, chosen, solid
from midflight.stackless import Walk

__all__ = ["arguments", "counting", "function"]

_OWN = (sat_add, sat_sub, add_overflows, min, max, abs, len, bits, concat, popcount)


def function(code: Context, node: ast.Call, callee: Any) -> Walk[Value | None]:
    """Compile a call of one of the language's built-in functions and return its value; None for any other `callee`.

    `callee` is the object that `node.func` refers to: a type such as bit[8], `min`, `sat_add`, `hash_` and so on.
    Raises KernelError for arguments that do not fit.
    """
    if callee is hash_:
        return (yield from _hash(code, node))
    known = isinstance(callee, Kind) or any(callee is each for each in _OWN)
    if not known:
        return None
    if node.keywords:
        raise code.error(node, f"`{code.text(node.func)}` takes no keyword arguments", "pass them by position")
    if isinstance(callee, Kind):
        return (yield from _convert(code, callee, arguments(code, node, 1)[0]))
    if callee in (sat_add, sat_sub, add_overflows):
        left, right = arguments(code, node, 2)
        first, second = yield from values_of(code, left, right)
        one, other, kind = pair(code, node, left, first, right, second, callee.__name__)
        if callee is add_overflows:
            return Overflows(one, other)
        return Binary("|+|" if callee is sat_add else "|-|", one, other, kind)
    if callee is min or callee is max:
        return (yield from _least(code, node, callee))
    if callee is abs:
        return (yield from _magnitude(code, arguments(code, node, 1)[0]))
    if callee is bits:
        return (yield from _bits(code, node))
    if callee is concat:
        return (yield from _concat(code, node))
    if callee is popcount:
        return (yield from _popcount(code, node))
    return (yield from _length(code, arguments(code, node, 1)[0]))


def arguments(code: Context, node: ast.Call, count: int) -> list[ast.expr]:
    """Return the positional arguments of a call in a kernel. KernelError, with the call's place, if there are not
    `count`.
    """
    if len(node.args) != count:
        name = code.text(node.func)
        raise code.error(node, f"`{name}` takes {count} argument{'s'[: count != 1]}, not {len(node.args)}")
    return node.args


def _length(code: Context, argument: ast.expr) -> Walk[Value]:
    value: Value = yield code.value(argument)
    if isinstance(value, Known) and isinstance(value.value, LaneField) and value.value.field.count:
        return Known(value.value.field.count)
    if isinstance(value, Known) and isinstance(value.value, (tuple, Items)):
        return Known(len(value.value))
    raise code.error(argument, "`len` takes an array of the header", "write `len(wire.values)`")


def _magnitude(code: Context, argument: ast.expr) -> Walk[Value]:
    value: Value = yield code.value(argument)
    if isinstance(value, Known):
        return Known(abs((yield from constant(code, argument, "this"))))
    found = sized(code, value, argument)
    kind = found.kind
    assert kind is not None
    plain = bare(found)
    if plain is not None and not (kind.holds(-plain[0]) and kind.holds(-plain[1])):
        raise no_width(code, argument, kind)
    negative = plain and (-plain[1], -plain[0])
    return chosen(Compare("<", found, Const(0, kind)), Unary("-", found, kind, negative), found, kind)


def _bits(code: Context, node: ast.Call) -> Walk[Expr]:
    operand, *ends = arguments(code, node, 3)
    found = yield from _unsigned(code, operand)
    width = found.kind.width if found.kind else 0
    high = yield from constant(code, ends[0], "which bits")
    low = yield from constant(code, ends[1], "which bits")
    if not 0 <= low <= high < width:
        text = code.text(operand)
        raise code.error(
            node,
            f"`{text}` has bits {width - 1} to 0, not {high} to {low}",
            f"write the higher one first: `bits({text}, {width - 1}, 0)`",
        )
    return Slice(found, high, low, Kind(high - low + 1))


def _concat(code: Context, node: ast.Call) -> Walk[Expr]:
    if len(node.args) < 2:
        raise code.error(node, "`concat` takes two or more numbers", "write `concat(wire.high, wire.low)`")
    result = yield from _unsigned(code, node.args[0])
    rest: list[Expr] = []
    for argument in node.args[1:]:
        rest.append((yield from _unsigned(code, argument)))
    for each in rest:
        assert result.kind is not None
        assert each.kind is not None
        width = result.kind.width + each.kind.width
        if width > MAX_WIDTH:
            raise code.error(node, f"this is wider than {MAX_WIDTH} bits", "concatenate fewer numbers")
        result = Concat(result, each, Kind(width))
    return result


def _popcount(code: Context, node: ast.Call) -> Walk[Expr]:
    """Compile a population count: add neighbouring bits, then pairs, then groups of four, and so on."""
    operand = arguments(code, node, 1)[0]
    count = yield from _unsigned(code, operand)
    if any(isinstance(read, Old) for read in reads(count)):
        message = "a register's old value cannot be passed to `popcount` inside its update"
        raise code.error(operand, message, "count the bits of the update's result")
    kind, line = count.kind, code.source.line(node)
    assert kind is not None
    if kind.width == 1:
        return Cast(count, COUNT)
    ones = code.variables.fresh("ones", kind)
    if not isinstance(count, (Local, FieldRef)):
        code.emit_before(Assign(ones, count, line))
        count = ones
    for each in counting(ones, count, line):
        code.emit_before(each)
    return Cast(ones, COUNT)


def counting(ones: Local, count: Expr, line: Line) -> tuple[Assign, ...]:
    """Return the statements that assign the number of 1 bits of `count`, of at least two, to a variable of its type."""
    kind, statements, step = count.kind, [], 1
    assert kind is not None
    while step < kind.width:
        mask = Const(sum(1 << place for place in range(kind.width) if place & step == 0), kind)
        odd = Binary("&", Binary(">>", count, Const(step, HASH), kind), mask, kind)
        statements.append(Assign(ones, Binary("+", Binary("&", count, mask, kind), odd, kind), line))
        count = ones
        step *= 2
    return tuple(statements)


def _unsigned(code: Context, node: ast.expr) -> Walk[Expr]:
    """Compile a number with a width of its own and return its bits as an unsigned number."""
    found = yield from number(code, node)
    assert found.kind is not None
    if not solid(found):
        raise no_width(code, node, found.kind)
    return Cast(found, Kind(found.kind.width)) if found.kind.signed else found


def _hash(code: Context, node: ast.Call) -> Walk[Expr]:
    settings = {each.arg: each.value for each in node.keywords}
    if not node.args or not settings.keys() <= {"seed", "range"}:
        raise code.error(
            node,
            "`hash_` takes numbers and the optional keywords seed and range",
            "write `hash_(wire.key, seed=1, range=1024)`",
        )
    seed = 0
    if "seed" in settings:
        seed = yield from constant(code, settings["seed"], "the seed")
    if not HASH.holds(seed):
        raise code.error(settings["seed"], f"the seed {seed} does not fit {HASH}", "use 0 to 2**32 - 1")
    checksum = yield from _checksum(code, node)
    spread = Scramble(checksum, seed, HASH)
    if "range" not in settings:
        return spread
    size = yield from constant(code, settings["range"], "the range")
    if not 1 <= size <= 1 << 32:
        raise code.error(settings["range"], f"a hash cannot have the range {size}", "use 1 to 2**32")
    if size & (size - 1) == 0:
        return Binary("&", spread, Const(size - 1, HASH), HASH)
    wide = Kind(64)
    scaled = Binary("*", Cast(spread, wide), Const(size, wide), wide)
    return Cast(Binary(">>", scaled, Const(32, HASH), wide), HASH)


def _checksum(code: Context, node: ast.Call) -> Walk[Local]:
    """Return the variable with the checksum of a hash's numbers; compute it first unless it is already known."""
    values = []
    for each in node.args:
        value = yield from _unsigned(code, each)
        if any(isinstance(read, Old) for read in reads(value)):
            raise code.error(
                each,
                "a register's old value cannot be hashed inside its update",
                "hash the result of the update",
            )
        assert value.kind is not None
        width = value.kind.width
        values.append(Cast(value, Kind(width + -width % 8)) if width % 8 else value)
    key = tuple(values)
    known = code.scope.checksums.get(key)
    if known is None:
        known = code.scope.checksums[key] = code.variables.fresh("checksum", HASH)
        code.emit_before(Checksum(known, key, code.source.line(node)))
    return known


def _convert(code: Context, kind: Kind, operand: ast.expr) -> Walk[Expr]:
    """Return `kind(operand)`."""
    if kind.width > MAX_WIDTH:
        fixed = f"use a width of 1 to {MAX_WIDTH}"
        raise code.error(operand, f"{kind} is wider than a switch supports", fixed)
    value: Value = yield code.value(operand)
    if isinstance(value, Known):
        if not isinstance(value.value, int):
            raise not_a_number(code, operand, value.value)
        return Const(kind.wrap(int(value.value)), kind, solid=True)
    if isinstance(value, Untyped):
        choice: Expr = yield _solid_choice(value, kind)
        return choice
    if value.kind == kind:
        return value if solid(value) else Cast(value, kind)
    if value.kind is None:
        return chosen(value, Const(1, kind, solid=True), Const(0, kind, solid=True), kind)
    return Cast(value, kind)


def _solid_choice(value: Known | Untyped, kind: Kind) -> Walk[Expr]:
    if isinstance(value, Known):
        return Const(kind.wrap(int(value.value)), kind, solid=True)
    yes: Expr = yield _solid_choice(value.yes, kind)
    no: Expr = yield _solid_choice(value.no, kind)
    return chosen(value.condition, yes, no, kind)


def _once(code: Context, node: ast.Call, value: Expr) -> Expr:
    """Compute a value that is used twice in a variable first, unless it depends on a register's old value."""
    if isinstance(value, (Const, Local, FieldRef)) or any(isinstance(each, Old) for each in reads(value)):
        return value
    local = replace(code.variables.fresh("so_far", value.kind), bare=bare(value))
    code.emit_before(Assign(local, value, code.source.line(node)))
    return local


def _least(code: Context, node: ast.Call, callee: Any) -> Walk[Value]:
    if len(node.args) < 2:
        fixed = f"write `{callee.__name__}(a, b)`; for an array, write a `for` loop"
        raise code.error(node, f"`{callee.__name__}` takes two or more numbers", fixed)
    values = yield from values_of(code, *node.args)
    if all(isinstance(each, Known) for each in values):
        known = []
        for argument in node.args:
            known.append((yield from constant(code, argument, "this")))
        return Known(callee(*known))
    # Constants come last, as they take their width from the others.
    each = sorted(zip(node.args, values, strict=True), key=lambda pair: isinstance(pair[1], (Known, Untyped)))
    (result_node, result), *rest = each
    for right_node, right in rest:
        if len(rest) > 3 and not isinstance(result, (Known, Untyped)):
            result = _once(code, node, result)
        one, other, kind = pair(code, node, result_node, result, right_node, right, callee.__name__, solids=0)
        # Python's min and max keep the first of two equal values; equal numbers are the same here.
        result = chosen(Compare("<" if callee is min else ">", other, one), other, one, kind)
    return result
