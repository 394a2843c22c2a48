"""The types of the kernel language, `bit[8]`, `int_[32]` and arrays of them, and the numbers that kernels run on."""

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
"""The widest number that BMv2 takes in one field."""

Size = int | str
"""A width or a number of lanes: a number, or the name of the primitive's parameter that holds it."""


class Lanes(Protocol):
    """What a lane array looks like in a kernel: fixed length, one number for each lane."""

    def __getitem__(self, lane: int, /) -> int:
        """Return the number in a lane."""

    def __setitem__(self, lane: int, value: int, /) -> None:
        """Put a number into a lane."""

    def __len__(self) -> int:
        """Return how many lanes there are."""


def resolve(size: Size, parameters: Mapping[str, Any], what: str) -> int:
    """Return a size as a number of at least 1, looking a parameter's name up in `parameters`."""
    value = parameters.get(size) if isinstance(size, str) else size
    if isinstance(size, str) and size not in parameters:
        raise KernelError(f"{what} is {size!r}, but there is no parameter of that name")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise KernelError(f"{what} must be a whole number of at least 1, not {value!r}")
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """`bit[width]` or, when signed, `int_[width]`: a number of fixed width that wraps.

    Called, it converts: `bit[16](x)` keeps the low 16 bits of `x`.
    """

    size: Size
    signed: bool = False
    width: int = field(init=False, repr=False)
    """The width in bits; 0 while it is the name of a parameter."""
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
        """Return `value` modulo 2 to the width, as this type's plain number."""
        if self.low <= value <= self.high:
            return value
        value &= (1 << self.width) - 1
        return value - (1 << self.width) if value > self.high else value

    def holds(self, value: int) -> bool:
        """Tell whether `value` fits without wrapping."""
        return self.low <= value <= self.high

    def ends_at(self, value: object) -> bool:
        """Tell whether `value` is one more than the largest: a plain number that every number of this type is below.

        `index < size` may ask so about an array with an element for each index.
        """
        return isinstance(value, int) and not isinstance(value, (bool, Number)) and int(value) == self.high + 1

    def fixed(self, parameters: Mapping[str, Any]) -> Kind:
        """Return the type with its width as a number."""
        width = resolve(self.size, parameters, f"the width of {self}")
        if width > MAX_WIDTH:
            raise KernelError(f"{self} is {width} bits wide; the widest is {MAX_WIDTH}")
        return _Family(self.signed)[width]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Kind) and (self.size, self.signed) == (other.size, other.signed))

    def __hash__(self) -> int:
        return hash((self.size, self.signed))

    def __call__(self, value: int) -> int:
        """Convert a number, or a condition to 0 or 1, to this type: wider numbers lose their upper bits."""
        if not self.width:
            raise KernelError(f"the width of {self} depends on a parameter and is not known here")
        return Number(self, int(value))

    def __str__(self) -> str:
        return f"{'int_' if self.signed else 'bit'}[{self.size if isinstance(self.size, int) else repr(self.size)}]"


class FieldKind(Kind):
    """A type as users write it. In a header class it declares a field, which type checkers see as an int."""

    __slots__ = ()

    def array(self, count: Size) -> ArrayKind:
        """Return the type of a header field with `count` lanes; `count` may name a parameter."""
        return ArrayKind(self, count)

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> int: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | int:
        return self

    def __set__(self, header: object, value: int) -> None:
        raise KernelError("a field can be written on a packet's header only, not on its declaration")


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """The type of a header field with several lanes, all of one `kind`."""

    kind: Kind
    count: Size

    def fixed(self, parameters: Mapping[str, Any]) -> tuple[Kind, int]:
        """Return the lanes' type and their number."""
        return self.kind.fixed(parameters), resolve(self.count, parameters, f"the number of lanes of {self}")

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> Lanes: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | Lanes:
        return self

    def __set__(self, header: object, value: Lanes) -> None:
        raise KernelError("write the lanes of an array one by one")

    def __str__(self) -> str:
        return f"{self.kind}.array({self.count!r})"


@dataclass(frozen=True, slots=True)
class _Family:
    """`bit` or `int_`: indexed by a width, it gives a type."""

    signed: bool

    def __getitem__(self, width: Size) -> FieldKind:
        if not isinstance(width, str) and (type(width) is not int or width < 1):
            resolve(width, {}, f"the width of {'int_' if self.signed else 'bit'}[...]")
        if self.signed and width == 1:  # BMv2 has none
            raise KernelError("int_[1] has a sign and no digit: a signed number has 2 bits or more")
        return _kind(width, self.signed)


@lru_cache(maxsize=256)
def _kind(width: Size, signed: bool) -> FieldKind:
    return FieldKind(width, signed)


bit: Final = _Family(False)
"""`bit[n]`: unsigned, n bits, 0 to 2**n - 1."""

int_: Final = _Family(True)
"""`int_[n]`: signed, n bits in two's complement, -2**(n-1) to 2**(n-1) - 1."""


class Number(int):
    """An int of a fixed width. Arithmetic wraps at the width; the other side is of the same kind or a constant."""

    kind: Kind
    """The number's type."""

    def __new__(cls, kind: Kind, value: int) -> Number:
        """Make a number of a kind; a value that does not fit wraps."""
        self = int.__new__(cls, kind.wrap(int(value)))
        self.kind = kind
        return self

    def other(self, other: object, what: str) -> int:
        """Return the other side of an operator as a plain int: a number of the same kind, or a constant that fits."""
        if isinstance(other, Number):
            if other.kind is not self.kind and other.kind != self.kind:
                raise KernelError(f"{what} mixes {self.kind} and {other.kind}: convert one, {self.kind}(...)")
            return int(other)
        if isinstance(other, bool) or not isinstance(other, int):
            raise KernelError(f"{what}: {other!r} is not a number of {self.kind}")
        if not self.kind.holds(other):
            raise KernelError(f"{what}: {other} does not fit {self.kind}")
        return other

    def _shift(self, amount: object) -> int:
        if isinstance(amount, bool) or not isinstance(amount, int) or int(amount) < 0:
            raise KernelError(f"a shift by {amount!r}: the amount must be an unsigned number")
        return min(int(amount), self.kind.width)

    def _power_of_two(self, other: object, what: str) -> int:
        if isinstance(other, Number) or not isinstance(other, int) or other < 1 or other & (other - 1):
            raise KernelError(f"{what} by {other!r}: only by a constant power of two")
        return other

    def __lshift__(self, amount: int, /) -> Number:
        return Number(self.kind, int(self) << self._shift(amount))

    def __rshift__(self, amount: int, /) -> Number:
        return Number(self.kind, int(self) >> self._shift(amount))

    def __rlshift__(self, value: int, /) -> Number:
        raise KernelError(f"{value} has no width to be shifted in: write bit[n]({value})")

    def __rrshift__(self, value: int, /) -> Number:
        raise KernelError(f"{value} has no width to be shifted in: write bit[n]({value})")

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
        raise KernelError(f"{symbol} is not in the kernel language")

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
    setattr(Number, f"__{_name}__", _refusal("division by something that is not a constant"))


def coerce(kind: Kind, value: int, what: str) -> Number:
    """Return `value` as a Number of `kind`: a Number must be of that kind already, a constant must fit."""
    if isinstance(value, Number):
        if value.kind is not kind and value.kind != kind:
            raise KernelError(f"{what} is {kind}, the value is {value.kind}: convert it, {kind}(...)")
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise KernelError(f"{what} is {kind}; {value!r} is not a number")
    if not kind.holds(value):
        raise KernelError(f"{what} is {kind}; {value} does not fit")
    return Number(kind, value)
