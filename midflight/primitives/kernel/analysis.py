"""The analysis of a kernel: from the source of `ingress` to the typed form, every rule of the language checked."""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from midflight.primitives.kernel.calls import PACKET, WIRE, LaneField
from midflight.primitives.kernel.expressions import Expressions
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Source, source_of
from midflight.primitives.kernel.typed import (
    Access,
    Alert,
    Assign,
    Decide,
    EpochRef,
    Expr,
    FieldRef,
    If,
    Kernel,
    Local,
    Old,
    Return,
    SequenceRef,
    Statement,
    Truth,
    Unrolled,
)
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Untyped, Value, solid

__all__ = ["analyse"]

MAX_ROUNDS = 1024
_VERDICTS = {each.name.lower(): each for each in Verdict}
_INSTEAD: dict[type[ast.stmt], tuple[str, str]] = {
    ast.While: ("`while`", "a packet passes once: write `for lane in range(4):`, or let the next packet go on"),
    ast.Try: ("`try`", "test the condition with `if`; nothing in a kernel raises"),
    ast.Raise: ("`raise`", "tell the controller with `packet.alert(...)` and `packet.drop()`"),
    ast.Assert: ("`assert`", "test with `if` and `packet.drop()`"),
    ast.With: ("`with`", "write the statements one after the other"),
    ast.FunctionDef: ("a function inside a kernel", "write its body where it is used"),
    ast.ClassDef: ("a class inside a kernel", "declare headers beside the kernel: `class Wire(Header):`"),
    ast.Import: ("`import`", "import at the top of the file"),
    ast.ImportFrom: ("`import`", "import at the top of the file"),
    ast.Break: ("`break`", "put what is left of the loop under an `if`"),
    ast.Continue: ("`continue`", "put what is left of the loop under an `if`"),
    ast.Delete: ("`del`", "a variable ends with the packet"),
    ast.Global: ("`global`", "keep state in a Register made in setup"),
    ast.Nonlocal: ("`nonlocal`", "keep state in a Register made in setup"),
}


def analyse(
    function: Callable[..., Any], instance: object, layout: Layout, registers: Mapping[str, Register]
) -> Kernel:
    """Check a kernel function, bound to an instance of its primitive, and return its typed form.

    Raises KernelError with the place and what to write instead.
    """
    source, node = source_of(function)
    return _Analysis(source, node, function, instance, layout, registers).kernel()


class _Analysis:
    def __init__(
        self,
        source: Source,
        node: ast.FunctionDef,
        function: Callable[..., Any],
        instance: object,
        layout: Layout,
        registers: Mapping[str, Register],
    ) -> None:
        self.source = source
        self.node = node
        outer = vars(builtins) | inspect.unwrap(function).__globals__ | dict(inspect.getclosurevars(function).nonlocals)
        self.expressions = Expressions(source, layout, outer, self.access)
        self.layout = layout
        self.locals: dict[str, Kind | None] = {}
        self.lines: dict[str, int] = {}
        self.alert: tuple[tuple[str, Kind], ...] = ()
        self.before: list[Statement] = []
        """Register accesses that the expression at hand needs done first."""
        self.arrays: dict[int, tuple[str, int | None]] = {}
        for name, register in registers.items():
            self.arrays[id(register)] = (name, None)
            for lane in range(register.lanes or 0):
                self.arrays[id(register[lane])] = (name, lane)
        names = [each.arg for each in node.args.args]
        if len(names) != 3 or node.args.kwonlyargs or node.args.vararg or node.args.kwarg:
            raise source.error(node, "a kernel takes self, packet and wire", "write `def ingress(self, packet, wire):`")
        for name, value in zip(names, (instance, PACKET, WIRE), strict=True):
            self.scope.names[name] = Known(value)
        self.fixed = {*names}
        """Names that cannot be assigned: the kernel's parameters and the variables of the loops around."""
        self.assignments = _count_assignments(node)

    @property
    def scope(self) -> Scope:
        return self.expressions.scope

    def kernel(self) -> Kernel:
        body = self.block(self.node.body)
        return Kernel(self.source.file, self.source.line(self.node), body, self.locals, self.alert)

    # ------------------------------------------------------------------ statements

    def block(self, nodes: list[ast.stmt]) -> tuple[Statement, ...]:
        done: list[Statement] = []
        for node in nodes:
            if self.scope.ended:
                raise self.source.error(node, "this line is never reached", "remove it, or the `return` before it")
            done += self.statement(node)
        return tuple(done)

    def statement(self, node: ast.stmt) -> list[Statement]:
        match node:
            case ast.Assign(targets=[target]):
                return self.assign(node, target, node.value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return self.assign(node, target, value)
            case ast.AugAssign():
                load = ast.copy_location(_as_load(node.target), node.target)
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
            case ast.Return(value=None):
                self.scope.ended = True
                return [Return(self.source.line(node))]
            case ast.Return():
                raise self.source.error(
                    node, "a kernel returns nothing", "say what becomes of the packet: `packet.forward()`"
                )
            case ast.Assign():
                raise self.source.error(node, "assign one variable at a time", "write one line for each")
            case ast.Expr():
                raise self.source.error(node, "this line does nothing", "assign the value, or remove the line")
        what, instead = _INSTEAD.get(type(node), (f"`{type(node).__name__.lower()}`", "see the kernel language"))
        raise self.source.error(node, f"the kernel language has no {what}", instead)

    def flush(self) -> list[Statement]:
        """Return the register accesses that must come before the statement at hand."""
        done, self.before = self.before, []
        return done

    def assign(self, node: ast.stmt, target: ast.expr, value_node: ast.expr) -> list[Statement]:
        line = self.source.line(node)
        if isinstance(target, ast.Name):
            if (register := self.accessed_by(value_node)) is not None:
                assert isinstance(value_node, ast.Call)
                return self.assign_access(target, value_node, register, line)
            value = self.expressions.value(value_node)
            return [*self.flush(), *self.assign_name(node, target, value, value_node, line)]
        if isinstance(target, ast.Tuple):
            raise self.source.error(node, "assign one variable at a time", "write one line for each")
        place = self.expressions.value(_as_load(target))
        if isinstance(place, (SequenceRef, EpochRef)):
            raise self.source.error(target, "the common header is not a kernel's to change", "use a field of your own")
        if isinstance(place, Known) and isinstance(place.value, LaneField):
            name = self.source.text(target)
            raise self.source.error(target, "lanes are written one by one", f"write `{name}[lane] = ...` in a loop")
        if not isinstance(place, FieldRef):
            raise self.source.error(
                target,
                f"`{self.source.text(target)}` cannot be assigned in a kernel",
                "state goes into a register: `self.count.update(index, lambda old: ...)`",
            )
        number = self.expressions.number(value_node, place.kind, f"`{self.source.text(target)}`")
        self.scope.assign(place, None)
        return [*self.flush(), Assign(place, number, line)]

    def assign_name(
        self, node: ast.stmt, target: ast.Name, value: Value, value_node: ast.expr, line: int
    ) -> list[Statement]:
        name = target.id
        if isinstance(value, Known):
            if self.assignments[name] == 1 and name not in self.fixed:
                self.scope.names[name] = value
                self.scope.unset.pop(name, None)
                return []
            if not isinstance(value.value, bool):
                raise self.expressions.no_width(value_node, self.locals.get(name))
            value = Truth(value.value)
        if isinstance(value, Untyped) or not solid(value):
            raise self.expressions.no_width(value_node, None if isinstance(value, Untyped) else value.kind)
        local = Local(name, value.kind)
        self.declare(node, local, line)
        return [Assign(local, value, line)]

    def branch(self, node: ast.If) -> list[Statement]:
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
        bounds = [self.expressions.constant(each, "a loop's bound") for each in call.args]
        if len(bounds) == 3 and bounds[2] == 0:
            raise self.source.error(call, "the step of a range cannot be 0", "leave it out")
        values = range(*bounds)
        if len(values) > MAX_ROUNDS:
            raise self.source.error(
                call, f"{len(values)} rounds; at most {MAX_ROUNDS} fit into a program", "make the range shorter"
            )
        name = node.target.id
        if name in self.locals or name in self.fixed:
            raise self.source.error(node.target, f"`{name}` is taken", "choose another name")
        self.fixed.add(name)
        rounds = []
        for value in values:
            if self.scope.ended:
                raise self.source.error(node, "every round but the first is never reached", "remove the loop")
            self.scope.names[name] = Known(value)
            rounds.append((value, self.block(node.body)))
        self.fixed.remove(name)
        return [Unrolled(name, tuple(rounds), self.source.line(node))] if rounds else []

    def call(self, node: ast.stmt, call: ast.Call) -> list[Statement]:
        line = self.source.line(node)
        function = call.func
        if isinstance(function, ast.Attribute):
            base = self.expressions.value(function.value)
            if isinstance(base, Known) and base.value is PACKET:
                return self.decide(call, function.attr, line)
            if isinstance(base, Known) and isinstance(base.value, Register):
                return [self.touch(call, base.value, function.attr, None)]
        value = self.expressions.value(call)
        assert value
        raise self.source.error(node, "the value of this line is not used", "assign it, or remove the line")

    def decide(self, call: ast.Call, name: str, line: int) -> list[Statement]:
        if name == "alert":
            return self.raise_alert(call, line)
        if name not in _VERDICTS:
            raise self.source.error(
                call, f"a packet cannot `{name}`", "it can forward, drop, reply, multicast and alert"
            )
        if call.args or call.keywords:
            raise self.source.error(call, f"`packet.{name}` takes no arguments", f"write `packet.{name}()`")
        return [Decide(_VERDICTS[name], line)]

    def raise_alert(self, call: ast.Call, line: int) -> list[Statement]:
        if not call.args or call.keywords:
            raise self.source.error(call, "an alert tells numbers", "write `packet.alert(wire.sensor, wire.value)`")
        if self.scope.alerted is not None:
            raise self.source.error(
                call,
                f"a second alert on one packet; the first is in line {self.scope.alerted}",
                "a packet raises one alert: put all its numbers there",
            )
        values: list[Expr] = []
        fields: list[tuple[str, Kind]] = []
        for number, argument in enumerate(call.args):
            value = self.expressions.number(argument)
            if not solid(value):
                raise self.expressions.no_width(argument, value.kind)
            assert value.kind is not None
            values.append(value)
            name = argument.attr if isinstance(argument, ast.Attribute) else getattr(argument, "id", f"value_{number}")
            fields.append((name if name not in dict(fields) else f"{name}_{number}", value.kind))
        if self.alert and [kind for _, kind in self.alert] != [kind for _, kind in fields]:
            shape = ", ".join(f"{name} {kind}" for name, kind in self.alert)
            raise self.source.error(
                call, "an application's alerts have one shape", f"the first one told ({shape}): tell the same"
            )
        self.alert = self.alert or tuple(fields)
        self.scope.alerted = line
        return [*self.flush(), Alert(tuple(values), line)]

    # ------------------------------------------------------------------ registers

    def access(self, call: ast.Call, register: Register, method: str) -> Expr:
        """Take a register access inside an expression: it is done first, its value goes into a variable."""
        name, _ = self.array(call, register)
        if self.expressions.lazy:
            raise self.source.error(
                call,
                f"register `{name}` is accessed inside something that is evaluated for some packets only",
                f"access it on a line of its own: `value = {self.source.text(call.func)}(...)`",
            )
        number = sum(each.register == name for each in self.before if isinstance(each, Access))
        target = Local(f"{name}_read{number or ''}", register.kind)
        self.locals[target.name] = register.kind
        self.before.append(self.touch(call, register, method, target))
        return target

    def accessed_by(self, node: ast.expr) -> Register | None:
        """Return the register that an expression accesses, when it is nothing but such an access."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return None
        base = self.expressions.value(node.func.value)
        return base.value if isinstance(base, Known) and isinstance(base.value, Register) else None

    def assign_access(self, target: ast.Name, call: ast.Call, register: Register, line: int) -> list[Statement]:
        local = Local(target.id, register.kind)
        access = self.touch(call, register, call.func.attr if isinstance(call.func, ast.Attribute) else "", local)
        self.declare(target, local, line)
        return [*self.flush(), access]

    def declare(self, node: ast.AST, local: Local, line: int) -> None:
        """Note that a local variable has a value from here on; its kind never changes."""
        name = local.name
        if name in self.fixed:
            raise self.source.error(node, f"`{name}` is taken", "choose another name")
        if name in self.locals and self.locals[name] != local.kind:
            raise self.source.error(
                node,
                f"`{name}` is {_kind_name(self.locals[name])} since line {self.lines[name]}, "
                f"here it would become {_kind_name(local.kind)}",
                "use another name, or convert the value",
            )
        self.locals.setdefault(name, local.kind)
        self.lines.setdefault(name, line)
        self.scope.assign(local, local)

    def array(self, call: ast.Call, register: Register) -> tuple[str, int | None]:
        known = self.arrays.get(id(register))
        if known is None:
            raise self.source.error(
                call, "this register is not the primitive's own", "make it in setup: `self.x = ...`"
            )
        if register.lanes:
            text = self.source.text(call.func).rpartition(".")[0]
            raise self.source.error(call, f"`{text}` has {register.lanes} lanes", f"say which: `{text}[lane]`")
        return known

    def touch(self, call: ast.Call, register: Register, method: str, target: Local | None) -> Access:
        name, lane = self.array(call, register)
        line = self.source.line(call)
        shown = name if lane is None else f"{name}[{lane}]"
        if (first := self.scope.accessed.get((name, lane))) is not None:
            raise self.source.error(
                call,
                f"a second access to register `{shown}` on one packet; the first is in line {first}",
                "a switch accesses a register once: do it all in one `update(index, lambda old: ...)`",
            )
        counts = {"update": 2, "update_fetch": 2, "read": 1, "write": 2}
        if method not in counts:
            raise self.source.error(
                call, f"a register has no `{method}`", "it has update, update_fetch, read and write"
            )
        if len(call.args) != counts[method] or call.keywords:
            raise self.source.error(
                call,
                f"`{method}` takes {counts[method]} arguments, not {len(call.args) + len(call.keywords)}",
                "such as `self.count.update(index, lambda old: old + 1)`",
            )
        if method == "write" and target is not None:
            raise self.source.error(call, "`write` has no value", "write it on a line of its own")
        index = self.index(call.args[0], register, shown)
        new: Expr | None = None
        if method == "write":
            new = self.expressions.number(call.args[1], register.kind, f"register `{shown}`")
        elif method != "read":
            new = self.function(call.args[1], register, shown)
        self.scope.accessed[(name, lane)] = line
        guarded = not self.scope.below(index, register.size)
        return Access(name, lane, index, new, target, method == "update_fetch", guarded, line)

    def index(self, node: ast.expr, register: Register, shown: str) -> Expr:
        value = self.expressions.value(node)
        if isinstance(value, Known):
            number = self.expressions.constant(node, "the index")
            if not 0 <= number < register.size:
                raise self.source.error(
                    node,
                    f"register `{shown}` has elements 0 to {register.size - 1}",
                    "make it larger in setup, or use an index that it has",
                )
            return self.expressions.fit(value, Kind(32), node, "the index")
        number_expr = self.expressions.number(node)
        assert number_expr.kind is not None
        if number_expr.kind.signed or number_expr.kind.width > 32 or not solid(number_expr):
            text = self.source.text(node)
            raise self.source.error(
                node,
                f"`{text}` is {number_expr.kind}: an index is unsigned, of at most 32 bits",
                f"write `bit[32]({text})`",
            )
        return number_expr

    def function(self, node: ast.expr, register: Register, shown: str) -> Expr:
        """Compile the function that gives a register's new value."""
        if not isinstance(node, ast.Lambda) or len(node.args.args) != 1 or node.args.defaults:
            raise self.source.error(node, "an update is a lambda of the old value", "write `lambda old: old + 1`")
        name = node.args.args[0].arg
        outside = self.scope
        self.expressions.scope = outside.copy()
        self.scope.names[name] = Old(register.kind)
        self.expressions.lazy += 1
        try:
            return self.expressions.number(node.body, register.kind, f"register `{shown}`")
        finally:
            self.expressions.lazy -= 1
            self.expressions.scope = outside


def _count_assignments(function: ast.FunctionDef) -> dict[str, int]:
    """Count how often each name is assigned in the text of a kernel."""
    counts: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            counts[node.id] = counts.get(node.id, 0) + 1
    return counts


def _as_load(target: ast.expr) -> ast.expr:
    """Return an assignment's target as an expression that reads it."""
    read = copy.copy(target)
    read.ctx = ast.Load()  # type: ignore[attr-defined]
    return read


def _kind_name(kind: Kind | None) -> str:
    return "a condition" if kind is None else str(kind)
