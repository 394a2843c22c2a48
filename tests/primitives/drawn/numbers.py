"""Random numbers and conditions of the kernel language."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random

from midflight.primitives import bit
from midflight.primitives.kernel.types import Kind
from tests.primitives.drawn.ground import Array, Draws, Ground, constant
from tests.primitives.drawn.scope import Scope

__all__ = ["Helper", "Numbers"]

U8, U16, U32 = bit[8], bit[16], bit[32]


@dataclass(frozen=True, slots=True)
class Helper:
    """A function to call: the types of its result (None for no result) and parameters, and the arrays that it accesses.

    `constants` are the possible values of its last parameter. If empty, that parameter has a default.
    """

    name: str
    kind: Kind | None
    takes: tuple[Kind, ...]
    constants: tuple[int, ...] = ()
    uses: frozenset[str] = frozenset()


class Numbers(Draws):
    """Draws expressions. `timed` permits time and random numbers, which some comparisons cannot predict."""

    def __init__(self, random: Random, ground: Ground, timed: bool) -> None:
        super().__init__(random)
        self.ground, self.timed = ground, timed
        self.scope = Scope()
        self.lazy = False
        """Whether the current expression is evaluated only for some packets: no accesses, no random numbers."""
        self.names = itertools.count()
        self.helpers: list[Helper] = []
        """Functions that only compute."""
        self.lookups = True
        self.whole = True
        """Whether the whole packet is accessible, or only the header and the arguments."""

    def fresh(self, start: str = "v") -> str:
        """Return a name for a variable."""
        return f"{start}{next(self.names)}"

    # ------------------------------------------------------------- constants

    def literal(self, kind: Kind) -> str:
        """Return a constant that fits a kind: digits, or the name of a constant."""
        fitting = [text for text, values in self.scope.consts.items() if all(map(kind.holds, values))]
        if fitting and self.chance(3):
            text = self.pick(fitting)
            if self.chance(2):
                values = self.scope.consts[text]
                symbol, other = self.pick("+ - * // % ^ & |"), self.pick((1, 2, 3, 7))
                made = f"({text} {symbol} {other})"
                if all(kind.holds(eval(f"{value} {symbol} {other}")) for value in values):
                    return made
            return str(text)
        return str(constant(self.random, kind))

    def index(self, size: int, kind: Kind | None = None) -> str:
        """Return an index: known, surely in range, or any number."""
        fitting = [text for text, values in self.scope.consts.items() if all(0 <= each < size for each in values)]
        match self.pick("any any any known mask hash"):
            case "known":
                return str(self.pick([*fitting, str(self.random.randrange(size))]))
            case "mask":
                return f"({self.atom(self.pick((U8, U16, U32)))} {self.pick(('& 7', '% 8', '>> 4', '% 64'))})"
            case "hash":
                return f"hash_({self.atom(U8)}, range={size})"
        return self.atom(kind or self.pick([each for each in self.ground.kinds if not each.signed and each.width < 33]))

    # --------------------------------------------------------------- numbers

    def atom(self, kind: Kind) -> str:
        """Return a simple expression of a kind that has a width of its own."""
        choices = [each.text for each in self.ground.places if each.kind == kind]
        choices += [name for name, each in self.scope.known.items() if each == kind] * 3
        if self.whole:
            if kind == U32:
                choices += ["packet.sequence", self.hash()]
            if kind == U16:
                choices.append("packet.epoch")
            if kind == U8:
                choices.append("packet.round")
            if self.timed and kind == U32:
                choices.append("bit[32](packet.now)")
            if self.timed and not self.lazy and kind.width <= 64:
                choices.append(f"packet.random({kind})")
        return str(self.pick(choices or [f"{kind}({self.literal(kind)})"]))

    def hash(self) -> str:
        """Return a hash of some fields."""
        values = ", ".join(self.pick(self.ground.places).text for _ in range(self.pick([1, 2, 3])))
        seed = self.pick(["", ", seed=1", ", seed=4294967295"])
        return f"hash_({values}{seed}{self.pick(['', ', range=10', ', range=64', ', range=1', ', range=4294967295'])})"

    def number(self, kind: Kind, depth: int) -> str:
        """Return an expression of a kind that has a width of its own."""
        if depth <= 0:
            return self.atom(kind)
        depth -= 1
        match self.pick("a a + + * & | ^ << >> sat ? cast cast - ~ // % least abs bits call access lookup ones"):
            case "a":
                return self.atom(kind)
            case "+" | "*" | "&" | "|" | "^" as symbol:
                symbol = self.pick("+ -") if symbol == "+" else symbol
                left, right = self.number(kind, depth), self.operand(kind, depth)
                left, right = self.pick([(left, right), (right, left)])
                return f"({left} {symbol} {right})"
            case "<<" | ">>" as symbol:
                unsigned = self.pick([each for each in self.ground.kinds if not each.signed])
                amount = self.pick([str(self.pick([0, 1, 4, 7, 15, 31, 64, 200])), self.atom(unsigned)])
                return f"({self.number(kind, depth)} {symbol} {amount})"
            case "sat":
                return f"sat_{self.pick('add sub')}({self.number(kind, depth)}, {self.operand(kind, depth)})"
            case "?":
                test = self.condition(depth)
                return f"({self.sometimes(kind, depth)} if {test} else {self.sometimes(kind, depth)})"
            case "cast" if self.chance(4):
                return f"{kind}({self.pick([self.condition(depth), self.literal(kind), '-3', '1 << 70'])})"
            case "cast":
                return f"{kind}({self.number(self.pick(self.ground.kinds), depth)})"
            case "-" | "~" as symbol:
                return f"({symbol}{self.number(kind, depth)})"
            case "//":
                return f"({self.number(kind, depth)} // {self.pick([1, 2, 8, 1 << 10])})"
            case "%":
                fitting = [each for each in (1, 2, 8, 16) if each <= kind.high + 1]
                return f"({self.number(kind, depth)} % {self.pick(fitting)})"
            case "least":
                several = [self.number(kind, depth) for _ in range(self.pick([2, 2, 3]))]
                return f"{self.pick('min max')}({', '.join(several)})"
            case "ones" if kind == U16:
                return f"popcount({self.number(self.pick(self.ground.kinds), depth)})"
            case "bits" if not kind.signed:
                return self.bits(kind, depth)
            case "call" if known := [each for each in self.helpers if each.kind == kind]:
                return self.call(self.pick(known), depth)
            case "access" if not self.lazy and (arrays := self.arrays(kind)):
                return self.access(self.pick(arrays), depth)
            case "lookup" if self.lookups:
                return self.lookup(kind, depth)
        return f"abs({self.number(kind, depth)})"

    def sometimes(self, kind: Kind, depth: int) -> str:
        """Return a number that is evaluated only for some packets."""
        before, self.lazy = self.lazy, True
        text = self.number(kind, depth)
        self.lazy = before
        return text

    def operand(self, kind: Kind, depth: int) -> str:
        """Return a number, or a constant or choice that takes its width from the other operand."""
        match self.pick("number number number constant constant choice least"):
            case "constant":
                return self.literal(kind)
            case "least" if depth > 0:
                several = [self.number(kind, depth - 1), self.literal(kind), self.pick((self.literal, self.atom))(kind)]
                self.random.shuffle(several)
                return f"{self.pick('min max')}({', '.join(several)})"
            case "choice" if depth > 0:
                one, other = self.literal(kind), self.pick([self.literal(kind), self.sometimes(kind, depth - 1)])
                return f"({one} if {self.guarded(depth - 1)} else {other})"
        return self.number(kind, depth)

    def guarded(self, depth: int) -> str:
        """Return a condition without accesses."""
        before, self.lazy = self.lazy, True
        text = self.condition(depth)
        self.lazy = before
        return text

    def bits(self, kind: Kind, depth: int) -> str:
        """Return a slice of a number's bits, or the joined bits of several numbers, as a number of a kind."""
        kinds = self.ground.kinds
        pairs = [(one, other) for one in kinds for other in kinds if one.width + other.width == kind.width]
        if pairs and self.chance(2):
            return f"concat({', '.join(self.number(each, depth) for each in self.pick(pairs))})"
        source = self.pick([each for each in kinds if each.width >= kind.width])
        low = self.random.randint(0, source.width - kind.width)
        return f"bits({self.number(source, depth)}, {low + kind.width - 1}, {low})"

    def lookup(self, kind: Kind, depth: int) -> str:
        """Return a value of a lookup, converted if there is none of this kind."""
        table = self.pick(self.ground.lookups)
        index = self.pick([self.index(4), self.number(self.pick((U8, U16, U32)), depth - 1)])
        return f"{table.text}.read({index})" if table.kind == kind else f"{kind}({table.text}.read({index}))"

    def call(self, helper: Helper, depth: int) -> str:
        """Return a call of a helper."""
        self.scope.free -= helper.uses
        given = ["packet", "wire", *(self.number(each, depth) for each in helper.takes)]
        if helper.constants and self.chance(2):
            given.append(f"{self.pick(('', 'x9='))}{self.pick(helper.constants)}")
        return f"{helper.name}({', '.join(given)})"

    # ----------------------------------------------------------------- state

    def arrays(self, kind: Kind) -> list[Array]:
        """Return the register arrays of a kind that may be accessed here."""
        return [each for each in self.ground.arrays if each.kind == kind and each.text in self.scope.free]

    def access(self, array: Array, depth: int) -> str:
        """Return an access to a register, and record it."""
        self.scope.free.discard(array.text)
        kind, method = array.kind, self.pick("update update_fetch update_if read")
        index = self.index(array.size)
        if method == "read":
            return f"{array.text}.read({index})"
        only = f"{self.condition(min(depth, 1))}, " if method == "update_if" else ""
        old = self.pick("old old before")
        outside, lookups, lazy = self.scope, self.lookups, self.lazy
        self.scope, self.lookups, self.lazy = outside.copy(), False, True
        self.scope.known[old] = kind
        new = self.pick([self.number(kind, 2), self.operand(kind, 2), f"0 if {self.condition(1)} else {old}"])
        self.scope, self.lookups, self.lazy = outside, lookups, lazy
        return f"{array.text}.{method}({index}, {only}lambda {old}: {new})"

    # ------------------------------------------------------------ conditions

    def condition(self, depth: int) -> str:
        """Return a condition."""
        kind = self.pick(self.ground.kinds)
        variables = [name for name, each in self.scope.known.items() if each is None]
        depth -= 1
        match self.pick("cmp cmp cmp and or not chain in overflow variable same choice present hit packet constant"):
            case "and" | "or" as word if depth >= 0:
                return f"({self.condition(depth)} {word} {self.guarded(depth)})"
            case "not" if depth >= 0:
                return f"(not {self.condition(depth)})"
            case "chain":
                one, two = self.pick("< <= == >"), self.pick("< <= != >=")
                ends = self.operand(kind, min(depth, 0)), self.pick([self.literal(kind), self.sometimes(kind, depth)])
                return f"({ends[0]} {one} {self.number(kind, depth)} {two} {ends[1]})"
            case "in":
                choices = ", ".join(self.literal(kind) for _ in range(self.pick((1, 2, 3))))
                return f"({self.number(kind, min(depth, 1))} {self.pick(['in', 'not in'])} ({choices},))"
            case "overflow":
                return f"add_overflows({self.number(kind, depth)}, {self.operand(kind, min(depth, 0))})"
            case "variable" if variables:
                return str(self.pick(variables))
            case "same" if depth >= 0:
                return f"({self.condition(depth)} {self.pick('== !=')} {self.condition(depth)})"
            case "choice" if depth >= 0:
                return f"({self.guarded(depth)} if {self.condition(depth)} else {self.guarded(depth)})"
            case "present" if self.ground.items:
                return f"{self.ground.items[0]}.present({self.random.randrange(self.ground.items[2])})"
            case "hit" if self.scope.asked:
                return f"{self.pick(sorted(self.scope.asked)).removeprefix('map ')}.hit"
            case "packet" if self.whole:
                return str(self.pick(["packet.forwarded", "(packet.round > 0)", "(packet.round == 1)"]))
            case "constant" if self.scope.consts:
                return f"({self.pick(list(self.scope.consts))} {self.pick('< == >')} {self.pick((0, 1, 3))})"
        symbol = self.pick("== != < <= > >=")
        left, right = self.number(kind, depth), self.operand(kind, depth)
        left, right = self.pick([(left, right), (right, left)])
        return f"({left} {symbol} {right})"
