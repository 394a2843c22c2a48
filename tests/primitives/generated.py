"""Kernels that nobody would write, at random from everything the language has, and packets for them.

Random numbers come from a seeded generator rather than from hypothesis, whose examples of this size are too much alike.
"""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Sequence
from random import Random
from typing import Any

from midflight.primitives import Header, Lookup, Map, Primitive, Register, bit, int_
from midflight.primitives.kernel.types import Kind

__all__ = ["FIELDS", "KINDS", "kernels", "requests"]

KINDS: dict[str, Kind] = {
    "u8": bit[8],
    "u5": bit[5],
    "u6": bit[6],
    "u16": bit[16],
    "u32": bit[32],
    "i32": int_[32],
    "i16": int_[16],
}
FIELDS: dict[str, str] = {
    "a": "u8", "b": "u8", "c": "u16", "d": "u32", "e": "u32", "f": "i32", "g": "i32", "h": "i16", "k": "u5", "m": "u5",
    "n": "u6",
}  # fmt: skip
LANES = 2
MAPS = {"near": (["u8"], "u16"), "far": (["u16", "u5"], "i32"), "way": (["u32"], "u8")}
STATE = {"r8": ("u8", 0, 200), "r16": ("u16", 77, 7), "r32": ("i32", -5, 64), "r5": ("u5", 31, 32)}
DISTANCES = {"u16": "i16", "i32": "i32"}
"""Of what kind the distance between two numbers of a kind is, where it is one of `KINDS`."""
_numbers = itertools.count()


class Generated(Primitive):
    """The base of the drawn primitives: a header and registers with something of each kind."""

    class Wire(Header):
        a = bit[8]
        b = bit[8]
        c = bit[16]
        d = bit[32]
        e = bit[32]
        f = int_[32]
        g = int_[32]
        h = int_[16]
        k = bit[5]
        m = bit[5]
        n = bit[6]
        lanes = int_[32].array(LANES)

    def setup(self) -> None:
        for name, (kind, initial, size) in STATE.items():
            setattr(self, name, Register(KINDS[kind], size, initial=initial))
        self.rl = Register(int_[32], 50, lanes=LANES, initial=3)
        self.near = Map(bit[8], bit[16], size=16, entries={number: 257 * number for number in (0, 1, 2, 3, 7, 255)})
        self.far = Map((bit[16], bit[5]), int_[32], size=8, match=("range", "ternary"))
        self.far.insert(((0, 9), (0, 0)), -1, priority=1)
        self.far.insert(((3, 2**16 - 1), (1, 1)), 2**31 - 1, priority=2)
        self.way = Map(bit[32], bit[8], size=8, match="lpm", entries={(0, 0): 1, (1 << 31, 1): 2, (5, 32): 3})
        self.log = Lookup(bit[32], (7, 6, 5, 2**32 - 1, 3), default=9)


class _Text:
    """Draws the lines of one kernel, remembering which variables have a value where."""

    writer: tuple[str, str, list[str]]
    """A function that changes the header."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lines: list[str] = []
        self.registers = list(STATE)
        self.maps = list(MAPS)
        self.names = itertools.count()
        self.helpers: list[tuple[str, str, list[str]]] = []
        """Functions that only compute: the name, the kind of what they return, the kinds of what they take."""

    def pick(self, choices: Sequence[Any] | str) -> Any:
        """Draw one of the choices; those in a text stand apart by blanks."""
        return self.random.choice(choices.split() if isinstance(choices, str) else choices)

    def constant(self, kind: Kind) -> str:
        edges = [0, 1, 2, 3, 7, kind.high, kind.high - 1, kind.low, kind.low + 1]
        return str(self.pick([self.pick(edges), self.random.randint(kind.low, kind.high)]))

    def atom(self, kind: str, known: dict[str, str]) -> str:
        """Return something of a kind that brings its width along."""
        choices = [f"wire.{name}" for name, each in FIELDS.items() if each == kind]
        choices += [name for name, each in known.items() if each == kind] * 2
        if kind == "i32":
            choices += [f"wire.lanes[{lane}]" for lane in range(LANES)]
        if kind == "u32":
            choices += ["packet.sequence", self.hash()]
        return str(self.pick(choices))

    def hash(self) -> str:
        """Return a hash of some fields."""
        values = ", ".join(f"wire.{self.pick(list(FIELDS))}" for _ in range(self.pick([1, 2, 3])))
        seed = self.pick(["", ", seed=1", ", seed=4294967295"])
        return f"hash_({values}{seed}{self.pick(['', ', range=10', ', range=64', ', range=1', ', range=4294967295'])})"

    def number(self, kind: str, known: dict[str, str], depth: int) -> str:
        """Return a number of a kind that brings its width along."""
        if depth <= 0:
            return self.atom(kind, known)
        spelled = KINDS[kind]
        match self.pick("a a + + * & | ^ << >> sat ? cast cast - ~ // % minmax abs bits call ones"):
            case "a":
                return self.atom(kind, known)
            case "+" | "*" | "&" | "|" | "^" as symbol:
                symbol = self.pick("+ -") if symbol == "+" else symbol
                left, right = self.number(kind, known, depth - 1), self.number_or_constant(kind, known, depth - 1)
                left, right = self.pick([(left, right), (right, left)])
                return f"({left} {symbol} {right})"
            case "<<" | ">>" as symbol:
                unsigned = self.pick(["u8", "u5", "u16", "u32"])
                amount = self.pick([str(self.pick([0, 1, 4, 7, 15, 31])), self.atom(unsigned, known)])
                return f"({self.number(kind, known, depth - 1)} {symbol} {amount})"
            case "sat":
                left, right = self.number(kind, known, depth - 1), self.number_or_constant(kind, known, depth - 1)
                return f"sat_{self.pick(['add', 'sub'])}({left}, {right})"
            case "?":
                yes, no = self.number(kind, known, depth - 1), self.number(kind, known, depth - 1)
                return f"({yes} if {self.condition(known, depth - 1)} else {no})"
            case "cast":
                if self.pick([0, 0, 0, 1]):
                    return f"{spelled}({self.condition(known, depth - 1)})"
                return f"{spelled}({self.number(self.pick(list(KINDS)), known, depth - 1)})"
            case "-" | "~" as symbol:
                return f"({symbol}{self.number(kind, known, depth - 1)})"
            case "//":
                return f"({self.number(kind, known, depth - 1)} // {self.pick([1, 2, 8, 1 << 10])})"
            case "%":
                return f"({self.number(kind, known, depth - 1)} % {self.pick([1, 2, 8, 16])})"
            case "minmax":
                left, right = self.number(kind, known, depth - 1), self.number(kind, known, depth - 1)
                return f"{self.pick(['min', 'max'])}({left}, {right})"
            case "ones" if kind == "u16":
                return f"popcount({self.number(self.pick(list(KINDS)), known, depth - 1)})"
            case "bits" if not KINDS[kind].signed:
                return self.bits(kind, known, depth - 1)
            case "call" if known_helpers := [each for each in self.helpers if each[1] == kind]:
                return self.call(self.pick(known_helpers), known, depth - 1)
        return f"abs({self.number(kind, known, depth - 1)})"

    def call(self, helper: tuple[str, str, list[str]], known: dict[str, str], depth: int) -> str:
        """Return a call of a helper."""
        name, _, takes = helper
        return f"{name}(packet, wire, {', '.join(self.number(each, known, depth) for each in takes)})"

    def helper(self, name: str, writes: bool) -> tuple[str, str, list[str]]:
        """Write a function: of one line, with a choice, a loop, or changes of the header."""
        kind, *takes = (self.pick(list(KINDS)) for _ in range(self.pick([2, 3])))
        known = {f"x{number}": each for number, each in enumerate(takes)}
        self.line(0, f"def {name}(packet, wire, {', '.join(known)}):")
        if writes:
            field = self.pick(list(FIELDS))
            self.line(1, f"wire.{field} = {self.number(FIELDS[field], known, 2)}")
        match self.pick("line choice choice loop match"):
            case "match":
                self.line(1, "match x0:")
                self.line(2, f"case {self.constant(KINDS[takes[0]])}:")
                self.line(3, f"return {self.number(kind, known, 1)}")
                self.line(2, f"case {self.constant(KINDS[takes[0]])} if {self.condition(known, 1)}:")
                self.line(3, f"x0 = {self.number(takes[0], known, 1)}")
            case "choice":
                self.line(1, f"if {self.condition(known, 1)}:")
                if writes:
                    self.line(2, f"wire.{field} = {self.number(FIELDS[field], known, 1)}")
                self.line(2, f"return {self.number(kind, known, 2)}")
                self.line(1, f"x0 = {self.number(takes[0], known, 1)}")
            case "loop":
                self.line(1, f"z = {self.number(kind, known, 1)}")
                self.line(1, "for place in range(2):")
                known["z"] = kind
                self.line(2, f"if {self.condition(known, 1)}:")
                self.line(3, f"z = {self.number(kind, known, 1)}")
        self.line(1, f"return {self.number(kind, known, 2)}")
        return name, kind, takes

    def bits(self, kind: str, known: dict[str, str], depth: int) -> str:
        """Return a stretch of a number's bits, or the bits of several, as a number of a kind."""
        width = KINDS[kind].width
        parts = {16: ["u8 u8", "u5 u6 u5"], 32: ["u16 i16", "i16 u16", "u8 u16 u8"]}.get(width)
        if parts and self.pick([0, 1]):
            return f"concat({', '.join(self.number(each, known, depth) for each in self.pick(parts).split())})"
        source = self.pick([each for each in KINDS if KINDS[each].width >= width])
        low = self.random.randint(0, KINDS[source].width - width)
        return f"bits({self.number(source, known, depth)}, {low + width - 1}, {low})"

    def number_or_constant(self, kind: str, known: dict[str, str], depth: int) -> str:
        return self.constant(KINDS[kind]) if self.pick([0, 0, 1]) else self.number(kind, known, depth)

    def condition(self, known: dict[str, str], depth: int) -> str:
        kind = self.pick(list(KINDS))
        conditions = [name for name, each in known.items() if each == "bool"]
        match self.pick("cmp cmp cmp and or not chain in overflow variable"):
            case "and" | "or" as word if depth > 0:
                return f"({self.condition(known, depth - 1)} {word} {self.condition(known, depth - 1)})"
            case "not" if depth > 0:
                return f"(not {self.condition(known, depth - 1)})"
            case "chain":
                low, high = self.constant(KINDS[kind]), self.constant(KINDS[kind])
                return f"({low} {self.pick(['<', '<='])} {self.number(kind, known, depth - 1)} < {high})"
            case "in":
                choices = ", ".join(self.constant(KINDS[kind]) for _ in range(2))
                return f"({self.atom(kind, known)} {self.pick(['in', 'not in'])} ({choices}))"
            case "overflow":
                return f"add_overflows({self.number(kind, known, depth - 1)}, {self.atom(kind, known)})"
            case "variable" if conditions:
                return str(self.pick(conditions))
        symbol = self.pick(["==", "!=", "<", "<=", ">", ">="])
        return f"({self.number(kind, known, depth - 1)} {symbol} {self.number_or_constant(kind, known, depth - 1)})"

    def line(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def access(self, indent: int, known: dict[str, str], name: str, kind: str) -> None:
        """Write an access to a register: in a variable, in an expression, or for its effect alone."""
        index = self.atom(self.pick(["u8", "u5", "u16"]), known)
        inside = known | {"old": kind}
        new = self.pick([self.number(kind, inside, 2), f"0 if {self.condition(inside, 1)} else old"])
        method = self.pick(["update", "update_fetch", "update_if"])
        only = f"{self.condition(known, 1)}, " if method == "update_if" else ""
        call = f"self.{name}.{method}({index}, {only}lambda old: {new})"
        match self.pick("variable variable expression alone read write advance"):
            case "variable":
                target = f"v{next(self.names)}"
                self.line(indent, f"{target} = {call}")
                known[target] = kind
            case "expression":
                field = self.pick([f for f, each in FIELDS.items() if each == kind])
                self.line(indent, f"wire.{field} = wire.{field} ^ {call}")
            case "alone":
                self.line(indent, call)
            case "read":
                target = f"v{next(self.names)}"
                self.line(indent, f"{target} = self.{name}.read({index})")
                known[target] = kind
            case "advance":
                target = f"v{next(self.names)}"
                self.line(indent, f"{target} = advance(self.{name}, {index}, {self.number(kind, known, 2)})")
                known |= {target: DISTANCES[kind]} if kind in DISTANCES else {}
            case "write":
                self.line(indent, f"self.{name}.write({index}, {self.number_or_constant(kind, known, 2)})")

    def ask(self, indent: int, known: dict[str, str], name: str) -> None:
        """Write a question to a map: in a variable or in an expression, and perhaps whether it had an answer."""
        takes, kind = MAPS[name]
        key = ", ".join(self.number(each, known, 1) for each in takes)
        call = f"self.{name}.get({f'({key})' if len(takes) > 1 else key}, {self.number_or_constant(kind, known, 1)})"
        if self.pick([0, 1]):
            target = f"v{next(self.names)}"
            self.line(indent, f"{target} = {call}")
            known[target] = kind
        else:
            field = self.pick([f for f, each in FIELDS.items() if each == kind])
            self.line(indent, f"wire.{field} = wire.{field} ^ {call}")
        if self.pick([0, 1]):
            target = f"v{next(self.names)}"
            self.line(indent, f"{target} = self.{name}.hit and {self.condition(known, 1)}")
            known[target] = "bool"

    def body(self, indent: int, known: dict[str, str], count: int, depth: int) -> None:
        for _ in range(count):
            self.statement(indent, known, depth)

    def statement(self, indent: int, known: dict[str, str], depth: int) -> None:
        choices = "field field field local bool again aug if verdict loop register write match map lookup mirror"
        match self.pick(choices):
            case "if" if depth > 0:
                self.line(indent, f"if {self.condition(known, 2)}:")
                self.body(indent + 1, dict(known), self.pick([1, 2]), depth - 1)
                if self.pick([0, 0, 0, 1]):
                    self.line(indent + 1, "return")
                elif self.pick([0, 1]):
                    self.line(indent, f"elif {self.condition(known, 1)}:")
                    self.body(indent + 1, dict(known), 1, depth - 1)
                    self.line(indent, "else:")
                    self.body(indent + 1, dict(known), 1, depth - 1)
                return
            case "match" if depth > 0:
                kind = self.pick(list(KINDS))
                pair = self.pick([True, False])
                subject = self.number(kind, known, self.pick([0, 0, 1]))
                if pair:
                    subject = f"({subject}, {self.number(kind, known, self.pick([0, 1]))})"
                self.line(indent, f"match {subject}:")
                for _ in range(self.pick([1, 2])):
                    one, other, third = (self.constant(KINDS[kind]) for _ in range(3))
                    pattern = self.pick([f"({one}, {other})", f"(_, {one} | {other})"]) if pair else f"{one} | {other}"
                    guard = self.pick(["", "", f" if {self.condition(known, 1)}"])
                    self.line(indent + 1, f"case {self.pick([pattern, pattern if pair else third])}{guard}:")
                    self.body(indent + 2, dict(known), 1, depth - 1)
                if self.pick([0, 1]):
                    self.line(indent + 1, "case _:")
                    self.body(indent + 2, dict(known), 1, depth - 1)
                return
            case "write":
                target = f"v{next(self.names)}"
                self.line(indent, f"{target} = {self.call(self.writer, known, 1)}")
                known[target] = self.writer[1]
                return
            case "verdict":
                self.line(indent, f"packet.{self.pick(['forward', 'reply', 'multicast', 'drop', 'fallback'])}()")
                return
            case "mirror":
                self.line(indent, "packet.mirror()")
                return
            case "map" if self.maps:
                self.ask(indent, known, self.maps.pop())
                return
            case "lookup":
                target = f"v{next(self.names)}"
                index = self.number(self.pick("u8 u5 u16 u32"), known, 2)
                self.line(indent, f"{target} = self.log.read({index}) ^ self.log.read({self.pick([0, 3, 99])})")
                known[target] = "u32"
                return
            case "local":
                kind = self.pick(list(KINDS))
                target = f"v{next(self.names)}"
                self.line(indent, f"{target} = {self.number(kind, known, 3)}")
                known[target] = kind
                return
            case "bool":
                target = f"v{next(self.names)}"
                self.line(indent, f"{target} = {self.condition(known, 2)}")
                known[target] = "bool"
                return
            case "again" if numbers := [name for name, kind in known.items() if kind != "bool"]:
                target = self.pick(numbers)
                self.line(indent, f"{target} = {self.number(known[target], known, 2)}")
                return
            case "aug":
                field = self.pick(list(FIELDS))
                symbol = self.pick(["+", "-", "^", "|", "*"])
                self.line(indent, f"wire.{field} {symbol}= {self.number_or_constant(FIELDS[field], known, 2)}")
                return
            case "loop" if depth > 1:
                self.line(indent, f"for lane in range({LANES}):")
                value = self.number("i32", known, 2)
                self.line(indent + 1, f"wire.lanes[lane] = sat_sub(wire.lanes[lane], {value}) + lane")
                if "rl" not in self.registers and indent == 2:
                    self.registers.append("rl")
                    index = self.atom("u8", known)
                    self.line(
                        indent + 1, f"t = self.rl[lane].update_fetch({index}, lambda old: old + wire.lanes[lane])"
                    )
                    self.line(indent + 1, "wire.lanes[1 - lane] ^= t")
                return
            case "register" if any(each in STATE for each in self.registers):
                name = self.pick([each for each in self.registers if each in STATE])
                self.registers.remove(name)
                self.access(indent, known, name, STATE[name][0])
                return
        field = self.pick(list(FIELDS))
        self.line(indent, f"wire.{field} = {self.number_or_constant(FIELDS[field], known, 3)}")


def kernels(random: Random, name: str) -> Primitive:
    """Return a primitive of that name with a kernel of a few lines."""
    text = _Text(random)
    text.helpers = [text.helper(f"help{number}", writes=False) for number in range(3)]
    text.writer = text.helper("help_writing", writes=True)
    helpers, text.lines = text.lines, []
    text.body(2, {}, random.randint(4, 14), 2)
    verdict = random.choice(["forward", "reply", "multicast"])
    lines = [
        "from midflight.primitives import *",
        "from tests.primitives.generated import Generated",
        *helpers,
        "class Drawn(Generated):",
        "    def ingress(self, packet, wire):",
        f"        packet.{verdict}()",
        *text.lines,
    ]
    source = "\n".join(lines) + "\n"
    file = f"<drawn {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": "drawn"}
    exec(compile(source, file, "exec", dont_inherit=True), scope)
    made = scope["Drawn"](name)
    assert isinstance(made, Primitive)
    return made


def requests(random: Random, primitive: Primitive) -> dict[str, Any]:
    """Return a header's fields, with small numbers and edges likelier than others."""

    def value(kind: Kind) -> int:
        near = random.randint(0, min(9, kind.high))
        edge = random.choice((kind.low, kind.high, kind.high - 1, kind.high // 2 + 1))
        return random.choice((near, near, edge, random.randint(kind.low, kind.high)))

    return {
        each.name: value(each.kind) if each.count is None else [value(each.kind) for _ in range(each.count)]
        for each in primitive.layout
    }
