"""The functions that a kernel may call: conversions, saturating arithmetic, min, max and abs, hashes."""

from __future__ import annotations

import ast
from typing import Any

from midflight.primitives.kernel.arithmetic import (
    COUNT,
    HASH,
    add_overflows,
    bits,
    concat,
    hash_,
    popcount,
    sat_add,
    sat_sub,
)
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.operators import Operators
from midflight.primitives.kernel.struct import Items
from midflight.primitives.kernel.typed import (
    Assign,
    Binary,
    Cast,
    Checksum,
    Choose,
    Compare,
    Concat,
    Const,
    Expr,
    FieldRef,
    Local,
    Old,
    Overflows,
    Scramble,
    Slice,
    Unary,
    reads,
)
from midflight.primitives.kernel.types import MAX_WIDTH, Kind
from midflight.primitives.kernel.values import LaneField, Untyped, Value, solid

__all__ = ["Functions"]

_OWN = (sat_add, sat_sub, add_overflows, min, max, abs, len, bits, concat, popcount)


class Functions(Operators):
    """Calls of the language's own functions."""

    def function(self, node: ast.Call, callee: Any) -> Value | None:
        """Compile the call of a function that the language has; None for any other."""
        if callee is hash_:
            return self._hash(node)
        if node.keywords and (isinstance(callee, Kind) or callee in _OWN):
            raise self.source.error(
                node, f"`{self.source.text(node.func)}` takes no keyword arguments", "give them by position"
            )
        if isinstance(callee, Kind):
            return self.convert(callee, self._arguments(node, 1)[0])
        if callee is sat_add or callee is sat_sub:
            left, right = self._arguments(node, 2)
            one, other, kind = self.pair(node, left, self.value(left), right, self.value(right), callee.__name__)
            return Binary("|+|" if callee is sat_add else "|-|", one, other, kind)
        if callee is add_overflows:
            left, right = self._arguments(node, 2)
            one, other, _ = self.pair(node, left, self.value(left), right, self.value(right), "add_overflows")
            return Overflows(one, other)
        if callee is min or callee is max:
            return self._least(node, callee)
        if callee is abs:
            return self._magnitude(self._arguments(node, 1)[0])
        if callee is bits:
            return self._bits(node)
        if callee is concat:
            return self._concat(node)
        if callee is popcount:
            return self._popcount(node)
        if callee is len:
            argument = self._arguments(node, 1)[0]
            value = self.value(argument)
            if isinstance(value, Known) and isinstance(value.value, LaneField) and value.value.field.count:
                return Known(value.value.field.count)
            if isinstance(value, Known) and isinstance(value.value, (tuple, Items)):
                return Known(len(value.value))
            raise self.source.error(argument, "`len` counts the lanes of a header's array", "write `len(wire.values)`")
        return None

    def _magnitude(self, argument: ast.expr) -> Value:
        value = self.value(argument)
        if isinstance(value, Known):
            return Known(abs(self.constant(argument, "this")))
        number = self.sized(value, argument)
        assert number.kind is not None
        if not solid(number):
            raise self.no_width(argument, number.kind)
        return Choose(Compare("<", number, Const(0, number.kind)), Unary("-", number, number.kind), number, number.kind)

    def _bits(self, node: ast.Call) -> Expr:
        operand, *ends = self._arguments(node, 3)
        number = self._unsigned(operand)
        width = number.kind.width if number.kind else 0
        high, low = (self.constant(each, "which bits") for each in ends)
        if not 0 <= low <= high < width:
            text = self.source.text(operand)
            raise self.source.error(
                node,
                f"`{text}` has the bits {width - 1} to 0, not {high} to {low}",
                f"name the higher one first: `bits({text}, {width - 1}, 0)`",
            )
        return Slice(number, high, low, Kind(high - low + 1))

    def _concat(self, node: ast.Call) -> Expr:
        if len(node.args) < 2:
            raise self.source.error(node, "give two or more numbers", "write `concat(wire.high, wire.low)`")
        result, *rest = (self._unsigned(each) for each in node.args)
        for each in rest:
            assert result.kind is not None
            assert each.kind is not None
            width = result.kind.width + each.kind.width
            if width > MAX_WIDTH:
                raise self.source.error(node, f"this is wider than {MAX_WIDTH} bits", "concatenate fewer numbers")
            result = Concat(result, each, Kind(width))
        return result

    def _popcount(self, node: ast.Call) -> Expr:
        """Have the ones of neighbours added up first: of bits, then of pairs, of fours and so on."""
        operand = self._arguments(node, 1)[0]
        count = self._unsigned(operand)
        if any(isinstance(read, Old) for read in reads(count)):
            told = "a register's old value cannot be counted inside its update"
            raise self.source.error(operand, told, "count the bits of what the update gives")
        kind, line = count.kind, self.source.line(node)
        assert kind is not None
        if kind.width == 1:
            return Cast(count, COUNT)
        ones = self.around.fresh("ones", kind)
        if not isinstance(count, (Local, FieldRef)):
            self.around.ahead(Assign(ones, count, line))
            count = ones
        step = 1
        while step < kind.width:
            mask = Const(sum(1 << place for place in range(kind.width) if place & step == 0), kind)
            odd = Binary("&", Binary(">>", count, Const(step, HASH), kind), mask, kind)
            self.around.ahead(Assign(ones, Binary("+", Binary("&", count, mask, kind), odd, kind), line))
            count = ones
            step *= 2
        return Cast(count, COUNT)

    def _unsigned(self, node: ast.expr) -> Expr:
        """Return a number that brings its width along, as its bits."""
        number = self.number(node)
        assert number.kind is not None
        if not solid(number):
            raise self.no_width(node, number.kind)
        return Cast(number, Kind(number.kind.width)) if number.kind.signed else number

    def _hash(self, node: ast.Call) -> Expr:
        settings = {each.arg: each.value for each in node.keywords}
        if not node.args or not settings.keys() <= {"seed", "range"}:
            raise self.source.error(
                node,
                "a hash takes numbers, and perhaps a seed and a range",
                "write `hash_(wire.key, seed=1, range=1024)`",
            )
        seed = self.constant(settings["seed"], "the seed") if "seed" in settings else 0
        if not HASH.holds(seed):
            raise self.source.error(settings["seed"], f"the seed {seed} does not fit {HASH}", "seeds count from 0")
        spread = Scramble(self._checksum(node), seed, HASH)
        if "range" not in settings:
            return spread
        size = self.constant(settings["range"], "the range")
        if not 1 <= size <= 1 << 32:
            raise self.source.error(settings["range"], f"a hash cannot be below {size}", "a range is 1 to 2**32")
        if size & (size - 1) == 0:
            return Binary("&", spread, Const(size - 1, HASH), HASH)
        wide = Kind(64)
        scaled = Binary("*", Cast(spread, wide), Const(size, wide), wide)
        return Cast(Binary(">>", scaled, Const(32, HASH), wide), HASH)

    def _checksum(self, node: ast.Call) -> Local:
        """Have the checksum of a hash's numbers computed first, unless it is known already."""
        values = []
        for each in node.args:
            value = self._unsigned(each)
            if any(isinstance(read, Old) for read in reads(value)):
                raise self.source.error(
                    each, "a register's old value cannot be hashed inside its update", "hash what the update gives"
                )
            assert value.kind is not None
            width = value.kind.width
            values.append(Cast(value, Kind(width + -width % 8)) if width % 8 else value)
        key = tuple(values)
        known = self.scope.checksums.get(key)
        if known is None:
            known = self.scope.checksums[key] = self.around.fresh("checksum", HASH)
            self.around.ahead(Checksum(known, key, self.source.line(node)))
        return known

    def _arguments(self, node: ast.Call, count: int) -> list[ast.expr]:
        if len(node.args) != count:
            name = self.source.text(node.func)
            raise self.source.error(node, f"`{name}` takes {count} argument{'s'[: count != 1]}, not {len(node.args)}")
        return node.args

    def convert(self, kind: Kind, operand: ast.expr) -> Expr:
        """Return `kind(operand)`."""
        if kind.width > MAX_WIDTH:
            fixed = f"write a width of 1 to {MAX_WIDTH}"
            raise self.source.error(operand, f"{kind} is wider than any number of a switch", fixed)
        value = self.value(operand)
        if isinstance(value, Known):
            if not isinstance(value.value, int):
                raise self.not_a_number(operand, value.value)
            return Const(kind.wrap(int(value.value)), kind, solid=True)
        if isinstance(value, Untyped):
            return self._solid_choice(value, kind)
        if value.kind == kind:
            return value if solid(value) else Cast(value, kind)
        if value.kind is None:
            return Choose(value, Const(1, kind, solid=True), Const(0, kind, solid=True), kind)
        return Cast(value, kind)

    def _solid_choice(self, value: Known | Untyped, kind: Kind) -> Expr:
        if isinstance(value, Known):
            return Const(kind.wrap(int(value.value)), kind, solid=True)
        return Choose(value.condition, self._solid_choice(value.yes, kind), self._solid_choice(value.no, kind), kind)

    def _least(self, node: ast.Call, callee: Any) -> Value:
        if len(node.args) < 2:
            fixed = f"write `{callee.__name__}(a, b)`; of an array, keep the one so far in a `for` loop"
            raise self.source.error(node, "give two or more numbers", fixed)
        values = [self.value(each) for each in node.args]
        if all(isinstance(each, Known) for each in values):
            return Known(callee(*(self.constant(each, "this") for each in node.args)))
        # Constants come last: they take their width from the others.
        each = sorted(zip(node.args, values, strict=True), key=lambda pair: isinstance(pair[1], (Known, Untyped)))
        (result_node, result), *rest = each
        for right_node, right in rest:
            one, other, kind = self.pair(node, result_node, result, right_node, right, callee.__name__, solids=0)
            # Python's min and max keep the first of two equal values; equal numbers are the same here.
            result = Choose(Compare("<" if callee is min else ">", other, one), other, one, kind)
        return result
