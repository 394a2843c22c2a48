"""Calls in the kernel language: of functions, predicates and registers."""

from __future__ import annotations

import ast
from typing import Any

from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.functions import Functions
from midflight.primitives.kernel.predicate import FUNCTIONS, Predicate
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.struct import Items
from midflight.primitives.kernel.typed import Cast, Compare, Const, Draw, Expr, FieldRef, Truth
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import PACKET, WIRE, LaneField, Value

__all__ = ["Calls"]

_INSTEAD = {
    "int": "numbers have a width here: `bit[32](...)`",
    "bit": "say how wide: `bit[32](...)`",
    "int_": "say how wide: `int_[32](...)`",
    "float": "a switch computes on whole numbers: scale them",
    "round": "shift: `(x + 8) >> 4`",
    "sum": "add them up in a `for` loop",
    "print": "tell the controller with `packet.alert(...)`",
    "range": "`range` goes into a `for` loop",
    "time.time": "the time at which the packet came in is `packet.now`, in microseconds",
    "random.random": "draw with `packet.random(bit[16])`",
    "random.randint": "draw with `packet.random(bit[16])`",
    "bool": "compare: `wire.value != 0`",
    "any": "combine them in a `for` loop: `found = found or wire.values[lane] == 3`",
    "all": "combine them in a `for` loop: `found = found and wire.values[lane] == 3`",
    "sorted": "put two in order with `min` and `max`",
    "str": "a kernel computes on numbers; hosts make texts of them",
    "hex": "a kernel computes on numbers; hosts make texts of them",
    "pow": "multiply: `x * x`",
    "divmod": "write `x // 8` and `x % 8`, by constant powers of two",
    "enumerate": "write `for lane in range(self.lanes):` and use `wire.values[lane]`",
    "zip": "write `for lane in range(self.lanes):` and use `wire.values[lane]`",
    "isinstance": "kinds are known when the kernel is compiled",
    "hash": "write `hash_(...)`, which every switch computes alike",
}


class Calls(Functions):
    """Expressions that are calls."""

    def _call(self, node: ast.Call) -> Value:
        function = node.func
        if isinstance(function, ast.Attribute):
            base = self.value(function.value)
            if isinstance(base, Known) and isinstance(base.value, State):
                return self.around.access(node, base.value, function.attr)
            if isinstance(base, Known) and isinstance(base.value, Items) and function.attr == "present":
                return self._present(node, base.value)
            if isinstance(base, Known) and base.value is PACKET and function.attr == "random":
                return self._random(node)
            if isinstance(base, Known) and base.value is PACKET:
                raise self.source.error(
                    node, f"`packet.{function.attr}(...)` has no value", "write it on a line of its own"
                )
        if isinstance(function, ast.Name) and function.id not in self.scope.names:
            callee: Any = self.outer.get(function.id)
            if callee is None:
                self.value(function)
        else:
            value = self.value(function)
            callee = value.value if isinstance(value, Known) else None
        return self._apply(node, callee)

    def _present(self, node: ast.Call, items: Items) -> Value:
        """Compile the question whether an item is on the wire."""
        place = self.constant(self._arguments(node, 1)[0], "which item")
        counted = FieldRef(items.counted.name, None, items.counted.kind)
        if not 0 <= place < len(items):
            name = self.source.text(node.func).removesuffix(".present")
            raise self.source.error(node, f"`{name}` has no item {place}", f"its items are 0 to {len(items) - 1}")
        return Compare(">", counted, Const(place, counted.kind))

    def _random(self, node: ast.Call) -> Expr:
        value = self.value(node.args[0]) if len(node.args) == 1 and not node.keywords else None
        kind = value.value if isinstance(value, Known) else None
        if not isinstance(kind, Kind):
            raise self.source.error(node, "say which kind of number to draw", "write `packet.random(bit[16])`")
        if kind.width > 64:
            raise self.source.error(
                node, f"{kind} is too wide: a switch draws at most 64 bits at once", "put two together with `concat`"
            )
        drawn = self.around.fresh("drawn", Kind(kind.width))
        self.around.ahead(Draw(drawn, self.source.line(node)))
        return Cast(drawn, kind) if kind.signed else drawn

    def _apply(self, node: ast.Call, callee: Any) -> Value:
        if callee is super and not node.args and not node.keywords and "__class__" in self.outer:
            return Known(super(self.outer["__class__"], self.outer["__self__"]))
        if isinstance(callee, Predicate):
            argument = self._arguments(node, 1)[0]
            value = self.value(argument)
            if not isinstance(value, Known) or value.value is not WIRE:
                raise self.source.error(argument, "a predicate is asked about the header", "write `(wire)`")
            return self._inline(callee)
        result = self.function(node, callee)
        if result is None:
            result = self.around.inline(node, callee)
        if result is not None:
            return result
        name = self.source.text(node.func)
        raise self.source.error(
            node,
            f"`{name}` cannot be called in a kernel",
            _INSTEAD.get(name, f"there are {', '.join(sorted(each for each in FUNCTIONS))} and a register's methods"),
        )

    def _inline(self, predicate: Predicate) -> Value:
        """Compile a predicate's text where it is called, its names being the header's fields."""
        inner = type(self)(predicate.source, self.layout, FUNCTIONS, self.around)
        for field in self.layout:
            inner.scope.names[field.name] = (
                Known(LaneField(field)) if field.count is not None else FieldRef(field.name, None, field.kind)
            )
        value = inner.condition(predicate.tree)
        return Known(value.value) if isinstance(value, Truth) else value
