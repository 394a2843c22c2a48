"""What is known at one point of a kernel, over every path that leads there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Binary, Cast, Compare, Const, Expr, FieldRef, Local, Logic, Not, reads
from midflight.primitives.kernel.types import Kind

__all__ = ["Known", "Scope"]

_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Known:
    """A value that is known when the kernel is compiled: a parameter, a loop's variable, a type, a register."""

    value: Any


@dataclass(slots=True)
class Scope:
    """The variables that surely have a value here, the registers that may have been accessed, the index bounds."""

    names: dict[str, Known | Expr] = field(default_factory=dict)
    unset: dict[str, int] = field(default_factory=dict)
    """Variables that have a value on some paths only, with the line where they got it."""
    accessed: dict[tuple[str, int | None], Line] = field(default_factory=dict)
    alerted: Line | None = None
    bounds: dict[Expr, int] = field(default_factory=dict)
    """Expressions that are known to be less than a number here."""
    checksums: dict[tuple[Expr, ...], Local] = field(default_factory=dict)
    """The variables that hold the checksums of numbers as they are here."""
    floors: dict[Expr, int] = field(default_factory=dict)
    """What numbers are known to be at least."""
    ended: bool = False

    def copy(self) -> Scope:
        """Return a scope for a branch."""
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
        """Return the scope of a function that is written out here, with names of its own."""
        inner = self.copy()
        inner.names = {name: value for name, value in self.names.items() if "." in name} | dict(names)
        inner.unset = {name: line for name, line in self.unset.items() if "." in name}
        return inner

    def leave(self, inner: Scope) -> None:
        """Take over what such a function has done: accesses, alerts, what became of fields; not its names."""
        self.names |= {name: value for name, value in inner.names.items() if "." in name}
        self.accessed, self.alerted = inner.accessed, inner.alerted
        self.bounds, self.checksums, self.floors = inner.bounds, inner.checksums, inner.floors

    def join(self, yes: Scope, no: Scope, line: int) -> None:
        """Become what holds after an `if` whose branches end in these two scopes."""
        live = [each for each in (yes, no) if not each.ended]
        if not live:
            self.ended = True
            return
        first = live[0]
        self.names = {
            name: value for name, value in first.names.items() if all(each.names.get(name) == value for each in live)
        }
        self.unset = {name: where for each in live for name, where in each.unset.items() if name not in self.names}
        self.unset |= {name: line for each in live for name in each.names if name not in self.names}
        self.accessed = {key: where for each in live for key, where in each.accessed.items()}
        self.alerted = next((each.alerted for each in live if each.alerted), None)
        self.bounds = {
            key: max(each.bounds[key] for each in live)
            for key in first.bounds
            if all(key in each.bounds for each in live)
        }

        self.floors = {
            key: min(each.floors[key] for each in live)
            for key in first.floors
            if all(key in each.floors for each in live)
        }
        self.checksums = {
            key: local
            for key, local in first.checksums.items()
            if all(each.checksums.get(key) == local for each in live)
        }

    def assign(self, target: Local | FieldRef, value: Known | Local | None) -> None:
        """Note a new value of a variable or a field: what was known of it no longer holds."""
        if isinstance(target, Local) and value is not None:
            self.names[target.name] = value
            self.unset.pop(target.name, None)
        self.bounds.pop(target, None)
        self.floors.pop(target, None)
        stale = [key for key in self.checksums if any(target in reads(each) for each in key)]
        for key in stale:
            del self.checksums[key]

    def assume(self, condition: Expr, holds: bool) -> None:
        """Learn upper bounds of unsigned numbers from a condition that is known to hold, or not to."""
        match condition:
            case Not(operand=operand):
                self.assume(operand, not holds)
            case Logic(operator=operator, left=left, right=right) if (operator == "&&") == holds:
                self.assume(left, holds)
                self.assume(right, holds)
            case Compare(left=Const(), right=Const()):
                pass
            case Compare(operator=operator, left=Const() as left, right=right) if operator in _TURNED:
                self.assume(Compare(_TURNED[operator], right, left), holds)
            case Compare(operator=operator, left=left, right=Const(value=value)):
                less = {"<": value, "<=": value + 1, "==": value + 1} if holds else {">=": value, ">": value + 1}
                if operator in less and isinstance(left, (Local, FieldRef)):
                    self.bounds[left] = min(self.bounds.get(left, less[operator]), less[operator])
                more = {">": value + 1, ">=": value, "==": value} if holds else {"<": value, "<=": value + 1}
                if (operator == "!=") == holds and operator in ("==", "!=") and value == 0:
                    more[operator] = 1
                if operator in more and isinstance(left, (Local, FieldRef)):
                    self.floors[left] = max(self.floors.get(left, 0), more[operator])
            case _:
                pass

    def below(self, index: Expr, size: int) -> bool:
        """Tell whether an unsigned index is surely less than `size`."""
        limit = self.limit(index)
        return limit is not None and limit <= size

    def limit(self, number: Expr) -> int | None:
        """Return what an unsigned number is surely less than; None for other values."""
        kind = number.kind
        if not isinstance(kind, Kind) or kind.signed:
            return None
        whole = 1 << kind.width
        match number:
            case Const(value=value):
                return value + 1
            case Cast(operand=operand):
                least = self.limit(operand)
            case Binary(operator="&", left=left, right=Const(value=value)):
                least = min(self.limit(left) or whole, value + 1)
            case Binary(operator=">>", left=left, right=Const(value=value)):
                least = ((self.limit(left) or whole) - 1 >> value) + 1
            case Binary(operator="*", left=left, right=Const(value=value)):
                least = ((self.limit(left) or whole) - 1) * value + 1
            case _:
                least = self.bounds.get(number)
        return least if least is not None and least < whole else whole
