"""LLVM code under construction: one module (`Unit`), and one function of it at a time (`Code`).

`Code` is a builder that knows of P4 no more than its types and places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llvmlite import ir as ll

from midflight.errors import P4Error
from midflight.errors import Place as SourcePlace
from midflight.p4 import ir
from midflight.p4.types import StackType, Type
from midflight.runtime.engine.builder import I1, I8, I16, I32, I64, POINTER, Builder, Module, Value, integer
from midflight.runtime.engine.context import Slots
from midflight.runtime.engine.layout import Layout, scalar_width, stored_width
from midflight.runtime.engine.packetstate import PacketState

__all__ = [
    "I1", "I8", "I16", "I32", "I64", "POINTER", "Applied", "Code", "Cursor", "DigestKind", "Frame", "Place", "Unit",
    "Value", "integer", "unsupported",
]  # fmt: skip


STACK = 1 << 19
"""Bytes of packet state and variables that all of a program's code may have on the native stack."""


def unsupported(what: str, place: SourcePlace | None = None, hint: str = "") -> P4Error:
    """Return the error that says that the engine does not do this."""
    return P4Error(f"the engine does not support {what}", place=place, hint=hint)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value of a P4 type lies in memory."""

    pointer: Value
    type: Type


@dataclass(frozen=True, slots=True)
class DigestKind:
    """One type of digest: its name, and the width and sign of each value. A value takes whole 64-bit words."""

    name: str
    widths: tuple[int, ...]
    signed: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a table gave: whether an entry hit (i1), and which action of its list ran (i32)."""

    hit: Value
    action: Value


class Unit(Module):
    """A module under construction, with what all of its functions share.

    `call` lowers a call of an extern, `apply` a table: the two things that expressions and statements need from the
    layers above them. `intents` and `digests` gather what the program's controls were seen to ask for. With slots that
    the same program has been given before, it is traced, on their context: `names` are those that its notes tell.
    `pure` is what is known of expressions, by identity: whether evaluating one that is not needed does no harm.
    """

    def __init__(
        self,
        program: ir.Program,
        call: Callable[[Code, ir.Call], Value | None],
        apply: Callable[[Code, ir.Table], Applied],
        traced: Slots | None = None,
    ) -> None:
        super().__init__("midflight", traced)
        self.names: list[str] | None = None if traced is None else []
        self.program = program
        self.call = call
        self.apply = apply
        self.layout = Layout()
        self.state = PacketState(program, self.layout)
        self.intents: set[str] = set()
        self.digests: list[DigestKind] = []
        self.stack = 0
        self.pure: dict[int, bool] = {}
        self._helpers: dict[str, ll.Function] = {}

    def helper(self, name: str, arguments: list[ll.Type], result: ll.Type, body: Callable[[Code], None]) -> ll.Function:
        """Return a function that several places call, built by `body` when first asked for. It is not inlined."""
        if name not in self._helpers:
            function = self._helpers[name] = self.function(name, arguments, result, inline=False)
            body(Code(self, function))
        return self._helpers[name]


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a parser has come: `position` (bytes, i32) in memory, the packet, its length (i32), where errors go."""

    packet: Value
    length: Value
    position: Value
    error: Value
    reject: ll.Block

    def pointer(self, code: Code) -> Value:
        """Return the address of the next byte."""
        return code.at(self.packet, code.load(self.position, 32))

    def advance(self, code: Code, count: Value) -> None:
        """Move on by a number of bytes that are known to be there."""
        code.store(code.b.add(code.load(self.position, 32), count), self.position)

    def need(self, code: Code, count: Value) -> None:
        """Leave the parser with PacketTooShort unless `count` (i32, unsigned) more bytes are there."""
        left = code.b.sub(self.length, code.load(self.position, 32))
        self.fail(code, code.b.icmp_unsigned("<", left, count), "PacketTooShort")

    def fail(self, code: Code, condition: Value, error: str | Value) -> None:
        """Leave the parser with an error (a name, or an i32) under a condition."""
        with code.when(condition):
            number = code.i32(code.unit.program.errors.index(error)) if isinstance(error, str) else error
            code.store(number, self.error)
            code.go(self.reject)


@dataclass(slots=True)
class Frame:
    """A control, parser or action being lowered: where `return` goes, and the copies due when it is left."""

    end: ll.Block
    copy_outs: list[Callable[[], None]] = field(default_factory=list)


class Code(Builder):
    """One function of a program under construction: a builder that knows P4's types and places."""

    unit: Unit

    def __init__(self, unit: Unit, function: ll.Function) -> None:
        super().__init__(unit, function)
        self.layout = unit.layout
        self.variables: dict[ir.Variable, Place] = {}
        self.frames: list[Frame] = []
        self.exit: ll.Block | None = None
        self.cursor: Cursor | None = None

    def allocate(self, size: int, alignment: int = 8) -> Value:
        """Reserve bytes on the stack; P4Error where the program has too many already, all functions together."""
        self.unit.stack += size
        if self.unit.stack > STACK:
            raise P4Error(
                f"variables and parameters take more than the {STACK} bytes that the engine has for all of them",
                hint="Have fewer variables of large structs, or pass less of them to controls and actions.",
            )
        return super().allocate(size, alignment)

    def read(self, place: Place) -> Value:
        """Load a scalar, at the width that its type has."""
        width = scalar_width(place.type)
        return self.resize(self.load(place.pointer, stored_width(width)), width)

    def write(self, value: Value, place: Place) -> None:
        """Store a scalar."""
        self.store(self.resize(value, stored_width(scalar_width(place.type))), place.pointer)

    def member(self, place: Place, name: str, kind: Type) -> Place:
        """Return the place of a field."""
        return Place(self.at(place.pointer, self.layout.offset(place.type, name)), kind)

    def element(self, stack: Place, index: int | Value) -> Place:
        """Return the place of an element of a header stack; the index must be in range."""
        assert isinstance(stack.type, StackType)
        stride = self.layout.stride(stack.type)
        first = self.at(stack.pointer, 8)
        where = index * stride if isinstance(index, int) else self.b.mul(self.resize(index, 64), self.i64(stride))
        return Place(self.at(first, where), stack.type.element)

    def temporary(self, kind: Type) -> Place:
        """Reserve space for a value of a type."""
        return Place(self.allocate(self.layout.size(kind)), kind)
