"""Data dependencies: the operations on whose results the current value of each lvalue depends, in branches that roll
back; and what identifies an lvalue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from midflight.p4 import ir

__all__ = ["NONE", "Change", "Key", "Names", "Rests", "copied", "key_of", "shown"]

# An lvalue: a variable, then field names.
Key = tuple[ir.Variable | str, ...]
Names = frozenset[str]
# The dependencies that a branch leaves at the lvalues that it changed; None for an lvalue without its own.
Change = dict[Key, Names | None]
NONE: Names = frozenset()


@dataclass(slots=True)
class _Branch:
    """The dependencies of lvalues before a branch changed them, and the variables that the branch declares."""

    before: dict[Key, Names | None] = field(default_factory=dict)
    declared: list[ir.Variable] = field(default_factory=list)


class Rests:
    """For each lvalue, the operations (tables and register arrays) on whose results its current value depends.

    An lvalue without dependencies of its own has those of the nearest enclosing struct or header. Each open branch
    records the previous dependencies of the lvalues that it changes, so that its cost depends on the number of changes
    and not on the number of known lvalues.
    """

    def __init__(self) -> None:
        self._names: dict[Key, Names] = {}
        self._inside: dict[Key, dict[Key, None]] = {}
        self._open: list[_Branch] = []

    def at(self, key: Key) -> Names:
        """Return the names of the operations that an lvalue depends on, including those that its fields depend on."""
        inside = self._inside.get(key)
        upward = _upward(self._names, {}, key)
        return upward.union(*(self._names[each] for each in inside)) if inside else upward

    def of(self, place: ir.Expression) -> Names:
        """Return the names of the operations that an lvalue, given as an expression, depends on, as `at`."""
        return self.at(key_of(place)[0])

    def own(self, key: Key) -> Names:
        """Return the names of the operations set for an lvalue itself, without those of its fields."""
        return self._names.get(key, NONE)

    def set(self, key: Key, names: Names | None) -> None:
        """Set the names of the operations that an lvalue depends on; None removes its own. Its fields keep theirs."""
        old = self._names.get(key)
        if self._open:
            self._open[-1].before.setdefault(key, old)
        self._put(key, old, names)

    def replace(self, key: Key, names: Names) -> None:
        """Set the names of the operations that an lvalue and all its fields depend on."""
        for each in list(self._inside.get(key, ())):
            self.set(each, None)
        self.set(key, names)

    def declare(self, variable: ir.Variable, names: Names) -> None:
        """Set the dependencies of a new variable, which the branch that declares it drops at its end."""
        if self._open:
            self._open[-1].declared.append(variable)
        self.replace((variable,), names)

    def copy(self, to: Key, source: Key) -> None:
        """Make lvalue `to` depend on what `source` depends on, field by field, as an assignment does."""
        found = {to + key[len(source) :]: self._names[key] for key in self._inside.get(source, ())}
        self.replace(to, _upward(self._names, {}, source))
        for key, names in found.items():
            self.set(key, names)

    def open(self) -> int:
        """Open a branch, inside any that are open, and return its number for `change`."""
        self._open.append(_Branch())
        return len(self._open) - 1

    def change(self, since: int) -> Change:
        """Return the changes of the open branch number `since` and of the open branches inside it.

        `open` returns the number. Variables that these branches declare are left out.
        """
        branches = self._open[since:]
        gone = {variable for branch in branches for variable in branch.declared}
        return {key: self._names.get(key) for branch in branches for key in branch.before if key[0] not in gone}

    def close(self) -> Change:
        """Undo the changes of the innermost open branch, close it, and return its changes, for `merge`.

        IndexError if no branch is open.
        """
        change = self.change(len(self._open) - 1)
        for key, old in self._open.pop().before.items():
            self._put(key, self._names.get(key), old)
        return change

    def keep(self) -> None:
        """Close the innermost open branch, and keep its changes, as part of the enclosing branch. IndexError if none
        is open.
        """
        branch = self._open.pop()
        if self._open:
            around = self._open[-1]
            around.declared += branch.declared
            for key, old in branch.before.items():
                around.before.setdefault(key, old)

    def merge(self, ends: Sequence[Change]) -> None:
        """Set each lvalue that any of several closed branches changed to depend on everything that any of them left
        there.

        `ends` are their changes, from `close`; an empty one stands for a path without changes.
        """
        merged: Change = {}
        for key in dict.fromkeys(key for end in ends for key in end):
            known = any(end.get(key, self._names.get(key)) is not None for end in ends)
            merged[key] = NONE.union(*(_upward(self._names, end, key) for end in ends)) if known else None
        for key, names in merged.items():
            self.set(key, names)

    def _put(self, key: Key, old: Names | None, names: Names | None) -> None:
        if names is not None:
            self._names[key] = names
        elif old is not None:
            del self._names[key]
        if (old is None) == (names is None):
            return
        for end in range(1, len(key)):
            inside = self._inside.setdefault(key[:end], {})
            if names is None:
                del inside[key]
            else:
                inside[key] = None


def _upward(names: Mapping[Key, Names], change: Change, key: Key) -> Names:
    """Return the dependencies of an lvalue or of the nearest enclosing lvalue that has its own, after a change."""
    for end in range(len(key), 0, -1):
        found = change[key[:end]] if key[:end] in change else names.get(key[:end])
        if found is not None:
            return found
    return NONE


def key_of(place: ir.Expression) -> tuple[Key, bool]:
    """Return the key of an lvalue, and whether the expression is all of it, as opposed to a slice or stack element."""
    names: list[str] = []
    whole = True
    while True:
        match place:
            case ir.CopyIn(target=base):
                pass
            case ir.VariableRef(variable=variable):
                return (variable, *reversed(names)), whole
            case ir.Member(base=base, name=name):
                names.append(name)
            case ir.Slice(base=base) | ir.Index(base=base):
                names.clear()
                whole = False
            case _:
                return (str(id(place)),), False
        place = base


def copied(value: ir.Expression) -> Key | None:
    """Return the key of the lvalue that an expression copies as a whole, except for casts; None for others."""
    while isinstance(value, ir.Cast):
        value = value.operand
    return key_of(value)[0] if isinstance(value, ir.VariableRef | ir.Member) else None


def shown(target: ir.Expression) -> str:
    """Return an lvalue as text, without the parameter that it begins with."""
    key, _ = key_of(target)
    names = [each.name if isinstance(each, ir.Variable) else each for each in key]
    return ".".join(names[1:] or names)
