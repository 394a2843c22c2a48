"""Evaluates conditions of `#if` and `#elif`: C's integer expressions on 64 bits, in linear time, without recursion."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ConditionError", "evaluate"]

_INTEGER = re.compile(r"(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)([uU]?[lL]{0,2}|[lL]{1,2}[uU])$")
_NAME = re.compile(r"[A-Za-z_]\w*$")

_PRECEDENCE = {
    "*": 12, "/": 12, "%": 12, "+": 11, "-": 11, "<<": 10, ">>": 10, "<": 9, "<=": 9, ">": 9, ">=": 9, "==": 8, "!=": 8,
    "&": 7, "^": 6, "|": 5, "&&": 4, "||": 3, "?": 2,
}  # fmt: skip
_UNARY = {"+": "u+", "-": "u-", "!": "u!", "~": "u~"}
_TIGHTEST = 13


class ConditionError(Exception):
    """The expression of a preprocessor condition (`#if`) cannot be evaluated; the message says why."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A 64-bit integer. `number` is None after a division by zero, an error only if the result depends on it."""

    number: int | None
    unsigned: bool = False


def evaluate(tokens: Iterable[str]) -> int:
    """Return the value of a condition, given as its tokens after macro expansion. It is a 64-bit integer, as in C.

    A remaining name counts as 0. Raises ConditionError if the tokens are not an expression, or if the value depends on
    a division by zero.
    """
    values: list[_Value] = []
    pending: list[str] = []
    expects_value = True
    for token in tokens:
        if expects_value:
            if token in _UNARY:
                pending.append(_UNARY[token])
            elif token == "(":
                pending.append(token)
            else:
                values.append(_operand(token))
                expects_value = False
        elif token == ")":
            _reduce(values, pending, 0)
            if not pending or pending.pop() != "(":
                raise ConditionError("unmatched )")
        elif token == ":":
            _reduce(values, pending, _PRECEDENCE["?"])
            if not pending or pending[-1] != "?":
                raise ConditionError(": without ?")
            pending[-1] = "?:"
            expects_value = True
        elif token in _PRECEDENCE:
            # `? :` is right-associative, everything else left-associative.
            _reduce(values, pending, _PRECEDENCE[token] + (token == "?"))
            pending.append(token)
            expects_value = True
        else:
            raise ConditionError(f"an operator is missing before {token}")
    if expects_value:
        raise ConditionError("the expression is incomplete" if values or pending else "there is no expression")
    _reduce(values, pending, 0)
    if pending:
        raise ConditionError("a ( is not closed" if pending[-1] == "(" else "? without :")
    if values[0].number is None:
        raise ConditionError("it divides by zero")
    return values[0].number


def _operand(token: str) -> _Value:
    if match := _INTEGER.match(token):
        digits, suffix = match.groups()
        if len(digits) > 70:
            raise ConditionError("an integer has at most 64 bits")
        octal = len(digits) > 1 and digits[0] == "0" and digits.isdecimal()
        try:
            number = int(digits, 8 if octal else 0)
        except ValueError:
            raise ConditionError(f"{token} is not an octal number") from None
        if number >> 64:
            raise ConditionError("an integer has at most 64 bits")
        return _wrapped(number, "u" in suffix.lower() or bool(number >> 63))
    if _NAME.match(token):
        return _Value(0)
    raise ConditionError(f"{token} is not an integer, name or operator")


def _reduce(values: list[_Value], pending: list[str], least: int) -> None:
    """Apply the pending operators whose precedence is at least `least`."""
    while pending and pending[-1] not in ("(", "?"):
        operator = pending[-1]
        binds = _TIGHTEST if operator[0] == "u" else _PRECEDENCE[operator[0] if operator == "?:" else operator]
        if binds < least:
            return
        pending.pop()
        right = values.pop()
        if operator[0] == "u":
            values.append(_unary(operator[1], right))
        elif operator == "?:":
            middle, condition = values.pop(), values.pop()
            values.append(_chosen(condition, middle, right))
        else:
            values.append(_binary(operator, values.pop(), right))


def _wrapped(number: int, unsigned: bool) -> _Value:
    number &= (1 << 64) - 1
    return _Value(number if unsigned or number < 1 << 63 else number - (1 << 64), unsigned)


def _unary(operator: str, value: _Value) -> _Value:
    if value.number is None:
        return value
    match operator:
        case "!":
            return _Value(int(not value.number))
        case "-":
            return _wrapped(-value.number, value.unsigned)
        case "~":
            return _wrapped(~value.number, value.unsigned)
        case _:
            return value


def _chosen(condition: _Value, one: _Value, other: _Value) -> _Value:
    if condition.number is None:
        return condition
    return one if condition.number else other


def _binary(operator: str, left: _Value, right: _Value) -> _Value:
    if operator in ("&&", "||"):
        decisive = operator == "||"
        if left.number is None or bool(left.number) is decisive:
            return left if left.number is None else _Value(int(decisive))
        return right if right.number is None else _Value(int(bool(right.number)))
    if left.number is None or right.number is None:
        return _Value(None)
    unsigned = left.unsigned or right.unsigned
    if operator in ("<<", ">>"):
        count = right.number & 63
        shifted = left.number << count if operator == "<<" else left.number >> count
        return _wrapped(shifted, left.unsigned)
    mask = (1 << 64) - 1
    a, b = (left.number & mask, right.number & mask) if unsigned else (left.number, right.number)
    match operator:
        case "+":
            return _wrapped(a + b, unsigned)
        case "-":
            return _wrapped(a - b, unsigned)
        case "*":
            return _wrapped(a * b, unsigned)
        case "/" | "%":
            if not b:
                return _Value(None)
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return _wrapped(quotient if operator == "/" else a - quotient * b, unsigned)
        case "&":
            return _wrapped(a & b, unsigned)
        case "|":
            return _wrapped(a | b, unsigned)
        case "^":
            return _wrapped(a ^ b, unsigned)
        case "<":
            return _Value(int(a < b))
        case "<=":
            return _Value(int(a <= b))
        case ">":
            return _Value(int(a > b))
        case ">=":
            return _Value(int(a >= b))
        case "==":
            return _Value(int(a == b))
        case _:
            return _Value(int(a != b))
