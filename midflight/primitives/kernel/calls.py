"""Compiles calls: of functions, predicates, registers, maps and lookups."""

from __future__ import annotations

import ast
from typing import Any

from midflight.primitives.kernel import accesses, searches
from midflight.primitives.kernel.coercion import condition, constant
from midflight.primitives.kernel.context import Context
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.functions import arguments, function
from midflight.primitives.kernel.helpers import inline
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.predicate import FUNCTIONS, Predicate
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.struct import Items
from midflight.primitives.kernel.typed import Cast, Compare, Const, Draw, Expr, FieldRef, Truth
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import PACKET, WIRE, LaneField, Value
from midflight.stackless import Walk

__all__ = ["call"]

_ALTERNATIVES = {
    "int": "numbers have a width here: `bit[32](...)`",
    "bit": "say how wide: `bit[32](...)`",
    "int_": "say how wide: `int_[32](...)`",
    "float": "a switch computes with integers: scale the numbers",
    "round": "shift: `(x + 8) >> 4`",
    "sum": "add them up in a `for` loop",
    "print": "report to the controller with `packet.alert(...)`",
    "range": "`range` goes into a `for` loop",
    "time.time": "`packet.now` is the packet's arrival time in microseconds",
    "random.random": "draw with `packet.random(bit[16])`",
    "random.randint": "draw with `packet.random(bit[16])`",
    "bool": "compare: `wire.value != 0`",
    "any": "combine them in a `for` loop: `found = found or wire.values[lane] == 3`",
    "all": "combine them in a `for` loop: `found = found and wire.values[lane] == 3`",
    "sorted": "sort two numbers with `min` and `max`",
    "str": "a kernel computes with numbers; format them on a host",
    "hex": "a kernel computes with numbers; format them on a host",
    "pow": "multiply: `x * x`",
    "divmod": "write `x // 8` and `x % 8`, by constant powers of two",
    "enumerate": "write `for lane in range(self.lanes):` and use `wire.values[lane]`",
    "zip": "write `for lane in range(self.lanes):` and use `wire.values[lane]`",
    "isinstance": "kinds are known when the kernel is compiled",
    "hash": "write `hash_(...)`, which gives the same result on every switch",
}


def call(code: Context, node: ast.Call) -> Walk[Value]:
    """Compile a call in an expression and return its value: of the language's functions, state, predicates or helpers.

    Statements that must run before, such as a register access, are added to the context. Raises KernelError for
    functions that a kernel cannot call, and for arguments that do not fit.
    """
    callee: Any
    if isinstance(node.func, ast.Attribute):
        method = node.func.attr
        match (yield code.value(node.func.value)):
            case Known(value=Register() as register):
                return (yield from accesses.access(code, node, register, method))
            case Known(value=Map() | Lookup() as state):
                return (yield from searches.search(code, node, state, method))
            case Known(value=Items() as items) if method == "present":
                return (yield from _present(code, node, items))
            case Known(value=thing) if thing is PACKET and method == "random":
                return (yield from _random(code, node))
            case Known(value=thing) if thing is PACKET:
                raise code.error(node, f"`packet.{method}(...)` has no value", "write it as a statement of its own")
    if isinstance(node.func, ast.Name) and node.func.id not in code.scope.names:
        callee = code.outer.get(node.func.id)
        if callee is None:
            yield code.value(node.func)
    else:
        value: Value = yield code.value(node.func)
        callee = value.value if isinstance(value, Known) else None
    return (yield from _apply(code, node, callee))


def _present(code: Context, node: ast.Call, items: Items) -> Walk[Value]:
    """Compile `items.present(place)`."""
    place = yield from constant(code, arguments(code, node, 1)[0], "which item")
    counted = FieldRef(items.counted.name, None, items.counted.kind)
    if not 0 <= place < len(items):
        name = code.text(node.func).removesuffix(".present")
        raise code.error(node, f"`{name}` has no item {place}", f"its items are 0 to {len(items) - 1}")
    return Compare(">", counted, Const(place, counted.kind))


def _random(code: Context, node: ast.Call) -> Walk[Expr]:
    value: Value | None = None
    if len(node.args) == 1 and not node.keywords:
        value = yield code.value(node.args[0])
    kind = value.value if isinstance(value, Known) else None
    if not isinstance(kind, Kind):
        raise code.error(node, "`packet.random` takes the type to draw", "write `packet.random(bit[16])`")
    if kind.width > 64:
        raise code.error(
            node, f"{kind} is too wide: a switch draws at most 64 bits at once", "draw two numbers and `concat` them"
        )
    drawn = code.variables.fresh("drawn", Kind(kind.width))
    code.emit_before(Draw(drawn, code.source.line(node)))
    return Cast(drawn, kind) if kind.signed else drawn


def _apply(code: Context, node: ast.Call, callee: Any) -> Walk[Value]:
    if callee is super and not node.args and not node.keywords and "__class__" in code.outer:
        return Known(super(code.outer["__class__"], code.outer["__self__"]))
    if isinstance(callee, Predicate):
        argument = arguments(code, node, 1)[0]
        value: Value = yield code.value(argument)
        if not isinstance(value, Known) or value.value is not WIRE:
            raise code.error(argument, "a predicate takes the header", "write `(wire)`")
        return (yield from _predicate(code, callee))
    result = yield from function(code, node, callee)
    if result is None:
        result = yield from inline(code, node, callee)
    if result is not None:
        return result
    name = code.text(node.func)
    raise code.error(
        node,
        f"`{name}` cannot be called in a kernel",
        _ALTERNATIVES.get(name, f"a kernel can call {', '.join(sorted(FUNCTIONS))} and a register's methods"),
    )


def _predicate(code: Context, predicate: Predicate) -> Walk[Value]:
    """Compile a predicate's text in place; its names are the header's fields."""
    inside = Scope()
    for field in code.layout:
        inside.names[field.name] = (
            Known(LaneField(field)) if field.count is not None else FieldRef(field.name, None, field.kind)
        )
    with code.reading(predicate.source, FUNCTIONS, inside):
        value = yield from condition(code, predicate.tree)
    return Known(value.value) if isinstance(value, Truth) else value
