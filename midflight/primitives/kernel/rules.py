"""What a pipeline of stages asks of a kernel beyond the language: its rules, told with the lines that break them.

The pipeline is that of Bosshart et al., Forwarding Metamorphosis: Fast Programmable Match-Action Processing in Hardware
for SDN, SIGCOMM 2013. The numbers of `asic` are Tofino 1's, as its compiler has them, which p4lang/p4c publishes in
backends/tofino/bf-p4c: 12 stages (specs/device.h), in each of which 4 ALUs work on registers and 16 logical tables are
(mau/tofino/memories.h); 128 bytes of a packet to match exactly and 66 in any other way (specs/mau_spec.cpp); cells of a
pair of 32 bits (mau/stateful_alu.cpp).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from midflight.errors import KernelError
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.order import circles, longest, needs
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

__all__ = ["PROFILES", "Profile", "violations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of pipeline. None means that there is no limit.

    A match key has at most `key_bits`, or `ternary_bits` where any of it is matched lpm, ternary or range, a register's
    cell `register_width`; a packet passes `stages`, each of which holds `registers_per_stage` arrays and
    `tables_per_stage` tables. `multiplication` tells whether two numbers that are not constants can be multiplied,
    `recirculation` whether a packet may pass more than once. That one packet reaches a register array once, and that of
    two arrays one always comes first, holds for all.
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
"""By name. `asic`: a switch ASIC like Tofino 1."""


def violations(primitive: Primitive, profile: Profile) -> tuple[KernelError, ...]:
    """Return every way in which a kernel breaks a profile's rules, in the kernel's order, each with its lines."""
    found = [*_widths(primitive, profile), *_keys(primitive, profile), *_order(primitive, profile)]
    if not profile.multiplication:
        found += _products(primitive)
    if not profile.recirculation:
        found += _rounds(primitive, profile)
    return tuple(sorted(found, key=lambda each: each.place.line if each.place else 0))


def _order(primitive: Primitive, profile: Profile) -> Iterator[KernelError]:
    found = needs(primitive.kernel)
    closed = False
    for one, other in circles(found):
        closed = True
        around = "" if other.on == one.array else f", which rests on `{one.array}`"
        yield _error(
            primitive,
            one.line,
            f"`{one.array}` needs what `{one.on}` gave here, and in line {other.line} `{other.array}` needs what"
            f" `{other.on}` gave{around}: no order of stages serves both",
            "access them in one order on every path, the later one always with what the earlier gave",
            other.line,
        )
    chain = () if closed else longest(found)
    if profile.stages is not None and len(chain) + 1 > profile.stages:
        names = [chain[-1].on, *(each.array for each in reversed(chain))]
        shown = " -> ".join((*names[:2], "...", *names[-1:]) if len(names) > 4 else names)
        yield _error(
            primitive,
            chain[0].line,
            f"each of {len(names)} accesses needs what the one before gave ({shown}): they take as many"
            f" stages, and there are {profile.stages}",
            "make the chain shorter, or let the packet come around: `packet.recirculate()`",
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
                    f"register `{each.register}` is {kind}; a cell has at most {profile.register_width} bits",
                    "split it into several registers",
                    _made(primitive, each.register),
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
                    f"{what} `{each.source}` is matched on {bits} bits; {'a' if exact else 'such a'} key has at most"
                    f" {most}",
                    "hash the key: `hash_(wire.key)`" if exact else "match fewer fields, or all of them exact",
                    _made(primitive, each.source),
                )


def _products(primitive: Primitive) -> Iterator[KernelError]:
    for each in walk(primitive.kernel.body):
        if any(_multiplies(part) for part in expressions(each)):
            yield _error(
                primitive,
                each.line,
                "two numbers are multiplied that are not known when the kernel is compiled",
                "multiply by a constant, or look the product up in a Lookup",
            )


def _rounds(primitive: Primitive, profile: Profile) -> Iterator[KernelError]:
    for each in walk(primitive.kernel.body):
        if isinstance(each, Decide) and each.verdict == Verdict.RECIRCULATE:
            message = f"a packet passes a pipeline of kind {profile.name} only once"
            yield _error(primitive, each.line, message, "finish in one round, or leave it to the host: `fallback`")


def _multiplies(expression: Expr) -> bool:
    return any(
        isinstance(each, Binary)
        and each.operator == "*"
        and not isinstance(each.left, Const)
        and not isinstance(each.right, Const)
        for each in within(expression)
    )


def _error(primitive: Primitive, line: Line, message: str, hint: str, other: Line | None = None) -> KernelError:
    """Return an error about a line, with a second one quoted where there is one."""
    also = quoted(other) if other is not None and other != line else ""
    return KernelError(f"{primitive.title}: {message}", place=place_of(line), hint=f"{also}{hint}")


def _made(primitive: Primitive, name: str) -> Line | None:
    """Return the line of `setup` that makes a register or map; None where it is made in another way."""
    source, setup = source_of(type(primitive).setup)
    for node in ast.walk(setup):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr == name:
            return source.line(node)
    return None
