"""Functions of the user's: each call is written out where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.calls import ordered
from midflight.p4.check.scope import Local, Named, Scope
from midflight.p4.check.statements import StatementChecker
from midflight.p4.check.typing import State
from midflight.p4.types import BOOL, VOID, Direction, Type

__all__ = ["FunctionChecker"]


class FunctionChecker(StatementChecker):
    """Writes out the calls of functions; `calling` are the functions that this code is written out of."""

    def __init__(self, state: State, scope: Scope, where: str, calling: tuple[str, ...] = ()) -> None:
        super().__init__(state, scope, where)
        self.calling = calling
        self.result: ir.Variable | None = None

    def instantiate(self, node: s.Instantiation) -> None:
        """Refuse an instance: a function has no state."""
        raise P4Error("a function cannot make an instance", place=node.place)

    def inline(self, function: d.Function, node: s.Call) -> ir.Expression:
        """Put a function's body before the statement that calls it, and give the variable with its result."""
        prototype = function.prototype
        if prototype.name in self.calling:
            raise P4Error(f"{prototype.name} calls itself, which P4 does not allow", place=node.place)
        given = ordered(prototype.parameters, node.arguments, node.place)
        scope = Scope(self.scope.top)
        for name, kind in self.bind(prototype, node, given).items():
            scope.declare(name, Named(kind), node.place)
        body = FunctionChecker(self.state, scope, "function", (*self.calling, prototype.name))
        body.in_parser = self.in_parser
        after: list[ir.Statement] = []
        variables: list[ir.Variable] = []
        for parameter, argument in zip(prototype.parameters, given, strict=True):
            kind, direction = body.type(parameter.type), Direction(parameter.direction)
            value = self.argument(argument, kind, direction, f"{prototype.name}'s {parameter.name}")
            if direction in (Direction.OUT, Direction.INOUT):
                value = self.pinned(value)
            variable = ir.Variable(parameter.name, kind, parameter.place)
            variables.append(variable)
            self.before.append(ir.Declare(variable, None if direction is Direction.OUT else value, place=node.place))
            if direction in (Direction.OUT, Direction.INOUT):
                after.append(ir.Assign(value, ir.VariableRef(variable, kind), place=node.place))
        self.before += body.written_out(function, variables)
        self.before += after
        if body.result is None:
            return ir.Literal(0, VOID, place=node.place)
        return ir.VariableRef(body.result, body.result.type, place=node.place)

    def written_out(self, function: d.Function, variables: Sequence[ir.Variable]) -> list[ir.Statement]:
        """Check the body with variables for its parameters; the result is left in the variable `result`."""
        prototype, body = function.prototype, function.body
        assert body is not None
        self.scope = Scope(self.scope)
        for parameter, variable in zip(prototype.parameters, variables, strict=True):
            fixed = parameter.direction in ("", "in")
            reason = f"{parameter.name} is an 'in' parameter and cannot be written" if fixed else ""
            self.scope.declare(parameter.name, Local(variable, reason, True), parameter.place)
        kind: Type = self.type(prototype.result) if prototype.result is not None else VOID
        made: list[ir.Statement] = []
        if kind != VOID:
            self.result = ir.Variable(prototype.name, kind, prototype.place)
            made.append(ir.Declare(self.result, None, place=prototype.place))
        checked = self.body(body.body)
        if kind != VOID and _leaves(checked) != "always":
            raise P4Error(f"{prototype.name} can end without a return", place=prototype.place)
        lowered = _Lowering(prototype.name, function.place)
        inner = lowered.lower(checked)
        if lowered.used:
            made.append(ir.Declare(lowered.flag, ir.Literal(0, BOOL), place=function.place))
        return [*made, ir.Block(tuple(inner), place=body.place)]

    def returning(self, node: s.Return) -> ir.Statement:
        """Check a return; the value goes to the result's variable first."""
        if self.where != "function":
            return super().returning(node)
        if self.result is None:
            if node.value is not None:
                raise P4Error(f"{self.calling[-1]} is void and gives no value", place=node.value.place)
            return ir.Return(place=node.place)
        if node.value is None:
            raise P4Error(f"{self.calling[-1]} must return {self.result.type}", place=node.place)
        value = self.value(node.value, self.result.type, f"what {self.calling[-1]} returns")
        target = ir.VariableRef(self.result, self.result.type, place=node.place)
        return ir.Block((ir.Assign(target, value, place=node.place), ir.Return(place=node.place)), place=node.place)


def _leaves(body: Sequence[ir.Statement]) -> str:
    """Return whether statements in a row return never, maybe or always."""
    found = "never"
    for each in body:
        match each:
            case ir.Return() | ir.Exit():
                return "always"
            case ir.Block(body=inner):
                part = _leaves(inner)
            case ir.If(yes=yes, no=no):
                parts = {_leaves([yes]), _leaves([no] if no else [])}
                part = parts.pop() if len(parts) == 1 else "maybe"
            case ir.Switch(cases=cases):
                parts = {_leaves([case.body]) for case in cases}
                if not any(not case.labels for case in cases):
                    parts.add("never")
                part = parts.pop() if len(parts) == 1 else "maybe"
            case _:
                continue
        if part == "always":
            return part
        if part == "maybe":
            found = part
    return found


class _Lowering:
    """Takes returns out of a body: what comes after one moves into the branch that does not return.

    Where neither branch of an if always returns, a flag tells whether to go on.
    """

    def __init__(self, name: str, place: Place) -> None:
        self.flag = ir.Variable(f"{name}_returned", BOOL, place)
        self.used = False

    def lower(self, body: Sequence[ir.Statement], flagged: bool = False) -> list[ir.Statement]:
        """Return the statements without a return; when `flagged`, they set the flag in its place."""
        made: list[ir.Statement] = []
        for number, each in enumerate(body):
            rest = body[number + 1 :]
            if isinstance(each, ir.Return):
                if flagged:
                    made.append(ir.Assign(ir.VariableRef(self.flag, BOOL), ir.Literal(1, BOOL), place=each.place))
                return made
            if _leaves([each]) == "never" or isinstance(each, ir.Exit):
                made.append(each)
                continue
            match each:
                case ir.Block(body=inner):
                    return [*made, ir.Block(tuple(self.lower([*inner, *rest], flagged)), place=each.place)]
                case ir.If(condition=condition, yes=yes, no=no):
                    others = [no] if no else []
                    if _leaves([yes]) == "always":
                        return [*made, self._if(each, condition, [yes], [*others, *rest], flagged)]
                    if _leaves(others) == "always":
                        return [*made, self._if(each, condition, [yes, *rest], others, flagged)]
                    made.append(self._if(each, condition, [yes], others, True))
                case ir.Switch(subject=subject, cases=cases):
                    lowered = tuple(
                        ir.Case(case.labels, ir.Block(tuple(self.lower([case.body], True)), place=case.body.place))
                        for case in cases
                    )
                    made.append(ir.Switch(subject, lowered, place=each.place))
            self.used = True
            if rest:
                going_on = ir.Unary("!", ir.VariableRef(self.flag, BOOL), BOOL)
                made.append(ir.If(going_on, ir.Block(tuple(self.lower(rest, flagged))), None, place=each.place))
            return made
        return made

    def _if(
        self,
        node: ir.If,
        condition: ir.Expression,
        yes: Sequence[ir.Statement],
        no: Sequence[ir.Statement],
        flagged: bool,
    ) -> ir.If:
        others = self.lower(no, flagged)
        return ir.If(
            condition,
            ir.Block(tuple(self.lower(yes, flagged)), place=node.yes.place),
            ir.Block(tuple(others), place=node.place) if others else None,
            place=node.place,
        )
