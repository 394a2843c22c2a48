"""The typed form of a kernel: every expression with its width, every loop unrolled, every parameter a number.

What the analysis hands to the emitter. A `kind` of None means a condition (true or false).
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
    """A number. `solid` tells that it has its width while it runs as Python, too."""

    value: int
    kind: Kind
    solid: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Truth(Node):
    """True or False."""

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
    """The item that it is in, where their number varies."""


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
    """`operator` as P4 spells it: + - * & | ^ << >> |+| |-|. Both sides have one kind, save for shifts."""

    operator: str
    left: Expr
    right: Expr
    kind: Kind
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Compare(Node):
    """== != < <= > >= of two numbers of one kind, or == and != of two conditions."""

    operator: str
    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Logic(Node):
    """`&&` or `||`, the right side evaluated only where it matters."""

    operator: str
    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False)
class Not(Node):
    """The opposite of a condition."""

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
    """`add_overflows(left, right)`: true where the sum leaves the range of their kind."""

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
    """A hash: a checksum, spread over all bits in the way of a seed."""

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
    """`target = value`. `first` marks a local variable's first value at the kernel's outermost level."""

    target: Local | FieldRef
    value: Expr
    line: Line


@dataclass(frozen=True, slots=True)
class Checksum:
    """Put the CRC-32 of unsigned numbers of whole bytes into `target`, which is bit[32]."""

    target: Local
    values: tuple[Expr, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Draw:
    """Put a random number into `target`, which is unsigned."""

    target: Local
    line: Line


@dataclass(frozen=True, slots=True)
class Access:
    """The one read-modify-write of a register's element.

    `new` is the value to write, in terms of `Old`, or None for a plain read. `target`, if any, takes the value
    from before or, with `fetch`, from after. `guarded` says that `index` may lie outside the array. The element is
    written where `condition` holds.
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
    """The one question to a map, or a read of a lookup: `source` is its attribute, `table` the table in the P4.

    `target` takes what is found, or else `default`; `hit` tells which it was, in kernels that ask.
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
    """A loop: the variable's name, and for each of its values the statements."""

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
    """Send a copy of the packet as it came."""

    line: Line


@dataclass(frozen=True, slots=True)
class Return:
    """Leave the kernel."""

    line: Line


Statement = Assign | Checksum | Draw | Access | Search | If | Unrolled | Decide | Alert | Mirror | Return


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that has been checked: `locals` in order of first use, `alert` the fields of its digest.

    `timed` tells that it asks for the time; `tables` are those that it searches. `verdicts` are those that it may
    decide, `rounds` whether it comes around or asks how often, `mirrors` whether it sends copies.
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
    """Return the expressions that one is made of, without what is inside these."""
    return [each for each in contents(expr) if isinstance(each, Node)]  # type: ignore[misc]


def within(expr: Expr) -> Iterator[Expr]:
    """Yield an expression and all that is inside it, each once."""
    seen, waiting = {id(expr)}, [expr]
    while waiting:
        each = waiting.pop()
        yield each
        for part in parts(each):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def expressions(statement: Statement) -> list[Expr]:
    """Return the expressions that a statement computes; without those of statements inside."""
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
    """Return the variables, fields and register values that an expression reads."""
    atoms = (Local, FieldRef, SequenceRef, EpochRef, NowRef, RoundRef, ForwardedRef, Old)
    return frozenset(each for each in within(expr) if isinstance(each, atoms))


def accesses(body: tuple[Statement, ...]) -> list[Access]:
    """Return all register accesses of a kernel, in order."""
    return [each for each in walk(body) if isinstance(each, Access)]


def walk(body: Iterable[Statement]) -> Iterator[Statement]:
    """Yield all statements of a kernel, in order."""
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
