"""Statements of a kernel: assignments, branches, loops, and calls that stand on a line of their own."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

from midflight.errors import KernelError
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.matches import turned
from midflight.primitives.kernel.outputs import Outputs
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.returns import leaves
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.struct import Group, Items
from midflight.primitives.kernel.typed import (
    Assign,
    Choose,
    EpochRef,
    FieldRef,
    ForwardedRef,
    If,
    NowRef,
    Return,
    RoundRef,
    SequenceRef,
    Statement,
    Truth,
    Unrolled,
)
from midflight.primitives.kernel.values import PACKET, WIRE, LaneField, Untyped, Value, solid

__all__ = ["Statements", "as_load"]

MAX_ROUNDS = 1024
_INSTEAD: dict[type[ast.stmt], tuple[str, str]] = {
    ast.While: ("`while`", "a packet passes once: write `for lane in range(4):`, or let the next packet go on"),
    ast.Try: ("`try`", "test the condition with `if`; nothing in a kernel raises"),
    ast.Raise: ("`raise`", "tell the controller with `packet.alert(...)` and `packet.drop()`"),
    ast.Assert: ("`assert`", "test with `if` and `packet.drop()`"),
    ast.With: ("`with`", "write the statements one after the other"),
    ast.FunctionDef: (
        "functions inside a kernel",
        "write it at the top of the file, or as a method: a kernel may call it",
    ),
    ast.ClassDef: ("classes inside a kernel", "declare headers beside the kernel: `class Wire(Header):`"),
    ast.Import: ("`import`", "import at the top of the file"),
    ast.ImportFrom: ("`import`", "import at the top of the file"),
    ast.Break: ("`break`", "put what is left of the loop under an `if`"),
    ast.Continue: ("`continue`", "put what is left of the loop under an `if`"),
    ast.Delete: ("`del`", "a variable ends with the packet"),
    ast.AsyncFunctionDef: ("`async`", "a kernel runs once for each packet, from top to bottom"),
    ast.AsyncFor: ("`async`", "a kernel runs once for each packet, from top to bottom"),
    ast.AsyncWith: ("`async`", "a kernel runs once for each packet, from top to bottom"),
    ast.AnnAssign: ("variables without a value", "give it one: `count: int = wire.value`"),
    ast.Global: ("`global`", "keep state in a Register made in setup"),
    ast.Nonlocal: ("`nonlocal`", "keep state in a Register made in setup"),
}


class Statements(Outputs):
    """The rules of statements."""

    def block(self, nodes: list[ast.stmt]) -> tuple[Statement, ...]:
        """Compile statements one after the other."""
        done: list[Statement] = []
        for number, node in enumerate(nodes):
            if self.scope.ended and leaves(nodes[:number]):
                raise self.source.error(node, "this line is never reached", "remove it, or the `return` before it")
            if self.scope.ended:
                break  # a parameter has decided that the kernel ends before
            done += self.statement(node)
        return tuple(done)

    def statement(self, node: ast.stmt) -> list[Statement]:
        """Compile one statement."""
        match node:
            case ast.Assign(targets=[target]):
                return self.assign(node, target, node.value)
            case ast.AnnAssign(annotation=ast.Name(id="float" | "str" | "list" | "dict" as kind)):
                raise self.source.error(node, f"a kernel has no variables of {kind}", "write `: int`, or leave it out")
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return self.assign(node, target, value)
            case ast.AugAssign():
                load = ast.copy_location(as_load(node.target), node.target)
                value = ast.copy_location(ast.BinOp(load, node.op, node.value), node)
                return self.assign(node, node.target, value)
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                return []
            case ast.Expr(value=ast.Call() as call):
                return self.call(node, call)
            case ast.If():
                return self.branch(node)
            case ast.For():
                return self.loop(node)
            case ast.Match():
                return [*self.block(turned(node, self.frame, self.locals))]
            case ast.Return() if self.frame is not self.kernel:
                return self.give(node)
            case ast.Return(value=None):
                self.scope.ended = True
                return [Return(self.source.line(node))]
            case ast.Return():
                raise self.source.error(
                    node, "a kernel returns nothing", "say what becomes of the packet: `packet.forward()`"
                )
            case ast.Assign():
                raise self.source.error(node, "assign one variable at a time", "write one line for each")
            case ast.Expr(value=ast.Yield() | ast.YieldFrom() | ast.Await() | ast.NamedExpr() as value):
                self.expressions.value(value)
            case ast.Expr(value=ast.Attribute() as value):
                text = self.source.text(value)
                raise self.source.error(node, "this line does nothing", f"call it, `{text}()`, or remove the line")
            case ast.Expr():
                raise self.source.error(node, "this line does nothing", "assign the value, or remove the line")
        what, instead = _INSTEAD.get(type(node), (f"`{type(node).__name__.lower()}`", "see the kernel language"))
        raise self.source.error(node, f"the kernel language has no {what}", instead)

    def give(self, node: ast.Return) -> list[Statement]:
        """Compile a helper's `return`."""
        raise NotImplementedError

    def assign(self, node: ast.stmt, target: ast.expr, value_node: ast.expr) -> list[Statement]:
        """Compile an assignment to a variable, a field or a lane."""
        line = self.source.line(node)
        if isinstance(target, ast.Name):
            if (register := self.accessed_by(value_node)) is not None:
                assert isinstance(value_node, ast.Call)
                return self.assign_access(target, value_node, register, line)
            self.whole = value_node
            value = self.expressions.value(value_node)
            if value == Known(None):
                text = self.source.text(value_node)
                raise self.source.error(value_node, f"`{text}` gives no value", "end the helper with a `return`")
            return [*self.flush(), *self.assign_name(node, target, value, value_node, line)]
        if isinstance(target, ast.Tuple):
            raise self.source.error(node, "assign one variable at a time", "write one line for each")
        if isinstance(target, ast.Attribute) and self.foreign(self.expressions.value(target.value)):
            raise self.fixed(target)
        place = self.expressions.value(as_load(target))
        if isinstance(place, Choose) and isinstance(place.yes, FieldRef):
            place = place.yes  # of an item that may not be there, and then takes no value
        if isinstance(place, (SequenceRef, EpochRef, NowRef, RoundRef, ForwardedRef)):
            raise self.source.error(target, "this is not a kernel's to change", "use a field of your own")
        if isinstance(place, Known) and isinstance(place.value, LaneField):
            name = self.source.text(target)
            raise self.source.error(target, "lanes are written one by one", f"write `{name}[lane] = ...` in a loop")
        if isinstance(place, Known) and isinstance(place.value, (Group, Items, tuple)):
            name = self.source.text(target)
            raise self.source.error(target, f"`{name}` is a header inside", f"write its fields: `{name}.x = ...`")
        if not isinstance(place, FieldRef):
            raise self.fixed(target)
        items = self.layout.items
        if items is not None and place.name == items.counted.name:
            raise self.source.error(
                target, f"`{self.source.text(target)}` says how many {items.name} there are", "a packet keeps its items"
            )
        self.whole = value_node
        number = self.expressions.number(value_node, place.kind, f"`{self.source.text(target)}`")
        self.scope.assign(place, None)
        return [*self.flush(), Assign(place, number, line)]

    def fixed(self, target: ast.expr) -> KernelError:
        """Say that something is not a kernel's to assign."""
        return self.source.error(
            target,
            f"`{self.source.text(target)}` cannot be assigned in a kernel",
            "state goes into a register: `self.count.update(index, lambda old: ...)`",
        )

    @staticmethod
    def foreign(value: Value) -> bool:
        """Tell whether a value has attributes, and is not the packet, the header or a part of it."""
        return isinstance(value, Known) and not (
            value.value is PACKET or value.value is WIRE or isinstance(value.value, (Group, Items, LaneField, tuple))
        )

    def assign_name(
        self, node: ast.stmt, target: ast.Name, value: Value, value_node: ast.expr, line: Line
    ) -> list[Statement]:
        """Give a variable a value: one that is known stays so where nothing else is ever assigned."""
        name = target.id
        if name in self.frame.fixed:
            raise self.source.error(node, f"`{name}` is taken", "choose another name")
        if isinstance(value, Known):
            if self.frame.assignments[name] == 1:
                self.scope.names[name] = value
                self.scope.unset.pop(name, None)
                return []
            if not isinstance(value.value, bool):
                raise self.expressions.no_width(value_node, self.frame.kinds.get(name))
            value = Truth(value.value)
        if isinstance(value, Untyped) or not solid(value):
            raise self.expressions.no_width(value_node, None if isinstance(value, Untyped) else value.kind)
        local = self.local(name, value.kind)
        limit = self.scope.limit(value)
        self.declare(node, name, local, line)
        if limit is not None:
            self.scope.bounds[local] = limit
        return [Assign(local, value, line)]

    def branch(self, node: ast.If) -> list[Statement]:
        """Compile an `if` and join what holds after its sides."""
        line = self.source.line(node)
        condition = self.expressions.condition(node.test)
        before = self.flush()
        if isinstance(condition, Truth):
            # Decided by a parameter: only the side that is taken becomes part of the program.
            return [*before, *self.block(node.body if condition.value else node.orelse)]
        start = self.scope
        sides: list[tuple[Statement, ...]] = []
        ends: list[Scope] = []
        for body, holds in ((node.body, True), (node.orelse, False)):
            self.expressions.scope = start.copy()
            self.scope.assume(condition, holds)
            sides.append(self.block(body))
            ends.append(self.scope)
        self.expressions.scope = start
        start.join(ends[0], ends[1], line)
        return [*before, If(condition, sides[0], sides[1], line)]

    def loop(self, node: ast.For) -> list[Statement]:
        """Compile a `for` over a range, round by round."""
        rounds = [(value, self.block(node.body)) for value in self.rounds(node)]
        assert isinstance(node.target, ast.Name)
        return [Unrolled(node.target.id, tuple(rounds), self.source.line(node))] if rounds else []

    def rounds(self, node: ast.For) -> Iterator[int]:
        """Check a loop and give its variable one value after the other."""
        if node.orelse:
            raise self.source.error(node, "the kernel language has no `else` of a loop", "write it after the loop")
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise self.source.error(call, "a loop runs over a range", "write `for lane in range(self.lanes):`")
        if not isinstance(node.target, ast.Name):
            raise self.source.error(node.target, "a loop has one variable", "write `for lane in range(...):`")
        if not 1 <= len(call.args) <= 3 or call.keywords:
            raise self.source.error(
                call, "`range` takes one to three numbers", "write `for lane in range(self.lanes):`"
            )
        test = f"loop to the most there can be, and test inside: `if lane < {self.source.text(call.args[-1])}:`"
        bounds = [self.expressions.constant(each, "a loop's bound", test) for each in call.args]
        if len(bounds) == 3 and bounds[2] == 0:
            raise self.source.error(call, "the step of a range cannot be 0", "leave it out")
        values = range(*bounds)
        if len(values) > MAX_ROUNDS:
            raise self.source.error(
                call, f"{len(values)} rounds; at most {MAX_ROUNDS} fit into a program", "make the range shorter"
            )
        name = node.target.id
        fixed = self.frame.fixed
        if name in self.frame.kinds or name in fixed:
            raise self.source.error(node.target, f"`{name}` is taken", "choose another name")
        fixed.add(name)
        for value in values:
            if self.scope.ended and leaves(node.body):
                raise self.source.error(node, "every round but the first is never reached", "remove the loop")
            if self.scope.ended:
                break
            self.scope.names[name] = Known(value)
            yield value
        fixed.remove(name)

    def call(self, node: ast.stmt, call: ast.Call) -> list[Statement]:
        """Compile a call that stands on a line of its own."""
        line = self.source.line(node)
        function = call.func
        if isinstance(function, ast.Attribute):
            base = self.expressions.value(function.value)
            if isinstance(base, Known) and base.value is PACKET:
                return self.decide(call, function.attr, line)
            if isinstance(base, Known) and isinstance(base.value, Register):
                access = self.touch(call, base.value, function.attr, None)
                return [*self.flush(), access]
        self.whole = call
        if self.expressions.value(call) == Known(None):
            return self.flush()
        raise self.source.error(node, "the value of this line is not used", "assign it, or remove the line")


def as_load(target: ast.expr) -> ast.expr:
    """Return an assignment's target as an expression that reads it."""
    read = copy.copy(target)
    read.ctx = ast.Load()  # type: ignore[attr-defined]
    return read
