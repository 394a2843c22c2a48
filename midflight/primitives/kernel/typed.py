"""The typed form of a kernel: every expression has its type, loops are unrolled and parameters are constants.

The compiler produces it and the emitter prints it. A `kind` of None is a condition (true or false).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from midflight.primitives.kernel.node import Node, contents
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.types import Kind

__all__ = [
    "Access",
    "Alert",
    "Assign",
    "Binary",
    "Cast",
    "Checksum",
    "Choose",
    "Compare",
    "Concat",
    "Const",
    "Decide",
    "Draw",
    "EpochRef",
    "Expr",
    "FieldRef",
    "ForwardedRef",
    "If",
    "Kernel",
    "Local",
    "Logic",
    "Mirror",
    "Not",
    "NowRef",
    "Old",
    "Overflows",
    "Return",
    "RoundRef",
    "Scramble",
    "Search",
    "SequenceRef",
    "Slice",
    "Statement",
    "Truth",
    "Unary",
    "Unrolled",
    "accesses",
    "expressions",
    "parts",
    "reads",
    "walk",
    "within",
]


@dataclass(frozen=True, slots=True, eq=False)
class Const(Node):
    """A constant number. `solid` is whether it also has a width when the kernel runs as Python."""

    value: int
    kind: Kind
    solid: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Truth(Node):
    """The constant True or False."""

    value: bool
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Local(Node):
    """A local variable."""

    name: str
    kind: Kind | None
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class FieldRef(Node):
    """A field of the application's header, or one lane of it."""

    name: str
    lane: int | None
    kind: Kind
    part: str = ""
    """The item that contains it, in an array of variable length; empty otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class SequenceRef(Node):
    """`packet.sequence`."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class EpochRef(Node):
    """`packet.epoch`."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class NowRef(Node):
    """`packet.now`."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class RoundRef(Node):
    """`packet.round`."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class ForwardedRef(Node):
    """`packet.forwarded`."""

    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Old(Node):
    """The element's old value inside a register's update."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Node):
    """`-` or `~`."""

    operator: str
    operand: Expr
    kind: Kind
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Node):
    """`operator` is P4's: + - * & | ^ << >> |+| |-|. Both operands have the same type, except for shifts."""

    operator: str
    left: Expr
    right: Expr
    kind: Kind
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Compare(Node):
    """== != < <= > >= of two numbers of one type, or == and != of two conditions."""

    operator: str
    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Logic(Node):
    """`&&` or `||`, with short-circuit evaluation."""

    operator: str
    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Not(Node):
    """The negation of a condition."""

    operand: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Choose(Node):
    """`yes if condition else no`."""

    condition: Expr
    yes: Expr
    no: Expr
    kind: Kind | None
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Node):
    """A conversion from another kind of number."""

    operand: Expr
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Overflows(Node):
    """`add_overflows(left, right)`: whether the sum exceeds the range of their type."""

    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Slice(Node):
    """The bits `high` to `low` of an unsigned number."""

    operand: Expr
    high: int
    low: int
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Concat(Node):
    """The bits of `left` above those of `right`, both unsigned."""

    left: Expr
    right: Expr
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Scramble(Node):
    """A hash: a checksum mixed with a seed."""

    checksum: Local
    seed: int
    kind: Kind


Expr = (
    Const
    | Truth
    | Local
    | FieldRef
    | SequenceRef
    | EpochRef
    | NowRef
    | RoundRef
    | ForwardedRef
    | Old
    | Unary
    | Binary
    | Compare
    | Logic
    | Not
    | Choose
    | Cast
    | Overflows
    | Slice
    | Concat
    | Scramble
)


@dataclass(frozen=True, slots=True)
class Assign:
    """`target = value`."""

    target: Local | FieldRef
    value: Expr
    line: Line


@dataclass(frozen=True, slots=True)
class Checksum:
    """Assign the CRC-32 of unsigned numbers of whole bytes to `target`, a bit[32]."""

    target: Local
    values: tuple[Expr, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Draw:
    """Assign a random number to `target`, which is unsigned."""

    target: Local
    line: Line


@dataclass(frozen=True, slots=True)
class Access:
    """A read-modify-write of one element of a register.

    `new` is the value to write, in terms of `Old`; None for a read. `target`, if not None, receives the old value or,
    with `fetch`, the new one. `guarded` is whether `index` may be outside the array. The element is written only if
    `condition` holds.
    """

    register: str
    lane: int | None
    index: Expr
    new: Expr | None
    target: Local | None
    fetch: bool
    guarded: bool
    line: Line
    condition: Expr


@dataclass(frozen=True, slots=True)
class Search:
    """A read of a map or lookup: `source` is its attribute, `table` the name of the table in the P4.

    `target` receives the value that is found, or `default`. `hit` receives whether there was an entry, if the kernel
    reads it.
    """

    source: str
    table: str
    keys: tuple[Expr, ...]
    default: Expr
    target: Local
    hit: Local
    line: Line


@dataclass(frozen=True, slots=True)
class If:
    """`if condition: yes else: no`."""

    condition: Expr
    yes: tuple[Statement, ...]
    no: tuple[Statement, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Unrolled:
    """An unrolled loop: the variable's name, and the statements for each of its values."""

    variable: str
    rounds: tuple[tuple[int, tuple[Statement, ...]], ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Decide:
    """Set the packet's verdict."""

    verdict: Verdict
    line: Line


@dataclass(frozen=True, slots=True)
class Alert:
    """Send a digest of these values."""

    values: tuple[Expr, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Mirror:
    """Send a copy of the packet as it arrived."""

    line: Line


@dataclass(frozen=True, slots=True)
class Return:
    """Return from the kernel."""

    line: Line


Statement = Assign | Checksum | Draw | Access | Search | If | Unrolled | Decide | Alert | Mirror | Return


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled kernel. `locals` are in order of first use, `alert` has the fields of its digest.

    `timed` is whether it reads `packet.now`, `rounds` whether it recirculates or reads `packet.round`, `mirrors`
    whether it mirrors packets. `tables` are the tables that it reads, `verdicts` the verdicts that it may give.
    """

    file: str
    line: int
    body: tuple[Statement, ...]
    locals: Mapping[str, Kind | None]
    alert: tuple[tuple[str, Kind], ...]
    timed: bool
    tables: tuple[str, ...]
    verdicts: frozenset[Verdict]
    rounds: bool
    mirrors: bool


def parts(expr: Expr) -> list[Expr]:
    """Return the direct subexpressions of an expression."""
    return [each for each in contents(expr) if isinstance(each, Node)]  # type: ignore[misc]


def within(expr: Expr) -> Iterator[Expr]:
    """Yield an expression and all its subexpressions, each object once."""
    seen, waiting = {id(expr)}, [expr]
    while waiting:
        each = waiting.pop()
        yield each
        for part in parts(each):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def expressions(statement: Statement) -> list[Expr]:
    """Return the expressions of a statement, without those of nested statements."""
    match statement:
        case Assign(value=value):
            return [value]
        case Access(index=index, new=new, condition=condition):
            return [index, condition] if new is None else [index, condition, new]
        case Search(keys=keys, default=default):
            return [*keys, default]
        case Checksum(values=values) | Alert(values=values):
            return [*values]
        case If(condition=condition):
            return [condition]
        case _:
            return []


def reads(expr: Expr) -> frozenset[Expr]:
    """Return the variables, fields and other inputs that an expression reads."""
    atoms = (Local, FieldRef, SequenceRef, EpochRef, NowRef, RoundRef, ForwardedRef, Old)
    return frozenset(each for each in within(expr) if isinstance(each, atoms))


def accesses(body: tuple[Statement, ...]) -> list[Access]:
    """Return all register accesses in a body, in order."""
    return [each for each in walk(body) if isinstance(each, Access)]


def walk(body: Iterable[Statement]) -> Iterator[Statement]:
    """Yield all statements in a body, nested ones included, in order."""
    waiting = [iter(body)]
    while waiting:
        each = next(waiting[-1], None)
        if each is None:
            waiting.pop()
            continue
        yield each
        match each:
            case If(yes=yes, no=no):
                waiting += (iter(no), iter(yes))
            case Unrolled(rounds=rounds):
                waiting += (iter(inner) for _, inner in reversed(rounds))
