"""Register accesses: one read-modify-write of a register on one packet, on a line of its own or in an expression."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.body import Body
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import Access, Expr, Local, Old, Statement, Truth
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Value, solid

__all__ = ["Accesses"]

_ARGUMENTS = {"update": 2, "update_fetch": 2, "update_if": 3, "read": 1, "write": 2}
_EXAMPLES = {
    "update": "update(index, lambda old: old + 1)",
    "update_fetch": "update_fetch(index, lambda old: old + 1)",
    "update_if": "update_if(index, wire.value > 3, lambda old: old + 1)",
    "read": "read(index)",
    "write": "write(index, wire.value)",
}


class Accesses(Body):
    """The rules of register accesses."""

    def access(self, node: ast.Call | ast.Attribute, state: State, method: str) -> Expr:
        """Take a register access inside an expression: it is done first, its value goes into a variable."""
        assert isinstance(node, ast.Call)
        assert isinstance(state, Register)
        call, register = node, state
        name, _ = self.array(call, register)
        if self.expressions.lazy:
            helper = self.frame is not self.kernel
            text = self.frame.node.name if helper else self.source.text(call.func)
            raise self.source.error(
                call,
                f"register `{name}` is accessed inside something that is evaluated for some packets only",
                f"{'call' if helper else 'access'} it on a line of its own: `value = {text}(...)`",
            )
        number = sum(each.register == name for each in self.before if isinstance(each, Access))
        target = Local(f"{name}_read{number or ''}", register.kind)
        self.locals[target.name] = register.kind
        self.ahead(self.touch(call, register, method, target))
        self.scope.assign(target, None)
        return target

    def accessed_by(self, node: ast.expr) -> State | None:
        """Return the state that an expression accesses, when it is nothing but such an access."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return None
        base = self.expressions.value(node.func.value)
        return base.value if isinstance(base, Known) and isinstance(base.value, State) else None

    def assign_access(self, target: ast.Name, call: ast.Call, state: State, line: Line) -> list[Statement]:
        """Assign what an access gives to a variable."""
        assert isinstance(state, Register)
        local = self.local(target.id, state.kind)
        access = self.touch(call, state, call.func.attr if isinstance(call.func, ast.Attribute) else "", local)
        self.declare(target, target.id, local, line)
        return [*self.flush(), access]

    def array(self, call: ast.Call, register: Register) -> tuple[str, int | None]:
        """Return the name, and the lane if any, of the array that is accessed."""
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
        """Check one access and note that it has happened."""
        name, lane = self.array(call, register)
        line = self.source.line(call)
        shown = name if lane is None else f"{name}[{lane}]"
        if (first := self.scope.accessed.get((name, lane))) is not None:
            raise self.source.error(
                call,
                f"a second access to register `{shown}` on one packet; the first is in {self.source.where(first)}",
                self.also(first, line)
                + "a switch accesses a register once: do it all in one `update(index, lambda old: ...)`",
            )
        if method not in _EXAMPLES:
            raise self.source.error(
                call, f"a register has no `{method}`", "it has update, update_fetch, update_if, read and write"
            )
        count = _ARGUMENTS[method]
        if len(call.args) != count or call.keywords:
            raise self.source.error(
                call,
                f"`{method}` takes {count} argument{'s' * (count > 1)}, not {len(call.args) + len(call.keywords)}",
                "such as `self.count.update(index, lambda old: old + 1)`",
            )
        if method == "write" and target is not None:
            raise self.source.error(call, "`write` has no value", "write it on a line of its own")
        index = self.index(call.args[0], register, shown)
        new: Expr | None = None
        if method == "write":
            new = self.expressions.number(call.args[1], register.kind, f"register `{shown}`")
        elif method != "read":
            new = self.function(call.args[-1], register, shown)
        condition = self.expressions.condition(call.args[1]) if method == "update_if" else Truth(True)
        if condition == Truth(False):
            new = None
        self.scope.accessed[(name, lane)] = line
        guarded = not self.scope.below(index, register.size)
        return Access(name, lane, index, new, target, method == "update_fetch", guarded, line, condition)

    def index(self, node: ast.expr, register: Register, shown: str) -> Expr:
        """Compile an index: a constant that the register has, or an unsigned number."""
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
        return self.position(value, node)

    def position(self, value: Value, node: ast.expr) -> Expr:
        """Return an index that is not known beforehand: an unsigned number."""
        number = self.expressions.sized(value, node)
        assert number.kind is not None
        if number.kind.signed or number.kind.width > 32 or not solid(number):
            text = self.source.text(node)
            raise self.source.error(
                node,
                f"`{text}` is {number.kind}: an index is unsigned, of at most 32 bits",
                f"write `bit[32]({text})`",
            )
        return number

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
