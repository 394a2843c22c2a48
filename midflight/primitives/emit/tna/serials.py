"""Updates of serial numbers of more than 32 bits: the upper part decides first, and then the lower word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from midflight.primitives.emit.tna.context import Context
from midflight.primitives.emit.tna.replacing import replaced
from midflight.primitives.emit.tna.values import assign, atom, condition
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.typed import (
    Access,
    Assign,
    Binary,
    Cast,
    Choose,
    Compare,
    Concat,
    Const,
    Expr,
    If,
    Local,
    Logic,
    Old,
    Slice,
    Truth,
    expressions,
    walk,
    within,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk

__all__ = ["Lowering", "access_serial", "serial_number"]

WORD = 32
"""The bits of a word."""

Lowering: TypeAlias = Callable[[Context, Access], Walk[None]]


def serial_number(new: Expr, each: Access) -> Expr | None:
    """Return the number that an access stores if it is newer by RFC 1982 or the element is empty, as `advance` does.

    Return None for any other access.
    """
    if (
        not isinstance(new, Choose)
        or each.fetch
        or any(isinstance(each, Old) for each in within(new.yes))
        or not isinstance(new.no, Old)
    ):
        return None
    kind, test, number = new.no.kind, new.condition, new.yes
    signed = Kind(kind.width, signed=True)
    newer = Compare(">", Cast(Binary("-", number, new.no, kind), signed), Const(0, signed))
    empty = Compare("==", new.no, Const(0, kind))
    return number if test == Logic("||", empty, newer) else None


def access_serial(
    code: Context,
    each: Access,
    register: Register,
    array: str,
    number: Expr,
    access: Lowering,
) -> Walk[None]:
    """Lower the access that stores a newer serial number.

    The number's upper part is stored above a bit that says that the element is not empty, at the top of a word: numbers
    modulo 2**32 are then ordered as those parts are. If it is newer, the lower word is replaced, and if it is the same,
    the larger lower word stays.

    If the kernel only tests whether the number is newer, older or the same, the distance is not computed: two variables
    are above 0 if it is newer or older, and `Context.signs` has them.
    """
    width = register.kind.width
    above = width - WORD
    word, top = Kind(WORD), Kind(above)
    index: Expr = yield atom(code, each.index, "index")
    whole: Expr = yield atom(code, number, "number")
    shape = Kind(WORD - above)
    upper: Expr = yield atom(code, Concat(Slice(whole, width - 1, WORD, top), Const(1, shape), word), f"{array}_upper")
    lower: Expr = Slice(whole, WORD - 1, 0, word)
    old, signed = Old(word), Kind(WORD, signed=True)
    there = code.fresh(f"{array}_high", word)
    empty, none = Compare("==", old, Const(0, word)), Const(0, signed)
    newer = Compare(">", Cast(Binary("-", upper, old, word), signed), none)
    name = code.array(f"{array}_high", word, register.size, 0)
    step = replace(each, register=name, lane=None, index=index, target=there, condition=Truth(True),
                   new=Choose(Logic("||", empty, newer), upper, old, word))  # fmt: skip
    yield access(code, step)
    ahead: Expr = yield atom(code, Binary("-", upper, there, word), "ahead_by")
    replaces = Logic("||", Compare("==", there, Const(0, word)), Compare(">", Cast(ahead, signed), none))
    same = Compare("==", ahead, Const(0, word))
    larger = Choose(Compare(">", lower, old), lower, old, word)
    name = code.array(f"{array}_low", word, register.size, 0)
    below = code.fresh(f"{array}_low", word)
    step = replace(step, register=name, target=below,
                   new=Choose(replaces, lower, Choose(same, larger, old, word), word))  # fmt: skip
    yield access(code, step)
    distance = _distance(code, each.target, whole, register.kind)
    if distance is not None:
        over, under = (code.fresh(name, word) for name in ("newer_by", "older_by"))

        def decided(by: Expr, back: Expr) -> tuple[Assign, ...]:
            return Assign(over, by, code.line), Assign(under, back, code.line)

        one, zero = Const(1, word), Const(0, word)
        apart = decided(Binary("|-|", lower, below, word), Binary("|-|", below, lower, word))
        when, equal = (yield condition(code, replaces)), (yield condition(code, same))
        otherwise = (If(equal, apart, decided(zero, one), code.line),)
        code.add(If(when, decided(one, zero), otherwise, code.line))
        code.signs[distance] = over, under
        return
    # Half of the range ahead is neither newer nor older. It counts as older, also for those who subtract the result.
    half = Compare("==", ahead, Const(1 << (WORD - 1), word))
    code.add(If(half, (Assign(below, lower, code.line),), (), code.line))
    if each.target is not None:
        yield assign(code, each.target, Concat(Slice(there, WORD - 1, WORD - above, top), below, register.kind))


def _distance(code: Context, there: Local | None, number: Expr, kind: Kind) -> Local | None:
    """Return the variable of the distance between a number and the one that was `there`, as `advance` computes it.

    None if there is none, if `there` is used otherwise, or if the kernel uses more than the distance's sign.
    """
    if there is None:
        return None
    signed = Kind(kind.width, signed=True)
    between = Cast(Binary("-", number, there, kind), signed)
    wanted = Choose(Compare("==", there, Const(0, kind)), Const(1, signed), between, signed)
    statements = [*walk(code.body)]
    read = [expr for each in statements for expr in expressions(each)]
    for each in statements:
        if isinstance(each, Assign) and isinstance(each.target, Local) and each.value == wanted:
            found = each.target
            once = sum(1 for other in statements if isinstance(other, Assign) and other.target == found) == 1
            alone = all(expr is each.value or there not in within(expr) for expr in read)
            if once and alone and all(_signs_only(expr, found, Const(0, signed)) for expr in read):
                return found
    return None


def _signs_only(expr: Expr, distance: Local, zero: Const) -> bool:
    """Return whether an expression uses a distance at most in comparisons with 0."""
    tests = [each for each in within(expr) if isinstance(each, Compare) and (each.left, each.right) == (distance, zero)]
    for each in tests:
        expr = replaced(expr, each, Truth(True))
    return distance not in within(expr)
