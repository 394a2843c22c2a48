"""Controls: local declarations, actions, tables and the apply block."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.instances import InstanceChecker, qualified
from midflight.p4.check.scope import Entity, Scope
from midflight.p4.check.tables import TableChecker
from midflight.p4.check.typing import State, annotations_of, refuse
from midflight.p4.types import Direction

__all__ = ["ActionChecker", "ControlChecker"]


class ActionChecker(InstanceChecker):
    """Checks one action."""

    def __init__(self, state: State, scope: Scope, prefix: str) -> None:
        super().__init__(state, scope, "action", prefix)

    def action(self, node: d.Action) -> ir.Action:
        """Check the action and return it."""
        self.scope = Scope(self.scope)
        parameters = self.declare_parameters(node.parameters, "action")
        data = False
        for each in parameters:
            if data and each.direction is not Direction.NONE:
                raise P4Error(
                    f"{each.variable.name} has a direction, and a parameter before it has none",
                    place=each.variable.place,
                    hint="Parameters that the control plane gives come last.",
                )
            data |= each.direction is Direction.NONE
        name = qualified(self.prefix, node.name, node.annotations)
        body = self.block(node.body)
        action = ir.Action(name, parameters, body, annotations_of(node.annotations), node.place)
        self.state.add(self.state.actions, name, action, node.place)
        return action


class ControlChecker(TableChecker):
    """Checks one instance of a control."""

    def __init__(self, state: State, scope: Scope, prefix: str) -> None:
        super().__init__(state, scope, "control", prefix)

    def inner(
        self, declaration: d.Control | d.Parser, name: str, arguments: Sequence[s.Argument], place: Place
    ) -> ir.Control | ir.Parser:
        """Check a sub-control."""
        if not isinstance(declaration, d.Control):
            raise P4Error("a control cannot hold a parser", place=place)
        values = self.constructor_values(declaration, arguments, place)
        return ControlChecker(self.state, Scope(self.scope.top), name).control(declaration, values)

    def control(self, node: d.Control, values: Sequence[Entity]) -> ir.Control:
        """Check the control with its constructor's values."""
        if node.body is None:
            raise P4Error(f"{node.name} is a control's type, without a body", place=node.place)
        self.state.used.add(node.name)
        self.state.make(node.name, node.place)
        self.bind_constructor(node.constructor, values)
        parameters = self.declare_parameters(node.parameters, "control")
        self.scope = Scope(self.scope)
        local = [made for each in node.locals for made in self._local(each)]
        body = self.block(node.body)
        self.state.making.pop()
        return ir.Control(self.prefix, parameters, tuple(local), body, node.place)

    def _local(self, node: d.Declaration) -> list[ir.Statement]:
        match node:
            case s.Constant() | s.Variable() | s.Instantiation():
                return self.statements(node)
            case d.Action():
                action = ActionChecker(self.state, self.scope, self.prefix).action(node)
                self.scope.declare(node.name, action, node.place)
            case d.Table():
                self.before = []
                table = self.table(node)
                if self.before:
                    raise refuse("calls of functions in a table", self.before[0].place or node.place)
                self.state.add(self.state.tables, table.name, table, node.place)
                self.scope.declare(node.name, table, node.place)
            case _:
                raise P4Error("this cannot be declared in a control", place=node.place)
        return []
