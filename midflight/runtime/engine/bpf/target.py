"""BPF as a target: memory is an arena, each processor has a context of its own, and loops may be ended by the kernel.

A program finds everything from the first page of its arena, the root (`ROOT`). There is one block of settings for all
processors, which holds the addresses of tables, registers and so on; a change of settings writes another block and then
its address. The first argument of functions is the block of the processor that runs the program, with the slots
`locals`.

All pointers in LLVM's code point into the arena, after a cast that the kernel's verifier requires for each address that
is loaded from memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llvmlite import ir as ll

from midflight.errors import Place
from midflight.runtime.engine.bpf.codegen import VOLATILE
from midflight.runtime.engine.bpf.linking import AGAIN
from midflight.runtime.engine.builder import I8, I32, I64, POINTER, Builder, Value
from midflight.runtime.engine.context import Slots

__all__ = ["EVENTS", "MEMORY", "RECORD", "ROOT", "UNROLLED", "Bpf", "helper", "words_of"]

MEMORY, EVENTS = "memory", "events"
"""The symbols of the arena and of the ring buffer for messages to user space."""

ROOT = {
    "settings": 0, "lock": 8, "random": 16, "now": 24, "cpu": 32, "length": 40, "port": 48, "before": 56, "start": 64,
    "size": 72, "copy.from": 80, "copy.to": 88, "copy.size": 96, "copy.late": 104, "processors": 128,
}  # fmt: skip
"""Offsets in the first page of the arena, in bytes.

`cpu` is the controller's port, and `processors` are the addresses of the processors' blocks. The others are for test
runs. The time is `now` if it is not 0, in microseconds. The packet has `length` bytes if it is not 0, and otherwise as
many as the kernel says, which has no short ones. Packets are not redirected: `port` becomes the port plus 1, or 0 for a
dropped packet, and `before` the number of messages sent before it. It is `size` bytes at the address `start`.

The program `EXCHANGE` copies `copy.size` bytes between two addresses; `copy.late` counts when it could not.
"""

RECORD = 8
"""The bytes before a record in the ring buffer: 0 for a digest or message, or a packet's port plus 1, and its length,
with 32 bits each."""

_SHARED = ("random",)
_PRIVATE = (
    "assertions", "checksum_error", "digests.lost", "log.lost", "now", "out.data", "out.used", "queue", "queue.head",
    "queue.tail", "received", "sent", "source",
)  # fmt: skip
# What each packet uses comes first, in few cache lines and within reach of an instruction's 15-bit offset.
_OFTEN = (
    "settings", "length", "tested", "received", "sent", "out.used", "copies", "position", "now", "checksum_error",
    "emitted.headers", "emitted.consumed", "place.port", "place.start", "place.size", "place.headers", "place.consumed",
    "place.before", "dropped.ingress", "dropped.egress", "dropped.memory", "dropped.busy",
)  # fmt: skip
_RESERVE, _SUBMIT = 131, 132
UNROLLED = 512
"""The most bytes that are copied without a loop."""


@dataclass(slots=True)
class Bpf:
    """BPF as a target.

    `locals` are the slots of a processor's block, `constants` the constant arrays by name, and
    `used` the names of all slots that code asks for. In LLVM's debug information, places in the P4 are the lines of a
    single file: line 1 is the first of `places`, and line 0 is none.

    With `exclusive`, one processor at a time runs the program. `direct` code is faster, but the verifier has more paths
    to check: it knows all numbers on each of them.
    """

    located = True
    vectors = False

    direct: bool = False
    exclusive: bool = False

    locals: Slots = field(default_factory=Slots)
    constants: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)
    _numbers: dict[Place, int] = field(default_factory=dict)
    _unit: ll.DIValue | None = None
    _file: ll.DIValue | None = None

    def __post_init__(self) -> None:
        for name in _OFTEN:
            self.locals.offset(name)

    def slot(self, code: Builder, name: str, size: int) -> Value:
        """Emit the address of the slot `name`: in the root, the processor's block or the settings. Return it.

        A new name gets a slot of `size` bytes.
        """
        if name in _SHARED:
            return code.at(self.root(code), ROOT[name])
        self.used.add(name)
        if name in _PRIVATE or name.startswith("dropped.") or name.endswith(".colour"):
            return self.local(code, name, size)
        settings = self.pointer(code, self.local(code, "settings"), invariant=False)
        return code.at(settings, code.unit.slots.offset(name, size))

    def local(self, code: Builder, name: str, size: int = 8) -> Value:
        """Return the address of a slot in the processor's block. A new name gets a slot of `size` bytes."""
        return code.at(code.context, self.locals.offset(name, size))

    def root(self, code: Builder) -> Value:
        """Return the address of the arena's first page."""
        known = code.unit.module.globals.get(MEMORY)
        if known is None:
            known = ll.GlobalVariable(code.unit.module, I8, MEMORY)
            known.type = POINTER
        return self.cast(code, code.b.ptrtoint(known, I64))

    def cast(self, code: Builder, address: Value) -> Value:
        """Emit the conversion of a number, an address in the arena, to a pointer, and return the pointer."""
        far = ll.PointerType(addrspace=1)
        return code.b.addrspacecast(code.b.inttoptr(address, far), POINTER)

    def pointer(self, code: Builder, address: Value, *, invariant: bool) -> Value:
        """Emit a load of the pointer at `address`, a place in the arena. `invariant` promises that it never changes."""
        value = code.b.load(address, typ=I64, align=8)
        if invariant:
            value.set_metadata("invariant.load", code.unit.module.add_metadata([]))
        return self.cast(code, value)

    def words(self, code: Builder, name: str, width: int, values: list[int]) -> Value:
        """Return the address of the constant array of `width`-bit numbers with this name.

        It is in the settings, because a program has no memory of its own; `constants` records it for the engine to
        write.
        """
        self.constants[name] = width, values
        settings = self.pointer(code, self.root(code), invariant=False)
        return self.pointer(code, code.at(settings, code.unit.slots.offset(f"constant.{name}")), invariant=True)

    def again(self, code: Builder) -> Value | None:
        """Emit what precedes another round of a loop, and return an i1 that is false if the kernel requires the loop
        to end.
        """
        known = code.unit.module.globals.get(AGAIN)
        if known is None:
            known = ll.Function(code.unit.module, ll.FunctionType(I64, []), AGAIN)
            known.attributes.add("nounwind")
        return code.b.icmp_unsigned("!=", code.b.call(known, []), code.i64(0))

    def add(self, code: Builder, pointer: Value, amount: Value) -> None:
        """Emit an addition to the i64 at an address, atomic unless one processor at a time runs the program."""
        if self.exclusive:
            code.store(code.b.add(code.load(pointer, 64), amount), pointer)
        else:
            code.b.atomic_rmw("add", pointer, amount, "monotonic")

    def multiply(self, code: Builder, left: Value, right: Value) -> Value:
        """Emit the product of two integers of the same width, modulo 2**width.

        Beyond 64 bits it is computed from parts of 32 bits, because LLVM would call a library.
        """
        b, width = code.b, left.type.width
        if width <= 64:
            return b.mul(left, right)
        count = -(-width // 32)
        parts = [
            [code.resize(code.resize(b.lshr(each, code.constant(width, 32 * n)), 32), 64) for n in range(count)]
            for each in (left, right)
        ]
        columns = [code.i64(0) for _ in range(count + 1)]
        for first in range(count):
            for second in range(count - first):
                product = b.mul(parts[0][first], parts[1][second])
                at = first + second
                columns[at] = b.add(columns[at], b.and_(product, code.i64(0xFFFF_FFFF)))
                columns[at + 1] = b.add(columns[at + 1], b.lshr(product, code.i64(32)))
        total, carry, whole = code.constant(32 * count, 0), code.i64(0), 32 * count
        for number in range(count):
            carry = b.add(carry, columns[number])
            part = code.resize(code.resize(carry, 32), whole)
            total = b.or_(total, b.shl(part, code.constant(whole, 32 * number)))
            carry = b.lshr(carry, code.i64(32))
        return code.resize(total, width)

    def shift(self, code: Builder, operation: str, left: Value, by: Value) -> Value:
        """Emit `shl`, `lshr` or `ashr` (`operation`) of an integer by an amount below its width. The result is as wide.

        Beyond 64 bits, a shift by an amount that is not constant is computed from words of 64 bits, because LLVM would
        call a library.
        """
        b, width = code.b, left.type.width
        if width <= 64 or isinstance(by, ll.Constant):
            shifted: Value = getattr(b, operation)(left, by)
            return shifted
        count = -(-width // 64)
        wide = code.resize(left, 64 * count, signed=operation == "ashr")
        words = [code.resize(b.lshr(wide, code.constant(64 * count, 64 * n)), 64) for n in range(count)]
        beyond = b.ashr(words[-1], code.i64(63)) if operation == "ashr" else code.i64(0)
        amount = code.resize(by, 64)
        bits, whole = b.and_(amount, code.i64(63)), b.lshr(amount, code.i64(6))
        step, onto, back = (-1, b.shl, b.lshr) if operation == "shl" else (1, b.lshr, b.shl)

        def word(number: int) -> Value:
            return words[number] if 0 <= number < count else beyond

        def moved(number: int) -> Value:
            rest = back(back(word(number + step), b.sub(code.i64(63), bits)), code.i64(1))
            return b.or_(onto(word(number), bits), rest)

        result = code.constant(64 * count, 0)
        for number in range(count):
            chosen = moved(number)
            for far in range(1, count):
                chosen = b.select(b.icmp_unsigned("==", whole, code.i64(far)), moved(number + step * far), chosen)
            placed = b.shl(code.resize(chosen, 64 * count), code.constant(64 * count, 64 * number))
            result = b.or_(result, placed)
        return code.resize(result, width)

    def locate(self, code: Builder, place: Place | None) -> None:
        """Record that the instructions emitted from here on come from a place in the P4, or from none, as debug
        information.
        """
        module, function = code.unit.module, code.function
        if self._unit is None:
            self._file = module.add_debug_info("DIFile", {"filename": "program.p4", "directory": ""})
            self._unit = module.add_debug_info(
                "DICompileUnit",
                {
                    "language": ll.DIToken("DW_LANG_C"),
                    "file": self._file,
                    "producer": "midflight",
                    "emissionKind": ll.DIToken("FullDebug"),
                },
                is_distinct=True,
            )
            module.add_named_metadata("llvm.dbg.cu", self._unit)
            flags = [ll.Constant(I32, 2), "Debug Info Version", ll.Constant(I32, 3)]
            module.add_named_metadata("llvm.module.flags", module.add_metadata(flags))
        if "dbg" not in function.metadata:
            kind = module.add_debug_info("DISubroutineType", {"types": module.add_metadata([None])})
            described = {"name": function.name, "file": self._file, "type": kind, "unit": self._unit}
            subprogram = module.add_debug_info("DISubprogram", {**described, "isDefinition": True}, is_distinct=True)
            function.set_metadata("dbg", subprogram)
        number = 0
        if place is not None:
            number = self._numbers.setdefault(place, len(self.places) + 1)
            if number > len(self.places):
                self.places.append(place)
        where = {"line": number, "column": 0, "scope": function.metadata["dbg"]}
        code.b.debug_metadata = module.add_debug_info("DILocation", where)

    def forget(self, code: Builder, value: Value) -> Value:
        """Emit a store and a load of an integer of at most 64 bits, and return the loaded value.

        The kernel's verifier, which follows every path, then knows nothing about the value and checks fewer paths. In
        `direct` code, nothing is emitted, and the value is returned.
        """
        if self.direct:
            return value
        place = code.allocate(8)
        code.store(value, place)
        return code.b.load(place, name=VOLATILE, typ=value.type, align=8)

    def clear(self, code: Builder, pointer: Value, size: int) -> None:
        """Emit the filling of `size` bytes with zeros: by a loop if they are more than 512.

        At most 512 are filled by stores, and in `direct` code by LLVM's memset.
        """
        if size <= UNROLLED and self.direct:
            code.fill(pointer, size)
            return
        if size <= UNROLLED:
            for offset, width in words_of(size):
                code.store(code.constant(width, 0), code.at(pointer, offset), alignment=1)
            return
        function = _helper(code, "clear", [POINTER, I32], _build_clear)
        code.b.call(function, [pointer, code.i32(size)])

    def copy(self, code: Builder, target: Value, source: Value, size: int | Value) -> None:
        """Emit the copying of `size` bytes from address `source` to address `target`, which must be equal or not
        overlap.

        A constant size of at most 512 bytes is copied by loads and stores, and in `direct` code by LLVM's memcpy; any
        other size is copied by a loop.
        """
        if isinstance(size, int) and size <= UNROLLED and self.direct:
            code.copy_plainly(target, source, size)
            return
        if isinstance(size, int) and size <= UNROLLED:
            for offset, width in words_of(size):
                value = code.load(code.at(source, offset), width, alignment=1)
                code.store(value, code.at(target, offset), alignment=1)
            return
        function = _helper(code, "copy", [POINTER, POINTER, I32], _build_copy)
        length = code.i32(size) if isinstance(size, int) else code.resize(size, 32)
        code.b.call(function, [target, source, length])

    def move(self, code: Builder, target: Value, source: Value, size: int) -> None:
        """Emit the copying of `size` bytes from address `source` to address `target`, which may overlap.

        The bytes go through a temporary copy on the stack.
        """
        between = code.allocate(size)
        self.copy(code, between, source, size)
        self.copy(code, target, between, size)

    @contextmanager
    def record(self, code: Builder, size: int, lost: str) -> Iterator[Value]:
        """Emit what the body of the `with` emits if the ring buffer has space for a record of `size` bytes, and its
        submission.

        Yields the record's address for the body to fill. Without space, the slot `lost` is incremented instead.
        """
        with self.message(code, RECORD + size, lost) as memory:
            code.store(code.i32(0), memory)
            code.store(code.i32(size), code.at(memory, 4))
            yield code.at(memory, RECORD)

    @contextmanager
    def message(self, code: Builder, size: int, lost: str) -> Iterator[Value]:
        """Emit what the body of the `with` emits if the ring buffer has space for `size` bytes, at the yielded address.

        Otherwise, add one to the slot `lost`.
        """
        b = code.b
        events = code.unit.module.globals.get(EVENTS)
        if events is None:
            events = ll.GlobalVariable(code.unit.module, I8, EVENTS)
            events.type = POINTER
        memory = helper(code, _RESERVE, POINTER, [events, code.i64(size), code.i64(0)])
        none = b.icmp_unsigned("==", memory, ll.Constant(POINTER, None))
        with code.when(none):
            code.count(lost)
        with code.when(b.not_(none)):
            yield memory
            helper(code, _SUBMIT, ll.VoidType(), [memory, code.i64(0)])


def helper(code: Builder, number: int, result: ll.Type, arguments: list[Value]) -> Value:
    """Emit a call of one of the kernel's helper functions, by its number."""
    kind = ll.FunctionType(result, [each.type for each in arguments])
    pointer = code.b.inttoptr(code.i64(number), POINTER)
    return code.call_through(pointer, kind, arguments)


def words_of(size: int) -> list[tuple[int, int]]:
    """Return (offset, width in bits) of the integers that cover `size` bytes."""
    found, offset = [], 0
    for width in (64, 32, 16, 8):
        while size - offset >= width // 8:
            found.append((offset, width))
            offset += width // 8
    return found


def _helper(code: Builder, name: str, arguments: list[ll.Type], body: object) -> ll.Function:
    known = code.unit.module.globals.get(f"bpf.{name}")
    if known is None:
        known = code.unit.function(f"bpf.{name}", arguments, ll.VoidType(), inline=False)
        assert callable(body)
        body(Builder(code.unit, known))
    return known


def _build_clear(code: Builder) -> None:
    pointer, size = code.function.args
    _by_words(code, size, lambda at, width: code.store(code.constant(width, 0), code.at(pointer, at), alignment=1))


def _build_copy(code: Builder) -> None:
    target, source, size = code.function.args

    def one(at: Value, width: int) -> None:
        code.store(code.load(code.at(source, at), width, alignment=1), code.at(target, at), alignment=1)

    _by_words(code, size, one)


def _by_words(code: Builder, size: Value, one: object) -> None:
    """Emit a loop over 64-bit words, then one over the bytes that remain, and the function's end."""
    assert callable(one)
    b = code.b
    with code.loop(b.lshr(size, code.i32(3))) as index:
        one(b.shl(index, code.i32(3)), 64)
    whole = b.and_(size, code.i32(0xFFFF_FFF8))
    with code.loop(b.and_(size, code.i32(7))) as index:
        one(b.add(whole, index), 8)
    b.ret_void()
