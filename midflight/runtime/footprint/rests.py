"""What each place's present value rests on: the names of operations. What a branch changes can be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from midflight.p4 import ir

__all__ = ["NONE", "Change", "Key", "Names", "Rests"]

# Where a value lies: a variable, then field names.
Key = tuple[ir.Variable | str, ...]
Names = frozenset[str]
# What a branch leaves at the places that it changed; None where it leaves nothing known.
Change = dict[Key, Names | None]
NONE: Names = frozenset()


@dataclass(slots=True)
class _Branch:
    """What places rested on before a branch changed it, and the variables that the branch declares."""

    before: dict[Key, Names | None] = field(default_factory=dict)
    declared: list[ir.Variable] = field(default_factory=list)


class Rests:
    """Names by place. A place without names of its own has those of the nearest whole that it is part of.

    What was there before is kept for each branch that is open, so that one costs what it changes and not all that is
    known.
    """

    def __init__(self) -> None:
        self._names: dict[Key, Names] = {}
        self._inside: dict[Key, dict[Key, None]] = {}
        self._open: list[_Branch] = []

    def at(self, key: Key) -> Names:
        """Return what a place rests on: as written last, with all of its fields."""
        inside = self._inside.get(key)
        upward = _upward(self._names, {}, key)
        return upward.union(*(self._names[each] for each in inside)) if inside else upward

    def own(self, key: Key) -> Names:
        """Return what a place was given itself."""
        return self._names.get(key, NONE)

    def set(self, key: Key, names: Names | None) -> None:
        """Give a place names, or none of its own. Its fields keep theirs."""
        old = self._names.get(key)
        if self._open:
            self._open[-1].before.setdefault(key, old)
        self._put(key, old, names)

    def replace(self, key: Key, names: Names) -> None:
        """Give a place names as a whole, its fields included."""
        for each in list(self._inside.get(key, ())):
            self.set(each, None)
        self.set(key, names)

    def declare(self, variable: ir.Variable, names: Names) -> None:
        """Give a new variable its names. It is forgotten at the end of the branch that declares it."""
        if self._open:
            self._open[-1].declared.append(variable)
        self.replace((variable,), names)

    def copy(self, to: Key, source: Key) -> None:
        """Give one place all that is known of another, field by field."""
        found = {to + key[len(source) :]: self._names[key] for key in self._inside.get(source, ())}
        self.replace(to, _upward(self._names, {}, source))
        for key, names in found.items():
            self.set(key, names)

    def open(self) -> int:
        """Begin a branch; return a number by which `change` knows it."""
        self._open.append(_Branch())
        return len(self._open) - 1

    def change(self, since: int) -> Change:
        """Return what the branch of that number, and those within it, have changed so far."""
        branches = self._open[since:]
        gone = {variable for branch in branches for variable in branch.declared}
        return {key: self._names.get(key) for branch in branches for key in branch.before if key[0] not in gone}

    def close(self) -> Change:
        """End the innermost branch: take its changes back, and return them."""
        change = self.change(len(self._open) - 1)
        for key, old in self._open.pop().before.items():
            self._put(key, self._names.get(key), old)
        return change

    def keep(self) -> None:
        """End the innermost branch and leave what it changed."""
        branch = self._open.pop()
        if self._open:
            around = self._open[-1]
            around.declared += branch.declared
            for key, old in branch.before.items():
                around.before.setdefault(key, old)

    def merge(self, ends: Sequence[Change]) -> None:
        """Go on from the ends of several branches: a place rests on all that any of them left there."""
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
    """Return what a place rests on by itself and by the wholes that it is part of, after a change."""
    for end in range(len(key), 0, -1):
        found = change[key[:end]] if key[:end] in change else names.get(key[:end])
        if found is not None:
            return found
    return NONE
