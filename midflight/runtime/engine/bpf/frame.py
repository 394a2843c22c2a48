"""Emits access to a packet in the kernel's memory."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir as ll

from midflight.runtime.engine.bpf.codegen import VOLATILE
from midflight.runtime.engine.bpf.linking import AGAIN_WITH
from midflight.runtime.engine.builder import I64, POINTER, Builder, Value

__all__ = ["Frame", "each", "reload"]


def reload(code: Builder, place: Value) -> Value:
    """Emit a load of an i64 that this function has stored at `place`, and return it.

    The load is not optimised away, so the kernel's verifier knows nothing about the number.
    """
    return code.b.load(place, name=VOLATILE, typ=I64, align=8)


class Frame:
    """The packet in the kernel's memory, which the verifier lets code access only after a comparison with its end."""

    def __init__(self, code: Builder, context: Value, position: Value) -> None:
        self._code = code
        self._context = context
        self._position = position

    def open(self) -> Value:
        """Emit loads of the packet's begin and end, and return its length (i64).

        Results of `has` and `at` from before must not be used afterwards.
        """
        code, b = self._code, self._code.b
        self._begin, self._end = (
            b.inttoptr(code.resize(code.load(code.at(self._context, offset), 32), 64), POINTER) for offset in (0, 4)
        )
        return b.sub(b.ptrtoint(self._end, I64), b.ptrtoint(self._begin, I64))

    def has(self, size: int) -> Value:
        """Return an i1: whether the packet has at least `size` bytes. Where it holds, `at` gives their addresses."""
        b = self._code.b
        after = b.ptrtoint(self._code.at(self._begin, size), I64)
        return b.icmp_unsigned("<=", after, b.ptrtoint(self._end, I64))

    def at(self, offset: int) -> Value:
        """Emit the address of the byte at `offset` of the packet, and return it. The packet must be known to have it:
        see `has`.
        """
        return self._code.at(self._begin, offset)

    def walk(self, length: Value, body: Callable[[Value, Value, int], None], *, start: Value | None = None) -> None:
        """Emit `body(position, address, width)` for words of `length` bytes of the packet, then for bytes.

        The bytes begin with the packet's first one, or with the one at `start` (i64); positions count from there.
        """
        code, b = self._code, self._code.b
        end = b.ptrtoint(self._end, I64)

        def one(at: Value, width: int) -> None:
            inside = b.and_(at if start is None else b.add(start, at), code.i64(0xFFF))
            byte = code.at(self._begin, inside)
            after = b.ptrtoint(code.at(byte, width // 8), I64)
            with code.when(b.icmp_unsigned("<=", after, end)):
                body(inside if start is None else at, byte, width)

        each(code, self._position, length, one)


def each(code: Builder, position: Value, length: Value, body: Callable[[Value, int], None]) -> None:
    """Emit `body(position, width)` for the 64-bit words within `length` bytes, and then for the bytes that remain.

    LLVM must not replace the position by an address that moves, whose bounds the verifier would not know; and the
    verifier must not know the position, or it would check each round by itself. So it is at the address `position` in
    the arena, which the permission for another round might change, as far as LLVM knows.
    """
    b = code.b
    code.store(code.i64(0), position)
    again = code.unit.module.globals.get(AGAIN_WITH)
    if again is None:
        again = ll.Function(code.unit.module, ll.FunctionType(I64, [POINTER]), AGAIN_WITH)
        again.attributes.add("nounwind")
    for width in (64, 8):
        head, inside, done = code.block("each"), code.block("one"), code.block("all")
        code.go(head)
        b.position_at_end(head)
        allowed = b.icmp_unsigned("!=", b.call(again, [position]), code.i64(0))
        at = code.load(position, 64)
        after = b.add(at, code.i64(width // 8))
        b.cbranch(b.and_(allowed, b.icmp_unsigned("<=", after, length)), inside, done)
        b.position_at_end(inside)
        body(at, width)
        code.store(after, position)
        code.go(head)
        b.position_at_end(done)
