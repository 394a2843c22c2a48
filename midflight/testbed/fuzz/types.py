"""The types of a generated program: headers, unions, stacks, structs and enums."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.testbed.fuzz.draw import Draw, width_of
from midflight.testbed.fuzz.expressions import WIDTHS
from midflight.testbed.fuzz.scope import HeaderAt, Value
from midflight.testbed.fuzz.tree import Tree, join

__all__ = ["FIRST", "VARIABLE", "Types", "draw_types"]

FIRST = "hdr.h0"
"""The header at the start of every packet. It is always valid in controls."""

VARIABLE = "hdr.hv"
"""A header with a field of variable width."""

MOST_BITS = 240
"""The most bits of a header's drawn fields. BMv2 aborts where the headers of a packet grow by more than 512 bytes."""

ENUM, SERIAL = "color_t", "level_t"
METADATA_KINDS = ("bit<1>", "bit<3>", "bit<8>", "bit<8>", "bit<16>", "bit<32>", "bit<64>", "int<8>", "int<32>", "bool")


@dataclass(slots=True)
class Types:
    """The declared types, and what a control sees of them: `headers`, `values` (fields of headers and metadata),
    `stacks` as (path, size) and `unions` as paths. `first` has the fields of the first header as (name, type).

    `order` is the order of headers in the parser and deparser: paths without indexes, such as `hdr.s` for a stack.
    """

    declarations: list[Tree] = field(default_factory=list)
    headers: list[HeaderAt] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    stacks: list[tuple[str, int]] = field(default_factory=list)
    unions: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    first: tuple[tuple[str, str], ...] = ()

    def of(self, path: str) -> list[HeaderAt]:
        """Return the header instances at a path: one, the elements of a stack, or the members of a union."""
        return [each for each in self.headers if each.path == path or each.path.startswith((f"{path}[", f"{path}."))]


def draw_types(draw: Draw, features: frozenset[str]) -> Types:
    """Return the types of a program. `features`, some of `program.FEATURES`, decide whether it has stacks, unions and a
    varbit.
    """
    types = Types()
    types.declarations.append(Tree("declaration", (f"enum {ENUM} {{ RED, GREEN, BLUE }}\n",)))
    types.declarations.append(Tree("declaration", (f"enum bit<8> {SERIAL} {{ LOW = 1, MIDDLE = 2, HIGH = 255 }}\n",)))
    kinds: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    most = MOST_BITS // 2 if "again" in features else MOST_BITS
    for number in range(draw.between(2, 4)):
        fields = _fields(draw, most, first=not number)
        kinds.append((f"h{number}_t", fields))
        types.declarations.append(_header(f"h{number}_t", fields))
    members: list[str] = []

    def instance(path: str, kind: str, fields: tuple[tuple[str, str], ...], union: str = "") -> None:
        whole = all(of not in (SERIAL,) for _, of in fields)
        types.headers.append(HeaderAt(path, kind, fields, union, whole))
        for name, of in fields:
            types.values.append(Value(f"{path}.{name}", of, path))

    types.first = kinds[0][1]
    for number, (kind, fields) in enumerate(kinds):
        members.append(f"{kind} h{number};")
        instance(f"hdr.h{number}", kind, fields)
        types.order.append(f"hdr.h{number}")
    if draw.chance(0.5):
        kind, fields = draw.pick(kinds[1:])
        members.append(f"{kind} again;")
        instance("hdr.again", kind, fields)
        types.order.append("hdr.again")
    if "stacks" in features:
        kind, fields = draw.pick(kinds[1:])
        size = draw.between(2, 4)
        members.append(f"{kind}[{size}] s;")
        for number in range(size):
            instance(f"hdr.s[{number}]", kind, fields)
        types.stacks.append(("hdr.s", size))
        types.order.append("hdr.s")
    if "unions" in features:
        types.declarations.append(Tree("", (f"header_union u_t {{ {kinds[0][0]} a; {kinds[1][0]} b; }}\n",)))
        members.append("u_t u;")
        for name, (kind, fields) in zip("ab", kinds[:2], strict=True):
            instance(f"hdr.u.{name}", kind, fields, "hdr.u")
        types.unions.append("hdr.u")
        types.order.append("hdr.u")
    if "varbit" in features:
        types.declarations.append(Tree("", ("header hv_t { bit<8> size; varbit<56> rest; }\n",)))
        members.append("hv_t hv;")
        types.headers.append(HeaderAt(VARIABLE, "hv_t", (), whole=False))
        types.values.append(Value(f"{VARIABLE}.size", "bit<8>", VARIABLE))
        types.order.append(VARIABLE)
    types.declarations.append(Tree("", (f"struct headers_t {{ {' '.join(members)} }}\n",)))
    _metadata(draw, types)
    return types


def _fields(draw: Draw, most: int, *, first: bool) -> tuple[tuple[str, str], ...]:
    """Return fields with at most about `most` bits, and whole bytes in all.

    Those of the first header begin with a byte that the parser selects by, and end with a checksum.
    """
    fields: list[tuple[str, str]] = [("tag", "bit<8>")] if first else []
    left = most
    for number in range(draw.between(1, 5)):
        width = draw.pick([each for each in WIDTHS if each <= left] or [1])
        left -= max(width, 8)
        kind = f"int<{width}>" if width > 1 and draw.chance(0.15) else f"bit<{width}>"
        if draw.chance(0.05):
            kind = SERIAL
        fields.append((f"f{number}", kind))
    total = sum(8 if kind == SERIAL else width_of(kind) for _, kind in fields)
    if total % 8:
        fields.append(("pad", f"bit<{8 - total % 8}>"))
    if first:
        fields.append(("check", "bit<16>"))
    return tuple(fields)


def _header(name: str, fields: tuple[tuple[str, str], ...]) -> Tree:
    return Tree("", (f"header {name} {{ {' '.join(f'{kind} {field};' for field, kind in fields)} }}\n",))


def _metadata(draw: Draw, types: Types) -> None:
    inner = [(f"n{number}", draw.pick(METADATA_KINDS)) for number in range(2)]
    fields = [(f"m{number}", draw.pick(METADATA_KINDS)) for number in range(draw.between(4, 8))]
    fields += [("c", ENUM), ("l", SERIAL), ("inner", "inner_t")]
    # A checker may refuse to read an enum that was never assigned, and BMv2 starts at the first: so the start state
    # assigns both.
    types.declarations.append(join(["struct inner_t { ", *(f"{kind} {name}; " for name, kind in inner), "}\n"]))
    texts = [
        f"{'@field_list(1) ' if draw.chance(0.4) else '@field_list(1, 2) ' if draw.chance(0.3) else ''}{kind} {name}; "
        for name, kind in fields
    ]
    texts.append("@field_list(1, 2) bit<8> rounds; ")
    types.declarations.append(join(["struct metadata_t { ", *texts, "}\n"]))
    types.values += [Value(f"meta.{name}", kind) for name, kind in fields]
    types.values += [Value(f"meta.inner.{name}", kind) for name, kind in inner]
