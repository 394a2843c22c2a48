"""Lowers expressions: an action computes one operation on numbers of at most 32 bits, a gateway compares few bits."""

from __future__ import annotations

from typing import Any

from midflight.errors import KernelError
from midflight.primitives.emit.tna.context import Context
from midflight.primitives.emit.tna.gateways import by_bits, masked, negated, row_bits
from midflight.primitives.emit.tna.lowered import Tabulated
from midflight.primitives.kernel.typed import (
    Assign,
    Binary,
    Cast,
    Choose,
    Compare,
    Concat,
    Const,
    EpochRef,
    Expr,
    FieldRef,
    ForwardedRef,
    If,
    Local,
    Logic,
    Not,
    NowRef,
    Old,
    Overflows,
    RoundRef,
    Scramble,
    SequenceRef,
    Slice,
    Truth,
    Unary,
    within,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk

__all__ = ["assign", "atom", "condition", "extreme", "is_atom", "value"]

WORD = 32
"""The widest number with which an action computes, and the bits of a packet that a gateway compares."""

ROW = 40
"""The bits of a packet that a row of a gateway compares: a word, and a few more."""

RANGE = 8
"""The widest number that a gateway itself compares with a constant by order."""

TERMS = 4
"""The most shifted terms into which a multiplication by a constant is taken apart."""

ATOMS = (Const, Truth, Local, FieldRef, SequenceRef, EpochRef, NowRef, RoundRef, Old)
"""What is stored somewhere or constant."""

ORDER = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def is_atom(expr: Expr) -> bool:
    """Return whether an expression can be an operand of an operation: a variable, a field or a part of one, or a
    constant.
    """
    while True:
        match expr:
            case Slice(operand=operand):
                expr = operand
            case Cast(operand=operand, kind=kind) if operand.kind is not None and operand.kind.width == kind.width:
                expr = operand
            case _:
                return isinstance(expr, ATOMS)


def atom(code: Context, expr: Expr, name: str = "part") -> Walk[Expr]:
    """Return an operand with the value of `expr`: itself, or a new variable, called `name` if that is free.

    KernelError, with the place in the kernel, for an operation that the architecture does not have.
    """
    if expr.kind is None and not isinstance(expr, (Local, Truth)):
        done: Expr = yield flag(code, expr)
        return done
    found: Expr = yield value(code, expr)
    return found if is_atom(found) else code.assigned(name, found)


def value(code: Context, expr: Expr) -> Walk[Expr]:
    """Return an expression of at most one operation on operands with the value of `expr`.

    KernelError, with the place in the kernel, for an operation that the architecture does not have, such as a product.
    """
    match expr:
        case Slice(operand=operand, high=high, low=low, kind=kind):
            inner: Expr = yield atom(code, operand)
            while isinstance(inner, Cast):  # an operand: it has as many bits
                inner = inner.operand
            if isinstance(inner, Const):
                return Const(inner.value >> low & kind.high, kind)
            if isinstance(inner, Slice):
                return Slice(inner.operand, high + inner.low, low + inner.low, kind)
            return Slice(inner, high, low, kind)
        case Cast():
            return (yield from _cast(code, expr))
        case Unary(operator="-", operand=operand, kind=kind):
            inner = yield atom(code, operand)
            _narrow(code, kind, "subtracts")
            return Binary("-", Const(0, kind), inner, kind)
        case Unary(operator=operator, operand=operand, kind=kind):
            inner = yield atom(code, operand)
            return Unary(operator, inner, kind)
        case Binary(operator=operator) if operator in ("<<", ">>"):
            return (yield from _shift(code, expr))
        case Binary(operator="*"):
            return (yield from _product(code, expr))
        case Binary(operator=operator, left=left, right=right, kind=kind):
            if operator == "&" and (bits := _low_bits(left, right, kind)) is not None:
                return (yield from _cast(code, bits))
            if operator == "|" and kind.width > WORD and not kind.signed:
                upper: Expr = yield value(code, left)
                lower: Expr = yield value(code, right)
                if (joined := _joined(upper, lower)) is not None:
                    return joined
                left, right = upper, lower
            one: Expr = yield atom(code, left)
            other: Expr = yield atom(code, right)
            if operator in ("+", "-") and WORD < kind.width <= 2 * WORD:
                return (yield from _in_words(code, operator, one, other, kind))
            if operator in ("+", "-", "|+|", "|-|"):
                _narrow(code, kind, "adds" if "+" in operator else "subtracts")
            return Binary(operator, one, other, kind)
        case Choose():
            return (yield from _choice(code, expr))
        case Concat(left=left, right=right, kind=kind):
            one = yield atom(code, left)
            other = yield atom(code, right)
            return Concat(one, other, kind)
        case Scramble(checksum=checksum, seed=seed):
            return code.checksums[checksum.name][seed]
        case Compare() | Logic() | Not() | Overflows() | ForwardedRef():
            done: Expr = yield flag(code, expr)
            return done
        case _:
            return expr


def assign(code: Context, target: Local | FieldRef, expr: Expr) -> Walk[None]:
    """Add statements that assign the value of `expr` to `target`.

    KernelError, with the place in the kernel, for an operation that the architecture does not have.
    """
    if expr.kind is None and not isinstance(expr, (Local, Truth)):
        test: Expr = yield condition(code, expr)
        yes, no = (Assign(target, Truth(each), code.line) for each in (True, False))
        code.add(If(test, (yes,), (no,), code.line))
        if row_bits(test) <= ROW:
            code.learn(target, test)
        return
    if isinstance(expr, Choose) and extreme(expr) is None:
        yield _branch(code, target, expr)
        return
    found: Expr = yield value(code, expr)
    if found != target:
        code.add(Assign(target, found, code.line))


def flag(code: Context, expr: Expr) -> Walk[Expr]:
    """Return a new variable with the truth of a condition; its assignment is added to the current block.

    KernelError, with the place in the kernel, for an operation that the architecture does not have.
    """
    local = code.fresh("holds", None)
    yield assign(code, local, expr)
    return local


def condition(code: Context, expr: Expr) -> Walk[Expr]:
    """Return a condition that one gateway can test, with the truth of `expr`.

    Parts that do not fit are computed before, in new variables. KernelError, with the place in the kernel, for an
    operation that the architecture does not have.
    """
    match expr:
        case Not(operand=operand):
            inner: Expr = yield condition(code, operand)
            return negated(inner)
        case Logic(operator=operator, left=left, right=right):
            one: Expr = yield condition(code, left)
            other: Expr = yield condition(code, right)
            if operator == "&&" and row_bits(one) + row_bits(other) > ROW:
                if row_bits(one) > RANGE:
                    one = left if isinstance(left, Local) else _kept(code, one)
                if row_bits(one) + row_bits(other) > ROW:
                    other = right if isinstance(right, Local) else _kept(code, other)
            return Logic(operator, one, other)
        case Compare(left=left, right=right) if left.kind is None:
            one = yield atom(code, left)
            other = yield atom(code, right)
            same = Logic("||", Logic("&&", one, other), Logic("&&", negated(one), negated(other)))
            return same if expr.operator == "==" else negated(same)
        case Compare():
            return (yield from _comparison(code, expr))
        case Overflows(left=left, right=right):
            return (yield from _overflow(code, left, right))
        case Choose():
            done: Expr = yield flag(code, expr)
            return done
        case Local():
            return code.known.get(expr, expr)
        case _:
            return expr


def extreme(expr: Choose) -> Binary | None:
    """Return a choice as the operation `min` or `max` on two numbers if it is one, such as `a if a < b else b`;
    otherwise None.
    """
    test = expr.condition
    if not isinstance(test, Compare) or test.operator not in ORDER or expr.kind is None:
        return None
    operator = "min" if test.operator in ("<", "<=") else "max"
    if (test.left, test.right) == (expr.yes, expr.no):
        return Binary(operator, expr.yes, expr.no, expr.kind)
    if (test.left, test.right) == (expr.no, expr.yes):
        return Binary("max" if operator == "min" else "min", expr.yes, expr.no, expr.kind)
    return None


def _choice(code: Context, expr: Choose) -> Walk[Expr]:
    found = extreme(expr)
    if found is not None:
        one: Expr = yield atom(code, found.left)
        other: Expr = yield atom(code, found.right)
        _narrow(code, found.kind, "compares")
        return Binary(found.operator, one, other, found.kind)
    local = code.fresh("chosen", expr.kind)
    yield _branch(code, local, expr)
    return local


def _branch(code: Context, target: Local | FieldRef, expr: Choose) -> Walk[None]:
    test: Expr = yield condition(code, expr.condition)
    sides: list[list[Any]] = []
    for each in (expr.yes, expr.no):
        with code.inner() as side:
            yield assign(code, target, each)
        sides.append(side)
    yes, no = map(tuple, sides)
    if yes or no:
        code.add(If(test, yes, no, code.line))


def _in_words(code: Context, operator: str, one: Expr, other: Expr, kind: Kind) -> Walk[Expr]:
    """Add or subtract numbers of two words: the lower ones, and the upper ones with what the lower ones carry."""
    word, above = Kind(WORD), Kind(kind.width - WORD)
    halves: list[tuple[Expr, Expr]] = []
    for number in (one, other):
        upper: Expr = yield value(code, Slice(_plain(number), kind.width - 1, WORD, above))
        lower: Expr = yield value(code, Slice(_plain(number), WORD - 1, 0, word))
        halves.append((upper, lower))
    (high, low), (more, less) = halves
    below = code.assigned("low", Binary(operator, low, less, word))
    top = code.assigned("high", Binary(operator, high, more, above))
    carries: Expr = yield condition(code, Compare("<", *((low, less) if operator == "-" else (below, low))))
    code.add(If(carries, (Assign(top, Binary(operator, top, Const(1, above), above), code.line),), (), code.line))
    total = Concat(top, below, Kind(kind.width))
    return Cast(code.assigned("wide", total), kind) if kind.signed else total


def _low_bits(left: Expr, right: Expr, kind: Kind) -> Cast | None:
    """Return `x & mask`, where the mask has ones only at its end, as these bits of x: they may be an index."""
    mask, number = (left, right) if isinstance(left, Const) else (right, left)
    if not isinstance(mask, Const) or kind.signed or not 0 < mask.value < kind.high or mask.value & (mask.value + 1):
        return None
    width = mask.value.bit_length()
    return Cast(Slice(number, width - 1, 0, Kind(width)), kind)


def _joined(one: Expr, other: Expr) -> Expr | None:
    """Return one number above another, if `one` has zeros where `other` has bits; otherwise None."""
    if not isinstance(one, Concat) or not isinstance(one.right, Const) or one.right.value:
        return None
    if not isinstance(other, Cast) or other.operand.kind != one.right.kind or other.operand.kind.signed:
        return None
    return Concat(one.left, other.operand, one.kind)


def _plain(number: Expr) -> Expr:
    """Return the bits of a number, as an unsigned one."""
    return Cast(number, Kind(number.kind.width)) if number.kind is not None and number.kind.signed else number


def _cast(code: Context, expr: Cast) -> Walk[Expr]:
    kind, source = expr.kind, expr.operand.kind
    if isinstance(expr.operand, Binary) and source is not None and kind.width <= WORD < source.width:
        inside = expr.operand
        if inside.operator in ("+", "-", "&", "|", "^"):
            # The low bits of a result are those of a narrower operation.
            low, other = (
                Slice(_plain(each), kind.width - 1, 0, Kind(kind.width)) for each in (inside.left, inside.right)
            )
            narrow = Binary(inside.operator, low, other, Kind(kind.width))
            done: Expr = yield value(code, Cast(narrow, kind) if kind.signed else narrow)
            return done
    if isinstance(expr.operand, Binary) and source is not None and source.width == kind.width <= WORD:
        inside = expr.operand
        if inside.operator in ("+", "-", "&", "|", "^"):
            # The bits are the same for signed and unsigned numbers.
            turned: Expr = yield value(
                code, Binary(inside.operator, Cast(inside.left, kind), Cast(inside.right, kind), kind)
            )
            return turned
    inner: Expr = yield atom(code, expr.operand)
    if isinstance(inner, Const):
        return Const(kind.wrap(inner.value), kind)
    if inner.kind == kind:
        return inner
    if isinstance(inner, Cast) and source is not None and source.width == kind.width:
        inner = inner.operand
        if inner.kind == kind:
            return inner
    if source is not None and source.width > kind.width:
        part: Expr = Slice(inner, kind.width - 1, 0, Kind(kind.width))
        if isinstance(inner, Slice):
            part = Slice(inner.operand, inner.low + kind.width - 1, inner.low, Kind(kind.width))
        return Cast(part, kind) if kind.signed else part
    return Cast(inner, kind)


def _shift(code: Context, expr: Binary) -> Walk[Expr]:
    kind, amount = expr.kind, expr.right
    if isinstance(amount, Const):
        if isinstance(expr.left, Binary) and expr.left.operator == "*" and kind.width > WORD:
            raise _ranged(code, expr.left)
        if amount.value >= kind.width and (not kind.signed or expr.operator == "<<"):
            return Const(0, kind)
        if expr.operator == ">>" and not kind.signed and amount.value:
            inner: Expr = yield atom(code, expr.left)
            return Cast(Slice(inner, kind.width - 1, amount.value, Kind(kind.width - amount.value)), kind)
        if expr.operator == "<<" and amount.value and kind.width > WORD and not kind.signed:
            rest = kind.width - amount.value
            upper: Expr = yield value(code, Cast(expr.left, Kind(rest)))
            return Concat(
                upper if is_atom(upper) else code.assigned("upper", upper), Const(0, Kind(amount.value)), kind
            )
        inner = yield atom(code, expr.left)
        _narrow(code, kind, "shifts")
        return Binary(expr.operator, inner, Const(min(amount.value, kind.width - 1), amount.kind), kind)
    if isinstance(expr.left, Const) and expr.left.value == 1 and expr.operator == "<<":
        found: Expr = yield atom(code, amount)
        if not isinstance(found, (Local, FieldRef)):
            found = code.assigned("exponent", found)
        local = code.fresh("power", kind)
        reach = min(kind.width, (found.kind.high if found.kind else 0) + 1)
        powers = tuple(1 << place for place in range(reach))
        code.add(Tabulated(f"{local.name}_of_two", local, found, powers, "power_of_two", code.line))
        return local
    raise code.refuse(
        "a number is shifted by a number that is not constant, which a stage cannot do",
        "shift by a constant, or read the shifted number from a Lookup",
    )


def _ranged(code: Context, product: Binary) -> KernelError:
    """Return the error for a hash, or another number, that is scaled to a range."""
    factor = next((each.value for each in (product.left, product.right) if isinstance(each, Const)), 0)
    if any(isinstance(each, Scramble) for each in within(product)):
        low = 1 << factor.bit_length() - 1
        return code.refuse(
            f"a hash has the range {factor}, but a hash unit computes whole bits: a power of two",
            f"use a power of two, such as {low} or {2 * low}",
        )
    return code.refuse(f"a product has {product.kind.width} bits", "use narrower numbers")


def _product(code: Context, expr: Binary) -> Walk[Expr]:
    kind = expr.kind
    number, factor = (expr.right, expr.left) if isinstance(expr.left, Const) else (expr.left, expr.right)
    if not isinstance(factor, Const):
        raise code.refuse("two numbers are multiplied", "multiply by a constant, or read the product from a Lookup")
    places = [place for place in range(kind.width) if factor.value >> place & 1]
    if factor.value < 0 or len(places) > TERMS:
        raise code.refuse(
            f"a number is multiplied by {factor.value}, which takes more than {TERMS} shifts and additions",
            "multiply by a power of two, or read the product from a Lookup",
        )
    inner: Expr = yield atom(code, number)
    total: Expr = Const(0, kind)
    for place in places:
        term: Expr = inner
        if place:
            _narrow(code, kind, "shifts")
            term = Binary("<<", inner, Const(place, Kind(8)), kind)
        if total == Const(0, kind):
            total = term
            continue
        one = total if is_atom(total) else code.assigned("product", total)
        other = term if is_atom(term) else code.assigned("term", term)
        _narrow(code, kind, "adds")
        total = Binary("+", one, other, kind)
    return total


def _comparison(code: Context, expr: Compare) -> Walk[Expr]:
    operator, left, right = expr.operator, expr.left, expr.right
    if isinstance(left, Const):
        operator, left, right = ORDER.get(operator, operator), right, left
    kind = left.kind
    assert kind is not None
    if isinstance(left, Local) and left in code.signs:
        done: Expr = yield condition(code, _sign(code, left, operator))
        return done
    if operator in ("==", "!=") and isinstance(right, Const) and (few := masked(left, right.value)) is not None:
        left, right = few
        kind = left.kind
        assert kind is not None
    one: Expr = yield atom(code, left)
    other: Expr = yield atom(code, right)
    if operator in ("==", "!="):
        return Compare(operator, one, other)
    if isinstance(other, Const):
        known = by_bits(operator, one, other.value, kind)
        if known is not None:
            return known
        if kind.width <= RANGE and not kind.signed:
            return Compare(operator, one, other)
    _narrow(code, kind, "compares")
    # a >= b if the smaller of them is b, and a > b if the larger of them is not b.
    extreme, test = {">=": ("min", "=="), "<": ("min", "!="), ">": ("max", "!="), "<=": ("max", "==")}[operator]
    found = code.assigned("smaller" if extreme == "min" else "larger", Binary(extreme, one, other, kind))
    return Compare(test, found, other)


def _sign(code: Context, distance: Local, operator: str) -> Expr:
    """Return the comparison of a distance with 0 by the variables that say whether it is above or below."""
    newer, older = (Compare("!=", each, Const(0, each.kind)) for each in code.signs[distance] if each.kind is not None)
    tests: dict[str, Expr] = {
        ">": newer,
        "<": older,
        "<=": Not(newer),
        ">=": Not(older),
        "!=": Logic("||", newer, older),
        "==": Logic("&&", Not(newer), Not(older)),
    }
    return tests[operator]


def _overflow(code: Context, left: Expr, right: Expr) -> Walk[Expr]:
    kind = left.kind
    assert kind is not None
    one: Expr = yield atom(code, left)
    other: Expr = yield atom(code, right)
    _narrow(code, kind, "adds")
    total = code.assigned("total", Binary("+", one, other, kind))
    if not kind.signed:
        return (yield from _comparison(code, Compare("<", total, one)))
    # Both operands have the same sign, and the sum has the other.
    first = code.assigned("differs", Binary("^", one, total, kind))
    second = code.assigned("differs", Binary("^", other, total, kind))
    both = code.assigned("both", Binary("&", first, second, kind))
    return by_bits("<", both, 0, kind) or Truth(False)


def _narrow(code: Context, kind: Kind | None, does: str) -> None:
    if kind is not None and kind.width > WORD:
        raise code.refuse(
            f"a stage {does} numbers of at most {WORD} bits, but these have {kind.width}",
            "use narrower numbers",
        )


def _kept(code: Context, test: Expr) -> Expr:
    """Return a variable with the truth of a condition that one gateway can test."""
    local = code.fresh("holds", None)
    yes, no = (Assign(local, Truth(each), code.line) for each in (True, False))
    code.add(If(test, (yes,), (no,), code.line))
    return local
