"""The guarantee of checked programs that engines rely on: they contain no type without a width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.p4.types import INTEGER, StructType, TupleType, Type
from tests.p4.skeleton import skeleton
from tests.p4.test_p4c import EVERYTHING


def nodes(part: object, seen: set[int]) -> Iterator[object]:
    """Yield all objects in a program, each once."""
    if isinstance(part, str | int) or part is None or id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, Mapping):
        part = tuple(part.values())
    if isinstance(part, tuple):
        for each in part:
            yield from nodes(each, seen)
    elif is_dataclass(part):
        yield part
        for field in fields(part):
            yield from nodes(getattr(part, field.name), seen)


def loose(kind: Type) -> bool:
    match kind:
        case TupleType(elements=elements):
            return any(map(loose, elements))
        case StructType(fields=listed):
            return any(loose(each.type) for each in listed)
    return kind == INTEGER


CONSTANTS = """
    digest(1, { 1, 2 }); log_msg("{}", { 3 }); random(meta.small, 0, 3); meta.pair = meta.flag ? { 1, 2 } : { 3, 4 };
    hash(meta.medium, HashAlgorithm.crc16, 0, { 1, { 2, meta.wide } }, 65536);
    meta.wide = 8w1 << meta.small[0:0] == 0 ? 1 : 2;
"""


def test_every_constant_has_a_width() -> None:
    for text in (EVERYTHING, skeleton(apply=CONSTANTS)):
        program = check(text, "test.p4")
        found = list(nodes(program, set()))
        assert len(found) > 200
        typed = [each for each in found if isinstance(each, ir.Expression | ir.Variable)]
        assert not [each for each in typed if loose(each.type)]
