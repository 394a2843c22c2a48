"""Divides registers of more than 32 bits into registers of words, whose updates follow each other in the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from midflight.primitives.emit.tna.context import Context
from midflight.primitives.emit.tna.replacing import replaced
from midflight.primitives.emit.tna.serials import Lowering, access_serial, serial_number
from midflight.primitives.emit.tna.values import assign, atom
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
    Local,
    Logic,
    Not,
    Old,
    Slice,
    Truth,
    Unary,
    accesses,
    walk,
    within,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk, run

__all__ = ["access_words"]

WORD = 32
"""The bits of a word."""


def access_words(
    code: Context, each: Access, register: Register, array: str, new: Expr, access: Lowering
) -> Walk[None]:
    """Lower an access to a register of more than 32 bits to one access to each of its words, by `access`.

    `array` is the register's name, and `new` its new value. Words whose updates need others come after these. A serial
    number is divided into its upper part, which decides first, and its lower word (see `serials.py`). KernelError, with
    the place in the kernel, if the words decide together, if the register is signed, and for a serial number of 64 bits
    or more, or in a register with an initial value.
    """
    width = register.kind.width
    if register.kind.signed:
        raise _refusal(code, array, register)
    number = serial_number(new, each)
    if number is not None:
        if register.initial or width >= 2 * WORD:
            raise _refusal(code, array, register)
        yield access_serial(code, each, register, array, number, access)
        return
    count = -(-width // WORD)
    kinds = [Kind(min(WORD, width - WORD * place)) for place in range(count)]
    words = [Local(f"{array} word {place}", kind) for place, kind in enumerate(kinds)]
    marks = _marks(code)
    division = _Division(code, array, register, words, marks, _has_valid_bit(code, each.register, register, marks))
    updates = [division.part(new, WORD * place + kind.width - 1, WORD * place) for place, kind in enumerate(kinds)]
    updates = [division.closed(place, update) for place, update in enumerate(updates)]
    needs = {place: {other for other in range(count) if other != place and words[other] in within(updates[place])}
             for place in range(count)}  # fmt: skip
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        raise _refusal(code, array, register) from None
    index: Expr = yield atom(code, each.index, "index")
    known: dict[Expr, Expr] = {}
    results: list[Expr] = [*words]
    for place in order:
        kind, update = kinds[place], updates[place]
        for word, local in known.items():
            update = replaced(update, word, local)
        needed = any(place in needs[other] for other in range(count))
        fetch = each.fetch and not needed
        there = code.fresh(f"{array}_{_part(place, count)}", kind) if each.target is not None or needed else None
        initial = register.initial >> WORD * place & kind.high
        name = code.array(f"{array}_{_part(place, count)}", kind, register.size, initial)
        new_word = replaced(update, words[place], Old(kind))
        step = replace(each, register=name, lane=None, index=index, target=there, fetch=fetch, new=new_word)
        step = replace(step, condition=Truth(True))
        yield access(code, step)
        if there is not None:
            known[words[place]] = there
            results[place] = there
            if each.fetch and not fetch:
                results[place] = replaced(update, words[place], there)
    if each.target is not None:
        total: Expr = results[-1]
        for part in reversed(results[:-1]):
            assert total.kind is not None
            assert part.kind is not None
            total = Concat(total, part, Kind(total.kind.width + part.kind.width))
        yield assign(code, each.target, total)


def _part(place: int, count: int) -> str:
    return ("low", "high")[place] if count == 2 else f"word_{place}"


class _Division:
    """Expressions of parts of a wide register's new value, in terms of `words`, the parts of the old one.

    `marks` has the variables with a 1 on top. With `valid`, the value is 0, or has a 1 on top, too.
    """

    def __init__(
        self,
        code: Context,
        array: str,
        register: Register,
        words: list[Local],
        marks: Mapping[Local, bool],
        valid: bool,
    ) -> None:
        self.code = code
        self.array = array
        self.register = register
        self.words = words
        self.marks = marks
        self.valid = valid

    def part(self, expr: Expr, high: int, low: int) -> Expr:
        """Return the bits `high` to `low` of a number."""
        return run(self._part(expr, high, low))

    def closed(self, place: int, update: Expr) -> Expr:
        """Return the update of a word of one bit as a choice between what it is for an old 0 and for an old 1."""
        word = self.words[place]
        if word.kind != Kind(1):
            return update
        one, zero = (replaced(update, word, Const(value, Kind(1))) for value in (1, 0))
        return one if one == zero else Choose(Compare("==", word, Const(1, Kind(1))), one, zero, Kind(1))

    def _part(self, expr: Expr, high: int, low: int) -> Walk[Expr]:
        kind = Kind(high - low + 1)
        assert expr.kind is not None
        whole = low == 0 and high == expr.kind.width - 1
        match expr:
            case Old():
                return self._old(high, low)
            case Const(value=value):
                return Const(value >> low & kind.high, kind)
            case Local() if self.marks.get(expr, False) and high == low == expr.kind.width - 1:
                return Const(1, kind)
            case _ if not _reads_old(expr):
                if isinstance(expr, Concat) or (isinstance(expr, (Cast, Slice)) and not expr.kind.signed):
                    return (yield from self._moved(expr, high, low))
                return expr if whole else Slice(expr, high, low, kind)
            case Concat() | Slice() | Cast():
                return (yield from self._moved(expr, high, low))
            case Choose(condition=condition, yes=yes, no=no):
                test: Expr = yield self._condition(condition)
                one: Expr = yield self._part(yes, high, low)
                other: Expr = yield self._part(no, high, low)
                return Choose(test, one, other, kind)
            case Binary(operator="&" | "|" | "^" as operator, left=left, right=right):
                one = yield self._part(left, high, low)
                other = yield self._part(right, high, low)
                return Binary(operator, one, other, kind)
            case Binary(operator=operator, left=left, right=right) if whole or (low == 0 and operator in ("+", "-")):
                one = yield self._part(left, high, 0)
                other = yield self._part(right, high, 0)
                return Binary(operator, one, other, kind)
            case Binary(operator="+", left=Old(), right=added) if low == WORD and _is_word(added):
                # The upper word counts when the lower one overflows.
                lower: Expr = yield self._part(added, WORD - 1, 0)
                most: Expr = Unary("~", lower, Kind(WORD))
                if isinstance(lower, Const):
                    most = Const(lower.kind.high - lower.value, lower.kind)
                one = yield self._part(expr.left, high, low)
                carries = Compare(">", self.words[0], most)
                return Choose(carries, Binary("+", one, Const(1, kind), kind), one, kind)
            case Unary(operator="~", operand=operand):
                one = yield self._part(operand, high, low)
                return Unary("~", one, kind)
            case _:
                raise _refusal(self.code, self.array, self.register)

    def _old(self, high: int, low: int) -> Expr:
        """Return bits of the old value, from its words."""
        found: Expr | None = None
        for place in range(high // WORD, low // WORD - 1, -1):
            word = self.words[place]
            assert word.kind is not None
            top, bottom = min(high - WORD * place, word.kind.width - 1), max(low - WORD * place, 0)
            kind = Kind(top - bottom + 1)
            piece: Expr = word if kind == word.kind else Slice(word, top, bottom, kind)
            if found is not None and found.kind is not None:
                piece = Concat(found, piece, Kind(found.kind.width + kind.width))
            found = piece
        assert found is not None
        return found

    def _moved(self, expr: Concat | Slice | Cast, high: int, low: int) -> Walk[Expr]:
        """Return bits of a number that consists of bits of others."""
        kind = Kind(high - low + 1)
        match expr:
            case Concat(left=left, right=right):
                assert right.kind is not None
                width = right.kind.width
                if low >= width:
                    return (yield from self._part(left, high - width, low - width))
                if high < width:
                    return (yield from self._part(right, high, low))
                above: Expr = yield self._part(left, high - width, 0)
                below: Expr = yield self._part(right, width - 1, low)
                return Concat(above, below, kind)
            case Slice(operand=operand, low=start):
                return (yield from self._part(operand, high + start, low + start))
            case Cast(operand=operand, kind=wide):
                assert operand.kind is not None
                width = operand.kind.width
                if wide.signed or operand.kind.signed:
                    raise _refusal(self.code, self.array, self.register)
                if low >= width:
                    return Const(0, kind)
                if high < width:
                    return (yield from self._part(operand, high, low))
                inner: Expr = yield self._part(operand, width - 1, low)
                return Cast(inner, kind)

    def _condition(self, expr: Expr) -> Walk[Expr]:
        if not _reads_old(expr):
            return expr
        match expr:
            case Logic(operator=operator, left=left, right=right):
                one: Expr = yield self._condition(left)
                other: Expr = yield self._condition(right)
                return Logic(operator, one, other)
            case Not(operand=operand):
                one = yield self._condition(operand)
                return Not(one)
            case Compare(operator=operator, left=left, right=right) if left.kind is not None:
                return (yield from self._comparison(operator, left, right))
            case _:
                raise _refusal(self.code, self.array, self.register)

    def _comparison(self, operator: str, left: Expr, right: Expr) -> Walk[Expr]:
        kind = left.kind
        assert kind is not None
        if self.valid and left == Old(self.register.kind) and right == Const(0, self.register.kind):
            top = self.words[-1]
            assert top.kind is not None
            return Compare(operator, top, Const(0, top.kind))
        if kind.width <= WORD:
            one: Expr = yield self._part(left, kind.width - 1, 0)
            other: Expr = yield self._part(right, kind.width - 1, 0)
            return Compare(operator, one, other)
        if operator not in ("==", "!="):
            raise _refusal(self.code, self.array, self.register)
        total: Expr = Truth(True)
        for low in range(0, kind.width, WORD):
            high = min(low + WORD, kind.width) - 1
            one = yield self._part(left, high, low)
            other = yield self._part(right, high, low)
            same = Compare("==", one, other)
            total = same if isinstance(total, Truth) else Logic("&&", total, same)
        return total if operator == "==" else Not(total)


def _marks(code: Context) -> dict[Local, bool]:
    """Return the variables of a kernel, with whether their values have a 1 on top."""
    marks: dict[Local, bool] = {}
    for statement in walk(code.primitive.kernel.body):
        if isinstance(statement, Assign) and isinstance(statement.target, Local):
            marks[statement.target] = marks.get(statement.target, True) and _marked(statement.value, {})
    return marks


def _has_valid_bit(code: Context, name: str, register: Register, marks: Mapping[Local, bool]) -> bool:
    """Return whether a register's elements are 0 or have a 1 on top, as far as that can be seen from the kernel."""
    new = [each.new for each in accesses(code.primitive.kernel.body) if each.register == name and each.new is not None]
    return register.initial == 0 and all(_marked(each, marks) for each in new)


def _marked(value: Expr, marks: Mapping[Local, bool]) -> bool:
    """Return whether a number is the old one, or has a 1 on top."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case Choose(yes=yes, no=no):
                waiting += (yes, no)
            case Concat(left=left):
                waiting.append(left)
            case Const(value=number, kind=kind) if number >> (kind.width - 1) & 1:
                pass
            case Old():
                pass
            case Local() as local if marks.get(local, False):
                pass
            case _:
                return False
    return True


def _is_word(number: Expr) -> bool:
    """Return whether a number has at most the bits of a word."""
    if isinstance(number, Const):
        return 0 <= number.value < 1 << WORD
    return isinstance(number, Cast) and number.operand.kind is not None and number.operand.kind.width <= WORD


def _reads_old(expr: Expr) -> bool:
    return any(isinstance(each, Old) for each in within(expr))


def _refusal(code: Context, array: str, register: Register) -> Exception:
    return code.refuse(
        f"register `{array}` is {register.kind}; a stateful ALU computes with at most {WORD} bits, and this update"
        " cannot be divided into words that follow each other",
        "use several registers of at most 32 bits",
    )
