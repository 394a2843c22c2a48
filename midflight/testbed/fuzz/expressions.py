"""Generated expressions of any type."""

from __future__ import annotations

from midflight.testbed.fuzz.draw import Draw, width_of
from midflight.testbed.fuzz.scope import Callee, Scope
from midflight.testbed.fuzz.tree import Tree, join

__all__ = ["WIDTHS", "Expressions"]

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 16, 20, 24, 32, 32, 33, 48, 63, 64, 65, 96, 128, 200)
"""The widths of numbers, as often as they are chosen."""

WIDEST = 256


class Expressions:
    """Generates expressions without side effects, of what a scope can read."""

    def __init__(self, draw: Draw, scope: Scope) -> None:
        self._draw = draw
        self._scope = scope

    def of(self, kind: str, depth: int) -> Tree:
        """Return an expression of type `kind`, at most `depth` operators deep, which has no side effects.

        For a type other than `bit<W>`, `int<W>` and `bool`, the scope must have a readable value of it.
        """
        draw = self._draw
        known = self._scope.readable(kind)
        if depth <= 0 or draw.chance(0.15):
            if known and draw.chance(0.75):
                return Tree(kind, (draw.pick(known).path,))
            if kind in ("bool",) or kind[:4] in ("bit<", "int<"):
                return draw.literal(kind)
            return Tree(kind, (draw.pick(known).path,))
        if kind == "bool":
            return self._bool(depth - 1)
        if kind.startswith("bit<"):
            return self._bits(kind, depth - 1)
        if kind.startswith("int<"):
            return self._signed(kind, depth - 1)
        return self._choice(kind, depth - 1) if draw.chance(0.3) else Tree(kind, (draw.pick(known).path,))

    def index(self, bits: int) -> Tree:
        """Return an index of the type `bit<32>` that is less than 2 to the power of `bits`."""
        return Tree("", ("(bit<32>)", self.of(f"bit<{bits}>", 2)))

    def arguments(self, callee: Callee, depth: int) -> Tree | None:
        """Return the arguments of a call; None if nothing here can be passed for an `out` or `inout` parameter."""
        found: list[Tree] = []
        for direction, kind in callee.parameters:
            if direction in ("out", "inout"):
                lvalues = self._scope.writable(kind)
                if not lvalues:
                    return None
                found.append(Tree("", (self._draw.pick(lvalues).path,)))
            else:
                found.append(self.of(kind, depth))
        return join(found, between=", ")

    def _choice(self, kind: str, depth: int) -> Tree:
        return Tree(kind, ("(", self._bool(depth), " ? ", self.of(kind, depth), " : ", self.of(kind, depth), ")"))

    def _call(self, kind: str, depth: int) -> Tree | None:
        callees = [each for each in self._scope.functions if each.result == kind]
        if not callees:
            return None
        callee = self._draw.pick(callees)
        arguments = self.arguments(callee, depth)
        return None if arguments is None else Tree(kind, (callee.name, "(", arguments, ")"))

    def _number_type(self) -> str:
        """Return a type of numbers that something here has, or any other."""
        kinds = sorted({each.kind for each in self._scope.readable() if each.kind[:4] in ("bit<", "int<")})
        if kinds and self._draw.chance(0.85):
            return self._draw.pick(kinds)
        return f"bit<{self._draw.pick(WIDTHS)}>"

    def _bits(self, kind: str, depth: int) -> Tree:
        draw, width = self._draw, width_of(kind)
        match draw.between(0, 13):
            case 0 | 1:
                sign = draw.pick(("+", "-", "*"))
                return self._binary(kind, sign, kind, kind, depth)
            case 2 | 3:
                return self._binary(kind, draw.pick(("&", "|", "^")), kind, kind, depth)
            case 4:
                return self._binary(kind, draw.pick(("|+|", "|-|")), kind, kind, depth)
            case 5:
                return Tree(kind, ("(", draw.pick(("~", "-")), self.of(kind, depth), ")"))
            case 6:
                amount = (
                    Tree("", (str(draw.between(0, width)),))
                    if draw.chance(0.5)
                    else self.of(draw.pick(("bit<3>", "bit<8>")), depth)
                )
                return Tree(kind, ("(", self.of(kind, depth), draw.pick((" << ", " >> ")), amount, ")"))
            case 7:
                return self._choice(kind, depth)
            case 8 | 9:
                other = self._number_type()
                if other.startswith("int<") and width_of(other) != width:
                    other = f"bit<{width_of(other)}>"
                if other == kind:
                    other = f"int<{width}>" if width > 1 else "bit<2>"
                return Tree(kind, ("((", kind, ")", self.of(other, depth), ")"))
            case 10:
                wider = [
                    each.kind
                    for each in self._scope.readable()
                    if each.kind.startswith("bit<") and width_of(each.kind) > width
                ]
                outer = draw.pick(wider) if wider else f"bit<{min(width + draw.between(1, 40), WIDEST)}>"
                if width_of(outer) < width:
                    return self.of(kind, 0)
                low = draw.between(0, width_of(outer) - width)
                return Tree(kind, (self._named(outer, depth), f"[{low + width - 1}:{low}]"))
            case 11 if width > 1:
                left = draw.between(1, width - 1)
                first = self.of(f"bit<{left}>", depth)
                return Tree(kind, ("(", first, " ++ ", self.of(f"bit<{width - left}>", depth), ")"))
            case 12:
                return self._call(kind, depth) or self.of(kind, depth)
            case _:
                # Neither p4c nor the embedded switch divides by other numbers at run time.
                divisor = f"{width}w{1 << draw.between(0, width - 1)}"
                return Tree(kind, ("(", self.of(kind, depth), draw.pick((" / ", " % ")), divisor, ")"))

    def _named(self, kind: str, depth: int) -> Tree:
        """Return what can be sliced without brackets around it."""
        known = self._scope.readable(kind)
        if known and self._draw.chance(0.7):
            return Tree(kind, (self._draw.pick(known).path,))
        return Tree("", ("(", self.of(kind, depth), ")"))

    def _signed(self, kind: str, depth: int) -> Tree:
        draw, width = self._draw, width_of(kind)
        match draw.between(0, 8):
            case 0 | 1:
                return self._binary(kind, draw.pick(("+", "-", "*")), kind, kind, depth)
            case 2:
                return self._binary(kind, draw.pick(("&", "|", "^")), kind, kind, depth)
            case 3:
                return self._binary(kind, draw.pick(("|+|", "|-|")), kind, kind, depth)
            case 4:
                return Tree(kind, ("(", draw.pick(("~", "-")), self.of(kind, depth), ")"))
            case 5:
                amount = Tree("", (str(draw.between(0, width)),)) if draw.chance(0.5) else self.of("bit<4>", depth)
                return Tree(kind, ("(", self.of(kind, depth), draw.pick((" << ", " >> ")), amount, ")"))
            case 6:
                return self._choice(kind, depth)
            case 7:
                other = f"int<{draw.pick([each for each in WIDTHS if each > 1 and each != width])}>"
                return Tree(kind, ("((", kind, ")", self.of(other, depth), ")"))
            case _:
                return Tree(kind, ("((", kind, ")", self.of(f"bit<{width}>", depth), ")"))

    def _binary(self, result: str, sign: str, left: str, right: str, depth: int) -> Tree:
        return Tree(result, ("(", self.of(left, depth), f" {sign} ", self.of(right, depth), ")"))

    def _bool(self, depth: int) -> Tree:
        draw = self._draw
        if depth <= 0:
            return self.of("bool", 0)
        match draw.between(0, 9):
            case 0 | 1 | 2:
                kind = self._number_type()
                return self._binary("bool", draw.pick(("<", "<=", ">", ">=")), kind, kind, depth)
            case 3 | 4:
                kind = self._number_type()
                return self._binary("bool", draw.pick(("==", "!=")), kind, kind, depth)
            case 5:
                return self._binary("bool", draw.pick(("&&", "||")), "bool", "bool", depth)
            case 6:
                return Tree("bool", ("(!", self.of("bool", depth), ")"))
            case 7 if self._scope.headers and self._scope.place != "function":
                return Tree("bool", (f"{draw.pick(self._scope.headers).path}.isValid()",))
            case 8:
                others = sorted({each.kind for each in self._scope.readable() if "<" not in each.kind})
                if not others:
                    return self.of("bool", 0)
                kind = draw.pick(others)
                return self._binary("bool", draw.pick(("==", "!=")), kind, kind, 0)
            case _:
                return self._call("bool", depth) or self._choice("bool", depth)
