"""The extern `hash`, and its algorithms over bytes.

crc16_custom and crc32_custom have BMv2's default parameters, which are those of crc16 and crc32. The input bytes are
the fields' bits in order, without gaps, and zero bits that fill the last byte, as in BMv2.
"""

from __future__ import annotations

from collections.abc import Callable

from midflight.p4 import ir
from midflight.p4.types import EnumType
from midflight.runtime.engine.code import I1, I32, I64, POINTER, Code, Value, unsupported
from midflight.runtime.engine.expressions import items_of, store, value
from midflight.runtime.engine.externs.randoms import next_random
from midflight.runtime.engine.layout import VARBIT_BYTES, scalar_width
from midflight.runtime.engine.wire import Item, Scalar, write_items

__all__ = ["algorithm_of", "digest_of", "fold", "hash_fields", "serialise", "sum_bytes"]


def hash_fields(code: Code, call: ir.Call) -> None:
    """Emit `hash(result, algorithm, base, data, max)`: the result is base + H % max, or base if max is 0.

    H is the hash of the data. As in BMv2, only the low 64 bits of base and max count, and the sum has 64 bits. Raises
    P4Error for an algorithm that is not a constant, or an expression that the engine does not support.
    """
    target, algorithm, base, data, most = call.arguments
    b = code.b
    low, limit = code.resize(value(code, base), 64), code.resize(value(code, most), 64)
    number = digest_of(code, algorithm_of(algorithm), items_of(code, data))
    none = b.icmp_unsigned("==", limit, code.i64(0))
    rest = b.urem(number, b.select(none, code.i64(1), limit))
    store(code, target, code.resize(b.add(low, rest), scalar_width(target.type)))


def algorithm_of(expression: ir.Expression) -> str:
    """Return the name of a HashAlgorithm, such as `crc32`. Raises P4Error if the expression is not a constant."""
    if not (isinstance(expression, ir.Literal) and isinstance(expression.type, EnumType)):
        raise unsupported("a hash algorithm that is not a constant", expression.place)
    assert isinstance(expression.value, int)
    return expression.type.members[expression.value]


def digest_of(code: Code, algorithm: str, items: list[Item]) -> Value:
    """Emit the hash of fields and return it as a 64-bit value.

    `algorithm` is a name of HashAlgorithm: `crc16`, `crc32`, the custom ones, `csum16`, `xor16`, `identity` (the first
    eight bytes) or `random`. KeyError for another name.
    """
    if algorithm == "random":
        return next_random(code)
    buffer, length = serialise(code, items)
    if algorithm == "identity":
        return _identity(code, buffer, length)
    function = code.unit.helper(algorithm, [POINTER, I32], I64, BYTEWISE[algorithm])
    return code.b.call(function, [buffer, length])


def serialise(code: Code, items: list[Item]) -> tuple[Value, Value]:
    """Emit the writing of fields to a new buffer on the stack, followed by zeros; return (address, bytes as i32)."""
    most = sum(
        each.width if isinstance(each, Scalar) else (code.layout.size(each.type) - VARBIT_BYTES) * 8 for each in items
    )
    size = -(-most // 8) + 8
    buffer = code.allocate(size)
    code.clear(buffer, size)
    return buffer, write_items(code, buffer, items)


def sum_bytes(code: Code) -> None:
    """Emit the body of a function (bytes, length) that returns the one's complement sum of big-endian 16-bit words.

    The result is not complemented. An odd last byte is the high byte of its word.
    """
    b = code.b
    pointer, length = code.function.args
    total = code.allocate(8)
    code.store(code.i64(0), total)

    def add(word: Value) -> None:
        code.store(b.add(code.load(total, 64), code.resize(word, 64)), total)

    with code.loop(b.lshr(length, code.i32(1))) as index:
        where = code.at(pointer, b.shl(code.resize(index, 64), code.i64(1)))
        add(code.swap_bytes(code.load(where, 16, alignment=1)))
    with code.when(b.trunc(length, I1)):
        last = code.load(code.at(pointer, b.sub(length, code.i32(1))), 8)
        add(b.shl(code.resize(last, 64), code.i64(8)))
    b.ret(fold(code, code.load(total, 64)))


def fold(code: Code, total: Value) -> Value:
    """Emit the folding of a 64-bit sum to 16 bits by adding back carries, and return it. Only a sum of 0 gives 0."""
    b = code.b
    for _ in range(4):
        total = b.add(b.and_(total, code.i64(0xFFFF)), b.lshr(total, code.i64(16)))
    return total


def _csum16(code: Code) -> None:
    pointer, length = code.function.args
    total = code.b.call(code.unit.helper("sum16", [POINTER, I32], I64, sum_bytes), [pointer, length])
    code.b.ret(code.b.xor(total, code.i64(0xFFFF)))


def _crc(width: int, polynomial: int, initial: int, final: int) -> Callable[[Code], None]:
    """Return the builder of a CRC with reflected input and output, which uses a table of 256 words."""
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (polynomial if number & 1 else 0)
        table.append(number)

    def build(code: Code) -> None:
        b = code.b
        pointer, length = code.function.args
        words = code.unit.target.words(code, f"crc{width}.table", 32, table)
        state = code.allocate(4, 4)
        code.store(code.i32(initial), state)
        with code.loop(length) as index:
            old = code.load(state, 32)
            byte = code.resize(code.load(code.at(pointer, index), 8), 32)
            low = b.and_(b.xor(old, byte), code.i32(0xFF))
            word = code.load(code.at(words, b.shl(code.resize(low, 64), code.i64(2))), 32)
            code.store(b.xor(b.lshr(old, code.i32(8)), word), state)
        b.ret(code.resize(b.xor(code.load(state, 32), code.i32(final)), 64))

    return build


def _xor16(code: Code) -> None:
    """Emit the exclusive or of 16-bit words. An odd last byte is the high byte of its word."""
    b = code.b
    pointer, length = code.function.args
    total = code.allocate(8)
    code.store(code.i64(0), total)
    with code.loop(length) as index:
        byte = code.resize(code.load(code.at(pointer, index), 8), 64)
        odd = b.trunc(index, I1)
        placed = b.select(odd, byte, b.shl(byte, code.i64(8)))
        code.store(b.xor(code.load(total, 64), placed), total)
    b.ret(code.load(total, 64))


def _identity(code: Code, buffer: Value, length: Value) -> Value:
    """Return the first bytes, at most eight, as one number. The buffer has zeros after its end."""
    b = code.b
    word = code.swap_bytes(code.load(buffer, 64, alignment=1))
    full = b.icmp_unsigned(">=", length, code.i32(8))
    missing = b.select(full, code.i32(0), b.sub(code.i32(8), length))
    empty = b.icmp_unsigned("==", length, code.i32(0))
    bits = code.resize(b.shl(b.select(empty, code.i32(0), missing), code.i32(3)), 64)
    return b.select(empty, code.i64(0), b.lshr(word, bits))


BYTEWISE: dict[str, Callable[[Code], None]] = {
    "crc16": _crc(16, 0xA001, 0, 0),
    "crc16_custom": _crc(16, 0xA001, 0, 0),
    "crc32": _crc(32, 0xEDB88320, 0xFFFFFFFF, 0xFFFFFFFF),
    "crc32_custom": _crc(32, 0xEDB88320, 0xFFFFFFFF, 0xFFFFFFFF),
    "csum16": _csum16,
    "xor16": _xor16,
}
