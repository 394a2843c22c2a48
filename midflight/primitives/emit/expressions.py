"""Prints a kernel's expressions as P4 text, with the casts and parentheses that p4c requires."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.primitives.emit.names import spelled
from midflight.primitives.kernel.typed import (
    Binary,
    Cast,
    Choose,
    Compare,
    Concat,
    Const,
    EpochRef,
    Expr,
    FieldRef,
    ForwardedRef,
    Local,
    Logic,
    Not,
    NowRef,
    Old,
    Overflows,
    RoundRef,
    Scramble,
    SequenceRef,
    Slice,
    Truth,
    Unary,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk, run

__all__ = ["Printer", "p4_type"]

_ATOMS = (Truth, Local, FieldRef, SequenceRef, EpochRef, NowRef, RoundRef, Old, Const, Scramble, Slice)
_SHIFT = Kind(8)
"""The widest shift amount that BMv2 accepts."""


def p4_type(kind: Kind | None) -> str:
    """Return a kernel type in P4's syntax, such as `bit<8>`; None, the kind of conditions, gives `bool`."""
    return "bool" if kind is None else f"{'int' if kind.signed else 'bit'}<{kind.width}>"


class Printer:
    """Prints an application's expressions as P4. `header` is its header's path, such as `hdr.gradients`.

    `names` maps the kernel's variables to their names in the P4. `now` is the P4 of a packet's arrival time.
    """

    def __init__(
        self, header: str, names: Mapping[str, str], now: str = "standard_metadata.ingress_global_timestamp"
    ) -> None:
        self.header = header
        self.names = names
        self.now = now
        self.old = ""
        """The P4 variable with the register's old value, while its update is printed."""

    def field(self, field: FieldRef) -> str:
        """Return the path of a header field or lane, such as `hdr.gradients.values_3`."""
        header, name = self.header, field.name
        if field.part:
            header, name = f"{self.header}_{field.part}", field.name.removeprefix(f"{field.part}_")
        return f"{header}.{spelled(name) if field.lane is None else f'{name}_{field.lane}'}"

    def __call__(self, expr: Expr) -> str:
        """Return an expression's text without outer parentheses, for a place where it stands alone."""
        return run(self._text(expr))

    def tight(self, expr: Expr) -> str:
        """Return an expression's text as an operand of any operator, in parentheses if necessary."""
        return run(self._tight(expr))

    def _text(self, expr: Expr) -> Walk[str]:
        match expr:
            case Const(value=value, kind=kind):
                return self.sized(value, kind)
            case Truth(value=value):
                return "true" if value else "false"
            case Local(name=name):
                return self.names[name]
            case FieldRef():
                return self.field(expr)
            case SequenceRef():
                return "hdr.midflight.sequence"
            case EpochRef():
                return "meta.epoch"
            case NowRef():
                return self.now
            case RoundRef():
                return "meta.round"
            case ForwardedRef():
                return "meta.verdict == FORWARD"
            case Old():
                return self.old
            case Unary(operator=operator, operand=operand):
                return f"{operator}{yield self._tight(operand)}"
            case Binary(operator=operator) if operator in ("<<", ">>"):
                return (yield from self._shift(expr))
            case Binary(operator=operator, left=left, right=right):
                # One of two constants needs a width.
                both = isinstance(left, Const) and isinstance(right, Const)
                one: str = yield self._text(left) if both else self._side(left, operator)
                return f"{one} {operator} {yield self._side(right, operator)}"
            case Compare(operator=operator, left=left, right=right):
                return f"{yield self._operand(left)} {operator} {yield self._operand(right)}"
            case Logic(operator=operator, left=left, right=right):
                return f"{yield self._part(left, operator)} {operator} {yield self._part(right, operator)}"
            case Not(operand=operand):
                return f"!{yield self._tight(operand)}"
            case Choose(condition=condition, yes=yes, no=no):
                test: str = yield self._tight(condition)
                return f"{test} ? {yield self._tight(yes)} : {yield self._tight(no)}"
            case Cast(operand=operand, kind=kind):
                return (yield from self._cast(operand, kind))
            case Overflows(left=left, right=right):
                return (yield from self._overflows(left, right))
            case Slice(operand=operand, high=high, low=low):
                return f"{yield self._tight(operand)}[{high}:{low}]"
            case Concat(left=left, right=right):
                above: str = yield self._text(left) if isinstance(left, Concat) else self._tight(left)
                return f"{above} ++ {yield self._tight(right)}"
            case Scramble(checksum=checksum, seed=seed):
                return f"scramble({yield self._text(checksum)}, {seed})"

    def _tight(self, expr: Expr) -> Walk[str]:
        text: str = yield self._text(expr)
        simple = isinstance(expr, _ATOMS) and not text.startswith("-")
        return text if simple else f"({text})"

    def sized(self, value: int, kind: Kind) -> str:
        """Return a constant with the width of its type, such as `8w255` or `-32s5`."""
        if kind.signed and value == kind.low:
            return f"(int<{kind.width}>){kind.width}w0x{1 << (kind.width - 1):x}"
        return f"{'-' if value < 0 else ''}{kind.width}{'s' if kind.signed else 'w'}{_digits(abs(value))}"

    def plain(self, value: int, kind: Kind) -> str:
        """Return a constant without a width, for an operand that takes its type from the other one.

        It may be negative.
        """
        if kind.signed and value == kind.low:
            return f"({self.sized(value, kind)})"
        return f"-{_digits(-value)}" if value < 0 else _digits(value)

    def operand(self, value: int, kind: Kind) -> str:
        """Return a constant without a width as an operand of any operator, in parentheses if it is negative."""
        text = self.plain(value, kind)
        return f"({text})" if text.startswith("-") else text

    def value(self, expr: Expr) -> str:
        """Return the text of the right side of an assignment, where a constant needs no width."""
        return self.plain(expr.value, expr.kind) if isinstance(expr, Const) else self(expr)

    def index(self, expr: Expr) -> str:
        """Return the text of a register's index, cast to the 32 bits that it has in v1model."""
        if isinstance(expr, Const):
            return str(expr.value)
        assert expr.kind is not None
        return self(expr) if expr.kind.width == 32 else f"(bit<32>){self.tight(expr)}"

    def _operand(self, expr: Expr) -> Walk[str]:
        """Print an operand of a comparison. Arithmetic needs no parentheses there."""
        if isinstance(expr, Const):
            return self.plain(expr.value, expr.kind)
        arithmetic = isinstance(expr, Binary) and expr.operator in ("+", "-", "*")
        text: str = yield self._text(expr) if arithmetic or isinstance(expr, Cast) else self._tight(expr)
        return text

    def _side(self, expr: Expr, operator: str) -> Walk[str]:
        """Print an operand of arithmetic. The same associative operator needs no parentheses."""
        if isinstance(expr, Const):
            return self.operand(expr.value, expr.kind)
        row = isinstance(expr, Binary) and expr.operator == operator and operator in ("+", "*", "&", "|", "^")
        text: str = yield self._text(expr) if row else self._tight(expr)
        return text

    def _part(self, expr: Expr, operator: str) -> Walk[str]:
        """Print an operand of && or ||."""
        bare = isinstance(expr, (Compare, Not, ForwardedRef)) or (isinstance(expr, Logic) and expr.operator == operator)
        text: str = yield self._text(expr) if bare else self._tight(expr)
        return text

    def _shift(self, expr: Binary) -> Walk[str]:
        left: str = yield self._tight(expr.left)
        amount = expr.right
        if isinstance(amount, Const):
            return f"{left} {expr.operator} {amount.value}"
        assert amount.kind is not None
        text: str = yield self._tight(amount)
        if amount.kind.width <= _SHIFT.width:
            return f"{left} {expr.operator} {text}"
        # BMv2 takes shift amounts of at most 8 bits. Any larger amount has the effect of 255.
        return f"{left} {expr.operator} ({text} > 255 ? 8w255 : (bit<8>){text})"

    def _cast(self, operand: Expr, kind: Kind) -> Walk[str]:
        source = operand.kind
        assert source is not None
        text: str = yield self._tight(operand)
        if source.width != kind.width and source.signed != kind.signed:
            # A cast in P4 changes either the width or the sign: change the width first.
            return f"({p4_type(kind)})({p4_type(Kind(kind.width, source.signed))}){text}"
        return f"({p4_type(kind)}){text}"

    def _overflows(self, left: Expr, right: Expr) -> Walk[str]:
        kind = left.kind
        assert kind is not None
        one: str = yield self._tight(left) if isinstance(left, Const) else self._side(left, "+")
        other: str = yield self._side(right, "+")
        total = f"({one} + {other})"
        if not kind.signed:
            return f"{total} < {one}"
        # The sum overflows if both operands have the same sign and the sum has the other.
        return f"(({one} ^ {total}) & ({other} ^ {total})) < 0"


def _digits(value: int) -> str:
    """Return a number as text, in hexadecimal if its digits are regular, as for masks and powers of two."""
    return f"{value:#x}" if value > 0xFFFF and len({*f"{value:x}"}) <= 2 else f"{value}"
