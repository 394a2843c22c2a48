"""Shared by the native loops of ports: libc calls, atomic words, and records."""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import I32, I64, POINTER, Builder, Module, Value
from midflight.runtime.engine.ports import linux

__all__ = ["NativeBuilder", "NativeModule"]

# The libc functions that are called: result, arguments, and whether they are variadic.
LIBC: dict[str, tuple[ll.Type, list[ll.Type], bool]] = {
    "clock_gettime": (I32, [I32, POINTER], False),
    "getsockopt": (I32, [I32, I32, I32, POINTER, POINTER], False),
    "poll": (I32, [POINTER, I64, I32], False),
    "ppoll": (I32, [POINTER, I64, POINTER, POINTER], False),
    "read": (I64, [I32, POINTER, I64], False),
    "recvmmsg": (I32, [I32, POINTER, I32, I32, POINTER], False),
    "sched_yield": (I32, [], False),
    "sendmmsg": (I32, [I32, POINTER, I32, I32], False),
    "syscall": (I64, [I64], True),
    "write": (I64, [I32, POINTER, I64], False),
    "__errno_location": (POINTER, [], False),
}


class NativeModule(Module):
    """An LLVM module that runs concurrently with other threads, which change the memory that its pointers refer to."""

    def routine(
        self, name: str, arguments: list[ll.Type], result: ll.Type | None = None, *, exported: bool = False
    ) -> NativeBuilder:
        """Start a function whose first argument is the context, followed by `arguments`, and return its builder.

        `result` is its type, None for void. It is visible outside the module if `exported`. Its pointers may alias.
        """
        kind = ll.FunctionType(result or ll.VoidType(), [POINTER, *arguments])
        function = ll.Function(self.module, kind, name)
        function.attributes.add("nounwind")
        if not exported:
            function.linkage = "internal"
        return NativeBuilder(self, function)

    def libc(self, name: str) -> ll.Function:
        """Return a function of libc, declared in this module. KeyError for one that is not listed in LIBC."""
        if name not in self.module.globals:
            result, arguments, more = LIBC[name]
            ll.Function(self.module, ll.FunctionType(result, arguments, var_arg=more), name)
        return self.module.globals[name]


class NativeBuilder(Builder):
    """A builder of one function that also emits libc calls and atomic operations."""

    unit: NativeModule

    def libc(self, name: str, arguments: list[Value]) -> Value:
        """Emit a call of a libc function and return its result. KeyError for one that is not listed in LIBC."""
        return self.b.call(self.unit.libc(name), arguments)

    def clock(self, which: int) -> Value:
        """Emit a call of clock_gettime, and return the clock's time in nanoseconds (i64). `which` is the clock's number
        in C.
        """
        time = self.allocate(16)
        self.libc("clock_gettime", [self.i32(which), time])
        return self.b.add(self.b.mul(self.field(time, 0), self.i64(1_000_000_000)), self.field(time, 8))

    def errno(self) -> Value:
        """Emit a load of libc's errno and return it (i32)."""
        return self.load(self.libc("__errno_location", []), 32)

    def call(self, function: ll.Function, arguments: list[Value]) -> Value:
        """Emit a call of another native routine, with this routine's context as its first argument, and return its
        result.
        """
        return self.b.call(function, [self.context, *arguments])

    def notify(self) -> None:
        """Emit code that wakes the thread in `PacketLoop.wait`, for packet-ins, digests or interface news."""
        one = self.allocate(8)
        self.store(self.i64(1), one)
        self.libc("write", [self.resize(self.slot_value("notice"), 32), one, self.i64(8)])

    def field(self, record: Value, offset: int) -> Value:
        """Emit a load of the 64-bit field at `offset` bytes in a record."""
        return self.load(self.at(record, offset), 64)

    def set_field(self, record: Value, offset: int, value: Value) -> None:
        """Emit a store to the 64-bit field at `offset` bytes in a record."""
        self.store(value, self.at(record, offset))

    def add_field(self, record: Value, offset: int, value: Value | int = 1) -> None:
        """Emit an addition to the 64-bit field at `offset` bytes in a record. It is not atomic."""
        number = self.i64(value) if isinstance(value, int) else self.resize(value, 64)
        self.set_field(record, offset, self.b.add(self.field(record, offset), number))

    def index(self, array: Value, number: Value, size: int | Value) -> Value:
        """Return the address of element `number` of an array whose elements have `size` bytes."""
        stride = self.i64(size) if isinstance(size, int) else size
        return self.at(array, self.b.mul(self.resize(number, 64), stride))

    def load_atomic(self, pointer: Value, width: int) -> Value:
        """Emit a load of a word of `width` bits that other threads change (sequentially consistent)."""
        kind = ll.IntType(width)
        return self.b.load_atomic(pointer, "seq_cst", width // 8, typ=kind)

    def sleep(self, word: Value, value: Value) -> None:
        """Emit code that sleeps while a 32-bit word has this value, until `wake`. It may wake spuriously."""
        self._futex(word, linux.FUTEX_WAIT_PRIVATE, self.resize(value, 64))

    def wake(self, word: Value) -> None:
        """Emit code that wakes all threads that sleep on a 32-bit word, to run after the word has changed."""
        self._futex(word, linux.FUTEX_WAKE_PRIVATE, self.i64((1 << 31) - 1))

    def sleep_until(self, word: Value, value: Value) -> None:
        """Emit code that sleeps until a 32-bit word has this value."""
        look, wait, there = self.block("look"), self.block("wait"), self.block("there")
        self.go(look)
        self.b.position_at_end(look)
        found = self.load_atomic(word, 32)
        self.b.cbranch(self.b.icmp_unsigned("==", found, value), there, wait)
        self.b.position_at_end(wait)
        self.sleep(word, found)
        self.b.branch(look)
        self.b.position_at_end(there)

    def _futex(self, word: Value, operation: int, number: Value) -> None:
        null = ll.Constant(POINTER, None)
        call = self.i64(linux.futex_number())
        self.libc("syscall", [call, word, self.i64(operation), number, null, null, self.i64(0)])

    def exchange(self, pointer: Value, value: Value) -> Value:
        """Emit an atomic store of a word that other threads read, and return its old value."""
        return self.b.atomic_rmw("xchg", pointer, value, "seq_cst")

    def fetch_add(self, pointer: Value, value: Value) -> Value:
        """Emit an atomic addition to a word that other threads change, and return its old value."""
        return self.b.atomic_rmw("add", pointer, value, "seq_cst")
