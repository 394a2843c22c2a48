"""The externs `verify_checksum` and `update_checksum`, with and without payload."""

from __future__ import annotations

from itertools import groupby

from midflight.p4 import ir
from midflight.p4.types import HeaderType
from midflight.runtime.engine.code import I32, I64, POINTER, Code, Value, unsupported
from midflight.runtime.engine.expressions import is_valid, items_of, place, store, value
from midflight.runtime.engine.externs.hashes import algorithm_of, digest_of, fold, serialise, sum_bytes
from midflight.runtime.engine.layout import scalar_width
from midflight.runtime.engine.wire import Item, Scalar

__all__ = ["update", "update_with_payload", "verify", "verify_with_payload"]


def verify(code: Code, call: ir.Call) -> None:
    """Emit `verify_checksum(condition, data, checksum, algorithm)`: a mismatch sets `checksum_error`.

    It has no effect if the condition does not hold, or if the checksum is in an invalid header. Raises P4Error for an
    algorithm that the engine does not support.
    """
    _verify(code, call, payload=False)


def verify_with_payload(code: Code, call: ir.Call) -> None:
    """Emit `verify_checksum_with_payload`: as `verify`, but the bytes after the parsed headers belong to the data.

    Raises P4Error for an algorithm other than csum16.
    """
    _verify(code, call, payload=True)


def update(code: Code, call: ir.Call) -> None:
    """Emit `update_checksum(condition, data, checksum, algorithm)`, which stores the checksum if the condition holds.

    Raises P4Error for an algorithm that the engine does not support.
    """
    _update(code, call, payload=False)


def update_with_payload(code: Code, call: ir.Call) -> None:
    """Emit `update_checksum_with_payload`: as `update`, but the bytes after the parsed headers belong to the data.

    Raises P4Error for an algorithm other than csum16.
    """
    _update(code, call, payload=True)


# Summing a payload takes long, so its code is moved out of the path of packets that do not need it.


def _verify(code: Code, call: ir.Call, *, payload: bool) -> None:
    condition, data, checksum, algorithm = call.arguments
    b = code.b
    due = value(code, condition)
    if isinstance(checksum, ir.Member) and isinstance(checksum.base.type, HeaderType):
        due = b.and_(due, is_valid(code, place(code, checksum.base)))
    with code.when(due, rarely=payload):
        computed = _compute(code, algorithm_of(algorithm), data, payload=payload)
        given = code.resize(value(code, checksum), 64)
        wrong = b.icmp_unsigned("!=", code.resize(computed, 64), given)
        with code.when(wrong):
            # The verify control has no standard metadata. The pipeline passes the slot on to ingress.
            code.set_slot("checksum_error", code.i64(1))


def _update(code: Code, call: ir.Call, *, payload: bool) -> None:
    condition, data, checksum, algorithm = call.arguments
    with code.when(value(code, condition), rarely=payload):
        computed = _compute(code, algorithm_of(algorithm), data, payload=payload)
        store(code, checksum, code.resize(computed, scalar_width(checksum.type)))


def _compute(code: Code, algorithm: str, data: ir.Expression, *, payload: bool) -> Value:
    if algorithm == "csum16":
        return code.b.xor(fold(code, _words_sum(code, data, payload=payload)), code.i64(0xFFFF))
    if payload:
        raise unsupported(f"a checksum by HashAlgorithm.{algorithm} over the payload", data.place, "use csum16")
    return digest_of(code, algorithm, items_of(code, data))


def _words_sum(code: Code, data: ir.Expression, *, payload: bool) -> Value:
    """Return a 64-bit number that folds to the one's complement sum of the data's 16-bit words.

    2**16 is congruent to 1 modulo 2**16 - 1. A field therefore need not be split into words: shifted to the position of
    its lowest bit within a word, it has the right remainder, even if it spans several words. Only varbits require a
    buffer in memory. An invalid header and its fields are omitted, and the data after it moves up.
    """
    b = code.b
    elements = data.elements if isinstance(data, ir.StructValue) else (data,)
    total = code.i64(0)
    position = _Position(code)
    for header, group in groupby(elements, key=_header_of):
        items = [item for each in group for item in items_of(code, each)]
        part, width = _part(code, items)
        part = position.place(part)
        if header is not None:
            valid = is_valid(code, place(code, header))
            part = b.select(valid, part, code.i64(0))
            position.pass_over(width, valid)
        else:
            position.pass_over(width)
        total = b.add(total, part)
    if payload:
        position.align()
        pointer, size = payload_of(code)
        total = b.add(total, position.place(_sum(code, pointer, size)))
    return total


class _Position:
    """The bits of the last word in use so far: a number, or a value if it depends on the validity of headers."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._bits: int | Value = 0

    def place(self, part: Value) -> Value:
        """Return a sum that starts at a word boundary, moved to this position."""
        code = self._code
        if self._bits == 0:
            return part
        back = code.i64(-self._bits % 16) if isinstance(self._bits, int) else self._bits_to_word()
        return code.b.shl(fold(code, part), back)

    def pass_over(self, width: int | Value, valid: Value | None = None) -> None:
        """Advance by `width` bits if they are valid."""
        code, b = self._code, self._code.b
        if isinstance(width, int) and (valid is None or width % 16 == 0) and isinstance(self._bits, int):
            self._bits = (self._bits + width) % 16
        elif not isinstance(width, int) or width % 16:
            on = code.i64(width) if isinstance(width, int) else width
            on = on if valid is None else b.select(valid, on, code.i64(0))
            self._bits = b.add(code.i64(self._bits) if isinstance(self._bits, int) else self._bits, on)

    def align(self) -> None:
        """Advance to the next byte boundary."""
        code = self._code
        if isinstance(self._bits, int):
            self._bits = (self._bits + 7) // 8 * 8 % 16
        else:
            self._bits = code.b.and_(code.b.add(self._bits, code.i64(7)), code.i64(~7))

    def _bits_to_word(self) -> Value:
        assert not isinstance(self._bits, int)
        return self._code.b.and_(self._code.b.neg(self._bits), self._code.i64(15))


def _header_of(element: ir.Expression) -> ir.Expression | None:
    """Return the header that an element is or belongs to, or None for any other value."""
    if isinstance(element.type, HeaderType):
        return element
    return element.base if isinstance(element, ir.Member) and isinstance(element.base.type, HeaderType) else None


def _part(code: Code, items: list[Item]) -> tuple[Value, int | Value]:
    """Return a number congruent to the words of items, which start at a word boundary, and their number of bits."""
    b = code.b
    if not all(isinstance(each, Scalar) for each in items):
        buffer, length = serialise(code, items)
        return _sum(code, buffer, length), b.shl(code.resize(length, 64), code.i64(3))
    total, end = code.i64(0), 0
    for item in items:
        assert isinstance(item, Scalar)
        end += item.width
        total = b.add(total, _congruent(code, item, end))
    return total, end


def _congruent(code: Code, item: Scalar, end: int) -> Value:
    """Return a 64-bit number congruent to the words of a field that ends `end` bits into the data."""
    b = code.b
    total = code.i64(0)
    for low in range(0, item.width, 32):
        part = b.lshr(item.value, code.constant(item.width, low)) if low else item.value
        part = code.resize(code.resize(part, min(32, item.width - low)), 64)
        shift = (low - end) % 16
        total = b.add(total, b.shl(part, code.i64(shift)) if shift else part)
    return total


def payload_of(code: Code) -> tuple[Value, Value]:
    """Return the address and length (i32) of the packet's bytes that the parser did not consume."""
    code.unit.reads_payload = True
    _, _, packet, length, consumed = code.function.args[:5]
    return code.at(packet, consumed), code.b.sub(length, consumed)


def _sum(code: Code, pointer: Value, length: Value) -> Value:
    return code.b.call(code.unit.helper("sum16", [POINTER, I32], I64, sum_bytes), [pointer, length])
