"""LLVM code of a P4 program under construction: one module (`Unit`), and one function of it at a time (`Code`).

Of P4, `Code` knows only the types and where values lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llvmlite import ir as ll

from midflight.errors import P4Error
from midflight.errors import Place as SourcePlace
from midflight.p4 import ir
from midflight.p4.calls import digests
from midflight.p4.types import StackType, Type
from midflight.runtime.engine.builder import I1, I8, I16, I32, I64, NATIVE, POINTER, Builder, Module, Value, integer
from midflight.runtime.engine.context import Slots
from midflight.runtime.engine.layout import Layout, scalar_width, stored_width
from midflight.runtime.engine.packetstate import PacketState
from midflight.runtime.engine.target import Target

__all__ = [
    "I1", "I8", "I16", "I32", "I64", "POINTER", "Applied", "Code", "Cursor", "Frame", "Place",
    "RecordKind", "Unit", "Value", "integer", "unsupported",
]  # fmt: skip


STACK = 1 << 19
"""The limit for the packet state and variables of a whole program on the native stack, in bytes."""


def unsupported(what: str, place: SourcePlace | None = None, hint: str = "") -> P4Error:
    """Return the error, to be raised, that the engine does not support `what`.

    `place` is its place in the P4, or None.
    """
    return P4Error(f"the engine does not support {what}", place=place, hint=hint)


@dataclass(frozen=True, slots=True)
class Place:
    """The address of a value in memory, as an LLVM value, with the value's P4 type."""

    pointer: Value
    type: Type


@dataclass(frozen=True, slots=True)
class RecordKind:
    """A kind of record for the control side: a type of digest, or one call of `log_msg`, `assert` or `assume`.

    `name` is the digest's name or, with `log`, the text of the message. Each value has a width in bits, and may be
    signed. In memory, a value takes whole 64-bit words.
    """

    name: str
    widths: tuple[int, ...] = ()
    signed: tuple[bool, ...] = ()
    log: bool = False


VARIABLE, CELL = "variable", "cell"
"""The kinds of memory for `Builder.load`: that of the program's variables, headers included, and that of registers."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of applying a table: whether an entry matched (i1), and the number of the action that ran (i32)."""

    hit: Value
    action: Value


class Unit(Module):
    """The LLVM module of a P4 program under construction, with the state that all of its functions share.

    `call` emits a call of an extern, `apply` a table application and `contains` a look-up in a value set;
    expressions, statements and parsers need these from the layers above them. `digest_names` are the names of digests
    by type. `intents` collects the requests to the traffic manager that the program makes, `records` the kinds of
    digest and log message that it sends, and `touched` the fields of the standard metadata that it uses.
    `reads_payload` is whether it computes with bytes that the parser does not consume. `slots` are those of the same
    program compiled before, so that one context fits both. With `traced`, the code records traces; `names` are the
    names that these refer to, or None without tracing, and `numbers` their indexes. `pure` caches, by the identity of a
    node, whether evaluating it unnecessarily is harmless and cheap. P4Error for a program with externs of its own.
    """

    def __init__(
        self,
        program: ir.Program,
        call: Callable[[Code, ir.Call], Value | None],
        apply: Callable[[Code, ir.Table], Applied],
        contains: Callable[[Code, ir.Table, Sequence[Value]], Value],
        slots: Slots | None = None,
        *,
        traced: bool = False,
        target: Target = NATIVE,
    ) -> None:
        for name, place in program.foreign.items():
            message = f"the extern {name} is not part of v1model, so the switch cannot run the program"
            raise P4Error(message, place=place)
        super().__init__("midflight", slots, target)
        self.names: list[str] | None = [] if traced else None
        self.numbers: dict[str, int] = {}
        self.program = program
        self.call = call
        self.apply = apply
        self.contains = contains
        self.layout = Layout()
        self.state = PacketState(program, self.layout)
        self.digest_names = digests(program)
        self.intents: set[str] = set()
        self.records: list[RecordKind] = []
        self.touched: set[str] = set()
        self.reads_payload = False
        self.stack = 0
        self.widths: dict[Type, tuple[int, int]] = {}
        self.pure: dict[int, bool] = {}
        self._helpers: dict[str, ll.Function] = {}

    def helper(self, name: str, arguments: list[ll.Type], result: ll.Type, body: Callable[[Code], None]) -> ll.Function:
        """Return the function with this name, which the first call builds with `body`. It is shared and not inlined."""
        if name not in self._helpers:
            function = self._helpers[name] = self.function(name, arguments, result, inline=False)
            body(Code(self, function))
        return self._helpers[name]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The progress of a P4 parser, as LLVM values.

    `packet` is the packet's address and `length` its length in bytes (i32). `position` and `error` are addresses of an
    i32: the bytes consumed so far, and the parser error. `reject` is the block that ends the parser.
    """

    packet: Value
    length: Value
    position: Value
    error: Value
    reject: ll.Block

    def pointer(self, code: Code) -> Value:
        """Emit the computation of the address of the packet's next byte to parse, and return it."""
        return code.at(self.packet, code.load(self.position, 32))

    def advance(self, code: Code, count: Value) -> None:
        """Emit that `count` (i32) bytes are consumed; the packet must be known to have them."""
        code.store(code.b.add(code.load(self.position, 32), count), self.position)

    def need(self, code: Code, count: Value) -> None:
        """Emit a check: unless `count` (i32, unsigned) bytes are left, the parser ends with PacketTooShort."""
        left = code.b.sub(self.length, code.load(self.position, 32))
        self.fail(code, code.b.icmp_unsigned("<", left, count), "PacketTooShort")

    def fail(self, code: Code, condition: Value, error: str | Value) -> None:
        """Emit a check: if `condition` (i1) holds, the parser ends with `error`, its name or number (i32)."""
        with code.when(condition):
            number = code.i32(code.unit.program.errors.index(error)) if isinstance(error, str) else error
            code.store(number, self.error)
            code.go(self.reject)


@dataclass(slots=True)
class Frame:
    """A control, parser or action while it is emitted: `end` is the target of `return`.

    `copy_outs` emit the copies of its results that follow there.
    """

    end: ll.Block
    copy_outs: list[Callable[[], None]] = field(default_factory=list)


class Code(Builder):
    """Builder of one LLVM function of a P4 program, which knows P4's types and where variables lie in memory."""

    unit: Unit

    def __init__(self, unit: Unit, function: ll.Function) -> None:
        super().__init__(unit, function)
        self.layout = unit.layout
        self.variables: dict[ir.Variable, Place] = {}
        self.frames: list[Frame] = []
        self.exit: ll.Block | None = None
        self.cursor: Cursor | None = None
        self.loops: list[tuple[ll.Block, ll.Block]] = []  # where break and continue lead, of each loop around
        self.rounds: Value | None = None

    def allocate(self, size: int, alignment: int = 8) -> Value:
        """Reserve `size` bytes on the stack and return their address.

        Raises P4Error if all functions of the program together exceed `STACK` bytes.
        """
        self.unit.stack += size
        if self.unit.stack > STACK:
            raise P4Error(
                f"all variables and parameters together take more than the engine's {STACK} bytes",
                hint="Declare fewer variables of large structs, or pass fewer of them to controls and actions.",
            )
        return super().allocate(size, alignment)

    def read(self, place: Place) -> Value:
        """Emit a load of a scalar (a number, bool, enum or error) and return it with the width of its type.

        Raises P4Error for a place whose type is not scalar.
        """
        width, stored = self._widths(place.type)
        loaded = self.load(place.pointer, stored, kind=VARIABLE)
        return loaded if stored == width else self.resize(loaded, width)

    def write(self, value: Value, place: Place) -> None:
        """Emit a store of a scalar (a number, bool, enum or error) at its place.

        Raises P4Error for a place whose type is not scalar.
        """
        _, stored = self._widths(place.type)
        self.store(value if value.type.width == stored else self.resize(value, stored), place.pointer, kind=VARIABLE)

    def _widths(self, kind: Type) -> tuple[int, int]:
        """Return the widths in bits that a scalar has while it is computed on, and in memory."""
        known = self.unit.widths.get(kind)
        if known is None:
            width = scalar_width(kind)
            known = self.unit.widths[kind] = width, stored_width(width)
        return known

    def member(self, place: Place, *names: str) -> Place:
        """Return the place of a field of a struct, header, union or tuple.

        `names` lead to it from the outside in; the fields of a tuple are "0", "1" and so on. KeyError for an unknown
        name.
        """
        offset, kind = self.layout.field(place.type, names)
        return Place(self.at(place.pointer, offset) if offset else place.pointer, kind)

    def element(self, stack: Place, index: int | Value) -> Place:
        """Return the place of an element of a header stack. The index must be in range, which is not checked."""
        assert isinstance(stack.type, StackType)
        stride = self.layout.stride(stack.type)
        first = self.at(stack.pointer, 8)
        where = index * stride if isinstance(index, int) else self.b.mul(self.resize(index, 64), self.i64(stride))
        return Place(self.at(first, where), stack.type.element)

    def temporary(self, kind: Type) -> Place:
        """Reserve space on the stack for a value of a type, and return its place. It is not initialised.

        Raises P4Error if all functions of the program together exceed `STACK` bytes, or for a type that the engine does
        not support.
        """
        return Place(self.allocate(self.layout.size(kind)), kind)
