"""Builder of LLVM functions: memory, named slots of the context, and control flow.

Emitted code gets all its pointers through its first argument, the context, a block of memory with named slots; it
contains no addresses of the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from llvmlite import ir as ll

from midflight.errors import Place
from midflight.runtime.engine.context import Slots
from midflight.runtime.engine.target import Target

__all__ = ["I1", "I8", "I16", "I32", "I64", "NATIVE", "POINTER", "Builder", "Choice", "Module", "Value", "integer"]

Value: TypeAlias = "ll.Value"

I1, I8, I16, I32, I64 = (ll.IntType(width) for width in (1, 8, 16, 32, 64))
POINTER = ll.PointerType()


VECTOR = 128
"""The number of bits that all processors of today compute with at once."""


def integer(width: int) -> ll.IntType:
    """Return LLVM's integer type with a width in bits."""
    return ll.IntType(width)


class _Native:
    """Code that runs in this process, with the context as its first argument."""

    located = False
    vectors = True

    def slot(self, code: Builder, name: str, size: int) -> Value:
        return code.at(code.context, code.unit.slots.offset(name, size))

    def pointer(self, code: Builder, address: Value, *, invariant: bool) -> Value:
        value = code.b.load(address, typ=POINTER, align=8)
        if invariant:
            value.set_metadata("invariant.load", code.unit.module.add_metadata([]))
        return value

    def words(self, code: Builder, name: str, width: int, values: list[int]) -> Value:
        return code.unit.constants(name, width, values)

    def again(self, code: Builder) -> Value | None:  # noqa: ARG002
        return None

    def add(self, code: Builder, pointer: Value, amount: Value) -> None:
        code.store(code.b.add(code.load(pointer, 64), amount), pointer)

    def multiply(self, code: Builder, left: Value, right: Value) -> Value:
        return code.b.mul(left, right)

    def shift(self, code: Builder, operation: str, left: Value, by: Value) -> Value:
        shifted: Value = getattr(code.b, operation)(left, by)
        return shifted

    def locate(self, code: Builder, place: Place | None) -> None:  # noqa: ARG002
        return

    def forget(self, code: Builder, value: Value) -> Value:  # noqa: ARG002
        return value

    def clear(self, code: Builder, pointer: Value, size: int) -> None:
        code.fill(pointer, size)

    def copy(self, code: Builder, target: Value, source: Value, size: int | Value) -> None:
        code.copy_plainly(target, source, size)

    def move(self, code: Builder, target: Value, source: Value, size: int) -> None:
        code.move_plainly(target, source, size)

    @contextmanager
    def record(self, code: Builder, size: int, lost: str) -> Iterator[Value]:
        b = code.b
        used = code.slot_value("digests.used")
        end = b.add(used, code.i64(size))
        fits = b.icmp_unsigned("<=", end, code.slot_value("digests.capacity"))
        with code.when(b.not_(fits)):
            code.count(lost)
        with code.when(fits):
            yield code.at(code.slot_pointer("digests"), used)
            code.set_slot("digests.used", end)


NATIVE: Target = _Native()
"""The target of the embedded switch."""


class Module:
    """An LLVM module under construction, and the slots of the context that its functions use.

    `slots` are existing ones to share, or None for new ones. `target` is what the code is for.
    """

    def __init__(self, name: str, slots: Slots | None = None, target: Target = NATIVE) -> None:
        self.module = ll.Module(name)
        self.target = target
        self.slots = slots or Slots()
        self._tables: dict[str, ll.GlobalVariable] = {}
        self._kinds: dict[str, ll.MDValue] = {}

    def function(self, name: str, arguments: list[ll.Type], result: ll.Type, *, inline: bool = True) -> ll.Function:
        """Declare a function that is visible only in the module, and return it. `inline` is whether LLVM may inline it.

        Its pointer arguments must alias neither each other nor the targets of slots.
        """
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
        """Declare an LLVM intrinsic in the module, and return it as a function.

        `name` is that without types, such as "llvm.memcpy"; `types` are the types that it is overloaded with, and
        `signature` is its full type.
        """
        return self.module.declare_intrinsic(name, types, signature)

    def kind(self, name: str) -> ll.MDValue:
        """Return the metadata (TBAA) of accesses to memory of the kind `name`."""
        if name not in self._kinds:
            root = self.module.add_metadata(["midflight"])
            kind = self.module.add_metadata([name, root, ll.Constant(I64, 0)])
            self._kinds[name] = self.module.add_metadata([kind, kind, ll.Constant(I64, 0)])
        return self._kinds[name]

    def constants(self, name: str, width: int, values: list[int]) -> ll.GlobalVariable:
        """Return the constant array of `width`-bit numbers with this name, which the first call creates."""
        if name not in self._tables:
            kind = ll.ArrayType(integer(width), len(values))
            array = self._tables[name] = ll.GlobalVariable(self.module, kind, name)
            array.linkage = "internal"
            array.global_constant = True
            array.initializer = ll.Constant(kind, values)
            array.type = POINTER
        return self._tables[name]


class Builder:
    """One LLVM function under construction. Methods emit code at the current position of `b`, llvmlite's builder.

    The function's first argument is the context, a block of memory with named slots.
    """

    def __init__(self, unit: Module, function: ll.Function) -> None:
        self.unit = unit
        self.function = function
        self._entry = function.append_basic_block("entry")
        start = function.append_basic_block("start")
        self._allocas = ll.IRBuilder(self._entry)
        self._allocas.branch(start)
        self._allocas.position_before(self._entry.terminator)
        self.b = ll.IRBuilder(start)
        unit.target.locate(self, None)

    @property
    def context(self) -> Value:
        """The function's first argument, the pointer to the context."""
        return self.function.args[0]

    # Constants and conversions

    def constant(self, width: int, value: int) -> Value:
        """Return a constant of `width` bits; a number that does not fit wraps."""
        return ll.Constant(integer(width), value & ((1 << width) - 1))

    def i32(self, value: int) -> Value:
        """Return a 32-bit constant; a number that does not fit wraps."""
        return self.constant(32, value)

    def i64(self, value: int) -> Value:
        """Return a 64-bit constant; a number that does not fit wraps."""
        return self.constant(64, value)

    def resize(self, value: Value, width: int, *, signed: bool = False) -> Value:
        """Return an integer truncated or extended to `width` bits: with its sign if `signed`, otherwise with zeros."""
        kind = integer(width)
        if value.type.width > width:
            return self.b.trunc(value, kind)
        if value.type.width < width:
            return self.b.sext(value, kind) if signed else self.b.zext(value, kind)
        return value

    # Memory

    def count_from(self, value: int) -> Value:
        """Return the address of a new 32-bit number on the stack, which each call of the function starts with."""
        pointer = self.allocate(4, 4)
        self._allocas.store(self.i32(value), pointer)
        return pointer

    def at(self, pointer: Value, offset: int | Value) -> Value:
        """Return a pointer `offset` bytes beyond another. An offset that is a value is unsigned."""
        if isinstance(offset, int):
            return self.b.gep(pointer, [self.i64(offset)], inbounds=True, source_etype=I8) if offset else pointer
        return self.b.gep(pointer, [self.resize(offset, 64)], inbounds=True, source_etype=I8)

    def load(
        self, pointer: Value, width: int, *, alignment: int | None = None, invariant: bool = False, kind: str = ""
    ) -> Value:
        """Load an integer of exactly `width` bits, a multiple of 8, and return it.

        `alignment` is in bytes, by default natural, at most 8. `invariant` promises that the memory never changes.
        `kind` names the kind of memory: accesses to memory of different kinds do not alias. Without it, they may.
        """
        value = self.b.load(pointer, typ=integer(width), align=alignment or min(width // 8, 8))
        if kind:
            value.set_metadata("tbaa", self.unit.kind(kind))
        if invariant:
            value.set_metadata("invariant.load", self.unit.module.add_metadata([]))
        return value

    def store(self, value: Value, pointer: Value, *, alignment: int | None = None, kind: str = "") -> None:
        """Store an integer whose width is a multiple of 8.

        `alignment` is in bytes, by default natural, at most 8; `kind` is that of the memory, as for `load`.
        """
        stored = self.b.store(value, pointer, align=alignment or min(value.type.width // 8, 8))
        if kind:
            stored.set_metadata("tbaa", self.unit.kind(kind))

    def load_pointer(self, pointer: Value) -> Value:
        """Load a pointer from 8-byte aligned memory and return it."""
        return self.unit.target.pointer(self, pointer, invariant=False)

    def allocate(self, size: int, alignment: int = 8) -> Value:
        """Reserve `size` bytes on the stack until the function returns, and return their address.

        They are not initialised. `alignment` is in bytes.
        """
        space = self._allocas.alloca(ll.ArrayType(I8, max(size, 1)))
        space.align = alignment
        space.type = POINTER  # instead of llvmlite's typed pointer, which LLVM no longer supports
        return space

    def clear(self, pointer: Value, size: int) -> None:
        """Emit the filling of `size` bytes at a pointer with zeros."""
        self.unit.target.clear(self, pointer, size)

    def fill(self, pointer: Value, size: int) -> None:
        """Emit the filling of `size` bytes at a pointer with zeros by LLVM's memset, whatever the target."""
        kind = ll.FunctionType(ll.VoidType(), [POINTER, I8, I64, I1])
        memset = self.unit.intrinsic("llvm.memset", [POINTER, I64], kind)
        self.b.call(memset, [pointer, self.constant(8, 0), self.i64(size), self.constant(1, 0)])

    def copy(self, target: Value, source: Value, size: int | Value) -> None:
        """Emit a copy of `size` bytes from address `source` to address `target`. The two must be equal or not
        overlap.
        """
        self.unit.target.copy(self, target, source, size)

    def copy_plainly(self, target: Value, source: Value, size: int | Value) -> None:
        """Emit a copy of `size` bytes from address `source` to address `target` by LLVM's memcpy, on every target.

        The two must be equal or not overlap.
        """
        kind = ll.FunctionType(ll.VoidType(), [POINTER, POINTER, I64, I1])
        memcpy = self.unit.intrinsic("llvm.memcpy", [POINTER, POINTER, I64], kind)
        length = self.i64(size) if isinstance(size, int) else self.resize(size, 64)
        self.b.call(memcpy, [target, source, length, self.constant(1, 0)])

    def move(self, target: Value, source: Value, size: int) -> None:
        """Emit a copy of `size` bytes from address `source` to address `target`. The two may overlap."""
        self.unit.target.move(self, target, source, size)

    def move_plainly(self, target: Value, source: Value, size: int) -> None:
        """Emit a copy of `size` bytes from address `source` to address `target`, which may overlap, by LLVM's
        memmove.
        """
        kind = ll.FunctionType(ll.VoidType(), [POINTER, POINTER, I64, I1])
        memmove = self.unit.intrinsic("llvm.memmove", [POINTER, POINTER, I64], kind)
        self.b.call(memmove, [target, source, self.i64(size), self.constant(1, 0)])

    def copy_swapped(self, target: Value, source: Value, width: int, count: int) -> None:
        """Emit a copy of `count` numbers of `width` bits (8, 16, 32 or 64) that reverses the bytes of each.

        Several are copied at once, so `width` times `count` must be a multiple of `VECTOR` bits. Both addresses may be
        unaligned; the two places must be equal or not overlap.
        """
        done = 0
        while done < count:
            lanes = (2 if (count - done) * width >= 2 * VECTOR else 1) * VECTOR // width
            kind = ll.VectorType(integer(width), lanes)
            value = self.b.load(self.at(source, done * width // 8), typ=kind, align=1)
            if width > 8:
                name = f"llvm.bswap.v{lanes}i{width}"  # llvmlite does not know the names of vectors
                known = self.unit.module.globals.get(name)
                swap = known or ll.Function(self.unit.module, ll.FunctionType(kind, [kind]), name)
                value = self.b.call(swap, [value])
            self.b.store(value, self.at(target, done * width // 8), align=1)
            done += lanes

    def swap_bytes(self, value: Value) -> Value:
        """Return an integer with its bytes in reverse order. Its width must be a multiple of 8."""
        width = value.type.width
        if width == 8:
            return value
        even = width + width % 16
        swap = self.unit.intrinsic("llvm.bswap", [integer(even)], ll.FunctionType(integer(even), [integer(even)]))
        swapped = self.b.call(swap, [self.resize(value, even)])
        return swapped if even == width else self.resize(self.b.lshr(swapped, self.constant(even, 8)), width)

    # The context

    def slot(self, name: str, size: int = 8) -> Value:
        """Return the address of the context's slot with this name. A new name gets a slot of `size` bytes."""
        return self.unit.target.slot(self, name, size)

    def slot_pointer(self, name: str) -> Value:
        """Load the pointer in a slot of the context. It must not change during a batch."""
        return self.unit.target.pointer(self, self.slot(name), invariant=True)

    def slot_value(self, name: str) -> Value:
        """Emit a load of the 64-bit number in the slot `name` of the context, and return it."""
        return self.load(self.slot(name), 64)

    def set_slot(self, name: str, value: Value) -> None:
        """Emit a store of a 64-bit number to the slot `name` of the context."""
        self.store(value, self.slot(name))

    def count(self, name: str) -> None:
        """Emit an addition of one to the 64-bit number in the slot `name` of the context."""
        self.set_slot(name, self.b.add(self.slot_value(name), self.i64(1)))

    # Control flow

    def call_through(self, pointer: Value, function_type: ll.FunctionType, arguments: list[Value]) -> Value:
        """Emit a call of the function of type `function_type` at the address `pointer`, and return its result.

        `arguments` must have the types of the function's parameters.
        """
        return self.b.call(_Callee(pointer, function_type), arguments)

    def block(self, name: str) -> ll.Block:
        """Append an empty basic block to the function, and return it. The current position does not change."""
        return self.function.append_basic_block(name)

    def go(self, block: ll.Block) -> None:
        """Emit a jump to a block, unless the current block has already ended. The position does not change."""
        if not self.b.block.is_terminated:
            self.b.branch(block)

    def leave(self, block: ll.Block) -> None:
        """Emit a jump to a block, and continue in a new unreachable block, for code after a `return` in the source."""
        self.go(block)
        self.b.position_at_end(self.block("dead"))

    @contextmanager
    def when(self, condition: Value, *, rarely: bool = False) -> Iterator[None]:
        """Make code conditional: what the body of the `with` emits runs only if `condition` (i1) is true.

        Afterwards, code is emitted for both cases again. `rarely` gives LLVM the hint that the condition is mostly
        false.
        """
        inside, after = self.block("then"), self.block("after")
        branch = self.b.cbranch(condition, inside, after)
        if rarely:
            branch.set_weights([1, 1000])
        self.b.position_at_end(inside)
        yield
        self.go(after)
        self.b.position_at_end(after)

    @contextmanager
    def unless(self, condition: Value) -> Iterator[None]:
        """Make code conditional like `when`, but on a false `condition`."""
        inside, after = self.block("then"), self.block("after")
        self.b.cbranch(condition, after, inside)
        self.b.position_at_end(inside)
        yield
        self.go(after)
        self.b.position_at_end(after)

    @contextmanager
    def loop(self, count: Value) -> Iterator[Value]:
        """Emit what the body of the `with` emits as a loop over 0 to `count` - 1.

        Yields the index, with count's type.
        """
        before, head, body, after = self.b.block, self.block("loop"), self.block("body"), self.block("done")
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(count.type, "index")
        index.add_incoming(ll.Constant(count.type, 0), before)
        self.b.cbranch(self.b.icmp_unsigned("<", index, count), body, after)
        self.b.position_at_end(body)
        yield index
        following = self.b.add(index, ll.Constant(count.type, 1))
        self.repeat(head, after)
        index.add_incoming(following, self.b.block)
        self.b.position_at_end(after)

    def repeat(self, head: ll.Block, end: ll.Block) -> bool:
        """Jump back to the head of a loop, or to `end` if the target requires the loop to end.

        The position stays at the end of the block that jumps. Return whether it may jump to `end`.
        """
        again = self.unit.target.again(self)
        if again is None:
            self.go(head)
        else:
            self.b.cbranch(again, head, end)
        return again is not None

    def choose(self, condition: Value, yes: Callable[[], Value], no: Callable[[], Value]) -> Value:
        """Emit `yes()` and `no()` in two branches, and return the value of the branch that `condition` (i1) selects."""
        choice = Choice(self, condition)
        choice.otherwise(yes())
        return choice.end(no())


class Choice:
    """A value that is computed in one of two branches. Creating it starts the branch for a true `condition` (i1).

    Then call `otherwise` with that branch's value, emit the second branch, and call `end`.
    """

    def __init__(self, code: Builder, condition: Value) -> None:
        self._code = code
        first, self._second, self._after = code.block("yes"), code.block("no"), code.block("chosen")
        self._incoming: list[tuple[Value, ll.Block]] = []
        code.b.cbranch(condition, first, self._second)
        code.b.position_at_end(first)

    def otherwise(self, value: Value) -> None:
        """End the first branch with its value, and start the second one."""
        self._leave(value)
        self._code.b.position_at_end(self._second)

    def end(self, value: Value) -> Value:
        """End the second branch with its value, continue after both, and return the value of the branch taken."""
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
