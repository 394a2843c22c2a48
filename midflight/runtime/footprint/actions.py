"""Expressions as actions of a pipeline: what an ALU of one stage computes, and what takes several stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from midflight.errors import Place
from midflight.p4 import ir
from midflight.runtime.footprint.rests import Names
from midflight.stackless import Step, Walk

__all__ = ["Actions", "is_plain"]

_LOGIC = ("&&", "||")
_EQUAL = ("==", "!=")
_ORDER = ("<", "<=", ">", ">=")


def is_plain(expression: ir.Expression) -> bool:
    """Return whether a value only has to be taken from where it is: a field, a constant, or parts of these."""
    waiting = [expression]
    while waiting:
        match waiting.pop():
            case ir.Cast(operand=operand) | ir.Slice(base=operand):
                waiting.append(operand)
            case ir.Concat(left=left, right=right):
                waiting += (left, right)
            case ir.StructValue(elements=elements):
                waiting += elements
            case ir.Binary() | ir.Unary() | ir.Ternary() | ir.Call() | ir.TableHit():
                return False
            case _:
                pass
    return True


@dataclass(frozen=True, slots=True)
class Actions:
    """Walks over expressions that add an action for each operator that an ALU must compute before the next.

    `read` returns the operations that a plain value or a call depends on. `add` adds an action that needs operations,
    and returns its name.
    """

    read: Callable[[ir.Expression], Step[Names]]
    add: Callable[[Place | None, Names], Names]

    def settled(self, expression: ir.Expression) -> Walk[Names]:
        """Return the operations that a value depends on when it is in a field.

        For a value that has to be computed, this is a new action. Otherwise, it is what `read` returns.
        """
        names: Names
        if is_plain(expression) or _is_call(expression):
            names = yield self.read(expression)
            return names
        names = yield self.computed(expression)
        return self.add(expression.place, names)

    def computed(self, expression: ir.Expression) -> Walk[Names]:
        """Return the operations that an action needs to compute a value: one operator, or a choice between such values.

        Operators inside become actions of their own.
        """
        names: Names
        match expression:
            case ir.Ternary(condition=condition, yes=yes, no=no):
                names = yield self.condition(condition)
                first: Names = yield self.computed(yes)
                second: Names = yield self.computed(no)
                return names | first | second
            case ir.Binary(operator=operator) if operator in (*_LOGIC, *_EQUAL, *_ORDER):
                names = yield self.condition(expression)
                return names
            case ir.Unary(operator="!"):
                names = yield self.condition(expression)
                return names
            case ir.Binary(left=left, right=right) | ir.Concat(left=left, right=right):
                first = yield self.settled(left)
                second = yield self.settled(right)
                return first | second
            case ir.Unary(operand=operand):
                names = yield self.settled(operand)
                return names
            case ir.Cast(operand=operand) | ir.Slice(base=operand):
                names = yield self.computed(operand)
                return names
        names = yield self.read(expression)
        return names

    def condition(self, expression: ir.Expression) -> Walk[Names]:
        """Return the operations that a condition needs.

        Equality, and order compared with a constant, are part of a match. The order of two fields needs a subtraction
        first, which becomes an action.
        """
        names: Names
        first: Names
        second: Names
        match expression:
            case ir.Binary(operator=operator, left=left, right=right) if operator in _LOGIC:
                first = yield self.condition(left)
                second = yield self.condition(right)
                return first | second
            case ir.Unary(operator="!", operand=operand):
                names = yield self.condition(operand)
                return names
            case ir.Binary(operator=operator, left=left, right=right) if operator in (*_EQUAL, *_ORDER):
                first = yield self.settled(left)
                second = yield self.settled(right)
                if operator in _ORDER and not isinstance(left, ir.Literal) and not isinstance(right, ir.Literal):
                    return self.add(expression.place, first | second)
                return first | second
            case ir.Ternary(condition=condition, yes=yes, no=no):
                names = yield self.condition(condition)
                first = yield self.condition(yes)
                second = yield self.condition(no)
                return names | first | second
        names = yield self.read(expression)
        return names


def _is_call(expression: ir.Expression) -> bool:
    while isinstance(expression, ir.Cast | ir.Slice):
        expression = expression.operand if isinstance(expression, ir.Cast) else expression.base
    return isinstance(expression, ir.Call | ir.TableHit)
