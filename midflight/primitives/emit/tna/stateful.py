"""Lowers register accesses: what decides between updates without the stored value is decided before the access.

What is left is an update of one stateful ALU: a few comparisons with the stored value and one operation on it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from midflight.primitives.emit.tna.context import Context
from midflight.primitives.emit.tna.lowered import Action, Execute, Stored
from midflight.primitives.emit.tna.replacing import replaced
from midflight.primitives.emit.tna.values import assign, atom, condition, extreme, is_atom
from midflight.primitives.emit.tna.words import access_words
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
    Logic,
    Not,
    Old,
    Overflows,
    Slice,
    Truth,
    Unary,
    within,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk

__all__ = ["access", "stored_kind"]

CELLS = (8, 16, 32)
"""The widths of a register's cells, besides single bits."""

OPERATIONS = {
    "+": "add",
    "|+|": "add",
    "-": "subtract",
    "|-|": "subtract",
    "&": "and",
    "|": "or",
    "^": "xor",
    "min": "min",
    "max": "max",
}
"""The operations of a stateful ALU, with names for updates that consist of them."""

WRAPS = {"+", "|+|", "-", "|-|"}
"""The operations whose result depends on the width of the cell."""


def access(code: Context, each: Access) -> Walk[None]:
    """Lower a register access to decisions and, for each of their outcomes, one update of one element.

    KernelError, with the place in the kernel, for an update that a stateful ALU cannot compute, or for too many
    different ones.
    """
    register = code.register(each.register)
    array = each.register if each.lane is None else f"{each.register}_{each.lane}"
    kind = register.kind
    new = Old(kind) if each.new is None else each.new
    if each.condition != Truth(True):
        new = Choose(each.condition, new, Old(kind), kind)
    if kind.width > CELLS[-1]:
        yield access_words(code, each, register, array, new, access)
        return
    stored = code.registers.setdefault(
        array, Stored(stored_kind(kind, bits=False), kind, register.size, register.initial)
    )
    index: Expr = yield atom(code, each.index, "index")
    if isinstance(index, Const) or index.kind is None:
        place: Expr = Const(index.value if isinstance(index, Const) else 0, _index(register.size))
    else:
        width = min(index.kind.width, _index(register.size).width)
        place = index if width == index.kind.width else Slice(index, width - 1, 0, Kind(width))
    target = each.target
    inside: Expr = Truth(True)
    if each.guarded:
        assert index.kind is not None
        inside = yield condition(code, Compare("<", index, Const(register.size, index.kind)))
    if target is not None and inside != Truth(True):
        outside = _outside(each, register)
        if target in within(index) or any(target in within(part) for part in (new,)):
            raise code.refuse(
                f"`{target.name}` receives what register `{array}` returns, and is used in the same access",
                "use another variable",
            )
        yield assign(code, target, outside)
    with code.inner() as block:
        yield _decide(code, each, stored, array, place, new)
    if inside == Truth(True):
        for statement in block:
            code.add(statement)
    else:
        code.add(If(inside, tuple(block), (), code.line))


def stored_kind(kind: Kind, *, bits: bool) -> Kind:
    """Return the type of a register's cells: `kind`, widened to the next width that a stateful ALU has (8, 16 or 32
    bits).

    With `bits`, a cell may also be a single bit.
    """
    if kind.width == 1 and bits:
        return kind
    return Kind(next((each for each in CELLS if each >= kind.width), kind.width), kind.signed)


def _index(size: int) -> Kind:
    return Kind(max(1, (size - 1).bit_length()))


def _outside(each: Access, register: Register) -> Expr:
    """Return what an access outside the array gives: the initial value, or with `fetch` what would replace it."""
    start = Const(register.initial, register.kind)
    if not each.fetch or each.new is None:
        return start
    return replaced(each.new, Old(register.kind), start)


def _decide(code: Context, each: Access, stored: Stored, array: str, index: Expr, new: Expr) -> Walk[None]:
    """Write the decisions that do not need the stored value, around the updates."""
    test = _free_condition(new)
    if test is None:
        yield _update(code, each, stored, array, index, new)
        return
    when: Expr = yield condition(code, test)
    if isinstance(when, Truth):
        yield _decide(code, each, stored, array, index, replaced(new, test, when))
        return
    sides: list[list[Any]] = []
    for known in (True, False):
        with code.inner() as side:
            yield _decide(code, each, stored, array, index, replaced(new, test, Truth(known)))
        sides.append(side)
    yes, no = map(tuple, sides)
    if yes == no:
        for statement in yes:
            code.add(statement)
    elif yes or no:
        code.add(If(when, yes, no, code.line))


def _update(code: Context, each: Access, stored: Stored, array: str, index: Expr, new: Expr) -> Walk[None]:
    """Write the access with one update, after what it needs from outside."""
    ready: Expr = yield _prepared(code, new)
    target, returns = each.target, "" if each.target is None else ("new" if each.fetch else "old")
    if returns == "new" and not _reads_old(ready):
        assert target is not None
        code.add(Assign(target, ready, code.line))
        target, returns = None, ""
    if returns == "new" and ready == Old(_kind(ready)):
        returns = "old"
    if not returns and ready == Old(_kind(ready)):
        return
    _check(code, stored, array, ready)
    key = (ready, returns)
    if key not in stored.actions:
        stored.actions[key] = Action(_named(code, array, ready), ready, returns)
        if len(stored.actions) > code.architecture.updates:
            raise code.refuse(
                f"register `{array}` has more than {code.architecture.updates} different updates",
                "combine them: compute what differs before the access",
            )
    code.add(Execute(array, stored.actions[key].name, index, target, code.line))


def _kind(expr: Expr) -> Kind:
    assert expr.kind is not None
    return expr.kind


def _named(code: Context, array: str, new: Expr) -> str:
    match new:
        case Old():
            verb = "read"
        case Const(value=0):
            verb = "clear"
        case Const():
            verb = "set"
        case Binary(operator=operator):
            verb = OPERATIONS[operator]
        case Choose():
            verb = "update"
        case _:
            verb = "write"
    taken = {each.name for stored in code.registers.values() for each in stored.actions.values()}
    taken |= code.names()
    name, number = f"{array}_{verb}", 1
    while name in taken:
        number += 1
        name = f"{array}_{verb}_{number}"
    return name


def _reads_old(expr: Expr) -> bool:
    return any(isinstance(each, Old) for each in within(expr))


def _free_condition(new: Expr) -> Expr | None:
    """Return the outermost condition in an update that does not need the stored value; None if there is none."""
    waiting = deque([new])
    while waiting:
        each = waiting.popleft()
        if each.kind is None and not isinstance(each, Truth) and not _reads_old(each):
            return each
        if each.kind is None or _reads_old(each):
            waiting.extend(each.parts)
    return None


def _prepared(code: Context, expr: Expr) -> Walk[Expr]:
    """Return an update in which everything that does not need the stored value is an operand."""
    if not _reads_old(expr):
        done: Expr = yield atom(code, expr, "operand")
        return done
    if isinstance(expr, Choose) and (known := extreme(expr)) is not None:
        expr = known
    match expr:
        case Choose(condition=test, yes=yes, no=no, kind=kind):
            when: Expr = yield _prepared(code, _serial(test))
            one: Expr = yield _prepared(code, yes)
            other: Expr = yield _prepared(code, no)
            return Choose(when, one, other, kind)
        case Binary(operator=operator, left=left, right=right, kind=number):
            one = yield _prepared(code, left)
            other = yield _prepared(code, right)
            return Binary(operator, one, other, number)
        case Compare(operator=operator, left=left, right=right):
            one = yield _prepared(code, left)
            other = yield _prepared(code, right)
            return Compare(operator, one, other)
        case Logic(operator=operator, left=left, right=right):
            one = yield _prepared(code, _serial(left))
            other = yield _prepared(code, _serial(right))
            return Logic(operator, one, other)
        case Not(operand=operand):
            one = yield _prepared(code, _serial(operand))
            return Not(one)
        case Cast(operand=operand, kind=number):
            one = yield _prepared(code, operand)
            return Cast(one, number)
        case _:
            return expr


def _serial(test: Expr) -> Expr:
    """Return a comparison of a difference with half of the range as one of its sign, which a stateful ALU can test."""
    match test:
        case Compare(
            operator="<" | ">=" as operator,
            left=Binary(operator="-", kind=kind) as difference,
            right=Const(value=bound),
        ) if not kind.signed and bound == (kind.high + 1) // 2 and _reads_old(difference):
            signed = Kind(kind.width, signed=True)
            return Compare(">=" if operator == "<" else "<", Cast(difference, signed), Const(0, signed))
        case _:
            return test


def _check(code: Context, stored: Stored, array: str, new: Expr) -> None:
    """Refuse an update that one stateful ALU cannot compute. Notes whether the cells are compared as signed numbers."""
    limits, kind = code.architecture, _kind(new)
    comparisons = {_plain(each) for each in within(new) if isinstance(each, Compare)}
    if len(comparisons) > limits.comparisons:
        raise code.refuse(
            f"an update of register `{array}` compares its value {len(comparisons)} times; a stateful ALU of"
            f" {limits.chip} does so {limits.comparisons} times",
            "keep a part of the decision in another register",
        )
    inputs = {each for each in _operands(new) if not isinstance(each, (Const, Old))}
    if len(inputs) > limits.inputs:
        raise code.refuse(
            f"an update of register `{array}` uses {len(inputs)} numbers of the packet; a stateful ALU takes"
            f" {limits.inputs}",
            "combine them before the access",
        )
    for each in within(new):
        match each:
            case Binary(operator=operator, left=left, right=right, kind=inner):
                if operator not in OPERATIONS or not (is_atom(left) and is_atom(right)):
                    raise code.refuse(
                        f"an update of register `{array}` computes more than one operation on its value",
                        "a stateful ALU has one addition, minimum, maximum or bitwise operation: compute the rest"
                        " before or after the access",
                    )
                if operator in WRAPS and kind.width not in CELLS and inner == kind:
                    raise code.refuse(
                        f"register `{array}` counts in {kind}, and the cells of stateful ALUs have 8, 16 or 32 bits",
                        "use one of these widths",
                    )
            case Cast(operand=operand, kind=other):
                if other.signed and not kind.signed and isinstance(operand, Binary) and other.width == kind.width:
                    _sign(code, stored, array, new)
                elif not is_atom(each) or _reads_old(each):
                    raise _complex(code, array)
            case Slice() | Overflows() | Concat() | Unary() if _reads_old(each):
                raise _complex(code, array)
            case _:
                pass


def _sign(code: Context, stored: Stored, array: str, new: Expr) -> None:
    if stored.kind.width != _kind(new).width or any(
        isinstance(each, Binary) and each.operator in ("min", "max", "|+|", "|-|") for each in within(new)
    ):
        raise _complex(code, array)
    stored.kind = Kind(stored.kind.width, signed=True)


def _complex(code: Context, array: str) -> Exception:
    return code.refuse(
        f"an update of register `{array}` uses a part of its value, or whether a sum overflows, which a stateful ALU"
        " does not do",
        "keep parts in registers of their own, and compute with the value that the access returns",
    )


def _plain(test: Compare) -> tuple[str, Expr, Expr]:
    """Return what a comparison compares; a comparison and its opposite are one."""
    opposite = {"!=": "==", ">=": "<", "<=": ">"}
    return opposite.get(test.operator, test.operator), test.left, test.right


def _operands(expr: Expr) -> set[Expr]:
    found, waiting = set[Expr](), [expr]
    while waiting:
        each = waiting.pop()
        if is_atom(each):
            found.add(each)
        else:
            waiting += each.parts
    return found
