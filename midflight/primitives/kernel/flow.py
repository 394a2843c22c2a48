"""Facts about the variables, registers and numbers at one point of a kernel, which hold on every path to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Binary, Cast, Compare, Const, Expr, FieldRef, Local, Logic, Not, reads
from midflight.primitives.kernel.types import Kind

__all__ = ["Known", "Scope"]

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Known:
    """The compiled form of an expression whose value is known at compile time.

    Such values are constants, parameters of the primitive, loop variables, types, registers and functions.
    """

    value: Any


@dataclass(slots=True)
class Scope:
    """What is known at one point of a kernel: the variables with a value, accesses so far, and bounds of numbers.

    `names` maps variables to values. `accessed` has the registers (name, and lane or None) that a packet may have
    accessed on some path, with the line; `alerted` the line of an earlier alert, or None. `ended` is whether every path
    to this point has returned, so that it is unreachable.
    """

    names: dict[str, Known | Expr] = field(default_factory=dict)
    unset: dict[str, int] = field(default_factory=dict)
    """Variables that have a value on some paths only, with the line of their assignment."""
    accessed: dict[tuple[str, int | None], Line] = field(default_factory=dict)
    alerted: Line | None = None
    bounds: dict[Expr, int] = field(default_factory=dict)
    """Exclusive upper bounds of expressions."""
    checksums: dict[tuple[Expr, ...], Local] = field(default_factory=dict)
    """The variables that hold checksums of the current values of expressions."""
    floors: dict[Expr, int] = field(default_factory=dict)
    """Inclusive lower bounds of expressions."""
    ended: bool = False

    def copy(self) -> Scope:
        """Return an independent copy, for one side of a branch."""
        return Scope(
            dict(self.names),
            dict(self.unset),
            dict(self.accessed),
            self.alerted,
            dict(self.bounds),
            dict(self.checksums),
            dict(self.floors),
            self.ended,
        )

    def enter(self, names: Mapping[str, Known | Expr]) -> Scope:
        """Return the scope for the body of a function that is inlined at this point; `names` are its parameters.

        It has the facts of this scope, but none of its variables except the `hit`s of maps.
        """
        inner = self.copy()
        inner.names = {name: value for name, value in self.names.items() if "." in name} | dict(names)
        inner.unset = {name: line for name, line in self.unset.items() if "." in name}
        return inner

    def leave(self, inner: Scope) -> None:
        """Adopt the facts at the end of an inlined function, whose scope is `inner`.

        Not adopted are its variables, except the `hit`s of maps, and that it has returned.
        """
        self.names |= {name: value for name, value in inner.names.items() if "." in name}
        self.accessed, self.alerted = inner.accessed, inner.alerted
        self.bounds, self.checksums, self.floors = inner.bounds, inner.checksums, inner.floors

    def join(self, ends: Iterable[Scope], line: int) -> None:
        """Replace this scope by the facts that hold after several paths meet here; `ends` are the scopes at their ends.

        Paths that have returned do not count; if all have, this point is unreachable. A variable that only some paths
        assign becomes unset; `line` says where, for errors. An access or alert on any path counts.
        """
        live = [each for each in ends if not each.ended]
        self.ended = not live
        if not live:
            return
        first, *others = live
        if not others:
            kept = first.copy()
            self.names, self.unset, self.accessed, self.alerted = kept.names, kept.unset, kept.accessed, kept.alerted
            self.bounds, self.floors, self.checksums = kept.bounds, kept.floors, kept.checksums
            return
        names: dict[str, Known | Expr] = {}
        for name, value in first.names.items():
            found = [each.names.get(name) for each in others]
            if all(each == value for each in found):
                names[name] = _widest([value, *(each for each in found if each is not None)])
        self.names = names
        self.unset = {name: where for each in live for name, where in each.unset.items() if name not in names}
        self.unset |= {name: line for each in live for name in each.names if name not in names}
        self.accessed = {key: where for each in live for key, where in each.accessed.items()}
        self.alerted = next((each.alerted for each in live if each.alerted), None)
        self.bounds = {
            key: max(each.bounds[key] for each in live)
            for key in first.bounds
            if all(key in each.bounds for each in others)
        }
        self.floors = {
            key: min(each.floors[key] for each in live)
            for key in first.floors
            if all(key in each.floors for each in others)
        }
        self.checksums = {
            key: local
            for key, local in first.checksums.items()
            if all(each.checksums.get(key) == local for each in others)
        }

    def assign(self, target: Local | FieldRef, value: Known | Local | None) -> None:
        """Record an assignment to a variable or field: bounds and checksums that involve its old value no longer hold.

        A `value` other than None becomes the variable's value in later expressions.
        """
        if isinstance(target, Local) and value is not None:
            self.names[target.name] = value
            self.unset.pop(target.name, None)
        self.bounds.pop(target, None)
        self.floors.pop(target, None)
        stale = [key for key in self.checksums if any(target in reads(each) for each in key)]
        for key in stale:
            del self.checksums[key]

    def assume(self, condition: Expr, holds: bool) -> None:
        """Derive bounds of unsigned numbers from a condition that is true here (`holds`), or that is false."""
        waiting = [(condition, holds)]
        while waiting:
            each, true = waiting.pop()
            match each:
                case Not(operand=operand):
                    waiting.append((operand, not true))
                case Logic(operator=operator, left=left, right=right) if (operator == "&&") == true:
                    waiting += ((right, true), (left, true))
                case Compare(left=Const(), right=Const()):
                    pass
                case Compare(operator=operator, left=Const() as left, right=right) if operator in _MIRRORED:
                    waiting.append((Compare(_MIRRORED[operator], right, left), true))
                case Compare(operator=operator, left=Local() | FieldRef() as left, right=Const(value=value)):
                    self._compared(operator, left, value, true)
                case _:
                    pass

    def _compared(self, operator: str, left: Local | FieldRef, value: int, holds: bool) -> None:
        """Derive bounds from a comparison with a constant."""
        less = {"<": value, "<=": value + 1, "==": value + 1} if holds else {">=": value, ">": value + 1}
        if operator in less:
            self.bounds[left] = min(self.bounds.get(left, less[operator]), less[operator])
        more = {">": value + 1, ">=": value, "==": value} if holds else {"<": value, "<=": value + 1}
        if (operator == "!=") == holds and operator in ("==", "!=") and value == 0:
            more[operator] = 1
        if operator in more:
            self.floors[left] = max(self.floors.get(left, 0), more[operator])

    def below(self, index: Expr, size: int) -> bool:
        """Return whether an unsigned number is certainly less than `size` here. False means that it is not known."""
        limit = self.limit(index)
        return limit is not None and limit <= size

    def limit(self, number: Expr) -> int | None:
        """Return an exclusive upper bound of an unsigned number here, at most 2**width; None for other expressions."""
        # Go down to the operand whose bound is known, then apply the operators to the bound on the way up.
        way: list[Expr] = []
        while isinstance(number, (Cast, Binary)):
            if isinstance(number, Binary) and not (number.operator in ("&", ">>", "*") and _constant(number.right)):
                break
            if not _unsigned(number):
                break
            way.append(number)
            number = number.operand if isinstance(number, Cast) else number.left
        limit = self._limit_of(number)
        for each in reversed(way):
            assert each.kind is not None
            whole = 1 << each.kind.width
            match each:
                case Binary(operator="&", left=left, right=Const(value=value)):
                    limit = min(limit or 1 << _width(left), value + 1)
                case Binary(operator=">>", left=left, right=Const(value=value)):
                    limit = ((limit or 1 << _width(left)) - 1 >> value) + 1
                case Binary(operator="*", left=left, right=Const(value=value)):
                    limit = ((limit or 1 << _width(left)) - 1) * value + 1
            limit = limit if limit is not None and limit < whole else whole
        return limit

    def _limit_of(self, number: Expr) -> int | None:
        if not _unsigned(number):
            return None
        if isinstance(number, Const):
            return number.value + 1
        whole = 1 << _width(number)
        return min(self.bounds.get(number, whole), whole)


def _constant(expr: Expr) -> bool:
    return isinstance(expr, Const)


def _unsigned(expr: Expr) -> bool:
    return isinstance(expr.kind, Kind) and not expr.kind.signed


def _width(expr: Expr) -> int:
    return expr.kind.width if expr.kind is not None else 0


def _widest(values: list[Known | Expr]) -> Known | Expr:
    """Return a value that paths agree on. For a variable, merge the ranges of plain ints that it may hold."""
    first = values[0]
    ranges = [each.bare for each in values if isinstance(each, Local) and each.bare is not None]
    if not isinstance(first, Local) or not ranges:
        return first
    return replace(first, bare=(min(low for low, _ in ranges), max(high for _, high in ranges)))
