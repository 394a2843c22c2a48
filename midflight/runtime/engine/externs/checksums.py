"""`verify_checksum` and `update_checksum`, with and without payload."""

from __future__ import annotations

from itertools import groupby

from midflight.p4 import ir
from midflight.p4.types import HeaderType
from midflight.runtime.engine.code import I1, I32, I64, POINTER, Code, Value, unsupported
from midflight.runtime.engine.expressions import is_valid, items_of, place, store, value
from midflight.runtime.engine.externs.hashes import algorithm_of, digest_of, fold, serialise, sum_bytes
from midflight.runtime.engine.layout import scalar_width
from midflight.runtime.engine.wire import Item, Scalar

__all__ = ["update", "update_with_payload", "verify", "verify_with_payload"]


def verify(code: Code, call: ir.Call) -> None:
    """`verify_checksum(condition, data, checksum, algorithm)`: a mismatch sets `checksum_error`."""
    _verify(code, call, payload=False)


def verify_with_payload(code: Code, call: ir.Call) -> None:
    """`verify_checksum_with_payload`: the bytes behind the parsed headers are summed too."""
    _verify(code, call, payload=True)


def update(code: Code, call: ir.Call) -> None:
    """`update_checksum(condition, data, checksum, algorithm)`."""
    _update(code, call, payload=False)


def update_with_payload(code: Code, call: ir.Call) -> None:
    """`update_checksum_with_payload`."""
    _update(code, call, payload=True)


def _verify(code: Code, call: ir.Call, *, payload: bool) -> None:
    condition, data, checksum, algorithm = call.arguments
    b = code.b
    due = value(code, condition)
    if isinstance(checksum, ir.Member) and isinstance(checksum.base.type, HeaderType):
        due = b.and_(due, is_valid(code, place(code, checksum.base)))
    with code.when(due):
        computed = _compute(code, algorithm_of(algorithm), data, payload=payload)
        given = code.resize(value(code, checksum), 64)
        wrong = b.icmp_unsigned("!=", code.resize(computed, 64), given)
        with code.when(wrong):
            # The verify control has no standard metadata: the pipeline hands this on to ingress.
            code.set_slot("checksum_error", code.i64(1))


def _update(code: Code, call: ir.Call, *, payload: bool) -> None:
    condition, data, checksum, algorithm = call.arguments
    with code.when(value(code, condition)):
        computed = _compute(code, algorithm_of(algorithm), data, payload=payload)
        store(code, checksum, code.resize(computed, scalar_width(checksum.type)))


def _compute(code: Code, algorithm: str, data: ir.Expression, *, payload: bool) -> Value:
    if algorithm == "csum16":
        total = _payload_sum(code, items_of(code, data)) if payload else _fields_sum(code, data)
        return code.b.xor(fold(code, total), code.i64(0xFFFF))
    if payload:
        raise unsupported(f"a checksum by HashAlgorithm.{algorithm} over the payload", data.place, "use csum16")
    return digest_of(code, algorithm, items_of(code, data))


def _fields_sum(code: Code, data: ir.Expression) -> Value:
    """Return a 64-bit number that folds to the one's complement sum of the fields' 16-bit words.

    Since 2**16 is 1 modulo 2**16 - 1, a field need not be cut into words: shifted to where its lowest bit stands in
    its word it has the right remainder, whatever words it spans. Only varbits have to go through memory. Fields of an
    invalid header count as zero.
    """
    elements = data.elements if isinstance(data, ir.StructValue) else (data,)
    groups = [
        (header, [item for each in group for item in items_of(code, each)])
        for header, group in groupby(elements, key=_header_of)
    ]
    every = [item for _, items in groups for item in items]
    if not all(isinstance(each, Scalar) for each in every):
        buffer, length = serialise(code, every)
        return _sum(code, buffer, length)
    b = code.b
    total, end = code.i64(0), 0
    for header, items in groups:
        part = code.i64(0)
        for item in items:
            assert isinstance(item, Scalar)
            end += item.width
            part = b.add(part, _congruent(code, item, end))
        if header is not None:
            part = b.select(is_valid(code, place(code, header)), part, code.i64(0))
        total = b.add(total, part)
    return total


def _header_of(element: ir.Expression) -> ir.Expression | None:
    """Return the header that a field is taken from, None for any other value."""
    return element.base if isinstance(element, ir.Member) and isinstance(element.base.type, HeaderType) else None


def _congruent(code: Code, item: Scalar, end: int) -> Value:
    """Return a 64-bit number congruent to a field's words, the field ending `end` bits into the data."""
    b = code.b
    total = code.i64(0)
    for low in range(0, item.width, 32):
        part = b.lshr(item.value, code.constant(item.width, low)) if low else item.value
        part = code.resize(code.resize(part, min(32, item.width - low)), 64)
        shift = (low - end) % 16
        total = b.add(total, b.shl(part, code.i64(shift)) if shift else part)
    return total


def _payload_sum(code: Code, items: list[Item]) -> Value:
    """Return the sum of fields and payload; after an odd number of bytes the payload's sum stands eight bits higher."""
    b = code.b
    buffer, length = serialise(code, items)
    pointer, size = payload_of(code)
    behind = _sum(code, pointer, size)
    odd = b.trunc(length, I1)
    return b.add(_sum(code, buffer, length), b.select(odd, b.shl(behind, code.i64(8)), behind))


def payload_of(code: Code) -> tuple[Value, Value]:
    """Return the address and length (i32) of the bytes that the parser left."""
    _, _, packet, length, consumed = code.function.args[:5]
    return code.at(packet, consumed), code.b.sub(length, consumed)


def _sum(code: Code, pointer: Value, length: Value) -> Value:
    return code.b.call(code.unit.helper("sum16", [POINTER, I32], I64, sum_bytes), [pointer, length])
