"""LLVM code under construction: one module (`Unit`), and one function of it at a time (`Code`).

`Code` knows memory, slots of the context and control flow, and nothing of P4 beyond its types and places. What it
emits takes its pointers from its arguments only; no address of the host is ever a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from llvmlite import ir as ll

from midflight.errors import P4Error
from midflight.errors import Place as SourcePlace
from midflight.p4 import ir
from midflight.p4.types import StackType, Type
from midflight.runtime.engine.context import Slots
from midflight.runtime.engine.layout import Layout, scalar_width, stored_width
from midflight.runtime.engine.packetstate import PacketState

__all__ = [
    "I1", "I8", "I16", "I32", "I64", "POINTER", "Applied", "Code", "Cursor", "DigestKind", "Frame", "Place", "Unit",
    "Value", "integer", "unsupported",
]  # fmt: skip

Value: TypeAlias = "ll.Value"

I1, I8, I16, I32, I64 = (ll.IntType(width) for width in (1, 8, 16, 32, 64))
POINTER = ll.PointerType()


def integer(width: int) -> ll.IntType:
    """Return LLVM's integer type of a width."""
    return ll.IntType(width)


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


class Unit:
    """A module under construction, with what all of its functions share.

    `call` lowers a call of an extern, `apply` a table: the two things that expressions and statements need from the
    layers above them. `intents` and `digests` gather what the program's controls were seen to ask for.
    """

    def __init__(
        self,
        program: ir.Program,
        call: Callable[[Code, ir.Call], Value | None],
        apply: Callable[[Code, ir.Table], Applied],
    ) -> None:
        self.program = program
        self.call = call
        self.apply = apply
        self.module = ll.Module("midflight")
        self.layout = Layout()
        self.slots = Slots()
        self.state = PacketState(program, self.layout)
        self.intents: set[str] = set()
        self.digests: list[DigestKind] = []
        self._helpers: dict[str, ll.Function] = {}
        self._tables: dict[str, ll.GlobalVariable] = {}

    def function(self, name: str, arguments: list[ll.Type], result: ll.Type, *, inline: bool = True) -> ll.Function:
        """Declare an internal function. Its pointer arguments never alias each other or what slots point at."""
        function = ll.Function(self.module, ll.FunctionType(result, arguments), name)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        if not inline:
            function.attributes.add("noinline")
        for argument in function.args:
            if argument.type == POINTER:
                argument.add_attribute("noalias")
        return function

    def helper(self, name: str, arguments: list[ll.Type], result: ll.Type, body: Callable[[Code], None]) -> ll.Function:
        """Return a function that several places call, built by `body` when first asked for. It is not inlined."""
        if name not in self._helpers:
            function = self._helpers[name] = self.function(name, arguments, result, inline=False)
            body(Code(self, function))
        return self._helpers[name]

    def intrinsic(self, name: str, types: list[ll.Type], signature: ll.FunctionType) -> ll.Function:
        """Declare an LLVM intrinsic."""
        return self.module.declare_intrinsic(name, types, signature)

    def constants(self, name: str, width: int, values: list[int]) -> ll.GlobalVariable:
        """Return a constant array, made when first asked for."""
        if name not in self._tables:
            kind = ll.ArrayType(integer(width), len(values))
            array = self._tables[name] = ll.GlobalVariable(self.module, kind, name)
            array.linkage = "internal"
            array.global_constant = True
            array.initializer = ll.Constant(kind, values)
            array.type = POINTER
        return self._tables[name]


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


class Code:
    """One function under construction. `b` is the LLVM builder; `context` is the first argument."""

    def __init__(self, unit: Unit, function: ll.Function) -> None:
        self.unit = unit
        self.layout = unit.layout
        self.function = function
        self._entry = function.append_basic_block("entry")
        start = function.append_basic_block("start")
        self._allocas = ll.IRBuilder(self._entry)
        self._allocas.branch(start)
        self._allocas.position_before(self._entry.terminator)
        self.b = ll.IRBuilder(start)
        self.variables: dict[ir.Variable, Place] = {}
        self.frames: list[Frame] = []
        self.exit: ll.Block | None = None
        self.cursor: Cursor | None = None

    @property
    def context(self) -> Value:
        """The pointer to the context."""
        return self.function.args[0]

    # Constants and conversions

    def constant(self, width: int, value: int) -> Value:
        """Return a constant of `width` bits."""
        return ll.Constant(integer(width), value & ((1 << width) - 1))

    def i32(self, value: int) -> Value:
        """Return a 32-bit constant."""
        return self.constant(32, value)

    def i64(self, value: int) -> Value:
        """Return a 64-bit constant."""
        return self.constant(64, value)

    def resize(self, value: Value, width: int, *, signed: bool = False) -> Value:
        """Return a value truncated or extended to `width` bits."""
        kind = integer(width)
        if value.type.width > width:
            return self.b.trunc(value, kind)
        if value.type.width < width:
            return self.b.sext(value, kind) if signed else self.b.zext(value, kind)
        return value

    # Memory

    def at(self, pointer: Value, offset: int | Value) -> Value:
        """Return a pointer `offset` bytes further. An offset that is a value is taken as unsigned."""
        if isinstance(offset, int):
            return self.b.gep(pointer, [self.i64(offset)], inbounds=True, source_etype=I8) if offset else pointer
        return self.b.gep(pointer, [self.resize(offset, 64)], inbounds=True, source_etype=I8)

    def load(self, pointer: Value, width: int, *, alignment: int | None = None, invariant: bool = False) -> Value:
        """Load an integer of exactly `width` bits, a multiple of 8."""
        value = self.b.load(pointer, typ=integer(width), align=alignment or min(width // 8, 8))
        if invariant:
            value.set_metadata("invariant.load", self.unit.module.add_metadata([]))
        return value

    def store(self, value: Value, pointer: Value, *, alignment: int | None = None) -> None:
        """Store an integer whose width is a multiple of 8."""
        self.b.store(value, pointer, align=alignment or min(value.type.width // 8, 8))

    def load_pointer(self, pointer: Value) -> Value:
        """Load a pointer."""
        return self.b.load(pointer, typ=POINTER, align=8)

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

    def allocate(self, size: int, alignment: int = 8) -> Value:
        """Reserve bytes on the stack for the whole of the function."""
        space = self._allocas.alloca(ll.ArrayType(I8, max(size, 1)))
        space.align = alignment
        space.type = POINTER  # llvmlite would give it a typed pointer, which LLVM no longer has
        return space

    def temporary(self, kind: Type) -> Place:
        """Reserve space for a value of a type."""
        return Place(self.allocate(self.layout.size(kind)), kind)

    def clear(self, pointer: Value, size: int) -> None:
        """Fill bytes with zero."""
        kind = ll.FunctionType(ll.VoidType(), [POINTER, I8, I64, I1])
        memset = self.unit.intrinsic("llvm.memset", [POINTER, I64], kind)
        self.b.call(memset, [pointer, self.constant(8, 0), self.i64(size), self.constant(1, 0)])

    def copy(self, target: Value, source: Value, size: int | Value) -> None:
        """Copy bytes between two places that are the same or do not overlap."""
        kind = ll.FunctionType(ll.VoidType(), [POINTER, POINTER, I64, I1])
        memcpy = self.unit.intrinsic("llvm.memcpy", [POINTER, POINTER, I64], kind)
        length = self.i64(size) if isinstance(size, int) else self.resize(size, 64)
        self.b.call(memcpy, [target, source, length, self.constant(1, 0)])

    def swap_bytes(self, value: Value) -> Value:
        """Reverse the bytes of an integer; its width is a multiple of 8."""
        width = value.type.width
        if width == 8:
            return value
        even = width + width % 16
        swap = self.unit.intrinsic("llvm.bswap", [integer(even)], ll.FunctionType(integer(even), [integer(even)]))
        swapped = self.b.call(swap, [self.resize(value, even)])
        return swapped if even == width else self.resize(self.b.lshr(swapped, self.constant(even, 8)), width)

    # The context

    def slot(self, name: str, size: int = 8) -> Value:
        """Return the address of a slot of the context."""
        return self.at(self.context, self.unit.slots.offset(name, size))

    def slot_pointer(self, name: str) -> Value:
        """Load the pointer in a slot. It stays the same while a batch runs."""
        value = self.load_pointer(self.slot(name))
        value.set_metadata("invariant.load", self.unit.module.add_metadata([]))
        return value

    def slot_value(self, name: str) -> Value:
        """Load the 64-bit number in a slot."""
        return self.load(self.slot(name), 64)

    def set_slot(self, name: str, value: Value) -> None:
        """Store a 64-bit number in a slot."""
        self.store(value, self.slot(name))

    def count(self, name: str) -> None:
        """Add one to a slot."""
        self.set_slot(name, self.b.add(self.slot_value(name), self.i64(1)))

    # Control flow

    def block(self, name: str) -> ll.Block:
        """Append a block."""
        return self.function.append_basic_block(name)

    def go(self, block: ll.Block) -> None:
        """Jump, unless the current block already ended."""
        if not self.b.block.is_terminated:
            self.b.branch(block)

    def leave(self, block: ll.Block) -> None:
        """Jump and go on in a block that nothing reaches: what follows a `return` in the source is dead."""
        self.go(block)
        self.b.position_at_end(self.block("dead"))

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Emit what the `with` holds under a condition."""
        inside, after = self.block("then"), self.block("after")
        self.b.cbranch(condition, inside, after)
        self.b.position_at_end(inside)
        yield
        self.go(after)
        self.b.position_at_end(after)

    @contextmanager
    def loop(self, count: Value) -> Iterator[Value]:
        """Emit a loop over 0 .. count-1; the index has the type of `count`."""
        before, head, body, after = self.b.block, self.block("loop"), self.block("body"), self.block("done")
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(count.type, "index")
        index.add_incoming(ll.Constant(count.type, 0), before)
        self.b.cbranch(self.b.icmp_unsigned("<", index, count), body, after)
        self.b.position_at_end(body)
        yield index
        index.add_incoming(self.b.add(index, ll.Constant(count.type, 1)), self.b.block)
        self.go(head)
        self.b.position_at_end(after)

    def choose(self, condition: Value, yes: Callable[[], Value], no: Callable[[], Value]) -> Value:
        """Emit both branches and return the value of the one taken."""
        first, second, after = self.block("yes"), self.block("no"), self.block("chosen")
        self.b.cbranch(condition, first, second)
        incoming = []
        for block, emit in ((first, yes), (second, no)):
            self.b.position_at_end(block)
            value = emit()
            incoming.append((value, self.b.block))
            self.go(after)
        self.b.position_at_end(after)
        result = self.b.phi(incoming[0][0].type)
        for value, block in incoming:
            result.add_incoming(value, block)
        return result
