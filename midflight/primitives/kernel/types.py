"""The types of the kernel language: `bit[8]`, `int_[32]`, arrays of them, and numbers of a fixed width."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol, Self, overload

from midflight.errors import KernelError

__all__ = [
    "MAX_WIDTH",
    "ArrayKind",
    "FieldKind",
    "Kind",
    "Lanes",
    "Number",
    "Size",
    "bit",
    "coerce",
    "int_",
]

MAX_WIDTH: Final = 2048
"""The maximum width in bits: the limit of BMv2 for one field."""

Size = int | str
"""A width or length: a number, or the name of a parameter of the primitive."""


class Lanes(Protocol):
    """The interface, for type checkers, of a field with lanes in a kernel: a fixed number of ints."""

    def __getitem__(self, lane: int, /) -> int:
        """Return the number in a lane; `lane` is a constant index from 0."""

    def __setitem__(self, lane: int, value: int, /) -> None:
        """Assign a number to a lane; `lane` is a constant index from 0."""

    def __len__(self) -> int:
        """Return the number of lanes."""


def resolve(size: Size, parameters: Mapping[str, Any], what: str) -> int:
    """Return a size as a number: itself, or the value of the parameter that it names.

    Raises KernelError for an unknown name, or unless the number is an integer of at least 1. `what` names it in
    messages.
    """
    value = parameters.get(size) if isinstance(size, str) else size
    if isinstance(size, str) and size not in parameters:
        raise KernelError(f"{what} is {size!r}, but there is no parameter of that name")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise KernelError(f"{what} must be an integer of at least 1, not {value!r}")
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """The type `bit[width]` or, if signed, `int_[width]`: numbers of a fixed width that wrap.

    Calling it converts: `bit[16](x)` keeps the low 16 bits of `x`.
    """

    size: Size
    signed: bool = False
    width: int = field(init=False, repr=False)
    """The width in bits; 0 if it is the name of a parameter."""
    low: int = field(init=False, repr=False)
    """The smallest value."""
    high: int = field(init=False, repr=False)
    """The largest value."""

    def __post_init__(self) -> None:
        width = 0 if isinstance(self.size, str) else self.size
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "low", -(1 << (width - 1)) if self.signed and width else 0)
        object.__setattr__(self, "high", (1 << (width - (self.signed and width > 0))) - 1)

    def wrap(self, value: int) -> int:
        """Return `value` modulo 2**width as a plain int within this type's range (two's complement if signed)."""
        if self.low <= value <= self.high:
            return value
        value &= (1 << self.width) - 1
        return value - (1 << self.width) if value > self.high else value

    def holds(self, value: int) -> bool:
        """Return whether `value` is in this type's range, so that it fits without wrapping."""
        return self.low <= value <= self.high

    def ends_at(self, value: object) -> bool:
        """Return whether `value` is a plain int, one above the largest number of this type.

        `<` and `>=` accept it as their right side, so that `index < size` works for an array with an element for each
        index.
        """
        return isinstance(value, int) and not isinstance(value, (bool, Number)) and int(value) == self.high + 1

    def fixed(self, parameters: Mapping[str, Any]) -> Kind:
        """Return the type with its width as a number. A width that names a parameter takes its value from `parameters`.

        Raises KernelError unless the width is 1 to 2048, or 2 to 2048 if signed, and for an unknown parameter.
        """
        width = resolve(self.size, parameters, f"the width of {self}")
        if width > MAX_WIDTH:
            raise KernelError(f"{self} is {width} bits wide; the limit is {MAX_WIDTH}")
        return _Family(self.signed)[width]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Kind) and (self.size, self.signed) == (other.size, other.signed))

    def __hash__(self) -> int:
        return hash((self.size, self.signed))

    def __call__(self, value: int) -> int:
        """Convert a number to this type, keeping the low bits; a condition becomes 0 or 1."""
        if not self.width:
            raise KernelError(f"the width of {self} is a parameter, which is not known here")
        return Number(self, int(value))

    def __str__(self) -> str:
        return f"{'int_' if self.signed else 'bit'}[{self.size if isinstance(self.size, int) else repr(self.size)}]"


class FieldKind(Kind):
    """A type as users write it: `bit[8]`. In a header class it declares a field, which is an int for type checkers."""

    __slots__ = ()

    def array(self, count: Size) -> ArrayKind:
        """Return the type of a header field with `count` lanes of this type, a number or the name of a parameter."""
        return ArrayKind(self, count)

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> int: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | int:
        return self

    def __set__(self, header: object, value: int) -> None:
        raise KernelError("a field can be assigned only in a packet's header, not in its declaration")


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """The type of a header field that is an array of `count` lanes of `kind`."""

    kind: Kind
    count: Size

    def fixed(self, parameters: Mapping[str, Any]) -> tuple[Kind, int]:
        """Return the lanes' type and number; those that name a parameter take its value from `parameters`.

        Raises KernelError for an invalid width or number.
        """
        return self.kind.fixed(parameters), resolve(self.count, parameters, f"the number of lanes of {self}")

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> Lanes: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | Lanes:
        return self

    def __set__(self, header: object, value: Lanes) -> None:
        raise KernelError("assign the lanes of an array one by one")

    def __str__(self) -> str:
        return f"{self.kind}.array({self.count!r})"


@dataclass(frozen=True, slots=True)
class _Family:
    """`bit` or `int_`. Indexing it with a width returns a type."""

    signed: bool

    def __getitem__(self, width: Size) -> FieldKind:
        if not isinstance(width, str) and (type(width) is not int or width < 1):
            resolve(width, {}, f"the width of {'int_' if self.signed else 'bit'}[...]")
        if isinstance(width, int) and width > MAX_WIDTH:
            raise KernelError(
                f"{'int_' if self.signed else 'bit'}[...] is at most {MAX_WIDTH} bits wide, not {width}",
                hint=f"use a width of 1 to {MAX_WIDTH}",
            )
        if self.signed and width == 1:  # BMv2 does not have it.
            raise KernelError("int_[1] is not a type: a signed number has at least 2 bits")
        return _kind(width, self.signed)


@lru_cache(maxsize=256)
def _kind(width: Size, signed: bool) -> FieldKind:
    return FieldKind(width, signed)


bit: Final = _Family(False)
"""`bit[n]`: unsigned, n bits (1 to 2048), 0 to 2**n - 1."""

int_: Final = _Family(True)
"""`int_[n]`: signed, n bits (2 to 2048) in two's complement, -2**(n-1) to 2**(n-1) - 1."""


class Number(int):
    """An int of a fixed width. Arithmetic wraps; the other operand has the same type or is a plain int that fits.

    Other operands raise KernelError, and so do operators that the kernel language does not have.
    """

    kind: Kind
    """The number's type."""

    def __new__(cls, kind: Kind, value: int) -> Number:
        """Create a number of a type; a value that does not fit wraps."""
        self = int.__new__(cls, kind.wrap(int(value)))
        self.kind = kind
        return self

    def other(self, other: object, what: str) -> int:
        """Return the other operand as a plain int.

        Raises KernelError unless it is a number of the same type or a constant that fits. `what` names the operator.
        """
        if isinstance(other, Number):
            if other.kind is not self.kind and other.kind != self.kind:
                raise KernelError(f"{what} mixes {self.kind} and {other.kind}: convert one, {self.kind}(...)")
            return int(other)
        if isinstance(other, bool) or not isinstance(other, int):
            raise KernelError(f"{what}: {other!r} is not a {self.kind}")
        if not self.kind.holds(other):
            raise KernelError(f"{what}: {other} does not fit {self.kind}")
        return other

    def _shift(self, amount: object) -> int:
        if isinstance(amount, bool) or not isinstance(amount, int) or int(amount) < 0:
            raise KernelError(f"the shift amount must be a non-negative number, not {amount!r}")
        return min(int(amount), self.kind.width)

    def _power_of_two(self, other: object, what: str) -> int:
        if isinstance(other, Number) or not isinstance(other, int) or other < 1 or other & (other - 1):
            raise KernelError(f"{what} by {other!r}: the divisor must be a constant power of two")
        return other

    def __lshift__(self, amount: int, /) -> Number:
        return Number(self.kind, int(self) << self._shift(amount))

    def __rshift__(self, amount: int, /) -> Number:
        return Number(self.kind, int(self) >> self._shift(amount))

    def __rlshift__(self, value: int, /) -> Number:
        raise KernelError(f"{value} has no width: convert it with bit[n]({value})")

    def __rrshift__(self, value: int, /) -> Number:
        raise KernelError(f"{value} has no width: convert it with bit[n]({value})")

    def __floordiv__(self, other: int, /) -> Number:
        return Number(self.kind, int(self) // self._power_of_two(other, "division"))

    def __mod__(self, other: int, /) -> Number:
        return Number(self.kind, int(self) % self._power_of_two(other, "remainder"))

    def __neg__(self) -> Number:
        return Number(self.kind, -int(self))

    def __invert__(self) -> Number:
        return Number(self.kind, ~int(self))

    def __abs__(self) -> Number:
        return Number(self.kind, abs(int(self)))

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __repr__(self) -> str:
        return f"{self.kind}({int(self)})"

    __str__ = int.__repr__


def _arithmetic(symbol: str, function: Callable[[int, int], int]) -> tuple[Any, Any]:
    def forward(self: Number, other: int, /) -> Number:
        return Number(self.kind, function(int(self), self.other(other, symbol)))

    def backward(self: Number, other: int, /) -> Number:
        return Number(self.kind, function(self.other(other, symbol), int(self)))

    return forward, backward


def _comparison(symbol: str, function: Callable[[int, int], bool]) -> Any:
    def compare(self: Number, other: int, /) -> bool:
        if symbol in ("<", ">=") and self.kind.ends_at(other):
            return symbol == "<"
        return function(int(self), self.other(other, symbol))

    return compare


def _refusal(symbol: str) -> Any:
    def refuse(*_: object) -> Number:
        raise KernelError(f"the kernel language does not support {symbol}")

    return refuse


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}.items():
    _forward, _backward = _arithmetic(_symbol, getattr(operator, f"__{_name}__"))
    setattr(Number, f"__{_name}__", _forward)
    setattr(Number, f"__r{_name}__", _backward)
for _name, _symbol in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    setattr(Number, f"__{_name}__", _comparison(_symbol, getattr(operator, f"__{_name}__")))
for _name, _symbol in {"truediv": "/", "pow": "**", "divmod": "divmod"}.items():
    setattr(Number, f"__{_name}__", _refusal(_symbol))
    setattr(Number, f"__r{_name}__", _refusal(_symbol))
for _name in ("rfloordiv", "rmod"):
    setattr(Number, f"__{_name}__", _refusal("division by a variable"))


def coerce(kind: Kind, value: int, what: str) -> Number:
    """Return `value` as a Number of type `kind`.

    Raises KernelError for a Number of another type, or if it does not fit. `what` names the value in the message.
    Conditions and floats raise KernelError too.
    """
    if isinstance(value, Number):
        if value.kind is not kind and value.kind != kind:
            raise KernelError(f"{what} is {kind}, the value is {value.kind}: convert it, {kind}(...)")
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise KernelError(f"{what} is {kind}; {value!r} is not a number")
    if not kind.holds(value):
        raise KernelError(f"{what} is {kind}; {value} does not fit")
    return Number(kind, value)
