"""Builder of LLVM functions: memory, named slots of a context, and control flow.

Emitted code gets all its pointers through its arguments; it contains no addresses of the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from llvmlite import ir as ll

from midflight.runtime.engine.context import Slots

__all__ = ["I1", "I8", "I16", "I32", "I64", "POINTER", "Builder", "Choice", "Module", "Value", "integer"]

Value: TypeAlias = "ll.Value"

I1, I8, I16, I32, I64 = (ll.IntType(width) for width in (1, 8, 16, 32, 64))
POINTER = ll.PointerType()


def integer(width: int) -> ll.IntType:
    """Return LLVM's integer type of a width."""
    return ll.IntType(width)


class Module:
    """A module under construction: its functions, and the slots of the context that they take."""

    def __init__(self, name: str, slots: Slots | None = None) -> None:
        self.module = ll.Module(name)
        self.slots = slots or Slots()
        self._tables: dict[str, ll.GlobalVariable] = {}

    def function(self, name: str, arguments: list[ll.Type], result: ll.Type, *, inline: bool = True) -> ll.Function:
        """Declare an internal function. Its pointer arguments alias neither each other nor the targets of slots."""
        function = ll.Function(self.module, ll.FunctionType(result, arguments), name)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        if not inline:
            function.attributes.add("noinline")
        for argument in function.args:
            if argument.type == POINTER:
                argument.add_attribute("noalias")
        return function

    def intrinsic(self, name: str, types: list[ll.Type], signature: ll.FunctionType) -> ll.Function:
        """Declare an LLVM intrinsic."""
        return self.module.declare_intrinsic(name, types, signature)

    def constants(self, name: str, width: int, values: list[int]) -> ll.GlobalVariable:
        """Return the constant array with this name, which the first call creates."""
        if name not in self._tables:
            kind = ll.ArrayType(integer(width), len(values))
            array = self._tables[name] = ll.GlobalVariable(self.module, kind, name)
            array.linkage = "internal"
            array.global_constant = True
            array.initializer = ll.Constant(kind, values)
            array.type = POINTER
        return self._tables[name]


class Builder:
    """One function under construction. `b` is the LLVM builder; `context` is the first argument."""

    def __init__(self, unit: Module, function: ll.Function) -> None:
        self.unit = unit
        self.function = function
        self._entry = function.append_basic_block("entry")
        start = function.append_basic_block("start")
        self._allocas = ll.IRBuilder(self._entry)
        self._allocas.branch(start)
        self._allocas.position_before(self._entry.terminator)
        self.b = ll.IRBuilder(start)

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
        """Return a pointer `offset` bytes further. A value as the offset is unsigned."""
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

    def allocate(self, size: int, alignment: int = 8) -> Value:
        """Reserve bytes on the stack until the function returns."""
        space = self._allocas.alloca(ll.ArrayType(I8, max(size, 1)))
        space.align = alignment
        space.type = POINTER  # instead of llvmlite's typed pointer, which LLVM no longer supports
        return space

    def clear(self, pointer: Value, size: int) -> None:
        """Fill bytes with zero."""
        kind = ll.FunctionType(ll.VoidType(), [POINTER, I8, I64, I1])
        memset = self.unit.intrinsic("llvm.memset", [POINTER, I64], kind)
        self.b.call(memset, [pointer, self.constant(8, 0), self.i64(size), self.constant(1, 0)])

    def copy(self, target: Value, source: Value, size: int | Value) -> None:
        """Copy bytes between two places that are equal or do not overlap."""
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
        """Load the pointer in a slot, which must not change during a batch."""
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

    def call_through(self, pointer: Value, function_type: ll.FunctionType, arguments: list[Value]) -> Value:
        """Call the function that a pointer refers to."""
        return self.b.call(_Callee(pointer, function_type), arguments)

    def block(self, name: str) -> ll.Block:
        """Append a block."""
        return self.function.append_basic_block(name)

    def go(self, block: ll.Block) -> None:
        """Jump, unless the current block already ended."""
        if not self.b.block.is_terminated:
            self.b.branch(block)

    def leave(self, block: ll.Block) -> None:
        """Jump, and continue in an unreachable block, because code after a `return` in the source is dead."""
        self.go(block)
        self.b.position_at_end(self.block("dead"))

    @contextmanager
    def when(self, condition: Value, *, rarely: bool = False) -> Iterator[None]:
        """Make the code that the `with` block emits conditional. `rarely` moves it out of the main path."""
        inside, after = self.block("then"), self.block("after")
        branch = self.b.cbranch(condition, inside, after)
        if rarely:
            branch.set_weights([1, 1000])
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
        """Emit both branches and return the value of the branch taken."""
        choice = Choice(self, condition)
        choice.otherwise(yes())
        return choice.end(no())


class Choice:
    """A value that is computed in one of two branches. The branch in which `condition` is true is emitted first."""

    def __init__(self, code: Builder, condition: Value) -> None:
        self._code = code
        first, self._second, self._after = code.block("yes"), code.block("no"), code.block("chosen")
        self._incoming: list[tuple[Value, ll.Block]] = []
        code.b.cbranch(condition, first, self._second)
        code.b.position_at_end(first)

    def otherwise(self, value: Value) -> None:
        """End the first branch with its value, and start the second."""
        self._leave(value)
        self._code.b.position_at_end(self._second)

    def end(self, value: Value) -> Value:
        """End the second branch with its value, and return the value of the branch taken."""
        self._leave(value)
        self._code.b.position_at_end(self._after)
        result = self._code.b.phi(value.type)
        for each, block in self._incoming:
            result.add_incoming(each, block)
        return result

    def _leave(self, value: Value) -> None:
        self._incoming.append((value, self._code.b.block))
        self._code.go(self._after)


class _Callee:
    """A function pointer in the form that llvmlite's builder accepts: a value that knows its function type."""

    def __init__(self, pointer: Value, function_type: ll.FunctionType) -> None:
        self.type = pointer.type
        self.function_type = function_type
        self.get_reference = pointer.get_reference
