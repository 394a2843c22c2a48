"""Helpers as expressions: what a function that only computes gives, its variables put in where they are used."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.returns import returns
from midflight.primitives.kernel.statements import Statements, as_load
from midflight.primitives.kernel.typed import Truth
from midflight.primitives.kernel.values import Untyped, Value, solid

__all__ = ["Pure"]


class Pure(Statements):
    """The rules of a helper that is called inside something that is evaluated for some packets only."""

    returned: ast.expr
    """What the last `return` gave."""

    def compute(self, body: list[ast.stmt]) -> Value | None:
        """Return what a straightened body gives; None where it comes to its end without a `return`."""
        for node in body:
            match node:
                case ast.Return(value=ast.expr() as value):
                    self.returned = value
                    return self.expressions.value(value)
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    self.keep(name, value)
                case ast.AugAssign(target=ast.Name(id=name)):
                    load = as_load(node.target)
                    self.keep(name, ast.copy_location(ast.BinOp(load, node.op, node.value), node))
                case ast.If():
                    result = self.compute_branch(node)
                    if result is not None:
                        return result
                case ast.For():
                    for _ in self.rounds(node):
                        self.compute(node.body)
                case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                    pass
                case _:
                    raise self.source.error(
                        node,
                        "this line does more than compute, inside something that is evaluated for some packets only",
                        f"call `{self.frame.node.name}` on a line of its own: `value = {self.frame.node.name}(...)`",
                    )
        return None

    def keep(self, name: str, node: ast.expr) -> None:
        """Let a name stand for an expression."""
        if name in self.frame.fixed:
            raise self.source.error(node, f"`{name}` is taken", "choose another name")
        value = self.expressions.value(node)
        if isinstance(value, Untyped) or (not isinstance(value, Known) and not solid(value)):
            raise self.expressions.no_width(node, None if isinstance(value, Untyped) else value.kind)
        self.scope.names[name] = value
        self.scope.unset.pop(name, None)

    def compute_branch(self, node: ast.If) -> Value | None:
        """Choose between what the sides of an `if` return, or between what they make of the variables."""
        condition = self.expressions.condition(node.test)
        if isinstance(condition, Truth):
            return self.compute(node.body if condition.value else node.orelse)
        start = self.scope
        results: list[tuple[ast.expr, Value | None]] = []
        ends: list[Scope] = []
        for body, holds in ((node.body, True), (node.orelse, False)):
            self.expressions.scope = start.copy()
            self.scope.assume(condition, holds)
            value = self.compute(body)
            results.append((self.returned if value is not None else node.test, value))
            ends.append(self.scope)
        self.expressions.scope = start
        (yes_node, yes), (no_node, no) = results
        if returns([node]):
            if yes is None or no is None:
                return None
            return self.expressions.choice(node.test, condition, (yes_node, yes), (no_node, no))
        for name in ends[0].names.keys() & ends[1].names.keys():
            one, other = ends[0].names[name], ends[1].names[name]
            if one != other:
                value = self.expressions.choice(node.test, condition, (node.test, one), (node.test, other))
                if isinstance(value, Untyped):
                    raise self.source.error(
                        node,
                        f"`{name}` has no width after this `if`",
                        f"give its constants one: `{name} = bit[32](...)`",
                    )
                start.names[name] = value
        for name in ends[0].names.keys() ^ ends[1].names.keys():
            start.names.pop(name, None)
            start.unset[name] = self.source.line(node)
        return None
