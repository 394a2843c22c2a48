"""Compiles register accesses: a packet reads and writes a register once in a round, in a statement or expression."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.coercion import condition, constant, fit, number, sized
from midflight.primitives.kernel.context import Context, also
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Access, Expr, Local, Old, Statement, Truth
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Value
from midflight.stackless import Walk

__all__ = ["access", "assigned", "compile_access", "dynamic_index"]

_ARGUMENTS = {"update": 2, "update_fetch": 2, "update_if": 3, "read": 1, "write": 2}
_EXAMPLES = {
    "update": "update(index, lambda old: old + 1)",
    "update_fetch": "update_fetch(index, lambda old: old + 1)",
    "update_if": "update_if(index, wire.value > 3, lambda old: old + 1)",
    "read": "read(index)",
    "write": "write(index, wire.value)",
}
_ONCE = (
    "a switch accesses a register once per packet: combine both in one `update(index, lambda old: ...)`, or, if one"
    " update cannot do it, do the rest in another round: `packet.recirculate()`"
)


def access(code: Context, call: ast.Call, register: Register, method: str) -> Walk[Expr]:
    """Compile a register access inside an expression, such as `1 + self.count.read(0)`; `method` is the called method.

    The access becomes a statement that runs before the current one and stores to a new variable, which is returned.
    KernelError if Python would not always evaluate the expression, and as `compile_access` raises it.
    """
    name, _ = _array(code, call, register)
    if code.conditional:
        helper = code.in_helper
        text = code.frame.node.name if helper else code.text(call.func)
        raise code.error(
            call,
            f"register `{name}` is accessed in an expression that is not evaluated for every packet",
            f"{'call' if helper else 'access'} it on a line of its own: `value = {text}(...)`",
        )
    count = sum(each.register == name for each in code.before if isinstance(each, Access))
    target = Local(f"{name}_read{count or ''}", register.kind)
    code.variables.kinds[target.name] = register.kind
    code.emit_before((yield from compile_access(code, call, register, method, target)))
    code.scope.assign(target, None)
    return target


def assigned(code: Context, target: ast.Name, call: ast.Call, register: Register, line: Line) -> Walk[list[Statement]]:
    """Compile `target = register.method(...)`, where `call` is the right side; the access stores to the variable.

    Return the statements, with those that must run before the access first. Raises KernelError as `compile_access`
    does, if the name cannot be assigned, or if the variable has another type.
    """
    local = code.local(target.id, register.kind)
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    done = yield from compile_access(code, call, register, method, local)
    code.declare(target, target.id, local, line)
    return [*code.flush(), done]


def _array(code: Context, call: ast.Call, register: Register) -> tuple[str, int | None]:
    """Return the name of the accessed array and its lane; the lane is None without lanes."""
    known = code.names.arrays.get(id(register))
    if known is None:
        raise code.error(call, "this register is not part of the primitive", "create it in setup: `self.x = ...`")
    if register.lanes:
        text = code.text(call.func).rpartition(".")[0]
        raise code.error(call, f"`{text}` has {register.lanes} lanes", f"choose one: `{text}[lane]`")
    return known


def compile_access(
    code: Context, call: ast.Call, register: Register, method: str, target: Local | None
) -> Walk[Access]:
    """Compile the call of a register's method, such as `self.count.update(i, lambda old: old + 1)`.

    `target` is the variable that receives the method's result, or None if the result is not used. Raises KernelError
    if a path to this point accesses the same array, for a register of another object, a register with lanes of which
    none is chosen, an unknown method, arguments that do not fit, and a use of the result of `write`.
    """
    name, lane = _array(code, call, register)
    line = code.source.line(call)
    shown = name if lane is None else f"{name}[{lane}]"
    if (first := code.scope.accessed.get((name, lane))) is not None:
        raise code.error(
            call,
            f"a second access to register `{shown}` for one packet; the first is in {code.source.where(first)}",
            also(first, line) + _ONCE,
        )
    if method not in _EXAMPLES:
        raise code.error(
            call, f"a register has no `{method}`", "it has update, update_fetch, update_if, read and write"
        )
    count = _ARGUMENTS[method]
    if len(call.args) != count or call.keywords:
        raise code.error(
            call,
            f"`{method}` takes {count} argument{'s' * (count > 1)}, not {len(call.args) + len(call.keywords)}",
            "for example `self.count.update(index, lambda old: old + 1)`",
        )
    if method == "write" and target is not None:
        raise code.error(call, "`write` has no value", "write it as a statement of its own")
    index = yield from _index(code, call.args[0], register, shown)
    new: Expr | None = None
    if method == "write":
        new = yield from number(code, call.args[1], register.kind, f"register `{shown}`")
    elif method != "read":
        new = yield from _update(code, call.args[-1], register, shown)
    only: Expr = Truth(True)
    if method == "update_if":
        only = yield from condition(code, call.args[1])
    if only == Truth(False):
        new = None
    code.scope.accessed[(name, lane)] = line
    guarded = not code.scope.below(index, register.size)
    return Access(name, lane, index, new, target, method == "update_fetch", guarded, line, only)


def _index(code: Context, node: ast.expr, register: Register, shown: str) -> Walk[Expr]:
    """Compile an index: a constant within the register, or an unsigned number."""
    value: Value = yield code.value(node)
    if not isinstance(value, Known):
        return dynamic_index(code, value, node)
    found = yield from constant(code, node, "the index")
    if not 0 <= found < register.size:
        raise code.error(
            node,
            f"register `{shown}` has elements 0 to {register.size - 1}",
            "make the register larger in setup, or use an index in that range",
        )
    return fit(code, value, Kind(32), node, "the index")


def dynamic_index(code: Context, value: Value, node: ast.expr) -> Expr:
    """Return `value`, the compiled expression `node`, as an index that is known only when a packet arrives.

    Raises KernelError unless it is an unsigned number of at most 32 bits.
    """
    found = sized(code, value, node)
    assert found.kind is not None
    if found.kind.signed or found.kind.width > 32:
        text = code.text(node)
        raise code.error(
            node,
            f"`{text}` is {found.kind}: an index is an unsigned number of at most 32 bits",
            f"write `bit[32]({text})`",
        )
    return found


def _update(code: Context, node: ast.expr, register: Register, shown: str) -> Walk[Expr]:
    """Compile the lambda that computes a register's new value."""
    if not isinstance(node, ast.Lambda) or len(node.args.args) != 1 or node.args.defaults:
        raise code.error(node, "an update is a lambda of the old value", "write `lambda old: old + 1`")
    with code.conditionally(code.scope.copy()):
        code.scope.names[node.args.args[0].arg] = Old(register.kind)
        return (yield from number(code, node.body, register.kind, f"register `{shown}`"))
