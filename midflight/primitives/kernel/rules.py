"""Profiles: the additional rules that a kind of pipeline has for kernels, and a check that reports violations.

The pipeline is that of Bosshart et al., Forwarding Metamorphosis: Fast Programmable Match-Action Processing in Hardware
for SDN, SIGCOMM 2013. The limits of `asic` are those of Tofino 1 in its compiler, which p4lang/p4c publishes in
backends/tofino/bf-p4c: 12 stages (specs/device.h) with 4 register ALUs and 16 logical tables each
(mau/tofino/memories.h); 128 bytes of a packet for exact match and 66 for other match kinds (specs/mau_spec.cpp); cells
of two times 32 bits (mau/stateful_alu.cpp).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from midflight.errors import KernelError
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.order import cycles, dependencies, longest_chain
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.source import Line, place_of, quoted, source_of
from midflight.primitives.kernel.typed import (
    Access,
    Binary,
    Const,
    Decide,
    Expr,
    Search,
    expressions,
    walk,
    within,
)

__all__ = ["PROFILES", "Profile", "creation", "violations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The limits of a kind of pipeline. None means no limit.

    `key_bits` and `ternary_bits` limit a match key, the latter if a part is matched lpm, ternary or range.
    `register_width` is the limit of a register's cell in bits. The pipeline has `stages`, each with at most
    `registers_per_stage` arrays and `tables_per_stage` tables. `multiplication` is whether two variables can be
    multiplied, `recirculation` whether a packet may recirculate. Two rules hold in every profile: a packet accesses a
    register array once, and arrays that depend on each other have one order.
    """

    name: str
    key_bits: int | None = None
    ternary_bits: int | None = None
    register_width: int | None = None
    stages: int | None = None
    registers_per_stage: int | None = None
    tables_per_stage: int | None = None
    multiplication: bool = True
    recirculation: bool = True


PROFILES: Mapping[str, Profile] = {
    each.name: each
    for each in (
        Profile(
            name="asic",
            key_bits=1024,
            ternary_bits=528,
            register_width=64,
            stages=12,
            registers_per_stage=4,
            tables_per_stage=16,
            multiplication=False,
        ),
    )
}
"""The profiles by name. `asic` is a switch ASIC like Tofino 1."""


def violations(primitive: Primitive, profile: Profile) -> tuple[KernelError, ...]:
    """Return all violations of a profile's rules in a primitive's kernel, in source order, as errors with places.

    They are returned, not raised; the result is empty if the kernel satisfies all rules. Of the limits per stage, only
    the length of a chain of dependent accesses is checked here. Raises KernelError for a kernel that does not compile.
    """
    found = [*_widths(primitive, profile), *_keys(primitive, profile), *_order(primitive, profile)]
    if not profile.multiplication:
        found += _products(primitive)
    if not profile.recirculation:
        found += _rounds(primitive, profile)
    return tuple(sorted(found, key=lambda each: each.place.line if each.place else 0))


def _order(primitive: Primitive, profile: Profile) -> Iterator[KernelError]:
    found = dependencies(primitive.kernel)
    closed = False
    for one, other in cycles(found):
        closed = True
        around = "" if other.on == one.array else f", which depends on `{one.array}`"
        yield _error(
            primitive,
            one.line,
            f"`{one.array}` depends on `{one.on}` here, and in line {other.line} `{other.array}` depends on"
            f" `{other.on}`{around}: no order of stages satisfies both",
            "access them in the same order on every path",
            other.line,
        )
    chain = () if closed else longest_chain(found)
    if profile.stages is not None and len(chain) + 1 > profile.stages:
        names = [chain[-1].on, *(each.array for each in reversed(chain))]
        shown = " -> ".join((*names[:2], "...", *names[-1:]) if len(names) > 4 else names)
        yield _error(
            primitive,
            chain[0].line,
            f"each of {len(names)} accesses depends on the previous one ({shown}): they need as many"
            f" stages, but there are {profile.stages}",
            "shorten the chain, or continue in another round: `packet.recirculate()`",
            chain[-1].on_line,
        )


def _widths(primitive: Primitive, profile: Profile) -> Iterator[KernelError]:
    seen = set[str]()
    for each in walk(primitive.kernel.body):
        if isinstance(each, Access) and each.register not in seen:
            seen.add(each.register)
            kind = primitive.registers[each.register].kind
            if profile.register_width is not None and kind.width > profile.register_width:
                yield _error(
                    primitive,
                    each.line,
                    f"register `{each.register}` is {kind}; the limit of a cell is {profile.register_width} bits",
                    "split it into several registers",
                    creation(primitive, each.register),
                )


def _keys(primitive: Primitive, profile: Profile) -> Iterator[KernelError]:
    for each in walk(primitive.kernel.body):
        if isinstance(each, Search):
            table = primitive.tables[each.source]
            bits = sum(key.kind.width for key in each.keys if key.kind is not None)
            exact = not isinstance(table, Map) or {*table.match} == {"exact"}
            most = profile.key_bits if exact else profile.ternary_bits
            if most is not None and bits > most:
                what = "map" if isinstance(table, Map) else "lookup"
                yield _error(
                    primitive,
                    each.line,
                    f"{what} `{each.source}` has a key of {bits} bits; the limit for"
                    f" {'exact' if exact else 'this'} match is {most}",
                    "hash the key: `hash_(wire.key)`" if exact else "match fewer fields, or match all of them exactly",
                    creation(primitive, each.source),
                )


def _products(primitive: Primitive) -> Iterator[KernelError]:
    for each in walk(primitive.kernel.body):
        if any(_multiplies(part) for part in expressions(each)):
            yield _error(
                primitive,
                each.line,
                "two variables are multiplied",
                "multiply by a constant, or read the product from a Lookup",
            )


def _rounds(primitive: Primitive, profile: Profile) -> Iterator[KernelError]:
    for each in walk(primitive.kernel.body):
        if isinstance(each, Decide) and each.verdict == Verdict.RECIRCULATE:
            message = f"profile {profile.name}: a packet cannot recirculate"
            yield _error(primitive, each.line, message, "finish in one round, or let the host compute: `fallback`")


def _multiplies(expression: Expr) -> bool:
    return any(
        isinstance(each, Binary)
        and each.operator == "*"
        and not isinstance(each.left, Const)
        and not isinstance(each.right, Const)
        for each in within(expression)
    )


def _error(primitive: Primitive, line: Line, message: str, hint: str, other: Line | None = None) -> KernelError:
    """Return an error about a line; quote a second line in the hint if there is one."""
    also = quoted(other) if other is not None and other != line else ""
    return KernelError(f"{primitive.title}: {message}", place=place_of(line), hint=f"{also}{hint}")


def creation(primitive: Primitive, name: str) -> Line | None:
    """Return the line of `setup` that creates a register or map; None if no line assigns it. Reads the source file.

    KernelError if the source of `setup` cannot be read.
    """
    source, setup = source_of(type(primitive).setup)
    for node in ast.walk(setup):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr == name:
            return source.line(node)
    return None
