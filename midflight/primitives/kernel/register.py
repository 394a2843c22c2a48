"""Registers: a kernel's state, arrays of numbers that persist between packets."""

from __future__ import annotations

from collections.abc import Callable
from operator import index

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Number, coerce

__all__ = ["Register"]

MOST, LANES = (1 << 31) - 1, 8192
"""The largest number of elements, which P4Info holds as a signed number of 32 bits, and of lanes."""


class Register:
    """An array of numbers of type `kind`, all `initial` at first; created in a primitive's `setup`.

    `size` is the number of elements (1 to 2**31 - 1). In a round, a packet accesses one element once, for example with
    `update`. With `lanes=n` (1 to 8192) there are `n` such arrays, `self.total[lane]`. An index outside the array reads
    as `initial`, and writes to it are ignored. Raises KernelError for invalid parameters. The methods that access an
    element raise KernelError for a register with lanes: they are called on one of its lanes.
    """

    def __init__(self, kind: Kind, size: int, *, initial: int = 0, lanes: int | None = None) -> None:
        for what, value in (("size", size), ("number of lanes", 1 if lanes is None else lanes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise KernelError(f"a register's {what} must be an integer of at least 1, not {value!r}")
        if size > MOST:
            raise KernelError(f"a register has at most 2**31 - 1 elements, not {size}")
        if lanes is not None and lanes > LANES:
            raise KernelError(f"a register has at most {LANES} lanes, not {lanes}")
        if not isinstance(kind, Kind):
            raise KernelError("a register's type must have a width, such as bit[32]")
        try:
            initial = index(initial)
        except TypeError:
            raise KernelError(f"a register's initial value must be an integer, not {initial!r}") from None
        self.kind = kind.fixed({})
        if not self.kind.holds(initial):
            raise KernelError(f"the register's initial value {initial} does not fit {kind}")
        self.size = size
        self.initial = initial
        self._initial = Number(self.kind, initial)
        self.lanes = lanes
        self._lanes = [Register(kind, size, initial=initial) for _ in range(lanes or 0)]
        self._values: dict[int, Number] = {}

    def __getitem__(self, lane: int) -> Register:
        """Return the array of one lane, from 0. KernelError without lanes, IndexError beyond the last lane."""
        if not self._lanes:
            raise KernelError("this register has no lanes: create it with Register(..., lanes=n)")
        return self._lanes[lane]

    def update(self, index: int, function: Callable[[int], int]) -> int:
        """Replace element `index` by `function(old)`, where `old` is its value; return the old value.

        The new value must be of the register's type, or an int that fits; otherwise KernelError is raised. An index
        outside the array gives `initial` as the old value, and nothing is stored.
        """
        return self._access(index, function)[0]

    def update_fetch(self, index: int, function: Callable[[int], int]) -> int:
        """Replace element `index` by `function(old)`, where `old` is its value; return the new value.

        KernelError if the new value does not fit the register's type. For an index outside the array, the result is
        computed from `initial`, and nothing is stored.
        """
        return self._access(index, function)[1]

    def update_if(self, index: int, condition: bool, function: Callable[[int], int]) -> int:
        """If the condition holds, replace element `index` by `function(old)`; return the old value in either case.

        KernelError if the new value does not fit the register's type. An index outside the array gives `initial` as the
        old value, and nothing is stored.
        """
        return self._access(index, function if condition else lambda old: old)[0]

    def read(self, index: int) -> int:
        """Return element `index`; `initial` if the index is outside the array."""
        return self._access(index, lambda old: old)[0]

    def write(self, index: int, value: int) -> None:
        """Replace element `index` by `value`; ignored if the index is outside the array.

        KernelError if the value does not fit.
        """
        self._access(index, lambda _: value)

    @property
    def written(self) -> dict[int, int]:
        """The current values by index of the elements that a packet has accessed; all others are `initial`.

        Empty with lanes.
        """
        return {index: int(value) for index, value in self._values.items()}

    def _access(self, index: int, function: Callable[[int], int]) -> tuple[Number, Number]:
        if self._lanes:
            raise KernelError("choose a lane of the register: self.register[lane].update(...)")
        position = int(index)
        before = self._values.get(position, self._initial)
        after = coerce(self.kind, function(before), "the register's new value")
        if 0 <= position < self.size:
            self._values[position] = after
        return before, after
