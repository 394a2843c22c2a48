"""The typed form of a kernel: every expression has its type, loops are unrolled and parameters are constants.

The compiler (`analysis.py`) produces it, and `emit` prints it as P4. The `kind` of an expression is its type; None for
a condition (true or false). The `line` of a statement is that of the user's source. For `bare`, see `Node`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from midflight.primitives.kernel.node import Node
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.types import Kind
from midflight.trees import equal, hashed, shown

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
    "reads",
    "walk",
    "within",
]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Const(Node):
    """A constant number. `solid` is whether Python computes a `Number` for it, which has a width, or a plain int."""

    value: int
    kind: Kind
    solid: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Truth(Node):
    """The constant True or False, as an expression of a typed kernel."""

    value: bool
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Local(Node):
    """A local variable of the kernel, by its name in the P4. Variables of inlined helpers are among them."""

    name: str
    kind: Kind | None
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FieldRef(Node):
    """A field of the application's header, by its name in the `Layout`, or one lane of it, from 0.

    `lane` is None for a field without lanes.
    """

    name: str
    lane: int | None
    kind: Kind
    part: str = ""
    """For a field in an array of variable length, the item that contains it, such as `items_2`; empty otherwise."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SequenceRef(Node):
    """The expression `packet.sequence`: the sequence number in the common header, a bit[32]."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EpochRef(Node):
    """The expression `packet.epoch`: the epoch of the switch's state, a bit[16]."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NowRef(Node):
    """The expression `packet.now`: the packet's arrival time in microseconds, a bit[48]."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RoundRef(Node):
    """The expression `packet.round`: how often the packet has recirculated, a bit[8] from 0 to 15."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ForwardedRef(Node):
    """The condition `packet.forwarded`: the last verdict of this round is FORWARD, or there is none yet."""

    kind: None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Old(Node):
    """The value of a register element before an access. It occurs only in the access's `new`, of which it is a part."""

    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary(Node):
    """The operator `-` or `~` on a number, whose type is that of the result. The result wraps."""

    operator: str
    operand: Expr
    kind: Kind
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(Node):
    """Arithmetic on two numbers. `operator` is P4's: + - * & | ^ << >> |+| |-|.

    Both operands have the result's type, except for the right one of a shift, which is unsigned and of any width. The
    result wraps; that of |+| and |-| is limited to the type's range.
    """

    operator: str
    left: Expr
    right: Expr
    kind: Kind
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Compare(Node):
    """A comparison, ==, !=, <, <=, > or >=, of two numbers of the same type; or == or != of two conditions."""

    operator: str
    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Logic(Node):
    """A condition of two others; `operator` is && or ||. `right` is evaluated only if `left` does not decide."""

    operator: str
    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Not(Node):
    """The negation of a condition, as an expression of a typed kernel."""

    operand: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Choose(Node):
    """The expression `yes if condition else no`, whose sides are both numbers of type `kind` or both conditions."""

    condition: Expr
    yes: Expr
    no: Expr
    kind: Kind | None
    bare: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cast(Node):
    """A conversion of a number to the type `kind`: its value modulo 2**width, as `Kind.wrap` returns it."""

    operand: Expr
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Overflows(Node):
    """The condition `add_overflows(left, right)`: the sum of two numbers of one type exceeds the type's range."""

    left: Expr
    right: Expr
    kind: None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Slice(Node):
    """The bits `high` to `low` of an unsigned number, both inclusive; bit 0 is the least significant. Unsigned."""

    operand: Expr
    high: int
    low: int
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Concat(Node):
    """The bits of `left`, followed by those of `right` as the lower ones, as one number. All three are unsigned."""

    left: Expr
    right: Expr
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scramble(Node):
    """A hash, a bit[32]: the checksum in a variable, mixed with a constant 32-bit seed as by `arithmetic.scramble`."""

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
    """The statement `target = value`. Both have the same type."""

    target: Local | FieldRef
    value: Expr
    line: Line


@dataclass(frozen=True, slots=True)
class Checksum:
    """Assign the CRC-32 (IEEE 802.3) of numbers to `target`, a bit[32].

    The numbers are unsigned and have whole bytes. Their bytes follow each other, the most significant first.
    """

    target: Local
    values: tuple[Expr, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Draw:
    """Assign a uniformly distributed random number to `target`, which is unsigned and has at most 64 bits."""

    target: Local
    line: Line


@dataclass(frozen=True, slots=True)
class Access:
    """A read, and possibly a write, of element `index` of a register, or of one of its lanes if it has lanes.

    `lane` is the lane, from 0, or None. `new` is the value to write, which may contain `Old`; None for a read. The
    element is written only if `condition` holds. `target`, if not None, receives the old value or, with `fetch`, the
    new one. `guarded` is whether `index` may be outside the array: then the old value is the register's initial one,
    and nothing is written.
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

    `target` receives the value of the entry that matches `keys`, or `default` if there is none. `hit` receives whether
    an entry matches; it is declared in `Kernel.locals` only if the kernel reads it.
    """

    source: str
    table: str
    keys: tuple[Expr, ...]
    default: Expr
    target: Local
    hit: Local
    line: Line


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class If:
    """The statement `if condition: yes else: no`; a side without statements is empty."""

    condition: Expr
    yes: tuple[Statement, ...]
    no: tuple[Statement, ...]
    line: Line

    __eq__, __hash__, __repr__ = equal, hashed, shown


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unrolled:
    """An unrolled loop over the variable named `variable`.

    `rounds` has, for each of the loop's rounds in order, the variable's value and the statements.
    """

    variable: str
    rounds: tuple[tuple[int, tuple[Statement, ...]], ...]
    line: Line

    __eq__, __hash__, __repr__ = equal, hashed, shown


@dataclass(frozen=True, slots=True)
class Decide:
    """A statement that sets the packet's verdict. A later one in the same round replaces it."""

    verdict: Verdict
    line: Line


@dataclass(frozen=True, slots=True)
class Alert:
    """A statement that sends these numbers to the controller in a digest."""

    values: tuple[Expr, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Mirror:
    """A statement that sends a copy of the packet to the hosts of the application's mirror.

    The copy is the packet as it was when the round began.
    """

    line: Line


@dataclass(frozen=True, slots=True)
class Return:
    """A return from the kernel. While an inlined helper is compiled, also one from it; `single_exit` removes those."""

    line: Line


Statement = Assign | Checksum | Draw | Access | Search | If | Unrolled | Decide | Alert | Mirror | Return


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled kernel: its statements, its place in the user's file, and what it uses.

    `locals` are its variables in the order in which they were declared, with their types. `alert` has the names and
    types of the fields of its alerts, empty without alerts. `timed` is whether it reads `packet.now`, `rounds` whether
    it recirculates or reads `packet.round`, `mirrors` whether it mirrors packets. `tables` are the names in the P4 of
    the tables that it reads. `verdicts` are those that some statement gives: FORWARD is included only if it is given
    explicitly.
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


def within(expr: Expr) -> Iterator[Expr]:
    """Yield an expression and all its subexpressions, in no particular order.

    An object that is shared is yielded once.
    """
    seen, waiting = {id(expr)}, [expr]
    while waiting:
        each = waiting.pop()
        yield each
        for part in each.parts:
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def expressions(statement: Statement) -> list[Expr]:
    """Return the expressions that a statement evaluates, without those of statements inside it, and without targets."""
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
    """Return what an expression reads: variables, header fields, attributes of the packet, and a register's `Old`."""
    atoms = (Local, FieldRef, SequenceRef, EpochRef, NowRef, RoundRef, ForwardedRef, Old)
    return frozenset(each for each in within(expr) if isinstance(each, atoms))


def accesses(body: tuple[Statement, ...]) -> list[Access]:
    """Return all register accesses in a body, those in branches and loops included, in source order."""
    return [each for each in walk(body) if isinstance(each, Access)]


def walk(body: Iterable[Statement]) -> Iterator[Statement]:
    """Yield all statements in a body, those in branches and loops included, in source order, outer ones first."""
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
