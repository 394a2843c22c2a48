"""Lowers a compiled kernel: each statement becomes operations that stages of a Tofino pipeline compute."""

from __future__ import annotations

from dataclasses import replace

from midflight.primitives.emit.tna.architecture import Architecture
from midflight.primitives.emit.tna.context import Context
from midflight.primitives.emit.tna.lowered import HashOf, Lowered, Statements, Tabulated
from midflight.primitives.emit.tna.rounds import separated
from midflight.primitives.emit.tna.stateful import access
from midflight.primitives.emit.tna.unused import without_unused
from midflight.primitives.emit.tna.values import assign, atom, condition
from midflight.primitives.kernel.functions import counting
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import (
    Access,
    Alert,
    Assign,
    Binary,
    Checksum,
    Expr,
    FieldRef,
    If,
    Local,
    Scramble,
    Search,
    Statement,
    Truth,
    Unrolled,
    expressions,
    walk,
    within,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk, run

__all__ = ["lower"]

POLYNOMIALS = 8
"""The most hashes with different seeds in a kernel: each has a CRC polynomial of its own."""

_COUNTED = 6
"""The most bits whose 1 bits are counted by a table, in one stage; wider numbers take additions."""


def lower(primitive: Primitive, architecture: Architecture) -> Lowered:
    """Return the lowered kernel of a primitive.

    Raises KernelError, with the place in the kernel, for what the architecture cannot do.
    """
    kernel = primitive.kernel
    code = Context(primitive, architecture, dict(kernel.locals), Line(kernel.line, kernel.file))
    code.body = separated(kernel.body, code.locals)
    body = run(_block(code, code.body))
    return without_unused(Lowered(body, code.locals, code.registers, tuple(code.seeds)))


def _block(code: Context, body: tuple[Statement, ...]) -> Walk[Statements]:
    with code.inner() as block:
        rest = iter(enumerate(body))
        for place, each in rest:
            code.line = each.line
            if (bits := _counted(body[place:])) is None:
                yield _statement(code, each)
                continue
            target, counted = bits
            for _ in counting(target, counted, each.line)[1:]:
                next(rest)
            yield from _count(code, target, counted)
    return tuple(block)


def _counted(body: tuple[Statement, ...]) -> tuple[Local, Local | FieldRef] | None:
    """Return the variable and the number if a body begins with counting the number's 1 bits, and a table has room."""
    match body[0]:
        case Assign(
            target=Local() as target, value=Binary("+", Binary("&", left=Local() | FieldRef() as counted), Binary())
        ) if target.kind == counted.kind and counted.kind is not None and counted.kind.width <= _COUNTED:
            wanted = counting(target, counted, body[0].line)
            return (target, counted) if body[: len(wanted)] == wanted else None
        case _:
            return None


def _count(code: Context, target: Local, counted: Local | FieldRef) -> Walk[None]:
    key: Expr = yield atom(code, counted)
    if not isinstance(key, (Local, FieldRef)) or key == target:
        key = code.assigned("bits", key)
    kind = target.kind
    assert kind is not None
    counts = tuple(number.bit_count() for number in range(1 << kind.width))
    code.add(Tabulated(code.fresh("ones_of", kind).name, target, key, counts, "count", code.line))


def _statement(code: Context, each: Statement) -> Walk[None]:
    match each:
        case Assign(target=Local() as distance) if distance in code.signs:
            pass  # only its sign is used, which is known
        case Assign(target=target, value=value):
            yield assign(code, target, value)
        case If(condition=test, yes=yes, no=no):
            yield from _branch(code, each, test, yes, no)
        case Unrolled(variable=variable, rounds=rounds):
            lowered = []
            for number, inner in rounds:
                statements: Statements = yield _block(code, inner)
                for statement in statements:
                    code.forget(statement)
                lowered.append((number, statements))
            code.add(Unrolled(variable, tuple(lowered), each.line))
        case Access():
            yield access(code, each)
        case Search():
            yield from _search(code, each)
        case Checksum():
            yield from _hashes(code, each)
        case Alert(values=values):
            ready = []
            for value in values:
                ready.append((yield atom(code, value, "told")))
            code.add(Alert(tuple(ready), each.line))
        case _:
            code.add(each)


def _branch(code: Context, each: If, test: Expr, yes: tuple[Statement, ...], no: tuple[Statement, ...]) -> Walk[None]:
    when: Expr = yield condition(code, test)
    if isinstance(when, Truth):
        statements: Statements = yield _block(code, yes if when.value else no)
        for statement in statements:
            code.add(statement)
        return
    one: Statements = yield _block(code, yes)
    other: Statements = yield _block(code, no)
    code.add(If(when, one, other, each.line))


def _search(code: Context, each: Search) -> Walk[None]:
    keys = []
    for key in each.keys:
        ready: Expr = yield atom(code, key, f"{each.table}_key")
        if not isinstance(ready, (Local, FieldRef)) or ready == each.target:
            ready = code.assigned(f"{each.table}_key", ready)
        keys.append(ready)
    default: Expr = yield atom(code, each.default, "otherwise")
    code.add(replace(each, keys=tuple(keys), default=default))


def _hashes(code: Context, each: Checksum) -> Walk[None]:
    """Compute all hashes of the same numbers at once, one for each seed that the kernel uses with them."""
    values = []
    for value in each.values:
        values.append((yield atom(code, value, "hashed")))
    seeds = dict.fromkeys(
        part.seed
        for statement in walk(code.primitive.kernel.body)
        for expr in expressions(statement)
        for part in within(expr)
        if isinstance(part, Scramble) and part.checksum == each.target
    )
    hashes = code.checksums.setdefault(each.target.name, {})
    for seed in sorted(seeds):
        if seed not in code.seeds:
            code.seeds.append(seed)
        if len(code.seeds) > POLYNOMIALS:
            raise code.refuse(
                f"the kernel has hashes with more than {POLYNOMIALS} seeds", "use fewer rows, or the same seeds again"
            )
        hashes[seed] = code.fresh("hash", Kind(32))
        code.add(HashOf(code.seeds.index(seed), hashes[seed], tuple(values), each.line))
    code.locals.pop(each.target.name, None)
