"""Lookups: constants that a kernel reads by index, such as logarithms or the bounds of classes."""

from __future__ import annotations

from collections.abc import Iterable

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Number

__all__ = ["Lookup"]

MAX_ENTRIES = 1 << 16


class Lookup:
    """A constant array of numbers of `kind`, made in a primitive's `setup` and read by `self.log2.read(index)`.

        self.log2 = Lookup(bit[8], (0, 0, 1, 1, 2, 2, 2, 2))

    An index beyond the end reads as `default`. Every place in a kernel that reads it is a table of its own on the
    switch, with as many entries; where the index is known when the kernel is compiled there is none.
    """

    def __init__(self, kind: Kind, values: Iterable[int], *, default: int = 0) -> None:
        self.kind = kind.fixed({})
        self.values = tuple(values)
        self.default = default
        if not 1 <= len(self.values) <= MAX_ENTRIES:
            raise KernelError(f"a lookup has 1 to {MAX_ENTRIES} values, not {len(self.values)}")
        for each in (*self.values, default):
            if isinstance(each, bool) or not isinstance(each, int) or not self.kind.holds(each):
                raise KernelError(f"a lookup's value {each!r} does not fit {self.kind}")

    def __len__(self) -> int:
        return len(self.values)

    def read(self, index: int) -> int:
        """Return the value at an index, or the default beyond the end."""
        position = int(index)
        return Number(self.kind, self.values[position] if position < len(self.values) else self.default)
