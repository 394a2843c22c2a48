"""Operations whose code depends on the target: this process, or the kernel's BPF programs (see `bpf/target.py`)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from llvmlite import ir as ll

from midflight.errors import Place

__all__ = ["Target"]

Value: TypeAlias = "ll.Value"
Builder: TypeAlias = Any  # a `builder.Builder`, which is above this module


class Target(Protocol):
    """The operations whose code depends on the target."""

    located: bool
    """Whether `locate` does anything."""

    vectors: bool
    """Whether there are instructions for several numbers at once."""

    def slot(self, code: Builder, name: str, size: int) -> Value:
        """Return the address of the context's slot with a name. A new name gets a slot of `size` bytes."""

    def pointer(self, code: Builder, address: Value, *, invariant: bool) -> Value:
        """Load the pointer at an address in memory. `invariant` promises that it never changes."""

    def words(self, code: Builder, name: str, width: int, values: list[int]) -> Value:
        """Return the address of the constant array of `width`-bit numbers with this name."""

    def again(self, code: Builder) -> Value | None:
        """Emit what precedes another round of a loop, and return an i1 that is false if the loop has to end.

        None if loops may take as long as they like.
        """

    def add(self, code: Builder, pointer: Value, amount: Value) -> None:
        """Emit the addition of an i64 to the one at an address, which other programs that run now may also add to."""

    def multiply(self, code: Builder, left: Value, right: Value) -> Value:
        """Emit the product of two integers of the same width, modulo 2**width."""

    def shift(self, code: Builder, operation: str, left: Value, by: Value) -> Value:
        """Emit `shl`, `lshr` or `ashr` of an integer by an amount below its width, and as wide."""

    def locate(self, code: Builder, place: Place | None) -> None:
        """Record that what is emitted from here on comes from a place in the P4, or from none (None)."""

    def forget(self, code: Builder, value: Value) -> Value:
        """Return an integer of at most 64 bits whose value must not be known to whoever checks the code.

        A target that checks each path of the code checks fewer if paths do not differ in what is known.
        """

    def clear(self, code: Builder, pointer: Value, size: int) -> None:
        """Emit the filling of `size` bytes with zeros."""

    def copy(self, code: Builder, target: Value, source: Value, size: int | Value) -> None:
        """Emit the copying of `size` bytes between two places, which must be equal or not overlap."""

    def move(self, code: Builder, target: Value, source: Value, size: int) -> None:
        """Emit the copying of `size` bytes between two places, which may overlap."""

    def record(self, code: Builder, size: int, lost: str) -> AbstractContextManager[Value]:
        """Emit what the body of the `with` emits if there is space for a record of `size` bytes for the control plane.

        Yields the record's address for the body to fill. Without space, the slot `lost` is incremented instead.
        """
