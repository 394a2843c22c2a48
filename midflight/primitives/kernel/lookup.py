"""Lookups: constant arrays that a kernel reads by index, such as logarithms."""

from __future__ import annotations

from collections.abc import Iterable

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Number

__all__ = ["Lookup"]

MAX_ENTRIES = 1 << 16


class Lookup:
    """A constant array of 1 to 65536 numbers of `kind`, created in a primitive's `setup`.

        self.log2 = Lookup(bit[8], (0, 0, 1, 1, 2, 2, 2, 2))

    A kernel reads it with `self.log2.read(index)`. An index outside the array reads as `default`. Each read in a kernel
    becomes a table on the switch with an entry per value, unless the index is known at compile time. Raises KernelError
    for no or more than 65536 values, and for values or a `default` that do not fit `kind`.
    """

    def __init__(self, kind: Kind, values: Iterable[int], *, default: int = 0) -> None:
        self.kind = kind.fixed({})
        self.values = tuple(values)
        self.default = default
        if not 1 <= len(self.values) <= MAX_ENTRIES:
            raise KernelError(f"a lookup takes 1 to {MAX_ENTRIES} values, not {len(self.values)}")
        for each in (*self.values, default):
            if isinstance(each, bool) or not isinstance(each, int) or not self.kind.holds(each):
                raise KernelError(f"the lookup value {each!r} does not fit {self.kind}")

    def __len__(self) -> int:
        return len(self.values)

    def read(self, index: int) -> int:
        """Return the value at `index`, from 0, as a number of the lookup's type; the default outside the array."""
        position = int(index)
        return Number(self.kind, self.values[position] if 0 <= position < len(self.values) else self.default)
