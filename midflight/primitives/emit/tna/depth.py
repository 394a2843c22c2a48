"""The stages that a lowered kernel takes at least: the longest chain of operations that depend on each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from midflight.primitives.emit.tna.lowered import Execute, HashOf, Lowered, Statements, Tabulated
from midflight.primitives.emit.tna.unused import written
from midflight.primitives.kernel.typed import (
    Alert,
    Assign,
    Decide,
    Draw,
    Expr,
    FieldRef,
    ForwardedRef,
    If,
    Local,
    Return,
    Search,
    Unrolled,
    walk,
    within,
)
from midflight.stackless import Walk, run

__all__ = ["stages"]

Stages = Mapping[Expr, int]
"""The stage, from 1, at whose end each variable and field has its value."""


def stages(lowered: Lowered) -> int:
    """Return the number of stages of the longest chain of dependent operations of a kernel.

    A stage computes one operation on values of earlier stages; what decides about it is tested in the same stage. The
    stages of other applications and of the common part of the program are not counted, and it is not considered how
    much fits in a stage.
    """
    found = _Depth(lowered)
    run(found.block(lowered.body, 1))
    return found.deepest


class _Depth:
    """The stages of values on the way through a kernel. `left` is the stage that decides whether it has returned."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.values: Stages = {}
        self.left = 1
        self.deepest = 0

    def block(self, body: Statements, least: int) -> Walk[None]:
        for each in body:
            stage = max(least, self.left)
            match each:
                case If(condition=condition, yes=yes, no=no):
                    decided = max(stage, self.after([condition]))
                    ends: list[Stages] = []
                    before = self.values
                    for side in (yes, no):
                        self.values = before
                        yield self.block(side, decided)
                        ends.append(self.values)
                    self.values = {key: max(end.get(key, 0) for end in ends) for end in ends for key in end}
                    if any(isinstance(inner, Return) for inner in walk((*yes, *no))):
                        self.left = max(self.left, decided)
                case Unrolled(rounds=rounds):
                    for _, inner in rounds:
                        yield self.block(inner, least)
                case _:
                    self.statement(each, stage)

    def statement(self, each: object, least: int) -> None:
        reads: list[Expr]
        match each:
            case Assign(value=value):
                reads = [value]
            case Execute(array=array, action=name, index=index):
                actions = self.lowered.registers[array].actions.values()
                reads = [index, *(action.new for action in actions if action.name == name)]
            case HashOf(values=values):
                reads = [*values]
            case Alert(values=values):
                reads = [*values]
            case Tabulated(key=key):
                reads = [key]
            case Search(keys=keys):
                reads = [*keys]
            case Draw() | Decide():
                reads = []
            case _:
                return
        targets = list(written(each))
        # A value that is replaced stays until the stage after the one that computed it.
        stage = max(least, self.after([*reads, *targets]))
        self.deepest = max(self.deepest, stage)
        self.values = {**self.values, **dict.fromkeys(targets, stage)}

    def after(self, reads: Iterable[Expr]) -> int:
        """Return the first stage that can use the values of expressions."""
        atoms = (Local, FieldRef, ForwardedRef)
        return max(
            (self.values.get(each, 0) + 1 for expr in reads for each in within(expr) if isinstance(each, atoms)),
            default=1,
        )
